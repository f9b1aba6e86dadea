/** Batches that a tree replays from its own log must join, by the indexes that they carry. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { joinChecker } from '../../src/kv/join-checker.js';
import { APPLIED_KEY, decodeApplied, encodeApplied, userKey } from '../../src/kv/keys.js';

const batch = (first: number, last: number) => [
  { type: 'put', key: userKey(Buffer.from('k')), value: Buffer.alloc(9) } as const,
  { type: 'put', key: APPLIED_KEY, value: encodeApplied({ first, last, term: 1 }) } as const,
];

test('batches that join are taken, wherever they begin', () => {
  const check = joinChecker();
  for (const [first, last] of [
    [7, 9],
    [10, 10],
    [11, 40],
  ] as const) {
    check(batch(first, last));
  }
});

test('a batch that is missing is corruption', () => {
  const check = joinChecker();
  check(batch(7, 9));
  assert.throws(
    () => check(batch(11, 12)),
    (error: unknown) => errorCode(error) === 'CORRUPTION',
  );
});

test('a record of the applied index that cannot have been written is corruption', () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.alloc(23),
    encodeApplied({ first: 5, last: 4, term: 1 }),
    Buffer.alloc(24, 255),
  ]) {
    assert.throws(
      () => decodeApplied(bytes),
      (error: unknown) => errorCode(error) === 'CORRUPTION',
    );
  }
});

test.run();
