/**
 * Whole tables of a range removed at once: what is outside the range stays as it was, what is inside is as it was or
 * gone, never older; snapshots and iterators see what they saw; a power cut leaves all of the removal or nothing of it.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import type { LsmOptions, LsmTree, Operation, Snapshot } from '../../src/lsm/index.js';
import { systemError } from '../../src/sim/world/file-operation.js';
import {
  after,
  openTree,
  processEnv,
  put,
  randomBatches,
  remove,
  render,
  renderTree,
  SeededRandom,
  SimDisk,
  type State,
} from './tree-lab.js';

const QUIET: LsmOptions = { writeBufferBytes: 1 << 20, level0Trigger: 100, level0StopTrigger: 100 };

interface Bounds {
  gt?: Buffer;
  gte?: Buffer;
  lt?: Buffer;
  lte?: Buffer;
}

function stateOf(tree: LsmTree, snapshot?: Snapshot): State {
  const entries = [...tree.iterator(snapshot ? { snapshot } : {})];
  return new Map(entries.map(({ key, value }) => [key.toString('latin1'), value.toString('latin1')]));
}

function isWithin(key: string, { gt, gte, lt, lte }: Bounds): boolean {
  const bytes = Buffer.from(key, 'latin1');
  return (
    (!gt || Buffer.compare(bytes, gt) > 0) &&
    (!gte || Buffer.compare(bytes, gte) >= 0) &&
    (!lt || Buffer.compare(bytes, lt) < 0) &&
    (!lte || Buffer.compare(bytes, lte) <= 0)
  );
}

function randomBounds(random: SeededRandom): Bounds {
  const [low = 0, high = 0] = [random.between(0, 60), random.between(0, 60)].sort((a, b) => a - b);
  const key = (i: number) => Buffer.from(`key${String(i).padStart(3, '0')}`);
  return {
    ...(random.chance(0.4) ? { gte: key(low) } : random.chance(0.5) ? { gt: key(low) } : {}),
    ...(random.chance(0.4) ? { lte: key(high) } : random.chance(0.5) ? { lt: key(high) } : {}),
  };
}

/** Lets what goes on behind the writes go on for some turns. */
async function someTurns(random: SeededRandom): Promise<void> {
  for (let i = random.between(0, 12); i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
}

test('what is in the range stays as it was or is gone, what is outside stays; old iterators see all', async () => {
  let [dropped, partly] = [0, 0];
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SeededRandom(seed);
    const disk = new SimDisk();
    const options = {
      stepBudgetMs: 0,
      levelBaseBytes: random.pick([1024, 65536]),
      level0Trigger: random.pick([1, 2, 3]),
      durability: random.pick(['sync', 'buffered', 'none'] as const),
    };
    const tree = await openTree(disk, options);
    for (let round = 0; round < 6; round++) {
      for (const batch of randomBatches(random, random.between(1, 30), 60)) await tree.write(batch);
      if (random.chance(0.2)) await tree.compactRange();
      await someTurns(random);
      const bounds = randomBounds(random);
      const before = stateOf(tree);
      const old = tree.iterator();
      old.next();
      const tables = await tree.dropTables(bounds);
      const now = stateOf(tree);
      dropped += tables;
      if (tables > 0 && [...now.keys()].some((key) => isWithin(key, bounds))) partly++;
      for (const [key, value] of before) {
        const found = now.get(key);
        if (found !== undefined || !isWithin(key, bounds)) assert.is(found, value, `seed ${seed}: ${key}`);
        assert.is(tree.getSync(Buffer.from(key))?.toString('latin1'), found);
      }
      for (const key of now.keys()) assert.ok(before.has(key), `seed ${seed}: ${key} is back`);
      assert.is([...old].length, Math.max(0, before.size - 1));
      old.close();
      assert.equal((await tree.verify()).problems, []);
    }
    const state = renderTree(tree);
    await tree.close();
    const again = await openTree(disk, options);
    assert.is(renderTree(again), state);
    await again.close();
  }
  assert.ok(dropped > 200 && partly > 20, `${dropped} tables, ${partly} ranges removed in part`);
});

test('an open range without snapshots is emptied, whatever compaction was under way', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new SeededRandom(seed);
    const tree = await openTree(new SimDisk(), { stepBudgetMs: 0 });
    for (const batch of randomBatches(random, 60, 60)) await tree.write(batch);
    await someTurns(random);
    assert.ok((await tree.dropTables({})) > 0);
    assert.is(renderTree(tree), '', `seed ${seed}`);
    assert.equal(tree.tables().flat(), []);
    await tree.write([put('key001', 'new')]);
    assert.is(renderTree(tree), 'key001=new');
    await tree.close();
  }
});

test('what is written meanwhile stays', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const disk = new SimDisk();
    const tree = await openTree(disk, { stepBudgetMs: 0 });
    for (const batch of randomBatches(random, 60, 60)) await tree.write(batch);
    const dropping = tree.dropTables({});
    const written: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) {
      written.push(tree.write([put(`key0${String(i).padStart(2, '0')}`, 'x'.repeat(100))]));
      await someTurns(random);
    }
    await dropping;
    await Promise.all(written);
    const state = stateOf(tree);
    for (let i = 0; i < 20; i++) assert.is(state.get(`key0${String(i).padStart(2, '0')}`)?.length, 100);
    await tree.close();
    const again = await openTree(disk);
    assert.equal(stateOf(again), state);
    await again.close();
  }
});

async function treeOfTables(disk: SimDisk, env = processEnv(1, disk)): Promise<LsmTree> {
  const tree = await openTree(disk, QUIET, env);
  for (const letter of 'abcdef') {
    await tree.write([put(`${letter}1`, 'x'), put(`${letter}2`, 'y')]);
    await tree.flush();
  }
  return tree;
}

test('of tables that overlap only those go that hide nothing older', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, QUIET);
  await tree.write([put('b', 'old'), put('z', 'old')]);
  await tree.flush();
  await tree.write([put('b', 'new'), put('c', 'new')]);
  await tree.flush();
  await tree.write([put('d', 'new'), remove('f')]);
  await tree.flush();
  await tree.compactRange({ smallest: Buffer.from('x') });
  await tree.write([put('e', 'new'), put('e2', 'new')]);
  await tree.flush();
  // What holds `b` and `z` is not wholly in the range. So the newer `b` stays.
  await tree.dropTables({ lt: Buffer.from('m') });
  assert.is(tree.getSync(Buffer.from('b'))?.toString(), 'new');
  assert.is(tree.getSync(Buffer.from('z'))?.toString(), 'old');
  await tree.dropTables({});
  assert.is(renderTree(tree), '');
  await tree.close();
});

test('bounds are the range’s: included or not', async () => {
  for (const [bounds, left] of [
    [{ gte: 'b1', lte: 'c2' }, 'adef'],
    [{ gt: 'b1', lt: 'd2' }, 'abdef'],
    [{ gt: 'b0', lt: 'c3' }, 'adef'],
    [{ gt: 'f2' }, 'abcdef'],
    [{}, ''],
  ] as const) {
    const tree = await treeOfTables(new SimDisk());
    const range = Object.fromEntries(Object.entries(bounds).map(([name, key]) => [name, Buffer.from(key)]));
    assert.is(await tree.dropTables(range), 6 - left.length, JSON.stringify(bounds));
    assert.is([...new Set([...stateOf(tree).keys()].map((key) => key[0]))].join(''), left);
    await tree.close();
  }
});

test('nothing is removed while a snapshot is listed', async () => {
  const tree = await treeOfTables(new SimDisk());
  const snapshot = tree.snapshot();
  assert.is(await tree.dropTables({}), 0);
  assert.is(stateOf(tree).size, 12);
  snapshot.release();
  assert.is(await tree.dropTables({}), 6);
  await tree.close();
});

test('a snapshot taken while the MANIFEST is written keeps what it saw, and so does the disk', async () => {
  let taken = 0;
  for (const at of ['write', 'sync']) {
    const disk = new SimDisk();
    let tree: LsmTree | undefined;
    let snapshot: Snapshot | undefined;
    let isArmed = false;
    const env = processEnv(1, disk, {
      latency: () => new Promise((resolve) => setImmediate(resolve)),
      fault: ({ kind, path }) => {
        if (isArmed && !snapshot && kind.includes(at) && path.includes('MANIFEST')) {
          snapshot = tree?.snapshot();
          taken++;
        }
        return undefined;
      },
    });
    tree = await treeOfTables(disk, env);
    isArmed = true;
    const before = stateOf(tree);
    const dropped = await tree.dropTables({});
    if (snapshot) {
      assert.is(dropped, 0);
      assert.equal(stateOf(tree, snapshot), before);
      assert.equal(stateOf(tree), before);
      snapshot.release();
    }
    const state = stateOf(tree);
    await tree.close();
    const again = await openTree(disk, QUIET);
    assert.equal(stateOf(again), state);
    await again.close();
  }
  assert.ok(taken > 0);
});

test('a power cut at any file operation leaves all of the removal or nothing, and what was written before it', async () => {
  let [without, withIt] = [0, 0];
  for (let seed = 1; seed <= 6; seed++) {
    const random = new SeededRandom(seed);
    const disk = new SimDisk();
    const cuts: { readonly disk: SimDisk; readonly least: number }[] = [];
    let isArmed = false;
    let least = 0;
    const env = processEnv(1, disk, {
      latency: () =>
        random.chance(0.3) ? new Promise((resolve) => setImmediate(resolve)) : Promise.resolve(),
      fault: ({ kind }) => {
        if (isArmed && kind !== 'read') cuts.push({ disk: disk.powerCutClone(random), least });
        return undefined;
      },
    });
    const options: LsmOptions = { stepBudgetMs: 0, durability: random.pick(['sync', 'buffered'] as const) };
    const tree = await openTree(disk, options, env);
    const before = randomBatches(random, 40, 40);
    for (const batch of before) await tree.write(batch, { durability: 'buffered' });
    isArmed = true;
    const full = stateOf(tree);
    const bounds = random.chance(0.5) ? {} : { gte: Buffer.from('key010') };
    const dropping = tree.dropTables(bounds);
    const meanwhile: Operation[][] = Array.from({ length: 8 }, (_, i) => [put(`new${i}`, 'x'.repeat(80))]);
    for (const batch of meanwhile)
      await tree.write(batch, { durability: random.pick(['sync', 'buffered'] as const) });
    if ((await dropping) > 0) least = before.length;
    const now = stateOf(tree);
    await tree.close();
    isArmed = false;
    const gone = [...full.keys()].filter((key) => !now.has(key)).map(remove);
    const plain = prefixes(before.concat(meanwhile));
    const withRemoval = prefixes([...before, gone, ...meanwhile]).slice(before.length + 1);
    for (const { disk: cut, least: promised } of cuts) {
      const recovered = await openTree(cut, options);
      const found = renderTree(recovered);
      assert.equal((await recovered.verify()).problems, []);
      await recovered.close();
      const isDone = withRemoval.includes(found);
      assert.ok(isDone || plain.includes(found), `seed ${seed}: no prefix\n${found}`);
      if (promised > 0) assert.ok(isDone, `seed ${seed}: the removal was said to be done`);
      if (isDone) withIt++;
      else without++;
    }
  }
  assert.ok(without > 20 && withIt > 20, `${without} without, ${withIt} with it`);
});

function prefixes(batches: readonly (readonly Operation[])[]): string[] {
  let state: State = new Map();
  return [render(state)].concat(
    batches.map((batch) => {
      state = after(state, batch);
      return render(state);
    }),
  );
}

test('a MANIFEST that cannot be written: read-only, all is read as before, and after reopening it is all or nothing', async () => {
  for (const code of ['EIO', 'ENOSPC']) {
    const disk = new SimDisk();
    let fails = false;
    const env = processEnv(1, disk, {
      fault: ({ kind, path }) =>
        fails && /write|sync/.test(kind) && path.includes('MANIFEST')
          ? systemError(code, kind, path)
          : undefined,
    });
    const tree = await treeOfTables(disk, env);
    const before = renderTree(tree);
    fails = true;
    assert.is(await tree.dropTables({}).then(() => 'done', errorCode), 'LSM_READ_ONLY');
    assert.is(renderTree(tree), before);
    assert.is(tree.stats().isReadOnly, true);
    await tree.close().catch(() => {});
    const again = await openTree(disk, QUIET);
    assert.ok(['', before].includes(renderTree(again)));
    assert.equal((await again.verify()).problems, []);
    await again.close();
  }
});

test('closing meanwhile: the removal is done or refused, and the tree opens', async () => {
  for (let turns = 0; turns < 12; turns++) {
    const disk = new SimDisk();
    const latency = () => new Promise<void>((resolve) => setImmediate(resolve));
    const tree = await treeOfTables(disk, processEnv(1, disk, { latency }));
    await tree.write([put('g', 'in the memtable')]);
    const result = tree.dropTables({}).then((tables) => tables > 0, errorCode);
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
    await tree.close();
    const outcome = await result;
    const again = await openTree(disk, QUIET);
    if (outcome === true) assert.is(renderTree(again), '');
    else {
      assert.ok(outcome === 'LSM_CLOSED' || outcome === 'LSM_READ_ONLY', String(outcome));
      assert.ok(['', 13].includes(stateOf(again).size || ''));
    }
    await again.close();
  }
});

test('refused: a bound that is none, a closed tree', async () => {
  const tree = await treeOfTables(new SimDisk());
  const bad = { gte: 'text' } as unknown as { gte: Uint8Array };
  assert.is(await tree.dropTables(bad).then(() => 'done', errorCode), 'LSM_INVALID');
  await tree.close();
  assert.is(await tree.dropTables({}).then(() => 'done', errorCode), 'LSM_CLOSED');
});

test('the range that was passed may change afterwards', async () => {
  const tree = await treeOfTables(new SimDisk());
  await tree.write([put('g', 'to be flushed')]);
  const lte = Buffer.from('c2');
  const dropping = tree.dropTables({ lte });
  lte.fill(0xff);
  assert.is(await dropping, 3);
  await tree.close();
});

test.run();
