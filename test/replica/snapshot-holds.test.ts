/** Who keeps the log from being cut, and for how long. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { PeerStatus } from '../../src/raft/types.js';
import { SnapshotHolds } from '../../src/replica/snapshot-holds.js';

const CAUGHT_UP_INDEX = 100;
const SINCE_MS = 1000;

function peer(id: number, change: Partial<PeerStatus> = {}): PeerStatus {
  return {
    id,
    matchIndex: 0,
    nextIndex: 1,
    state: 'snapshot',
    isPaused: true,
    inflightMessages: 0,
    lastHeardMs: SINCE_MS,
    ...change,
  };
}

test('the log is kept after the end of the oldest snapshot, then as far as its member has come', () => {
  const holds = new SnapshotHolds();
  const review = (...peers: PeerStatus[]) => holds.review(peers, CAUGHT_UP_INDEX, SINCE_MS);
  assert.is(review(peer(2)), undefined);
  holds.hold(2, 50);
  holds.hold(3, 40);
  assert.is(review(peer(2), peer(3)), 40);
  assert.is(review(peer(2), peer(3, { state: 'probe', matchIndex: 45 })), 45);
  assert.is(review(peer(2), peer(3, { state: 'replicate', matchIndex: 60 })), 50);
  assert.is(review(peer(2, { state: 'replicate', matchIndex: 70 }), peer(3)), 60, 'never less than before');
  holds.release(3);
  assert.is(review(peer(2), peer(3)), 70);
});

test('whoever has caught up, is silent, or is no member keeps nothing', () => {
  const table: [left: PeerStatus[], expected: number | undefined][] = [
    [[peer(2, { state: 'replicate', matchIndex: 99 })], 99],
    [[peer(2, { state: 'replicate', matchIndex: 100 })], undefined],
    // It held that much once, and has lost it.
    [[peer(2, { state: 'probe', matchIndex: 100 })], 100],
    [[peer(2, { lastHeardMs: SINCE_MS - 1 })], undefined],
    [[peer(3)], undefined],
  ];
  for (const [peers, expected] of table) {
    const holds = new SnapshotHolds();
    holds.hold(2, 50);
    assert.is(holds.review(peers, CAUGHT_UP_INDEX, SINCE_MS), expected, JSON.stringify(peers));
    assert.is(holds.isEmpty, expected === undefined);
  }
});

test('a cut takes from those whose snapshot ends before it', () => {
  const holds = new SnapshotHolds();
  for (const [node, index] of [
    [2, 50],
    [3, 51],
    [4, 52],
  ] as const)
    holds.hold(node, index);
  assert.equal(holds.cutThrough(51), [2]);
  assert.equal(holds.cutThrough(51), []);
  assert.equal(holds.cutThrough(60), [3, 4]);
  assert.ok(holds.isEmpty);
});

test.run();
