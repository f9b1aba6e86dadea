/** Writes are slowed down before they have to stop. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LsmOptions, resolveOptions } from '../../src/lsm/options.js';
import { WritePace } from '../../src/lsm/write/write-pace.js';
import { type WriteState, writePressure } from '../../src/lsm/write/write-pressure.js';
import { openTree, put, SimDisk } from './tree-lab.js';

const OPTIONS = {
  level0SlowdownTrigger: 8,
  level0StopTrigger: 20,
  slowdownPendingBytes: 1000,
  stopPendingBytes: 2000,
};
const CALM: WriteState = { canFreeze: true, fill: 0.9, level0Files: 7, pendingBytes: 999 };

function pressure(state: Partial<WriteState>): string {
  const found = writePressure({ ...CALM, ...state }, OPTIONS);
  return found ? `${found.reason} ${found.share.toFixed(2)}` : 'none';
}

test('pressure rises from a slowdown trigger to a stop trigger, and the highest counts', () => {
  assert.is(pressure({}), 'none');
  assert.is(pressure({ level0Files: 8 }), 'level-0 files 1.00');
  assert.is(pressure({ level0Files: 14 }), 'level-0 files 0.25');
  assert.is(pressure({ level0Files: 20 }), 'level-0 files 0.00');
  assert.is(pressure({ level0Files: 30 }), 'level-0 files 0.00');
  assert.is(pressure({ canFreeze: false, fill: 0.4 }), 'none');
  assert.is(pressure({ canFreeze: false, fill: 0.75 }), 'memtables 0.25');
  assert.is(pressure({ canFreeze: false, fill: 1 }), 'memtables 0.00');
  assert.is(pressure({ pendingBytes: 1500 }), 'pending bytes 0.25');
  assert.is(pressure({ pendingBytes: 1500, level0Files: 17 }), 'level-0 files 0.06');
});

test('the limits of levels 0 and 1 follow the trigger and the write buffer', () => {
  const MIB = 1024 * 1024;
  const limits = (options: LsmOptions) => {
    const { level0SlowdownTrigger, level0StopTrigger, levelBaseBytes } = resolveOptions(options);
    return [level0SlowdownTrigger, level0StopTrigger, levelBaseBytes / MIB];
  };
  assert.equal(limits({}), [8, 20, 32]);
  assert.equal(limits({ writeBufferBytes: MIB }), [8, 20, 10]);
  assert.equal(limits({ level0Trigger: 8, writeBufferBytes: 32 * MIB }), [16, 40, 256]);
  assert.equal(limits({ level0Trigger: 8, level0StopTrigger: 12, levelBaseBytes: MIB }), [12, 12, 1]);
  assert.equal(limits({ level0Trigger: 1024, writeBufferBytes: 1024 * MIB }), [2048, 4096, 1024 * 1024]);
});

test('a pace lets its rate through, whatever the sizes', () => {
  let nowMs = 0;
  const pace = new WritePace({ nowMs: () => nowMs, wallMs: () => 0 });
  let bytes = 0;
  for (; nowMs < 1000; nowMs += 0.25) {
    for (const size of [10, 300, 700]) if (pace.take(size, 100)) bytes += size;
  }
  assert.ok(Math.abs(bytes - 100_000) < 2000, `${bytes} bytes`);
  assert.ok(pace.take(1_000_000, Number.POSITIVE_INFINITY));
  // A clock that stands still stops nobody for ever.
  while (pace.take(10, 100)) bytes += 10;
  pace.tick(1, 100);
  assert.ok(pace.take(10, 100));
});

test('a slowdown is told and seen, goes into a stall without losing a write, and ends', async () => {
  const events: string[] = [];
  const tree = await openTree(new SimDisk(), {
    level0Trigger: 4,
    level0SlowdownTrigger: 5,
    level0StopTrigger: 9,
    levelBaseBytes: 1 << 20,
    slowdownPendingBytes: 1 << 30,
    stopPendingBytes: 1 << 30,
    listener: {
      slowed: (reason) => events.push(`slowed ${reason}`),
      stalled: (reason) => events.push(`stalled ${reason}`),
    },
  });
  const before = tree.stats();
  assert.is(before.slowed, undefined);
  const value = 'x'.repeat(200);
  const writes: Promise<number>[] = [];
  for (let i = 0; i < 2000; i++) {
    writes.push(tree.write([put(`key${i}`, value)], { durability: 'buffered' }));
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const sequences = await Promise.all(writes);
  assert.equal(
    sequences,
    sequences.map((_, i) => i + 1),
    'in the order of the calls',
  );
  await tree.flush();
  assert.ok(events.some((event) => event.startsWith('slowed level-0') || event.startsWith('slowed mem')));
  await tree.compactRange();
  await tree.write([put('last', '')]);
  assert.is(tree.stallReason, undefined);
  assert.is(tree.stats().slowed, undefined);
  await tree.close();
});

test.run();
