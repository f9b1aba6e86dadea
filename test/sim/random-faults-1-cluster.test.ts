import { test } from 'uvu';
import { checkSeeds } from './check-seeds.js';

test('seeds 1 to 100 hold all rules and meet everything', () => checkSeeds(1, 100));

test.run();
