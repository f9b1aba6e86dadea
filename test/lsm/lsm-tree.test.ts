import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { type LsmOptions, LsmTree, type Operation } from '../../src/lsm/index.js';
import {
  DIRECTORY,
  eventually,
  openTree,
  processEnv,
  put,
  randomBatches,
  remove,
  renderTree,
  SeededRandom,
  SimDisk,
  statesOf,
} from './tree-lab.js';

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => undefined,
    (error: unknown) => errorCode(error) ?? String(error),
  );
}

function names(disk: SimDisk, pattern: RegExp): string[] {
  return disk
    .mount()
    .list(DIRECTORY)
    .filter((name) => pattern.test(name));
}

test('a write resolves to its last sequence, and sequences go on after reopening', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  assert.is(await tree.write([put('a', '1'), put('b', '2')]), 2);
  assert.is(await tree.write([remove('a')]), 3);
  await tree.close();
  const again = await openTree(disk);
  assert.is(again.lastSequence, 3);
  assert.is(again.durableSequence, 3);
  assert.is(await again.write([put('c', '')]), 4);
  assert.is(renderTree(again), 'b=2\nc=');
  await again.close();
});

test('writes under way together take effect in the order of the calls', async () => {
  const tree = await openTree(new SimDisk());
  const sequences = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      tree.write([put('key', String(i))], { durability: i % 2 ? 'sync' : 'buffered' }),
    ),
  );
  assert.equal(
    sequences,
    Array.from({ length: 50 }, (_, i) => i + 1),
  );
  assert.is(tree.getSync(Buffer.from('key'))?.toString(), '49');
  await tree.close();
});

test('the bytes of a write may be changed as soon as the call has returned', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  const key = Buffer.from('key');
  const value = Buffer.from('value');
  const written = tree.write([{ type: 'put', key, value }]);
  key.fill(0);
  value.fill(0);
  await written;
  assert.is(renderTree(tree), 'key=value');
  await tree.close();
});

test('large batches, whose memory is used again, keep their own bytes, also when several wait at once', async () => {
  const disk = new SimDisk();
  const sizes = [200_000, 140_000, 131_072, 1_100_000, 150_000];
  const tree = await openTree(disk, { writeBufferBytes: 8 << 20 });
  const writeOf = (size: number, n: number) =>
    tree.write([put(`a${n}`, String(n).repeat(size)), put(`b${n}`, 'b')]);
  await Promise.all(sizes.map(writeOf));
  for (const n of [2, 1]) await writeOf(sizes[n] as number, n);
  await tree.close();
  const again = await openTree(disk, { writeBufferBytes: 8 << 20 });
  for (const [n, size] of sizes.entries()) {
    const isWhole = again.getSync(Buffer.from(`a${n}`))?.equals(Buffer.alloc(size, String(n)));
    assert.is(isWhole, true, `batch ${n}`);
    assert.is(again.getSync(Buffer.from(`b${n}`))?.toString(), 'b');
  }
  await again.close();
});

test('durable and flushed sequences say what survives a power cut', async () => {
  const disk = new SimDisk();
  const flushes: number[] = [];
  const tree = await openTree(disk, {
    listener: { flushed: (event) => flushes.push(event.flushedSequence) },
  });
  await tree.write([put('a', '1')], { durability: 'buffered' });
  assert.is(tree.durableSequence, 0);
  await tree.write([put('b', '2')], { durability: 'sync' });
  assert.is(tree.durableSequence, 2);
  assert.is(tree.flushedSequence, 0);
  await tree.write([put('c', '3')], { durability: 'buffered' });
  assert.is(tree.durableSequence, 2);
  assert.is(await tree.flush(), 3);
  assert.is(tree.flushedSequence, 3);
  assert.equal(flushes, [3]);
  await tree.close();
});

test('recovery replays what is not in tables, batch by batch, in order', async () => {
  const disk = new SimDisk();
  const batches = randomBatches(new SeededRandom(8), 40, 20);
  const tree = await openTree(disk);
  for (const batch of batches) await tree.write(batch);
  const { flushedSequence } = tree;
  assert.ok(flushedSequence > 0);
  await tree.close();
  const replayed: [number, number][] = [];
  const again = await openTree(disk, {
    replayed: (operations: readonly Operation[], lastSequence: number) => {
      replayed.push([lastSequence - operations.length + 1, lastSequence]);
    },
  });
  assert.is(replayed[0]?.[0], flushedSequence + 1);
  for (let i = 1; i < replayed.length; i++) assert.is(replayed[i]?.[0], (replayed[i - 1]?.[1] ?? 0) + 1);
  assert.is(replayed.at(-1)?.[1], again.lastSequence);
  assert.is(renderTree(again), statesOf(batches).at(-1));
  await again.close();
});

test('without a WAL: writeSync is at once, close flushes, a kill loses what was not flushed', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, { durability: 'none' });
  assert.is(tree.writeSync([put('a', '1'), put('b', '2')]), 2);
  assert.is(await tree.flush(), 2);
  assert.is(tree.writeSync([put('c', '3')]), 3);
  assert.is(tree.durableSequence, 2);
  const killed = disk.clone();
  await tree.close();
  assert.equal(names(disk, /^wal-/), []);
  const survivor = await openTree(killed, { durability: 'none' });
  assert.is(renderTree(survivor), 'a=1\nb=2');
  await survivor.close();
  const closed = await openTree(disk, { durability: 'none' });
  assert.is(renderTree(closed), 'a=1\nb=2\nc=3');
  assert.is(closed.lastSequence, 3);
  await closed.close();
});

test('a tree may be opened with and without a WAL in turn', async () => {
  const disk = new SimDisk();
  let expected = '';
  for (const durability of ['sync', 'none', 'buffered', 'none', 'none', 'sync'] as const) {
    const tree = await openTree(disk, { durability });
    assert.is(renderTree(tree), expected);
    await tree.write([put(`key ${tree.lastSequence}`, durability)]);
    expected = renderTree(tree);
    await tree.close();
  }
  assert.is(expected.split('\n').length, 6);
});

test('writeSync in a tree with a WAL is refused', async () => {
  const tree = await openTree(new SimDisk());
  assert.throws(
    () => tree.writeSync([put('a', '')]),
    (error: { code?: string }) => error.code === 'LSM_INVALID',
  );
  await tree.close();
});

test('what is not accepted is refused before anything happens', async () => {
  const tree = await openTree(new SimDisk());
  const value = Buffer.from('value');
  assert.is(await codeOf(tree.write([])), 'LSM_INVALID');
  assert.is(await codeOf(tree.write([{ type: 'put', key: Buffer.alloc(65_537), value }])), 'LSM_INVALID');
  const text = { type: 'put', key: 'text', value } as unknown as Operation;
  assert.is(await codeOf(tree.write([put('a', ''), text])), 'LSM_INVALID');
  const unknown = { type: 'merge', key: value } as unknown as Operation;
  assert.is(await codeOf(tree.write([unknown])), 'LSM_INVALID');
  assert.is(tree.lastSequence, 0);
  await tree.write([{ type: 'put', key: Buffer.alloc(65_536, 'k'), value }, put('', 'empty key')]);
  assert.is(tree.getSync(Buffer.alloc(65_536, 'k'))?.toString(), 'value');
  await tree.flush();
  assert.is(tree.getSync(Buffer.alloc(65_536, 'k'))?.toString(), 'value');
  assert.is(tree.getSync(Buffer.alloc(0))?.toString(), 'empty key');
  await tree.close();
});

test('options out of their limits are refused by name', async () => {
  const cases: [LsmOptions, RegExp][] = [
    [{ writeBufferBytes: 10 }, /writeBufferBytes is 10; a whole number from 1024/],
    [{ blockBytes: 1.5 }, /blockBytes is 1.5/],
    [{ bloomBitsPerKey: -1 }, /bloomBitsPerKey is -1/],
    [{ maxFileBytes: Number.NaN }, /maxFileBytes is NaN/],
    [{ level0Trigger: 20 }, /level0StopTrigger is 4; at least level0Trigger, 20/],
    [{ durability: 'never' as 'none' }, /durability is never/],
    [{ blockCacheBytes: -1 }, /blockCacheBytes is -1/],
    [{ writeBufferBytes: '8 MiB' as unknown as number }, /writeBufferBytes is 8 MiB/],
    [{ stepBudgetMs: Number.POSITIVE_INFINITY }, /stepBudgetMs is Infinity/],
    [{ codecs: [] }, /codecs is ; a list of none and lz4/],
    [{ codecs: 'lz4' as unknown as [] }, /codecs is lz4; a list of none and lz4/],
    [{ codecs: ['zip' as 'lz4'] }, /codecs is zip/],
    [{ worker: 'no' as unknown as boolean }, /worker is no; true or false/],
    [
      { writebufferbytes: 4096 } as LsmOptions,
      /option writebufferbytes is not known; there are writeBufferBytes, /,
    ],
  ];
  for (const [options, message] of cases) {
    const error = await openTree(new SimDisk(), options).catch((reason) => reason);
    assert.is(errorCode(error), 'LSM_INVALID');
    assert.match(String(error), message);
  }
});

test('createIfMissing and errorIfExists are held, and under the lock', async () => {
  const disk = new SimDisk();
  const env = processEnv(1, disk);
  const open = (options: LsmOptions) => LsmTree.open(DIRECTORY, { env, ...options });
  assert.is(await codeOf(open({ createIfMissing: false })), 'LSM_MISSING');
  assert.not.ok(disk.mount().exists(DIRECTORY), 'nothing was made');
  // Of two that want to be the first, one is; the other must not take what that one has made for nobody's.
  const both = await Promise.all(
    [1, 2].map((number) =>
      open({ errorIfExists: true }).then(
        async (tree) => {
          await tree.write([put('by', String(number))]);
          return tree;
        },
        (error: unknown) => errorCode(error),
      ),
    ),
  );
  const [winner, loser] = both;
  assert.ok(winner instanceof LsmTree);
  assert.is(loser, 'LSM_LOCKED');
  await winner.close();
  assert.is(await codeOf(open({ errorIfExists: true })), 'LSM_EXISTS');
  const tree = await open({ createIfMissing: false });
  assert.is(renderTree(tree), 'by=1');
  await tree.close();
});

test('a tree without its MANIFEST is damaged, not missing', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  await tree.write([put('a', '1')]);
  await tree.close();
  for (const name of names(disk, /^MANIFEST/)) disk.mount().unlink(`${DIRECTORY}/${name}`);
  for (const options of [{}, { createIfMissing: false }]) {
    assert.is(await codeOf(openTree(disk, options)), 'CORRUPTION');
  }
  assert.is(await codeOf(openTree(disk, { errorIfExists: true })), 'LSM_EXISTS');
});

test('what is no key, range, limit, durability or snapshot is refused by name', async () => {
  const tree = await openTree(new SimDisk());
  const other = await openTree(new SimDisk());
  await tree.write([put('a', '1')]);
  await other.write([put('a', '2')]);
  const text = 'a' as unknown as Buffer;
  const key = Buffer.from('a');
  const refused = async (what: string, call: () => unknown, message: RegExp) => {
    try {
      await call();
    } catch (error) {
      assert.is(errorCode(error), 'LSM_INVALID', what);
      assert.match(String(error), message);
      return;
    }
    assert.unreachable(what);
  };
  await refused('getSync', () => tree.getSync(text), /a key must be a Uint8Array/);
  await refused('hasSync', () => tree.hasSync(text), /a key must be/);
  await refused('get', () => tree.get(text), /a key must be/);
  await refused('getMany', () => tree.getMany([key, text]), /a key must be/);
  await refused('iterator', () => tree.iterator({ lte: text }), /lte must be/);
  await refused('limit', () => tree.iterator({ limit: -1 }), /limit is -1/);
  await refused('limit', () => tree.iterator({ limit: Number.NaN }), /limit is NaN/);
  await refused('approximateSize', () => tree.approximateSize({ smallest: text }), /smallest must be/);
  await refused('compactRange', () => tree.compactRange({ largest: text }), /largest must be/);
  const durability = 'fast' as 'sync';
  await refused(
    'write',
    () => tree.write([put('b', '')], { durability }),
    /durability is fast; sync or buffered/,
  );
  // One of another tree says nothing here, although both have the same sequence.
  const [own, foreign] = [tree.snapshot(), other.snapshot()];
  assert.is(own.sequence, foreign.sequence);
  await refused('snapshot', () => tree.getSync(key, { snapshot: foreign }), /of another tree/);
  const second = tree.snapshot();
  own.release();
  own.release();
  await refused('released', () => tree.getSync(key, { snapshot: own }), /was released/);
  assert.is(tree.getSync(key, { snapshot: second })?.toString(), '1', 'released twice is released once');
  assert.is(tree.stats().snapshots, 1);
  await tree.close();
  second.release();
  await other.close();
});

test('a second opener is refused while the first lives, in the same process too', async () => {
  const disk = new SimDisk();
  const env = processEnv(1, disk);
  const tree = await LsmTree.open(DIRECTORY, { env });
  assert.is(await codeOf(LsmTree.open(DIRECTORY, { env })), 'LSM_LOCKED');
  await tree.close();
  const again = await LsmTree.open(DIRECTORY, { env });
  await again.close();
});

test('after close everything but close is refused', async () => {
  const tree = await openTree(new SimDisk());
  await Promise.all([tree.close(), tree.close()]);
  assert.is(await codeOf(tree.write([put('a', '')])), 'LSM_CLOSED');
  assert.is(await codeOf(tree.get(Buffer.from('a'))), 'LSM_CLOSED');
  assert.is(await codeOf(tree.flush()), 'LSM_CLOSED');
  assert.throws(() => tree.iterator(), /closed/);
  assert.throws(() => tree.snapshot(), /closed/);
});

test('close finishes the writes under way', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  const writes = Array.from({ length: 30 }, (_, i) => tree.write([put(`key${i}`, 'x'.repeat(100))]));
  const closing = tree.close();
  await Promise.all(writes);
  await closing;
  const again = await openTree(disk);
  assert.is(renderTree(again).split('\n').length, 30);
  await again.close();
});

test('without a WAL close refuses the writes that wait: none is acknowledged and then lost', async () => {
  const disk = new SimDisk();
  const options: LsmOptions = { durability: 'none', maxFrozenMemtables: 1 };
  const tree = await openTree(disk, options);
  const outcomes = Array.from({ length: 12 }, (_, i) =>
    codeOf(tree.write([put(`key${i}`, 'x'.repeat(600))])).then((code) => code ?? 'written'),
  );
  assert.ok(tree.stats().waitingWrites > 0);
  await tree.close();
  const told = await Promise.all(outcomes);
  const again = await openTree(disk, options);
  const found = told.map((_, i) => (again.hasSync(Buffer.from(`key${i}`)) ? 'written' : 'LSM_CLOSED'));
  assert.equal(told, found);
  assert.ok(told.includes('written') && told.includes('LSM_CLOSED'));
  await again.close();
});

test('writes wait while flush is behind, visibly, in order, and up to a limit', async () => {
  const disk = new SimDisk();
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const reasons: unknown[] = [];
  const env = processEnv(1, disk, {
    latency: ({ path }) => (path.endsWith('.sst') ? gate : Promise.resolve()),
  });
  const options: LsmOptions = {
    maxWaitingBytes: 8192,
    maxFrozenMemtables: 1,
    listener: { stalled: (reason) => reasons.push(reason) },
  };
  const tree = await openTree(disk, options, env);
  const value = 'x'.repeat(500);
  for (let i = 0; !tree.stallReason; i++) await tree.write([put(`before ${i}`, value)]);
  assert.is(tree.stallReason, 'memtables');
  const order: number[] = [];
  const waiting = Array.from({ length: 10 }, (_, i) =>
    tree.write([put('waits', String(i)), put('filler', value)]).then(() => order.push(i)),
  );
  assert.is(tree.stats().waitingWrites, 10);
  assert.is(await codeOf(tree.write([put('too much', 'x'.repeat(5000))])), 'LSM_BUSY');
  assert.is(tree.getSync(Buffer.from('waits')), undefined);
  open();
  await Promise.all(waiting);
  assert.equal(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.is(tree.getSync(Buffer.from('waits'))?.toString(), '9');
  await tree.flush();
  assert.is(tree.stallReason, undefined);
  assert.is(reasons[0], 'memtables');
  assert.is(reasons.at(-1), undefined);
  await tree.close();
});

test('without a WAL room() waits for the flush', async () => {
  const tree = await openTree(new SimDisk(), { durability: 'none', maxFrozenMemtables: 1 });
  for (let i = 0; i < 300; i++) {
    if (tree.stallReason) await tree.room();
    tree.writeSync([put(`key${i}`, 'x'.repeat(100))]);
    assert.ok(tree.stats().frozenMemtables <= 1);
    assert.ok(tree.stats().memtableBytes < 2048);
  }
  await tree.close();
});

test('what deletions leave is reclaimed: the tree is empty again, on disk too', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  for (let i = 0; i < 200; i++)
    await tree.write([put(`key${i}`, 'x'.repeat(50))], { durability: 'buffered' });
  for (let i = 0; i < 200; i++) await tree.write([remove(`key${i}`)], { durability: 'buffered' });
  await tree.compactRange();
  await eventually(() => names(disk, /\.sst$/).length === 0);
  assert.is(tree.stats().entries, 0);
  await tree.close();
});

test('the levels keep their sizes, and no table of the past stays', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  for (const batch of randomBatches(new SeededRandom(5), 400, 300))
    await tree.write(batch, { durability: 'buffered' });
  await tree.flush();
  await eventually(() =>
    tree.stats().levels.every((level, i) => (i === 0 ? level.files < 2 : level.bytes <= 1024 * 2 ** (i - 1))),
  );
  const files = tree.stats().levels.reduce((sum, level) => sum + level.files, 0);
  await eventually(() => names(disk, /\.sst$/).length === files);
  assert.ok(tree.stats().openTables <= 16);
  await tree.close();
});

test('approximateSize grows with the range', async () => {
  const tree = await openTree(new SimDisk());
  for (let i = 100; i < 300; i++)
    await tree.write([put(`key${i}`, 'x'.repeat(50))], { durability: 'buffered' });
  await tree.flush();
  const key = (number: number) => Buffer.from(`key${number}`);
  const all = tree.approximateSize();
  const half = tree.approximateSize({ smallest: key(100), largest: key(200) });
  assert.ok(half > all * 0.3 && half < all * 0.7, `${half} of ${all}`);
  assert.is(tree.approximateSize({ smallest: key(900) }), 0);
  await tree.close();
});

test('approximateSize opens no table but those that the range cuts', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  const key = (number: number) => Buffer.from(`key${number}`);
  for (let i = 100; i < 400; i++)
    await tree.write([put(`key${i}`, 'x'.repeat(50))], { durability: 'buffered' });
  await tree.compactRange();
  await tree.close();
  const again = await openTree(disk);
  const files = again.stats().levels.reduce((sum, level) => sum + level.files, 0);
  assert.ok(files > 8, `${files} files`);
  assert.is(
    again.approximateSize(),
    again.stats().levels.reduce((sum, level) => sum + level.bytes, 0),
  );
  assert.is(again.approximateSize({ largest: Buffer.from('a') }), 0);
  assert.is(again.stats().openTables, 0);
  assert.ok(again.approximateSize({ smallest: key(200), largest: key(300) }) > 0);
  assert.ok(again.stats().openTables <= 2);
  await again.close();
});

test('approximateSize counts what is in memory', async () => {
  const tree = await openTree(new SimDisk(), { writeBufferBytes: 1 << 20 });
  const key = (number: number) => Buffer.from(`key${number}`);
  assert.is(tree.approximateSize(), 0);
  const random = new SeededRandom(3);
  const numbers = Array.from({ length: 900 }, (_, i) => i + 100);
  for (let left = numbers.length; left > 0; left--) {
    const [number = 0] = numbers.splice(random.between(0, left - 1), 1);
    await tree.write([put(`key${number}`, 'x'.repeat(50))], { durability: 'buffered' });
  }
  assert.is(tree.stats().flushes, 0);
  const all = tree.approximateSize();
  assert.is(all, tree.stats().memtableBytes);
  const third = tree.approximateSize({ smallest: key(300), largest: key(599) });
  assert.ok(third > all * 0.2 && third < all * 0.5, `${third} of ${all}`);
  const one = tree.approximateSize({ smallest: key(400), largest: key(400) });
  assert.ok(one > 0 && one < all / 100, `${one} of ${all}`);
  assert.is(tree.approximateSize({ smallest: Buffer.from('l') }), 0);
  assert.is(tree.approximateSize({ largest: Buffer.from('k') }), 0);
  assert.is(tree.approximateSize({ smallest: key(599), largest: key(300) }), 0, 'turned round');
  await tree.close();
});

test('hasSync agrees with getSync, from memory and from tables, now and at a snapshot', async () => {
  const tree = await openTree(new SimDisk(), { maxFrozenMemtables: 4 });
  const random = new SeededRandom(4);
  const keys = Array.from({ length: 32 }, (_, i) => Buffer.from(`key${String(i).padStart(3, '0')}`));
  let [found, missing] = [0, 0];
  for (const batch of randomBatches(random, 120, 30)) {
    const snapshot = tree.snapshot();
    await tree.write(batch, { durability: 'buffered' });
    for (const options of [{}, { snapshot }]) {
      for (const key of keys) {
        const has = tree.hasSync(key, options);
        assert.is(has, tree.getSync(key, options) !== undefined);
        if (has) found++;
        else missing++;
      }
    }
    snapshot.release();
  }
  assert.ok(found > 500 && missing > 500, `${found} found, ${missing} missing`);
  await tree.write([put('empty', '')]);
  assert.ok(tree.hasSync(Buffer.from('empty')));
  await tree.close();
  assert.throws(() => tree.hasSync(keys[0] as Buffer), /closed/);
});

test('a flush drops tombstones that hide nothing, and no others', async () => {
  const tree = await openTree(new SimDisk(), {
    writeBufferBytes: 1 << 20,
    level0Trigger: 100,
    level0StopTrigger: 200,
  });
  const left = async () => {
    await tree.flush();
    const { entries, tombstones, levels } = tree.stats();
    return [entries, tombstones, levels[0]?.files];
  };
  await tree.write([put('a', '1'), put('b', '1'), remove('a'), remove('b'), remove('never')]);
  assert.equal(await left(), [0, 0, 0], 'no table is made');
  await tree.write([put('d', '1'), put('f', '1')]);
  assert.equal(await left(), [2, 0, 1]);
  await tree.write([remove('c'), remove('e'), remove('f'), remove('g')]);
  assert.equal(await left(), [4, 2, 2], 'e and f lie in the range of a table');
  const snapshot = tree.snapshot();
  await tree.write([put('x', '1')]);
  const later = tree.snapshot();
  await tree.write([remove('x')]);
  assert.equal(await left(), [6, 3, 3], 'what a snapshot sees stays, and what hides it');
  assert.is(tree.getSync(Buffer.from('x'), { snapshot: later })?.toString(), '1');
  assert.equal(
    [...tree.iterator()].map(({ key }) => key.toString()),
    ['d'],
  );
  snapshot.release();
  later.release();
  await tree.close();
});

test.run();
