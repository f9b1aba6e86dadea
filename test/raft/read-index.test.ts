/** Reads wait for a round of heartbeats that began after they came. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ReadIndex, type ReadRequest } from '../../src/raft/read-index.js';

const NOW_MS = 1000;

function read(id: number, from = 7): ReadRequest {
  return { from, id };
}

function confirmed(reads: ReadIndex, answeredRound: number): { id: number; index: number }[] {
  return reads.confirmed(answeredRound).map(({ id, index }) => ({ id, index }));
}

test('all reads of a turn share a round and the commit index of its beginning', () => {
  const reads = new ReadIndex();
  reads.add(read(1));
  reads.add(read(2));
  assert.ok(reads.hasArrived);
  const round = reads.beginRound(NOW_MS, 7);
  assert.not(reads.hasArrived);
  assert.equal(confirmed(reads, round - 1), []);
  assert.equal(confirmed(reads, round), [
    { id: 1, index: 7 },
    { id: 2, index: 7 },
  ]);
  assert.equal(confirmed(reads, round), [], 'each once');
});

test('an earlier round does not confirm a later read, a later one confirms an earlier read', () => {
  const reads = new ReadIndex();
  const heartbeat = reads.nextRound(NOW_MS);
  reads.add(read(1));
  const first = reads.beginRound(NOW_MS, 3);
  reads.add(read(2));
  assert.equal(confirmed(reads, heartbeat), []);
  assert.equal(confirmed(reads, first), [{ id: 1, index: 3 }]);
  const second = reads.beginRound(NOW_MS, 5);
  assert.ok(heartbeat < first && first < second);
  assert.equal(confirmed(reads, reads.nextRound(NOW_MS)), [{ id: 2, index: 5 }]);
});

test('a read that has no round yet is confirmed by none', () => {
  const reads = new ReadIndex();
  reads.add(read(1));
  assert.equal(confirmed(reads, Number.MAX_SAFE_INTEGER), []);
  assert.is(reads.pendingCount, 1);
});

test('failing gives back every read, and rounds go on counting', () => {
  const reads = new ReadIndex();
  reads.add(read(1));
  const round = reads.beginRound(NOW_MS, 1);
  reads.add(read(2));
  assert.is(reads.pendingCount, 2);
  assert.equal(
    reads.fail().map(({ from, id }) => read(id, from)),
    [read(1), read(2)],
  );
  assert.is(reads.pendingCount, 0);
  assert.equal(confirmed(reads, round), []);
  assert.ok(reads.nextRound(NOW_MS) > round);
});

test('the lease counts from when the newest round was sent that a quorum has answered', () => {
  const reads = new ReadIndex();
  assert.is(reads.quorumSentMs, Number.NEGATIVE_INFINITY);
  const first = reads.nextRound(100);
  const second = reads.nextRound(200);
  reads.nextRound(300);
  reads.confirmed(first);
  assert.is(reads.quorumSentMs, 100);
  reads.confirmed(second);
  reads.confirmed(first);
  assert.is(reads.quorumSentMs, 200);
  reads.fail();
  assert.is(reads.quorumSentMs, Number.NEGATIVE_INFINITY);
});

test.run();
