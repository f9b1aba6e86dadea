/** A leader whose disk fails it gives its leadership away, and not again and again. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LeadershipYields } from '../../src/replica/leadership-yields.js';
import { fakeCore, stepsOf } from './replica-lab.js';

test('leadership is given away at once, then less and less often, and at once again after a success', () => {
  let nowMs = 0;
  const core = fakeCore();
  const yields = new LeadershipYields({ nowMs: () => nowMs }, core, 100);
  const times: number[] = [];
  for (; nowMs < 1000; nowMs += 10) {
    const before = stepsOf(core, 'transfer').length;
    yields.yield();
    if (stepsOf(core, 'transfer').length > before) times.push(nowMs);
  }
  assert.equal(times, [0, 100, 300, 700]);
  yields.reset();
  yields.yield();
  assert.is(stepsOf(core, 'transfer').length, 5);
});

test('a follower has no leadership to give away', () => {
  const core = fakeCore();
  const yields = new LeadershipYields({ nowMs: () => 0 }, { ...core, role: 'follower' }, 100);
  yields.yield();
  assert.is(stepsOf(core, 'transfer').length, 0);
});

test.run();
