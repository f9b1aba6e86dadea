/**
 * The simulator is seen to catch mutations: some of the list, each of which must break a rule within its number of
 * seeds.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kill } from './killers.js';
import { mutationOf } from './mutations.js';

const SOME = [
  'an entry of an old term is committed by counting',
  'a follower acknowledges what is not durable',
  'the Raft log is not synced',
  'two votes in one term',
  'term and vote are forgotten on restart',
  'messages of a term leave before it is durable',
  'a read does not confirm leadership',
  'a lease is not given up',
  'entries are applied twice after a restart',
  'an append truncates what it matches',
  'a repeated write is applied again',
  'a snapshot comes without the sessions',
  'the acknowledgement of a learner counts',
  'two changes of members at once',
  'a read index before the leader’s first commit',
];

for (const name of SOME) {
  test(`caught: ${name}`, async () => {
    assert.ok(await kill(mutationOf(name)), 'it survives');
  });
}

test.run();
