/** One timer for all: who is due is called, who is idle is not, and a pause is noticed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';
import { TickScheduler } from '../../src/store/tick-scheduler.js';

function schedulerOf() {
  const world = new SimWorld(1);
  const process = world.start('n1', new SimDisk());
  const ticks = new TickScheduler({ ...process.env, tickMs: 10, heartbeatMs: 50 });
  const nowMs = () => process.env.clock.nowMs();
  return { world, process, ticks, nowMs };
}

test('each is called when it is due, and not before', async () => {
  const { world, ticks, nowMs } = schedulerOf();
  const calls: [string, number][] = [];
  const every = (name: string, intervalMs: number) =>
    ticks.add(() => {
      calls.push([name, nowMs()]);
      return nowMs() + intervalMs;
    }, nowMs() + intervalMs);
  every('busy', 10);
  every('idle', 1000);
  await world.scheduler.runFor(2050);
  const of = (wanted: string) => calls.filter(([name]) => name === wanted).map(([, atMs]) => atMs);
  assert.is(of('busy').length, 205);
  assert.is(of('idle').length, 2);
  for (const [i, atMs] of of('idle').entries()) {
    const dueMs = (i + 1) * 1000;
    assert.ok(atMs >= dueMs - 5 && atMs <= dueMs + 20, `${atMs} ms, due at ${dueMs} ms`);
  }
});

test('what falls due sooner is called sooner, and what was removed is not called', async () => {
  const { world, ticks, nowMs } = schedulerOf();
  const calls: number[] = [];
  const never = Number.POSITIVE_INFINITY;
  const handle = ticks.add(() => {
    calls.push(nowMs());
    return never;
  }, never);
  await world.scheduler.runFor(100);
  assert.equal(calls, []);
  handle.dueBy(nowMs() + 15);
  // Later than it is due already.
  handle.dueBy(nowMs() + 500);
  await world.scheduler.runFor(30);
  assert.is(calls.length, 1);
  handle.dueBy(nowMs() + 15);
  handle.remove();
  handle.dueBy(nowMs() + 15);
  await world.scheduler.runFor(1000);
  assert.is(calls.length, 1);
});

test('a tick may remove others, and make them due', async () => {
  const { world, ticks, nowMs } = schedulerOf();
  const calls: string[] = [];
  const never = Number.POSITIVE_INFINITY;
  const noting = (name: string) => () => {
    calls.push(name);
    return never;
  };
  const woken = ticks.add(noting('woken'), never);
  const removed = ticks.add(noting('removed'), nowMs() + 1000);
  const dueToo: { remove?: () => void } = {};
  ticks.add(() => {
    calls.push('first');
    woken.dueBy(nowMs());
    removed.remove();
    dueToo.remove?.();
    return never;
  }, nowMs() + 10);
  dueToo.remove = ticks.add(noting('removed in the same run'), nowMs() + 10).remove;
  await world.scheduler.runFor(2000);
  assert.equal(calls, ['first', 'woken']);
});

test('a process that was paused is told so, however rarely its ticks are due', async () => {
  for (const intervalMs of [10, 400]) {
    const { world, process, ticks, nowMs } = schedulerOf();
    const late: boolean[] = [];
    ticks.add((isLate) => {
      late.push(isLate);
      return nowMs() + intervalMs;
    }, nowMs() + intervalMs);
    await world.scheduler.runFor(2 * intervalMs + 30);
    assert.ok(late.length > 0 && late.every((isLate) => !isLate), 'no pause, nothing late');
    late.length = 0;
    process.pause();
    await world.scheduler.runFor(1000);
    process.resume('timers first');
    await world.scheduler.runFor(15);
    assert.equal(late.slice(0, 1), [true], `every ${intervalMs} ms`);
    late.length = 0;
    await world.scheduler.runFor(1000);
    assert.ok(late.length > 0 && late.every((isLate) => !isLate));
  }
});

test.run();
