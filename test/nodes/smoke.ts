/**
 * node dist/test/nodes/smoke.js
 *
 * The main ways through the package, on the Node.js that runs it: a cluster of three processes whose leader is killed,
 * the storage engine and the abstract-level database, opened, closed and opened again.
 */
import * as assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { RaftreeLevel } from '../../src/level/index.js';
import { availableCodec } from '../../src/lsm/base/block-codec.js';
import { LsmTree } from '../../src/lsm/index.js';
import { ProcessCluster, temporaryDirectory } from '../support/process-cluster.js';

const COUNT = 500;
const keyAt = (i: number) => `key${String(i).padStart(4, '0')}`;

async function clusterSurvives(): Promise<string> {
  const cluster = await ProcessCluster.create(3);
  const client = cluster.client();
  try {
    await cluster.startAll();
    const put = async (from: number, to: number) => {
      await Promise.all(
        Array.from({ length: to - from }, (_, i) => client.put(keyAt(from + i), `v${from + i}`)),
      );
    };
    const scan = async () => {
      const keys: string[] = [];
      for await (const { key } of client.scan({ prefix: 'key' })) keys.push(key.toString());
      return keys;
    };
    await put(0, COUNT);
    assert.equal((await client.get(keyAt(7)))?.value.toString(), 'v7');
    const leader = await cluster.leader();
    await cluster.signal(leader, 'SIGKILL');
    await put(COUNT, 2 * COUNT);
    assert.equal((await scan()).length, 2 * COUNT);
    await cluster.start(leader);
    await cluster.killAll();
    await cluster.startAll();
    assert.deepEqual(
      await scan(),
      Array.from({ length: 2 * COUNT }, (_, i) => keyAt(i)),
    );
    for (let id = 1; id <= 3; id++) assert.equal(await cluster.signal(id, 'SIGTERM'), 0, cluster.output(id));
    return `${2 * COUNT} keys in three nodes, leader ${leader} killed, then all`;
  } finally {
    await client.close();
    await cluster.destroy();
  }
}

async function treeReopens(directory: string): Promise<string> {
  const options = { writeBufferBytes: 4096, maxFileBytes: 8192, levelBaseBytes: 16_384 };
  let tree = await LsmTree.open(directory, options);
  for (let i = 0; i < COUNT; i++) {
    await tree.write([{ type: 'put', key: Buffer.from(keyAt(i)), value: Buffer.from(`${i}`.repeat(20)) }]);
  }
  await tree.flush();
  const { flushes } = tree.stats();
  await tree.close();
  tree = await LsmTree.open(directory, options);
  assert.equal([...tree.iterator()].length, COUNT);
  assert.deepEqual((await tree.verify()).problems, []);
  await tree.close();
  return `${COUNT} keys, ${flushes} flushes, codec ${availableCodec('lz4')}`;
}

async function levelReopens(directory: string): Promise<string> {
  const db = new RaftreeLevel<string, { n: number }>(directory, { valueEncoding: 'json' });
  await db.batch(Array.from({ length: COUNT }, (_, n) => ({ type: 'put', key: keyAt(n), value: { n } })));
  await db.close();
  await db.open();
  assert.deepEqual(await db.get(keyAt(7)), { n: 7 });
  await db.clear({ gte: keyAt(10) });
  assert.equal((await db.keys().all()).length, 10);
  await db.close();
  await RaftreeLevel.destroy(directory);
  return `${COUNT} entries written, cleared, destroyed`;
}

const directory = temporaryDirectory();
try {
  const steps = {
    'raftree/lsm': () => treeReopens(join(directory, 'tree')),
    'raftree/level': () => levelReopens(join(directory, 'level')),
    'a cluster': clusterSurvives,
  };
  for (const [name, step] of Object.entries(steps))
    console.log(`node ${process.version}: ${name}: ${await step()}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
