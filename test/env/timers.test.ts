/** Timers of the operating system. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { after } from '../../src/env/real/timers.js';

test('a timer of 2^31 ms or more, or of Infinity, does not fire at once', async () => {
  let fired = 0;
  const timers = [2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY].map((delayMs) => after(delayMs, () => fired++));
  // Node.js would have run them after 1 ms, before this one.
  await new Promise<void>((resolve) => after(20, resolve));
  assert.is(fired, 0);
  for (const timer of timers) timer.cancel();
});

test('a cancelled timer does not fire', async () => {
  let fired = 0;
  after(1, () => fired++).cancel();
  await new Promise<void>((resolve) => after(20, resolve));
  assert.is(fired, 0);
});

test.run();
