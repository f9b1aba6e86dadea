import { test } from 'uvu';
import { checkSeeds } from './ci-seeds.js';

test('seeds 1 to 100 hold all rules and meet everything', () => checkSeeds(1, 100));

test.run();
