/** Reads of every kind against a model, under many option sets, while flush and compaction go on below. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compareBytes } from '../../src/lsm/base/bytes.js';
import type { Entry, IteratorOptions, LsmIterator, LsmOptions, Snapshot } from '../../src/lsm/index.js';
import {
  after,
  eventually,
  openTree,
  put,
  randomBatches,
  remove,
  SeededRandom,
  SimDisk,
  type State,
} from './tree-lab.js';

const OPTION_SETS: Record<string, LsmOptions> = {
  'tiny files': {},
  'no bloom filter, whole keys': { bloomBitsPerKey: 0, restartInterval: 1 },
  'one memtable': { writeBufferBytes: 1 << 20 },
  'no block cache': { blockCacheBytes: 0 },
  'large blocks, deep levels': { blockBytes: 4096, levelBaseBytes: 1024, maxFileBytes: 2048 },
  'no WAL': { durability: 'none' },
};

function text(entries: Iterable<Entry>): string[] {
  return [...entries].map(({ key, value }) => `${key.toString('latin1')}=${value.toString('latin1')}`);
}

function expected(state: State, options: IteratorOptions): string[] {
  const { gt, gte, lt, lte, reverse, limit } = options;
  const lines = [...state]
    .map(([key, value]) => ({ key: Buffer.from(key, 'latin1'), value: Buffer.from(value, 'latin1') }))
    .filter(
      ({ key }) =>
        (gt === undefined || compareBytes(key, gt) > 0) &&
        (gte === undefined || compareBytes(key, gte) >= 0) &&
        (lt === undefined || compareBytes(key, lt) < 0) &&
        (lte === undefined || compareBytes(key, lte) <= 0),
    )
    .sort((a, b) => compareBytes(a.key, b.key));
  return text(reverse ? lines.reverse() : lines).slice(0, limit);
}

function randomRange(random: SeededRandom): IteratorOptions {
  const key = () => {
    const existing = `key${String(random.between(0, 60)).padStart(3, '0')}`;
    return Buffer.from(random.pick([existing, existing.slice(0, random.between(0, 6)), `${existing}~`]));
  };
  return {
    ...(random.chance(0.3) ? { gt: key() } : {}),
    ...(random.chance(0.3) ? { gte: key() } : {}),
    ...(random.chance(0.3) ? { lt: key() } : {}),
    ...(random.chance(0.3) ? { lte: key() } : {}),
    ...(random.chance(0.3) ? { limit: random.between(0, 10) } : {}),
    reverse: random.chance(0.5),
  };
}

for (const [name, options] of Object.entries(OPTION_SETS)) {
  test(`${name}: gets, ranges, snapshots and open iterators agree with the model`, async () => {
    const random = new SeededRandom(21);
    const tree = await openTree(new SimDisk(), options);
    let state: State = new Map();
    const snapshots: { snapshot: Snapshot; state: State }[] = [];
    const open: { iterator: LsmIterator; rest: string[] }[] = [];
    for (const batch of randomBatches(random, 250, 60)) {
      await tree.write(batch, { durability: 'buffered' });
      state = after(state, batch);
      if (random.chance(0.1)) snapshots.push({ snapshot: tree.snapshot(), state });
      if (random.chance(0.1) && snapshots.length > 0) {
        const [released] = snapshots.splice(random.between(0, snapshots.length - 1), 1);
        released?.snapshot.release();
      }
      if (random.chance(0.1)) {
        const range = randomRange(random);
        open.push({ iterator: tree.iterator(range), rest: expected(state, range) });
      }
      if (random.chance(0.05)) await tree.flush();
      if (random.chance(0.02)) await tree.compactRange();
      for (const { iterator, rest } of open.filter(() => random.chance(0.2))) {
        assert.equal(text(iterator.nextMany(3)), rest.splice(0, 3));
      }
      for (let i = 0; i < 3; i++) {
        const source = random.pick([{ snapshot: undefined, state }, ...snapshots]);
        const read = source.snapshot ? { snapshot: source.snapshot } : {};
        const range = randomRange(random);
        assert.equal(text(tree.iterator({ ...range, ...read })), expected(source.state, range));
        const key = `key${String(random.between(0, 65)).padStart(3, '0')}`;
        assert.is(tree.getSync(Buffer.from(key), read)?.toString('latin1'), source.state.get(key));
      }
    }
    for (const { iterator, rest } of open) assert.equal(text(iterator), rest);
    for (const { snapshot, state: past } of snapshots) {
      assert.equal(text(tree.iterator({ snapshot })), expected(past, {}));
    }
    assert.equal((await tree.verify()).problems, []);
    await tree.close();
  });
}

test('reverse is forward flipped, over the whole tree', async () => {
  const tree = await openTree(new SimDisk());
  for (const batch of randomBatches(new SeededRandom(3), 150, 80)) await tree.write(batch);
  assert.equal(text(tree.iterator({ reverse: true })).reverse(), text(tree.iterator()));
  await tree.close();
});

test('100 snapshots live at once, each with its own state, through flush and compaction', async () => {
  const tree = await openTree(new SimDisk());
  const snapshots: Snapshot[] = [];
  for (let i = 0; i < 100; i++) {
    await tree.write([put('counter', String(i)), i % 3 === 0 ? remove('flag') : put('flag', String(i))]);
    snapshots.push(tree.snapshot());
  }
  await tree.compactRange();
  snapshots.forEach((snapshot, i) => {
    assert.is(tree.getSync(Buffer.from('counter'), { snapshot })?.toString(), String(i));
    assert.is(
      tree.getSync(Buffer.from('flag'), { snapshot })?.toString(),
      i % 3 === 0 ? undefined : String(i),
    );
  });
  for (const snapshot of snapshots) snapshot.release();
  await tree.write([put('counter', 'last'), put('flag', 'last')]);
  await tree.compactRange();
  assert.is(tree.stats().entries, 2);
  await tree.close();
});

test('an iterator that is open keeps its files, and the files go when it closes', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  for (let i = 0; i < 40; i++) await tree.write([put(`key${String(i).padStart(2, '0')}`, 'x'.repeat(60))]);
  await tree.flush();
  const iterator = tree.iterator();
  assert.is(iterator.next()?.key.toString(), 'key00');
  for (let i = 0; i < 40; i++) await tree.write([remove(`key${String(i).padStart(2, '0')}`)]);
  await tree.compactRange();
  const files = () =>
    disk
      .mount()
      .list('/data/tree')
      .filter((name) => name.endsWith('.sst')).length;
  assert.ok(files() > 0);
  assert.is([...iterator].length, 39);
  await eventually(() => files() === 0);
  assert.equal(text(tree.iterator()), []);
  await tree.close();
});

test('seek goes anywhere within the bounds, in both directions', async () => {
  const tree = await openTree(new SimDisk());
  for (const key of ['b', 'd', 'f', 'h']) await tree.write([put(key, key)]);
  await tree.flush();
  for (const key of ['a', 'c', 'e', 'g']) await tree.write([put(key, key)]);
  const at = (iterator: LsmIterator, key: string) => {
    iterator.seek(Buffer.from(key));
    return iterator.next()?.key.toString();
  };
  const forward = tree.iterator({ gte: Buffer.from('b'), lt: Buffer.from('g') });
  assert.is(at(forward, 'd'), 'd');
  assert.is(forward.next()?.key.toString(), 'e');
  assert.is(at(forward, 'a'), 'b');
  assert.is(at(forward, 'ee'), 'f');
  forward.close();
  const reverse = tree.iterator({ gt: Buffer.from('b'), lte: Buffer.from('f'), reverse: true });
  assert.is(at(reverse, 'd'), 'd');
  assert.is(reverse.next()?.key.toString(), 'c');
  assert.is(at(reverse, 'z'), 'f');
  assert.is(at(reverse, 'b'), undefined);
  await tree.close();
});

test('what an iterator and a get hand out is the caller’s own', async () => {
  const tree = await openTree(new SimDisk());
  await tree.write([put('a', 'value'), put('b', 'value')]);
  const spoil = () => {
    for (const { key, value } of tree.iterator()) {
      key.fill(0);
      value.fill(0);
    }
    tree.getSync(Buffer.from('a'))?.fill(0);
  };
  spoil();
  await tree.flush();
  spoil();
  assert.equal(text(tree.iterator()), ['a=value', 'b=value']);
  assert.is(tree.getSync(Buffer.from('a'))?.toString(), 'value');
  await tree.close();
});

test('a get takes its moment when it is called', async () => {
  const tree = await openTree(new SimDisk(), { durability: 'none' });
  tree.writeSync([put('a', '1')]);
  const before = tree.get(Buffer.from('a'));
  tree.writeSync([put('a', '2')]);
  assert.is((await before)?.toString(), '1');
  const many = await tree.getMany([Buffer.from('a'), Buffer.from('b')]);
  assert.equal(many.map(String), ['2', 'undefined']);
  await tree.close();
});

test('the asynchronous form walks the same entries; leaving it early closes it', async () => {
  const tree = await openTree(new SimDisk());
  for (let i = 0; i < 30; i++) await tree.write([put(`key${String(i).padStart(2, '0')}`, String(i))]);
  const seen: string[] = [];
  for await (const { key } of tree.iterator({ reverse: true })) {
    seen.push(key.toString());
    if (seen.length === 5) break;
  }
  assert.equal(seen, ['key29', 'key28', 'key27', 'key26', 'key25']);
  await tree.close();
});

test('after close an open iterator says so', async () => {
  const tree = await openTree(new SimDisk());
  await tree.write([put('a', '1')]);
  await tree.flush();
  const iterator = tree.iterator();
  await tree.close();
  assert.throws(
    () => iterator.next(),
    (error: { code?: string }) => error.code === 'LSM_CLOSED',
  );
  iterator.close();
});

test.run();
