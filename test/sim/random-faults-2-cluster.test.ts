import { test } from 'uvu';
import { checkSeeds } from './check-seeds.js';

test('seeds 101 to 200 hold all rules and meet everything', () => checkSeeds(101, 100));

test.run();
