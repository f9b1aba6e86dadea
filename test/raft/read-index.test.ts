/** Reads wait for a round of heartbeats that began after they came. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ReadIndex } from '../../src/raft/read-index.js';

function confirmed(reads: ReadIndex, answeredRound: number): { id: number; index: number }[] {
  return reads.confirmed(answeredRound).map(({ id, index }) => ({ id, index }));
}

test('all reads of a turn share a round and the commit index of its beginning', () => {
  const reads = new ReadIndex();
  reads.add(1);
  reads.add(2);
  assert.ok(reads.hasArrived);
  const round = reads.beginRound(7);
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
  const heartbeat = reads.nextRound();
  reads.add(1);
  const first = reads.beginRound(3);
  reads.add(2);
  assert.equal(confirmed(reads, heartbeat), []);
  assert.equal(confirmed(reads, first), [{ id: 1, index: 3 }]);
  const second = reads.beginRound(5);
  assert.ok(heartbeat < first && first < second);
  assert.equal(confirmed(reads, reads.nextRound()), [{ id: 2, index: 5 }]);
});

test('a read that has no round yet is confirmed by none', () => {
  const reads = new ReadIndex();
  reads.add(1);
  assert.equal(confirmed(reads, Number.MAX_SAFE_INTEGER), []);
  assert.is(reads.pendingCount, 1);
});

test('failing gives back every read, and rounds go on counting', () => {
  const reads = new ReadIndex();
  reads.add(1);
  const round = reads.beginRound(1);
  reads.add(2);
  assert.is(reads.pendingCount, 2);
  assert.equal(reads.fail(), [1, 2]);
  assert.is(reads.pendingCount, 0);
  assert.equal(confirmed(reads, round), []);
  assert.ok(reads.nextRound() > round);
});

test.run();
