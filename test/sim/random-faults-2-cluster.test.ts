import { test } from 'uvu';
import { checkSeeds } from './check-seeds.js';

test('seeds 101 to 180 hold all rules and meet everything', () => checkSeeds(101, 80));

test.run();
