/** What a follower may conclude from what a leader sends, and what it remembers of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ConfigurationChange } from '../../src/raft/configuration.js';
import { encodeChange } from '../../src/raft/configuration-codec.js';
import { Raft } from '../../src/raft/raft.js';
import type { Entry, Message, RaftState } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
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

test('a snapshot that the log holds already says that it is committed, and discards nothing behind it', () => {
  const raft = follower(1, 1, 1, 1);
  const { configuration } = raft;
  const message: Message = { type: 'snapshot', term: 1, snapshot: { index: 3, term: 1, configuration } };
  raft.step(1, { type: 'message', from: 2, message });
  assert.is(raft.commitIndex, 3);
  assert.is(raft.lastIndex, 5, 'what it has acknowledged it must hold');
  assert.is(raft.take(1)?.append?.snapshot, undefined);
});

test('a change of members that another leader replaced never takes effect', () => {
  const change: ConfigurationChange = { changes: [{ type: 'addVoter', node: 4 }], transition: 'auto' };
  const raft = follower();
  const changed: Entry = { term: 1, kind: 'configuration', body: encodeChange(change) };
  raft.step(1, { type: 'message', from: 2, message: append(1, 1, 1, [changed]) });
  raft.step(2, { type: 'message', from: 3, message: append(2, 1, 2, [command(2)]) });
  raft.step(2, { type: 'persisted', batch: raft.take(2)?.append?.batch ?? 0 });
  assert.equal(raft.take(2)?.apply, { first: 2, last: 2 });
  raft.step(3, { type: 'applied', index: 2 });
  assert.equal(raft.configuration.voters, [1, 2, 3]);
});

test.run();
