/** Flush and compaction beside the writes: bounded steps, flushes first, snapshots kept, failures contained. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LsmOptions, LsmTree } from '../../src/lsm/index.js';
import { repairTree } from '../../src/lsm/tools/repair.js';
import { DIRECTORY, eventually, openTree, processEnv, put, remove, renderTree, SimDisk } from './tree-lab.js';

const KEYS = 300;
const VALUE = 'x'.repeat(100);

function key(number: number): string {
  return `key${String(number).padStart(4, '0')}`;
}

function tableBytes(tree: LsmTree): number {
  return tree.stats().levels.reduce((sum, level) => sum + level.bytes, 0);
}

/** Tables that overlap in level 0, which nothing compacts by itself. */
async function overlappingTables(tree: LsmTree, count: number): Promise<void> {
  for (let table = 0; table < count; table++) {
    for (let i = 0; i < KEYS; i++)
      await tree.write([put(key(i), `${table}${VALUE}`)], { durability: 'buffered' });
    await tree.flush();
  }
}

const BY_HAND: LsmOptions = {
  level0Trigger: 1000,
  level0StopTrigger: 1000,
  writeBufferBytes: 1 << 20,
  maxFileBytes: 1 << 20,
  levelBaseBytes: 1 << 30,
};

test('a compaction gives way between blocks, and a flush that waits comes first', async () => {
  const events: string[] = [];
  const tree = await openTree(new SimDisk(), {
    ...BY_HAND,
    stepBudgetMs: 0,
    listener: {
      flushed: () => events.push('flushed'),
      compacted: () => events.push('compacted'),
    },
  });
  await overlappingTables(tree, 4);
  events.length = 0;
  const compaction = tree.compactRange();
  let turns = 0;
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  count();
  await new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve))));
  await tree.write([put('between', '')]);
  await tree.flush();
  assert.equal(events, ['flushed']);
  await compaction;
  isDone = true;
  assert.equal(events.slice(0, 2), ['flushed', 'compacted']);
  const { blocks } = await tree.verify();
  assert.ok(turns > blocks / 2, `${turns} turns for ${blocks} blocks`);
  assert.is(tree.getSync(Buffer.from('between'))?.toString(), '');
  assert.is(tree.getSync(Buffer.from(key(7)))?.toString(), `3${VALUE}`);
  await tree.close();
});

test('closing gives up a compaction and leaves no trace of it', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, { ...BY_HAND, stepBudgetMs: 0 });
  await overlappingTables(tree, 3);
  const compaction = tree.compactRange().then(
    () => 'done',
    (error) => error.code,
  );
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  await tree.close();
  assert.is(await compaction, 'LSM_CLOSED');
  const again = await openTree(disk, BY_HAND);
  assert.is(again.stats().levels[0]?.files, 3);
  assert.is(
    disk
      .mount()
      .list(DIRECTORY)
      .filter((name) => name.endsWith('.sst')).length,
    3,
  );
  assert.is([...again.iterator()].length, KEYS);
  await again.close();
});

test('whoever waits for a range to be compacted is told why the tree stopped writing', async () => {
  const disk = new SimDisk();
  let broken = false;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      broken && kind === 'sync' && path.includes('wal-')
        ? Object.assign(new Error('EIO'), { code: 'EIO' })
        : undefined,
  });
  const tree = await openTree(disk, { ...BY_HAND, stepBudgetMs: 0 }, env);
  await overlappingTables(tree, 3);
  const code = (promise: Promise<unknown>) =>
    promise.then(
      () => 'done',
      (error) => error.code,
    );
  const compaction = code(tree.compactRange());
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  broken = true;
  assert.is(await code(tree.write([put('a', '')])), 'LSM_READ_ONLY');
  assert.is(await compaction, 'LSM_READ_ONLY');
  assert.is(await code(tree.compactRange()), 'LSM_READ_ONLY');
  await tree.close();
});

test('what is deleted gives its space back, without being asked', async () => {
  const tree = await openTree(new SimDisk(), { writeBufferBytes: 8 << 10, maxFileBytes: 8 << 10 });
  for (let i = 0; i < KEYS; i++) await tree.write([put(key(i), VALUE)], { durability: 'buffered' });
  await tree.compactRange();
  const full = tableBytes(tree);
  for (let i = 0; i < KEYS; i++) await tree.write([remove(key(i))], { durability: 'buffered' });
  await tree.flush();
  await eventually(() => tableBytes(tree) === 0);
  assert.ok(full > 20_000);
  assert.is(tree.stats().tombstones, 0);
  await tree.close();
});

test('a snapshot keeps what is deleted; released, it goes', async () => {
  const tree = await openTree(new SimDisk(), { writeBufferBytes: 8 << 10, maxFileBytes: 8 << 10 });
  for (let i = 0; i < KEYS; i++) await tree.write([put(key(i), VALUE)], { durability: 'buffered' });
  const snapshot = tree.snapshot();
  for (let i = 0; i < KEYS; i++) await tree.write([remove(key(i))], { durability: 'buffered' });
  await tree.compactRange();
  assert.is(tree.getSync(Buffer.from(key(7)), { snapshot })?.toString(), VALUE);
  snapshot.release();
  await eventually(() => tableBytes(tree) === 0);
  await tree.close();
});

test('a range is compacted in its deepest level too', async () => {
  const tree = await openTree(new SimDisk(), BY_HAND);
  for (let i = 0; i < KEYS; i++) await tree.write([put(key(i), VALUE)], { durability: 'buffered' });
  const snapshot = tree.snapshot();
  for (let i = 0; i < KEYS; i++) await tree.write([put(key(i), 'short')], { durability: 'buffered' });
  await tree.compactRange();
  assert.is(tree.stats().entries, 2 * KEYS);
  snapshot.release();
  // Hidden versions, unlike tombstones, are not seen from outside.
  await tree.compactRange();
  assert.is(tree.stats().entries, KEYS);
  await tree.close();
});

test('filling in order moves tables down without rewriting them', async () => {
  const tree = await openTree(new SimDisk(), { levelBaseBytes: 4096 });
  for (let i = 0; i < 400; i++) await tree.write([put(key(i), VALUE)], { durability: 'buffered' });
  await tree.flush();
  await eventually(() => (tree.stats().levels[0]?.files ?? 0) < 2);
  const { moves, compactions, compactedBytes } = tree.stats();
  assert.ok(moves > 20, `${moves} moves`);
  assert.is(compactions, 0);
  assert.is(compactedBytes, 0);
  await tree.close();
});

test('what a snapshot sees outlives compaction to the bottom, and no longer', async () => {
  const tree = await openTree(new SimDisk());
  await tree.write([put('kept', 'old'), put('deleted', 'old')]);
  const snapshot = tree.snapshot();
  await tree.write([put('kept', 'new'), remove('deleted')]);
  await tree.compactRange();
  assert.is(tree.getSync(Buffer.from('deleted'), { snapshot })?.toString(), 'old');
  assert.is(tree.getSync(Buffer.from('kept'), { snapshot })?.toString(), 'old');
  assert.is(renderTree(tree), 'kept=new');
  assert.is(tree.stats().entries, 4);
  snapshot.release();
  snapshot.release();
  assert.throws(() => tree.getSync(Buffer.from('kept'), { snapshot }), /released/);
  assert.throws(() => tree.iterator({ snapshot }), /released/);
  await tree.write([put('deleted', 'again'), put('kept', 'again')]);
  await tree.compactRange();
  assert.is(tree.stats().entries, 2);
  await tree.close();
});

/** A disk with two tables, of which the first has a flipped bit in its first block. */
async function diskWithDamagedTable(): Promise<{ disk: SimDisk; first: string }> {
  const disk = new SimDisk();
  const writer = await openTree(disk, BY_HAND);
  await overlappingTables(writer, 2);
  await writer.close();
  const [first = ''] = disk
    .mount()
    .list(DIRECTORY)
    .filter((name) => name.endsWith('.sst'));
  disk.edit(`${DIRECTORY}/${first}`, (content) => {
    content[200] = (content[200] as number) ^ 1;
    return content;
  });
  return { disk, first };
}

test('a damaged table that compaction needs makes the tree read-only, and what is intact stays readable', async () => {
  const { disk, first } = await diskWithDamagedTable();
  const failures: unknown[] = [];
  const tree = await openTree(disk, { ...BY_HAND, listener: { failed: (error) => failures.push(error) } });
  const error = await tree.compactRange().catch((reason) => reason);
  assert.is(error.code, 'CORRUPTION');
  assert.match(error.message, first);
  assert.equal(failures, [error]);
  assert.equal(error.info, { path: `${DIRECTORY}/${first}`, offset: 128 });
  const refused = await tree.write([put('a', '')]).catch((reason) => reason);
  assert.is(refused.code, 'LSM_READ_ONLY');
  assert.equal(refused.info, { ...error.info, outcome: 'notCommitted' });
  assert.match(refused.message, `${first} is damaged at offset 128`);
  assert.match(refused.message, 'raftree lsm repair');
  assert.ok(tree.stats().isReadOnly);
  assert.is(tree.getSync(Buffer.from(key(250)))?.toString(), `1${VALUE}`);
  assert.is(
    disk
      .mount()
      .list(DIRECTORY)
      .filter((name) => name.endsWith('.sst')).length,
    2,
  );
  await tree.close();
});

test('damage met in the background: writes stop, what was written is safe, and repair makes it go on', async () => {
  const { disk, first } = await diskWithDamagedTable();
  const failures: { code?: string; info?: unknown }[] = [];
  const options: LsmOptions = {
    ...BY_HAND,
    level0Trigger: 3,
    listener: { failed: (error) => failures.push(error as { code?: string }) },
  };
  const tree = await openTree(disk, options);
  const later = Array.from({ length: KEYS }, (_, i) => key(KEYS + i));
  for (const name of later) await tree.write([put(name, 'flushed')], { durability: 'buffered' });
  await tree.flush();
  await tree.write([put('last', 'only in the WAL')], { durability: 'buffered' });
  await eventually(() => failures.length > 0);
  assert.equal(
    [failures[0]?.code, failures[0]?.info],
    ['CORRUPTION', { path: `${DIRECTORY}/${first}`, offset: 128 }],
  );
  assert.is(await tree.write([put('a', '')]).catch((error) => error.code), 'LSM_READ_ONLY');
  assert.is(await tree.flush().catch((error) => error.code), 'LSM_READ_ONLY');
  assert.is(tree.getSync(Buffer.from('last'))?.toString(), 'only in the WAL');
  // Nothing is lost by closing: the WAL is sound, and is synced.
  await tree.close();
  const report = await repairTree(processEnv(2, disk), DIRECTORY);
  assert.equal(
    report.losses.map(({ path, offset }) => [path, offset]),
    [[`${DIRECTORY}/${first}`, 128]],
  );
  const again = await openTree(disk, { ...options, listener: {} });
  await again.compactRange();
  await again.write([put('a', '')]);
  assert.is(again.getSync(Buffer.from('last'))?.toString(), 'only in the WAL');
  for (const name of later) assert.is(again.getSync(Buffer.from(name))?.toString(), 'flushed');
  assert.is([...again.iterator({ gte: Buffer.from(key(0)), lt: Buffer.from(key(KEYS)) })].length, KEYS);
  await again.close();
});

test('after a failed write of the MANIFEST no table is removed, and reopening decides', async () => {
  const disk = new SimDisk();
  let broken = false;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      broken && kind === 'sync' && path.includes('MANIFEST')
        ? Object.assign(new Error('EIO'), { code: 'EIO' })
        : undefined,
  });
  const tree = await openTree(disk, BY_HAND, env);
  await overlappingTables(tree, 2);
  const tables = () =>
    disk
      .mount()
      .list(DIRECTORY)
      .filter((name) => name.endsWith('.sst')).length;
  broken = true;
  const error = await tree.compactRange().catch((reason) => reason);
  assert.is(error.code, 'LSM_READ_ONLY');
  assert.is(tables(), 3);
  assert.is([...tree.iterator()].length, KEYS);
  await tree.close();
  assert.is(tables(), 3);
  broken = false;
  const again = await openTree(disk, BY_HAND);
  assert.is([...again.iterator()].length, KEYS);
  const { levels } = again.stats();
  assert.is(
    tables(),
    levels.reduce((sum, level) => sum + level.files, 0),
  );
  await again.close();
});

test.run();
