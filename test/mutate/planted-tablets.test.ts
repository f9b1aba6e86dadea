/** The tests are seen to catch what would lose or repeat writes where tablets are split, merged and moved. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kill } from './killers.js';
import { mutationOf } from './mutations.js';

const SOME = [
  'a tablet takes writes of keys that it does not own',
  'sessions are dropped at a split',
  'two records make the parts of a tablet, and end it',
  'two tablets are merged although not every replica is frozen',
  'a message for an earlier replica is taken by the present one',
  'a child is made by a message',
  'a frozen tablet answers reads',
];

for (const name of SOME) {
  test(`caught: ${name}`, async () => {
    assert.ok(await kill(mutationOf(name)), 'it survives');
  });
}

test.run();
