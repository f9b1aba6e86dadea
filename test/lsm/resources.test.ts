/** What trees have in common stays within its limits, whichever of them uses it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lsmEngine } from '../../src/engines/lsm-engine.js';
import { DiskSpace } from '../../src/env/disk-space.js';
import { silentLogger } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { LsmResources, LsmTree } from '../../src/lsm/index.js';
import { eventually, openTree, processEnv, put, SimDisk, TINY } from './tree-lab.js';

function openAll(count: number, resources: LsmResources, options = {}): Promise<LsmTree[]> {
  const env = processEnv(1, new SimDisk());
  return Promise.all(
    Array.from({ length: count }, (_, i) =>
      LsmTree.open(`/data/${i}`, { ...TINY, env, resources, ...options }),
    ),
  );
}

test('trees share one cache and one limit of open tables', async () => {
  const resources = new LsmResources({ blockCacheBytes: 3000, blockBytes: 128, maxOpenTables: 16 });
  const trees = await openAll(4, resources);
  for (let i = 0; i < 200; i++) {
    for (const tree of trees)
      await tree.write([put(`key${i}`, `${'x'.repeat(40)}${i}`)], { durability: 'buffered' });
  }
  for (const tree of trees) await tree.flush();
  for (let i = 0; i < 200; i++) {
    for (const tree of trees)
      assert.ok(
        tree
          .getSync(Buffer.from(`key${i}`))
          ?.toString()
          .endsWith(`x${i}`),
      );
    assert.ok(resources.openTables.size <= 16);
    assert.ok(resources.blocks.sizeBytes <= 3000);
  }
  assert.is(
    trees.reduce((sum, tree) => sum + tree.stats().openTables, 0),
    resources.openTables.size,
  );
  const [first, ...others] = trees as [LsmTree, LsmTree];
  await first.close();
  assert.is(
    others.reduce((sum, tree) => sum + tree.stats().openTables, 0),
    resources.openTables.size,
  );
  for (const tree of others) {
    assert.ok(tree.getSync(Buffer.from('key7')));
    await tree.close();
  }
  assert.is(resources.openTables.size, 0);
});

test('no more tables are open than the descriptors of the process allow, whatever the option says', async () => {
  const disk = new SimDisk();
  const env = processEnv(1, disk);
  const few = { ...env, host: { ...env.host, maxDescriptors: () => 48 } };
  const tree = await openTree(
    disk,
    { maxOpenTables: 1000, level0Trigger: 1000, level0StopTrigger: 1000 },
    few,
  );
  for (let i = 0; i < 40; i++) {
    await tree.write([put(`key${i}`, 'x')]);
    await tree.flush();
  }
  for (let i = 0; i < 40; i++) assert.is(tree.getSync(Buffer.from(`key${i}`))?.toString(), 'x');
  assert.is(tree.stats().openTables, 24, 'half of them');
  await tree.close();
});

test('above the budget for writes the largest memtable is flushed, not the one that grew last', async () => {
  const resources = new LsmResources({ writeBufferBytes: 20_000 });
  const trees = await openAll(3, resources, { writeBufferBytes: 1 << 20 });
  const [large, small, last] = trees as [LsmTree, LsmTree, LsmTree];
  const value = 'v'.repeat(100);
  for (let i = 0; i < 60; i++) await large.write([put(`key${i}`, value)]);
  for (let i = 0; i < 20; i++) await small.write([put(`key${i}`, value)]);
  for (let i = 0; large.stats().flushes === 0 && i < 200; i++) await last.write([put(`key${i}`, value)]);
  await eventually(() => large.stats().flushes === 1);
  assert.is(small.stats().flushes, 0);
  assert.is(last.stats().flushes, 0);
  assert.ok(resources.writeBuffers.totalBytes <= 20_000);
  for (const tree of trees) await tree.close();
  assert.is(resources.writeBuffers.totalBytes, 0);
});

test('the engines of a node share what it gives them; closed, it keeps nothing and takes no tree', async () => {
  const resources = new LsmResources({ writeBufferBytes: 1 << 20 });
  const env = processEnv(1, new SimDisk());
  const storage = { treeLog: 'none', writeBufferBytes: 1 << 20, blockCacheBytes: 1 << 20 } as const;
  const context = { env, logger: silentLogger, diskSpace: new DiskSpace(silentLogger, env) };
  const open = (name: string) => lsmEngine(storage, resources).open(`/data/${name}`, context);
  const engines = await Promise.all([open('a'), open('b')]);
  for (const engine of engines) {
    await engine.write([put('key', 'value'), put('large', 'x'.repeat(100_000))]);
    await engine.flush();
    assert.is(engine.get(Buffer.from('key'))?.toString(), 'value');
  }
  assert.is(resources.openTables.size, 2);
  assert.ok(resources.blocks.sizeBytes > 0);
  assert.ok(resources.memtablePool.sizeBytes > 0);
  for (const engine of engines) await engine.close();
  assert.is(resources.openTables.size, 0);
  resources.close();
  assert.is(resources.memtablePool.sizeBytes, 0);
  assert.is(await open('a').catch(errorCode), 'LSM_INVALID');
});

test('a tree that holds little leaves the memory of larger ones in the pool', async () => {
  const resources = new LsmResources({ writeBufferBytes: 1 << 20 });
  const env = processEnv(1, new SimDisk());
  const [large, small] = await Promise.all(
    ['a', 'b'].map((name) => LsmTree.open(`/data/${name}`, { env, resources, durability: 'none' })),
  );
  const pooled = () => resources.memtablePool.sizeBytes;
  for (let i = 0; i < 100; i++) large?.writeSync([put(`key${i}`, 'x'.repeat(1000))]);
  await large?.flush();
  const before = pooled();
  assert.ok(before > 100_000, `${before} bytes in the pool`);
  large?.writeSync([put('key', 'value')]);
  small?.writeSync([put('key', 'value')]);
  assert.is(pooled(), before);
  for (let i = 0; i < 100; i++) small?.writeSync([put(`key${i}`, `${i}`)]);
  assert.ok(pooled() < before);
  for (let i = 0; i < 100; i++) assert.is(small?.getSync(Buffer.from(`key${i}`))?.toString(), `${i}`);
  for (const tree of [large, small]) await tree?.close();
});

test.run();
