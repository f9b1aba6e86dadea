import { testMutations } from './mutation-tests.js';

testMutations(1);
