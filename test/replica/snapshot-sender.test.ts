/** A node that cannot make a snapshot asks another to lead, and does not ask for ever. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { SimDisk } from '../../src/env/sim/disk.js';
import { SimWorld } from '../../src/env/sim/sim-env.js';
import { SnapshotSender } from '../../src/replica/snapshot-sender.js';

/** When it asked within so many seconds, while a member needs a snapshot all the time. */
async function askedMs(error: Error, seconds: number): Promise<number[]> {
  const world = new SimWorld(1);
  const { env } = world.start('n1', new SimDisk());
  const silent = () => {};
  const asked: number[] = [];
  const startMs = env.clock.nowMs();
  const sender: SnapshotSender = new SnapshotSender({
    env,
    logger: { debug: silent, info: silent, warn: silent, error: silent },
    directory: '/snapshots',
    limits: { maxChunkBytes: 1024, maxBytesPerSecond: 1024, stallTimeoutMs: 1000 },
    transport: { send: silent },
    term: () => 1,
    checkpoint: () => Promise.reject(error),
    check: () => Promise.resolve(),
    offered: silent,
    damaged: () => asked.push(env.clock.nowMs() - startMs),
    sent: (node) => sender.begin(node, 1),
  });
  sender.begin(2, 1);
  await world.scheduler.runFor(seconds * 1000);
  await sender.close();
  return asked;
}

test('it asks less and less often: the others may be no better', async () => {
  const asked = await askedMs(new RaftreeError('CORRUPTION', 'a table is damaged'), 300);
  const pauses = asked.slice(1).map((ms, i) => ms - (asked[i] ?? 0));
  assert.ok(pauses.length >= 6, asked.join());
  for (const [i, pause] of pauses.entries()) {
    const leastMs = 1000 * 2 ** Math.min(i, 6);
    assert.ok(pause >= leastMs && pause < leastMs + 1000, `pause ${i} of ${pause} ms`);
  }
});

test('a full disk is no reason: with space the snapshot will be made', async () => {
  assert.equal(await askedMs(new RaftreeError('LSM_NO_SPACE', 'the disk is full'), 20), []);
});

test.run();
