/** Messages that wait for the disk. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Outbox } from '../../src/raft/outbox.js';
import type { AppendReply, VoteReply } from '../../src/raft/types.js';

const VOTE: VoteReply = {
  type: 'voteReply',
  term: 1,
  preVote: false,
  granted: true,
  commitIndex: 0,
  commitTerm: 0,
};

function acknowledgement(matchIndex: number): AppendReply {
  const refusal = { rejectedIndex: 0, hintIndex: 0, hintTerm: 0 };
  return { type: 'appendReply', term: 1, accepted: true, matchIndex, ...refusal };
}

test('what waits for a batch leaves when that one or a later one is durable, in order', () => {
  const outbox = new Outbox();
  outbox.sendAfter(2, 1, VOTE);
  outbox.sendAfter(1, 2, VOTE);
  outbox.sendAfter(0, 3, VOTE);
  const taken = () => outbox.take().map(({ to }) => to);
  assert.equal(taken(), [3]);
  outbox.persisted(1, 9);
  assert.equal(taken(), [2]);
  outbox.persisted(3, 9);
  assert.equal(taken(), [1]);
  outbox.sendAfter(3, 4, VOTE);
  assert.equal(taken(), [4], 'at once, for what is durable');
});

test('what is addressed to this node itself comes back instead', () => {
  const outbox = new Outbox();
  outbox.sendAfter(1, 9, VOTE);
  assert.equal(outbox.persisted(1, 9), [VOTE]);
  assert.ok(outbox.isEmpty);
});

test('a new term drops what was held back, and nothing that was ready', () => {
  const outbox = new Outbox();
  outbox.send(1, VOTE);
  outbox.sendAfter(1, 2, VOTE);
  outbox.dropHeld();
  outbox.persisted(1, 9);
  assert.equal(
    outbox.take().map(({ to }) => to),
    [1],
  );
});

test('of the acknowledgements that wait for one batch the farthest leaves', () => {
  const outbox = new Outbox();
  for (const matchIndex of [5, 7, 6]) outbox.sendAfter(1, 2, acknowledgement(matchIndex));
  outbox.sendAfter(1, 3, acknowledgement(6));
  outbox.sendAfter(1, 2, { ...acknowledgement(0), accepted: false });
  outbox.sendAfter(2, 2, acknowledgement(8));
  const shown = () =>
    outbox.take().map(({ to, message }) => `${to}:${message.type === 'appendReply' && message.matchIndex}`);
  outbox.persisted(1, 9);
  assert.equal(shown(), ['2:7', '3:6', '2:0']);
  outbox.persisted(2, 9);
  assert.equal(shown(), ['2:8']);
});

test('of the answers to heartbeats too: they come for as long as the disk hangs', () => {
  const outbox = new Outbox();
  for (const round of [1, 3, 2])
    outbox.sendAfter(1, 2, { type: 'heartbeatReply', term: 1, round, promisedMs: 50 });
  outbox.sendAfter(1, 3, { type: 'heartbeatReply', term: 1, round: 1, promisedMs: 50 });
  outbox.sendAfter(1, 2, acknowledgement(5));
  outbox.persisted(1, 9);
  const sent = outbox
    .take()
    .map(({ to, message }) => [to, message.type, 'round' in message && message.round]);
  assert.equal(sent, [
    [2, 'heartbeatReply', 3],
    [3, 'heartbeatReply', 1],
    [2, 'appendReply', false],
  ]);
});

test.run();
