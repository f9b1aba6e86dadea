/** The tree as an engine: a full disk makes changes and flushes wait, it does not make them fail. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LsmEngineOptions, lsmEngine } from '../../src/engines/lsm-engine.js';
import { DiskSpace } from '../../src/env/disk-space.js';
import { type Env, silentLogger } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { FileOperation } from '../../src/sim/world/file-operation.js';
import { SimWorld } from '../../src/sim/world/world.js';

const openTree = (env: Env, storage: LsmEngineOptions) =>
  lsmEngine(storage).open('/tree', {
    env,
    logger: silentLogger,
    diskSpace: new DiskSpace(silentLogger, env),
  });

const KEY = Buffer.from('key');

for (const treeLog of ['none', 'buffered'] as const) {
  const open = async (isFull: () => boolean, writeBufferBytes = 64 * 1024) => {
    const world = new SimWorld(1);
    const fault = ({ kind }: FileOperation) =>
      isFull() && (kind === 'write' || kind === 'create') ? ('short' as const) : undefined;
    const { env } = world.start('n', new SimDisk(), { fault });
    const storage = { treeLog, writeBufferBytes, blockCacheBytes: 1024 * 1024 };
    const engine = await world.scheduler.run(openTree(env, storage));
    return { engine, scheduler: world.scheduler };
  };

  test(`a flush waits for space (treeLog ${treeLog})`, async () => {
    let full = false;
    const { engine, scheduler } = await open(() => full);
    const sequence = await scheduler.run(
      Promise.resolve(engine.write([{ type: 'put', key: KEY, value: Buffer.from('value') }])),
    );
    full = true;
    let outcome = '';
    const flush = engine.flush().then(
      () => (outcome = 'flushed'),
      (error: unknown) => (outcome = String(errorCode(error))),
    );
    await scheduler.runFor(5000);
    assert.is(outcome, '');
    assert.ok(engine.durableSequence < sequence);
    full = false;
    await scheduler.run(flush);
    assert.is(outcome, 'flushed');
    assert.ok(engine.durableSequence >= sequence);
  });

  test(`writes wait for space and then happen once, in order (treeLog ${treeLog})`, async () => {
    let full = false;
    const { engine, scheduler } = await open(() => full, 4096);
    const value = (i: number) => Buffer.from(`${i}${'x'.repeat(1000)}`);
    full = true;
    let written = 0;
    const all = (async () => {
      for (let i = 1; i <= 40; i++) {
        await engine.write([{ type: 'put', key: KEY, value: value(i) }]);
        written = i;
      }
    })();
    await scheduler.runFor(5000);
    assert.ok(written < 40, `${written} writes`);
    full = false;
    await scheduler.run(all);
    assert.equal(engine.get(KEY), value(40));
  });

  test(`closing ends what waits for space (treeLog ${treeLog})`, async () => {
    let full = false;
    const { engine, scheduler } = await open(() => full);
    await scheduler.run(Promise.resolve(engine.write([{ type: 'put', key: KEY, value: KEY }])));
    full = true;
    const flush = engine.flush().catch(errorCode);
    await scheduler.runFor(1000);
    const closed = engine.close().catch(errorCode);
    await scheduler.run(closed, 10_000);
    assert.is(await scheduler.run(flush, 10_000), 'LSM_CLOSED');
  });
}

test('a checkpoint that is damaged is told from one that is not', async () => {
  const world = new SimWorld(1);
  const disk = new SimDisk();
  const { env } = world.start('n', disk);
  const storage = { treeLog: 'none', writeBufferBytes: 64 * 1024, blockCacheBytes: 0 } as const;
  const engine = await world.scheduler.run(openTree(env, storage));
  await engine.write([{ type: 'put', key: KEY, value: Buffer.alloc(5000, 'value') }]);
  await world.scheduler.run(engine.checkpoint('/checkpoint'));
  await world.scheduler.run(engine.check('/checkpoint'));
  const table = env.fs.list('/checkpoint').find((name) => name.endsWith('.sst'));
  assert.ok(table);
  disk.edit(`/checkpoint/${table}`, (content) => {
    content[200] = (content[200] ?? 0) ^ 1;
    return content;
  });
  const outcome = await world.scheduler.run(engine.check('/checkpoint').then(() => 'sound', errorCode));
  assert.is(outcome, 'CORRUPTION');
});

test.run();
