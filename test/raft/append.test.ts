/** What a follower may conclude from an append, and what it remembers of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../src/env/sim/seeded-random.js';
import { Raft } from '../../src/raft/raft.js';
import type { Entry, Message, RaftState } from '../../src/raft/types.js';
import { Host, LAB_OPTIONS } from './core-lab.js';

const command = (term: number): Entry => ({ term, kind: 'command', body: Buffer.from('x') });

/** Node 1 of three, after a restart; its log goes on after entry 1 with entries of these terms. */
function follower(...terms: number[]): Raft {
  const { hardState, base } = new Host(1, [1, 2, 3], new SeededRandom(1), 0).disk;
  const entries = terms.map((term) => ({ term, sizeBytes: 1, change: undefined }));
  const term = Math.max(1, ...terms);
  return started({ hardState: { ...hardState, term }, base, entries, applied: 1, restarted: true });
}

function started(state: RaftState): Raft {
  return new Raft({ ...LAB_OPTIONS, id: 1, random: () => 0.5 }, state, 0);
}

function append(term: number, previousTerm: number, commitIndex: number, entries: readonly Entry[]): Message {
  return { type: 'append', term, previousIndex: 1, previousTerm, commitIndex, allMatchedIndex: 1, entries };
}

test('an append says nothing of what the follower holds behind it', () => {
  const raft = follower(1, 1, 1);
  // Behind entry 2 the leader has others:        1 1 2 2
  // and this follower what nobody has committed: 1 1 1 1
  raft.step(1, { type: 'message', from: 2, message: append(2, 1, 4, [command(1)]) });
  assert.is(raft.lastIndex, 4);
  assert.is(raft.commitIndex, 2, 'the leader’s commit index speaks of the leader’s entries');
  const output = raft.take(1);
  raft.step(2, { type: 'persisted', batch: output?.append?.batch ?? 0 });
  const sent = [...(output?.send ?? []), ...(raft.take(2)?.send ?? [])].map(({ message }) => message);
  assert.equal(
    sent.map((message) => message.type === 'appendReply' && message.matchIndex),
    [2],
  );
});

test('after a restart what was known to be committed is known again, applied or not', () => {
  const raft = follower();
  raft.step(1, { type: 'message', from: 2, message: append(1, 1, 3, [command(1), command(1)]) });
  assert.is(raft.commitIndex, 3);
  const batch = raft.take(1)?.append;
  assert.ok(batch);
  assert.is(raft.appliedIndex, 1);
  const { base } = new Host(1, [1, 2, 3], new SeededRandom(1), 0).disk;
  const entries = [1, 1].map((term) => ({ term, sizeBytes: 1, change: undefined }));
  const again = started({ hardState: batch.hardState, base, entries, applied: 1, restarted: true });
  assert.is(again.commitIndex, 3);
});

test.run();
