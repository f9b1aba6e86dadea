import { test } from 'uvu';
import { checkSeeds } from './check-seeds.js';

test('seeds 1 to 80 hold all rules and meet everything', () => checkSeeds(1, 80));

test.run();
