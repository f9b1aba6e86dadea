/** When a log is cut, and how far: the policy by example. The rest of it runs in compaction.test.ts. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LogState, planCompaction } from '../../src/replica/log-compaction.js';

const LIMITS = { maxLogBytes: 1000, maxSnapshotLogBytes: 5000, trailingEntries: 10 };

/** 100 entries, all of them applied, durable and held by everybody. */
const FULL: LogState = {
  baseIndex: 0,
  lastIndex: 100,
  sizeBytes: 1001,
  allMatchedIndex: 100,
  appliedIndex: 100,
  durableIndex: 100,
  heldIndex: undefined,
};

function plan(change: Partial<LogState>): string {
  const { cutThrough, needsFlush } = planCompaction({ ...FULL, ...change }, LIMITS);
  return `${cutThrough ?? 'stays'}${needsFlush ? ', flush' : ''}`;
}

test('a log within its limit is cut when much can go, and only what everybody holds', () => {
  const small = { sizeBytes: 1000 };
  assert.is(plan(small), 'stays');
  const long = { ...small, lastIndex: 10_000, appliedIndex: 10_000, durableIndex: 10_000 };
  assert.is(plan({ ...long, allMatchedIndex: 4095 }), 'stays');
  assert.is(plan({ ...long, allMatchedIndex: 4096 }), '4096');
  assert.is(
    plan({ ...long, allMatchedIndex: 9000, durableIndex: 5000 }),
    '5000',
    'and nothing is flushed for it',
  );
});

test('a log above its limit is cut, whoever is away, but for the trailing entries', () => {
  assert.is(plan({}), '100');
  assert.is(plan({ allMatchedIndex: 0 }), '90');
  assert.is(plan({ allMatchedIndex: 95 }), '95');
});

test('what members that are given a snapshot need stays, up to a limit of its own', () => {
  const away = { allMatchedIndex: 0 };
  const table: [change: Partial<LogState>, expected: string][] = [
    [{ ...away, heldIndex: 60 }, '60'],
    [{ ...away, heldIndex: 95 }, '90'],
    [{ heldIndex: 60 }, '60'],
    [{ ...away, heldIndex: 0 }, 'stays'],
    [{ ...away, heldIndex: 60, sizeBytes: 5000 }, '60'],
    [{ ...away, heldIndex: 60, sizeBytes: 5001 }, '90'],
    [{ ...away, heldIndex: 60, durableIndex: 60 }, '60'],
    [{ ...away, heldIndex: 60, durableIndex: 60, sizeBytes: 5001 }, '60, flush'],
  ];
  for (const [change, expected] of table) assert.is(plan(change), expected, JSON.stringify(change));
  const small = { sizeBytes: 1000, lastIndex: 10_000, appliedIndex: 10_000, durableIndex: 10_000 };
  assert.is(plan({ ...small, allMatchedIndex: 9000, heldIndex: 5000 }), '5000');
});

test('the limit for members that are given a snapshot means nothing below the usual one', () => {
  const state = { ...FULL, sizeBytes: 900, lastIndex: 10_000, appliedIndex: 10_000, durableIndex: 10_000 };
  const limits = { ...LIMITS, maxSnapshotLogBytes: 0 };
  assert.is(planCompaction({ ...state, allMatchedIndex: 9000, heldIndex: 5000 }, limits).cutThrough, 5000);
});

test('only what the state machine keeps goes; what it does not keep it is asked to', () => {
  assert.is(plan({ durableIndex: 50 }), '50, flush');
  assert.is(plan({ durableIndex: 0 }), 'stays, flush');
  assert.is(plan({ durableIndex: 50, appliedIndex: 50 }), '50', 'a flush would keep no more');
});

test('a log above its limit is cut by an eighth at least: each cut costs a synced record', () => {
  assert.is(plan({ durableIndex: 12, appliedIndex: 12 }), 'stays');
  assert.is(plan({ durableIndex: 13, appliedIndex: 13 }), '13');
  assert.is(plan({ baseIndex: 100 }), 'stays', 'there is nothing to cut');
});

test.run();
