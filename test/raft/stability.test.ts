/** Which entries are durable, told by the numbers of batches that end in order. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Stability } from '../../src/raft/stability.js';

test('entries are stable when their batch is persisted, and so is everything before it', () => {
  const stability = new Stability(3);
  assert.is(stability.issue(4, 2, 0), 1);
  assert.is(stability.issue(6, 1, 0), 2);
  assert.is(stability.issue(7, 3, 0), 3);
  assert.is(stability.stableIndex, 3);
  stability.persisted(1);
  assert.is(stability.stableIndex, 5);
  stability.persisted(3);
  assert.is(stability.stableIndex, 9);
});

test('a batch that was reported, and one that was never issued, change nothing', () => {
  const stability = new Stability(0);
  stability.issue(1, 2, 0);
  stability.persisted(5);
  assert.is(stability.stableIndex, 0);
  assert.is(stability.persistedBatch, 0);
  stability.persisted(1);
  stability.truncated(1);
  stability.persisted(1);
  assert.is(stability.stableIndex, 0);
});

test('what was replaced while it was being written is not stable when that ends', () => {
  const stability = new Stability(0);
  stability.issue(1, 4, 0);
  stability.truncated(3);
  stability.issue(3, 1, 0);
  stability.truncated(2);
  stability.issue(2, 3, 0);
  stability.persisted(1);
  assert.is(stability.stableIndex, 1);
  stability.persisted(2);
  assert.is(stability.stableIndex, 1);
  stability.persisted(3);
  assert.is(stability.stableIndex, 4);
});

test('what was stable is so no more when it is replaced', () => {
  const stability = new Stability(9);
  stability.truncated(5);
  assert.is(stability.stableIndex, 4);
  stability.issue(5, 1, 0);
  stability.persisted(1);
  assert.is(stability.stableIndex, 5);
});

test('term and vote are durable with the next batch, not with one under way', () => {
  const stability = new Stability(0);
  assert.is(stability.termBatch, 0);
  stability.issue(1, 1, 0);
  stability.termChanged();
  assert.is(stability.termBatch, 2);
  stability.issue(0, 0, 0);
  assert.is(stability.termBatch, 2);
  stability.persisted(1);
  assert.ok(stability.termBatch > stability.persistedBatch);
  stability.persisted(2);
  assert.ok(stability.termBatch <= stability.persistedBatch);
});

test('everything known now is durable with the last batch, or with the next if some of it is not in one', () => {
  const stability = new Stability(0);
  stability.issue(1, 1, 0);
  assert.is(stability.batchFor(false), 1);
  assert.is(stability.batchFor(true), 2);
});

test('the age of the oldest batch under way', () => {
  const stability = new Stability(0);
  assert.is(stability.oldestAgeMs(50), 0);
  stability.issue(1, 1, 100);
  stability.issue(0, 0, 130);
  assert.is(stability.oldestAgeMs(150), 50);
  stability.persisted(1);
  assert.is(stability.oldestAgeMs(150), 20);
  stability.persisted(2);
  assert.is(stability.oldestAgeMs(150), 0);
});

test.run();
