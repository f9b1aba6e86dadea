/** When failed writes are tried again, and what the log says of a disk that is full, again and again. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskSpace } from '../../src/env/disk-space.js';
import { type Logger, silentLogger } from '../../src/env/env.js';
import { systemError } from '../../src/sim/world/file-operation.js';

const NO_SPACE = systemError('ENOSPC', 'write', '/a');

/** A disk watched by a clock that the test sets. */
function watched(delays: { retryMs: number; maxRetryMs: number }) {
  const time = { nowMs: 1000 };
  const waits: number[] = [];
  const lines: string[] = [];
  const note = (_: unknown, message: string) => {
    lines.push(message.replace(/ \(.*/, ''));
  };
  const logger: Logger = { ...silentLogger, info: note, error: note };
  const env = {
    clock: { nowMs: () => time.nowMs, wallMs: () => 0 },
    timers: {
      after: (delayMs: number) => {
        waits.push(delayMs);
        return { cancel() {} };
      },
      endOfTurn() {},
    },
  };
  const space = new DiskSpace(logger, env, { ...delays, began: 'it waits', ended: 'it goes on' });
  const fail = (writer: string, error: unknown = NO_SPACE) => space.retryAfter(writer, error, () => {});
  return { space, time, waits, lines, fail };
}

test('the wait doubles with each failure of a writer, up to a limit, and begins anew after a success', () => {
  const { space, waits, fail } = watched({ retryMs: 10, maxRetryMs: 50 });
  for (let i = 0; i < 4; i++) fail('a');
  fail('b');
  assert.equal(waits, [10, 20, 40, 50, 10]);
  assert.is(space.available('a'), true);
  assert.is(space.available('a'), false);
  fail('a');
  assert.is(waits.at(-1), 10);
});

test('it is logged once however many writers fail, and once when all can write again', () => {
  const { space, lines, fail } = watched({ retryMs: 10, maxRetryMs: 10 });
  fail('a');
  fail('b');
  fail('a');
  space.available('a');
  assert.is(space.isFull, true);
  assert.equal(lines, ['the disk is full: it waits']);
  space.available('b');
  assert.is(space.isFull, false);
  assert.equal(lines, ['the disk is full: it waits', 'it goes on']);
});

test('a disk that is nearly full is logged once a minute at most, and one that stays full is', () => {
  const { space, time, lines, fail } = watched({ retryMs: 10, maxRetryMs: 10 });
  for (let i = 0; i < 100; i++) {
    fail('a');
    time.nowMs += 100;
    space.available('a');
    time.nowMs += 100;
  }
  assert.equal(lines, ['the disk is full: it waits', 'it goes on']);
  // It is full in the end, and the log must not go on saying the opposite.
  fail('a');
  assert.is(lines.length, 2);
  time.nowMs += 60_000;
  fail('a');
  assert.is(lines.length, 3);
  space.available('a');
  assert.is(lines.length, 4);
});

test('a lack of descriptors is not a lack of space', () => {
  const { space, lines, fail } = watched({ retryMs: 10, maxRetryMs: 10 });
  fail('a', systemError('EMFILE', 'open', '/a'));
  assert.is(space.isFull, true);
  assert.is(space.isOutOfSpace('a'), false);
  assert.equal(lines, ['too many files are open: it waits']);
  fail('b');
  assert.is(space.isOutOfSpace('b'), true);
});

test.run();
