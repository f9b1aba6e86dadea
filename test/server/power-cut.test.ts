/** Three whole nodes on crashable disks; the power of all three fails at once, again and again. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';
import type { SimFileSystemOptions } from '../../src/sim/world/file-operation.js';

const ROUNDS = 25;

/** Small limits, so that flushes, new segments and cuts of the log happen within a few writes. */
const SMALL: SimulatedClusterOptions['config'] = {
  storage: { writeBufferBytes: 64 * 1024, raftSegmentBytes: 64 * 1024 },
};

interface Outcome {
  readonly acknowledged: number;
  readonly lost: string[];
}

/**
 * After each of many acknowledged writes the power of all nodes fails. A write that was under way may have happened or
 * not, but stays what it turned out to be.
 */
async function run(seed: number, fault?: SimFileSystemOptions['fault'], config = SMALL): Promise<Outcome> {
  const cluster = new SimulatedCluster(seed, { config, ...(fault ? { fault } : {}) });
  const { random } = cluster.world;
  const values = new Map<string, string>();
  const lost: string[] = [];
  let acknowledged = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await cluster.run(cluster.startAll());
    const client = cluster.client();
    for (const [key, value] of values) {
      const found = (await cluster.run(client.get(key)))?.value.toString();
      if (found !== value)
        lost.push(`round ${round}: ${key} is ${found?.length}, not ${value.length} bytes long`);
    }
    if (lost.length > 0) break;
    const writes = random.between(1, 8);
    for (let i = 0; i < writes; i++) {
      const key = `key ${random.between(1, 20)}`;
      const token = `${round}.${i};${'x'.repeat(random.between(0, 3000))}`;
      await cluster.run(client.append(key, token));
      values.set(key, (values.get(key) ?? '') + token);
      acknowledged++;
    }
    // Under way when the power fails: nobody will know.
    client.put('unacknowledged', String(round)).catch(() => {});
    if (random.chance(0.5)) await cluster.world.scheduler.runFor(random.float() * 3);
    cluster.cutPowerOfAll();
  }
  return { acknowledged, lost };
}

test('nothing acknowledged is lost when the power of all nodes fails after a write', async () => {
  let acknowledged = 0;
  for (let seed = 1; seed <= 4; seed++) {
    const outcome = await run(seed);
    assert.equal(outcome.lost, [], `seed ${seed}`);
    acknowledged += outcome.acknowledged;
  }
  assert.ok(acknowledged > 300, `${acknowledged} writes`);
});

test('nor with a log of the tree’s own', async () => {
  const outcome = await run(11, undefined, { storage: { ...SMALL.storage, treeLog: 'buffered' } });
  assert.equal(outcome.lost, []);
});

test('a planted bug is caught: disks whose fdatasync does nothing', async () => {
  let caught = 0;
  for (let seed = 1; seed <= 3; seed++) {
    try {
      const outcome = await run(seed, ({ kind }) => (kind === 'sync' ? 'ignore' : undefined));
      if (outcome.lost.length > 0) caught++;
    } catch {
      // A node that refuses to start from what is left has noticed too.
      caught++;
    }
  }
  assert.is(caught, 3);
});

test.run();
