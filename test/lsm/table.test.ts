import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Codec } from '../../src/lsm/base/block-codec.js';
import { compareBytes, orderPrefix, writeVarint } from '../../src/lsm/base/bytes.js';
import { AFTER_ALL_VERSIONS, BEFORE_ALL_VERSIONS, type Cursor } from '../../src/lsm/base/cursor.js';
import { hashKey } from '../../src/lsm/base/key-hash.js';
import { Memtable } from '../../src/lsm/memtable/memtable.js';
import { RunCursor } from '../../src/lsm/read/run-cursor.js';
import { BlockBuilder } from '../../src/lsm/table/block-builder.js';
import { BlockCache, NO_SLOT } from '../../src/lsm/table/block-cache.js';
import { BlockCursor } from '../../src/lsm/table/block-cursor.js';
import { separatorBetween } from '../../src/lsm/table/sparse-index.js';
import { TableBuilder } from '../../src/lsm/table/table-builder.js';
import { TableCache } from '../../src/lsm/table/table-cache.js';
import { TableFile, tableName } from '../../src/lsm/table/table-file.js';
import { TableFilter } from '../../src/lsm/table/table-filter.js';
import { DIRECTORY, processEnv, SeededRandom, SimDisk } from './tree-lab.js';

interface Item {
  readonly key: Buffer;
  readonly sequence: number;
  readonly value: Buffer | undefined;
}

function inOrder(a: Item, b: Item): number {
  return compareBytes(a.key, b.key) || b.sequence - a.sequence;
}

function randomItems(random: SeededRandom, count: number): Item[] {
  const items: Item[] = [];
  for (let i = 1; i <= count; i++) {
    const key = Buffer.from(
      random.pick(['', 'a', 'prefix/']) + 'k'.repeat(random.between(0, 3)) + random.between(0, count / 2),
    );
    const value = random.chance(0.2) ? undefined : random.bytes(random.between(0, 90));
    items.push({ key, sequence: i * 1_000_003 * (i % 2 === 0 ? 1 : 3_000_000), value });
  }
  return items.sort((a, b) => a.sequence - b.sequence);
}

function memtableOf(items: readonly Item[]): Memtable {
  const memtable = new Memtable();
  for (const { key, sequence, value } of items) memtable.insertPair(sequence, key, value);
  return memtable;
}

function current(cursor: Cursor): Item | undefined {
  if (!cursor.valid) return undefined;
  return {
    key: Buffer.from(cursor.keyBytes.subarray(cursor.keyStart, cursor.keyEnd)),
    sequence: cursor.sequence,
    value: cursor.deleted
      ? undefined
      : Buffer.from(cursor.valueBytes.subarray(cursor.valueStart, cursor.valueEnd)),
  };
}

function assertWalks(cursor: Cursor, sorted: readonly Item[], random: SeededRandom): void {
  const forward: (Item | undefined)[] = [];
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) forward.push(current(cursor));
  assert.equal(forward, sorted);
  const backward: (Item | undefined)[] = [];
  for (cursor.seekToLast(); cursor.valid; cursor.previous()) backward.push(current(cursor));
  assert.equal(backward.reverse(), sorted);
  for (let i = 0; i < 300; i++) {
    const near = random.pick(sorted);
    const key = random.chance(0.7)
      ? near.key
      : Buffer.from(random.pick(['', 'a~', 'pre', 'zzz', 'prefix/kk5']));
    const sequence = random.pick([BEFORE_ALL_VERSIONS, AFTER_ALL_VERSIONS, near.sequence, near.sequence - 1]);
    const at = sorted.findIndex((item) => inOrder(item, { key, sequence, value: undefined }) >= 0);
    cursor.seek(key, sequence);
    assert.equal(current(cursor), at < 0 ? undefined : sorted[at]);
    cursor.seekBefore(key, sequence);
    assert.equal(current(cursor), at < 0 ? sorted.at(-1) : sorted[at - 1]);
    if (cursor.valid && at > 1) {
      cursor.previous();
      assert.equal(current(cursor), sorted[at - 2]);
    }
  }
}

for (const restartInterval of [1, 3, 16]) {
  test(`a block gives back its entries, with a restart every ${restartInterval}`, () => {
    const random = new SeededRandom(restartInterval);
    const items = randomItems(random, 200);
    const builder = new BlockBuilder(256, restartInterval);
    const source = memtableOf(items).cursor();
    for (source.seekToFirst(); source.valid; source.next()) {
      const before = builder.sizeBytes;
      const growth = builder.growthBytes(source);
      builder.add(source);
      assert.is(builder.sizeBytes - before, growth);
    }
    const block = builder.finish();
    const cursor = new BlockCursor();
    cursor.setBlock(block, 0, block.length, 'block', 0);
    assertWalks(cursor, [...items].sort(inOrder), random);
  });
}

test('a malformed block with a good checksum is corruption, never a wrong entry beyond its end', () => {
  const random = new SeededRandom(4);
  const builder = new BlockBuilder(256, 4);
  const source = memtableOf(randomItems(random, 30)).cursor();
  for (source.seekToFirst(); source.valid; source.next()) builder.add(source);
  const block = Buffer.from(builder.finish());
  let refused = 0;
  for (let i = 0; i < 3000; i++) {
    const copy = Buffer.from(block);
    copy[random.between(0, copy.length - 1)] = random.between(0, 255);
    const cursor = new BlockCursor();
    try {
      cursor.setBlock(copy, 0, copy.length, 'block', 7);
      for (cursor.seekToFirst(); cursor.valid; cursor.next()) assert.ok(cursor.valueEnd <= copy.length);
    } catch (error) {
      assert.is((error as { code?: string }).code, 'CORRUPTION');
      refused++;
    }
  }
  assert.ok(refused > 100);
});

async function writeTable(
  disk: SimDisk,
  number: number,
  items: readonly Item[],
  blockBytes: number,
  codec: Codec = 'none',
): Promise<TableFile> {
  const env = processEnv(1, disk);
  env.fs.makeDirectory(DIRECTORY);
  const options = { blockBytes, restartInterval: 4, bloomBitsPerKey: 10, codec };
  const builder = new TableBuilder(env, `${DIRECTORY}/${tableName(number)}`, number, options);
  const source = memtableOf(items).cursor();
  for (source.seekToFirst(); source.valid; source.next()) builder.add(source);
  return new TableFile(await builder.finish(() => undefined));
}

for (const [blockBytes, cacheBytes, scan, codec] of [
  [64, 0, false, 'none'],
  [200, 2000, false, 'none'],
  [200, 100_000, true, 'none'],
  [4096, 100_000, false, 'none'],
  [64, 0, false, 'lz4'],
  [200, 2000, false, 'lz4'],
  [1000, 4000, true, 'lz4'],
  [4096, 100_000, false, 'lz4'],
] as const) {
  test(`a table gives back its entries: blocks of ${blockBytes}, cache of ${cacheBytes}${scan ? ', scanned' : ''}, codec ${codec}`, async () => {
    const random = new SeededRandom(blockBytes);
    const disk = new SimDisk();
    const items = randomItems(random, 400);
    const sorted = [...items].sort(inOrder);
    // Cut in two between user keys, as a level is.
    let cut = 200;
    while (sorted[cut]?.key.equals(sorted[cut - 1]?.key ?? Buffer.alloc(0))) cut++;
    const bySequence = (part: Item[]) => part.sort((a, b) => a.sequence - b.sequence);
    const files = [
      await writeTable(disk, 1, bySequence(sorted.slice(0, cut)), blockBytes, codec),
      await writeTable(disk, 2, bySequence(sorted.slice(cut)), blockBytes, codec),
    ];
    const blocks = new BlockCache(cacheBytes, blockBytes + 5);
    const tables = new TableCache(processEnv(1, disk), DIRECTORY, 16, blocks);
    const cursor = new RunCursor(tables, files, { readAheadBytes: 1000, scan });
    assertWalks(cursor, sorted, random);
    cursor.close();
    for (const file of files) assert.is(tables.use(file).pins, 0);
    const point = new BlockCursor();
    for (let i = 0; i < 300; i++) {
      const { key } = random.pick(sorted);
      const file = files.find((candidate) => candidate.covers(key)) as TableFile;
      const sequence = random.pick(sorted).sequence;
      const newest = sorted.find((item) => item.key.equals(key) && item.sequence <= sequence);
      assert.is(tables.use(file).find(key, sequence, point), newest !== undefined);
      if (newest) assert.equal(current(point), newest);
    }
    assert.ok(blocks.sizeBytes <= cacheBytes);
    tables.closeAll();
  });
}

test('where blocks do not shrink few are tried, and where they shrink again soon all are packed', async () => {
  const sizeOf = async (values: readonly Buffer[]): Promise<number> => {
    const env = processEnv(1, new SimDisk());
    env.fs.makeDirectory(DIRECTORY);
    const builder = new TableBuilder(env, `${DIRECTORY}/${tableName(7)}`, 7, {
      ...{ blockBytes: 4096, restartInterval: 16, bloomBitsPerKey: 0, codec: 'lz4' },
    });
    const items = values.map((value, i) => ({ key: Buffer.from(`k${1000 + i}`), sequence: i + 1, value }));
    const cursor = memtableOf(items).cursor();
    for (cursor.seekToFirst(); cursor.valid; cursor.next()) builder.add(cursor);
    const { sizeBytes } = await builder.finish(() => undefined);
    return sizeBytes;
  };
  const random = new SeededRandom(4);
  const noise = (count: number) => Array.from({ length: count }, () => random.bytes(4096));
  const text = (count: number) => Array.from({ length: count }, () => Buffer.alloc(4096, 'text '));
  const textAfterNoise = (await sizeOf([...noise(200), ...text(200)])) - (await sizeOf(noise(200)));
  assert.ok(textAfterNoise > 4 * 4096, 'directly behind much noise some blocks are not tried');
  assert.ok(textAfterNoise < 40 * 4096, 'but only some');
  const textAfterLittleNoise = (await sizeOf([...noise(3), ...text(200)])) - (await sizeOf(noise(3)));
  assert.ok(textAfterLittleNoise < 10 * 4096, 'a few blocks that do not shrink change nothing');
});

test('the filter knows every key of the table, and few others', () => {
  const filter = TableFilter.sizedFor(10_000, 10);
  const hash = { first: 0, second: 0 };
  const hashOf = (text: string) => {
    const key = Buffer.from(text);
    hashKey(key, 0, key.length, hash);
    return hash;
  };
  for (let i = 0; i < 10_000; i++) filter.addHash(hashOf(`key${i}`));
  const copy = new TableFilter(Buffer.from(filter.bits), filter.hashes);
  for (let i = 0; i < 10_000; i++) assert.ok(copy.mayContain(hashOf(`key${i}`)));
  let wrong = 0;
  for (let i = 10_000; i < 30_000; i++) if (copy.mayContain(hashOf(`key${i}`))) wrong++;
  assert.ok(wrong > 0 && wrong < 20_000 * 0.02, `${wrong} of 20000`);
  assert.is(filter.bits.length, 12_500);
});

test('a separator is short, at or behind the last key and before the next', () => {
  assert.is(separatorBetween(Buffer.from('abcdef'), Buffer.from('abzz')).toString(), 'abd');
  assert.is(separatorBetween(Buffer.from('abc'), Buffer.from('abd')).toString(), 'abc');
  const random = new SeededRandom(2);
  for (let i = 0; i < 5000; i++) {
    const [a, b] = [0, 1].map(() => random.bytes(random.between(0, 5)).map((byte) => byte % 4)) as [
      Buffer,
      Buffer,
    ];
    const [last, next] = compareBytes(a, b) <= 0 ? [a, b] : [b, a];
    const separator = separatorBetween(last, next);
    assert.ok(compareBytes(last, separator) <= 0);
    assert.ok(last.length === 0 || compareBytes(last, next) === 0 || compareBytes(separator, next) < 0);
  }
});

test('order prefixes order keys as far as they reach', () => {
  const random = new SeededRandom(6);
  for (let i = 0; i < 5000; i++) {
    const [a, b] = [0, 1].map(() => random.bytes(random.between(0, 8)).map((byte) => (byte % 3) * 127)) as [
      Buffer,
      Buffer,
    ];
    const difference = orderPrefix(a, 0, a.length) - orderPrefix(b, 0, b.length);
    if (difference !== 0) assert.is(Math.sign(difference), Math.sign(compareBytes(a, b)));
  }
});

test('varints of the full range come back through a block', () => {
  const bytes = Buffer.alloc(5);
  assert.is(writeVarint(bytes, 0xffffffff, 0), 5);
  assert.is(writeVarint(bytes, 127, 0), 1);
  assert.is(writeVarint(bytes, 128, 0), 2);
});

test('the block cache keeps its size, forgets what was not used, and never takes a pinned slot', () => {
  const cache = new BlockCache(10 * 100, 100);
  const owner = { slots: new Int32Array(100).fill(NO_SLOT) };
  const pinned = cache.claim(owner, 0, 100);
  cache.pin(pinned);
  for (let block = 1; block < 100; block++) {
    assert.is.not(cache.claim(owner, block, 100), pinned);
    const hot = owner.slots[1] as number;
    if (hot !== NO_SLOT) cache.use(hot);
  }
  assert.is(owner.slots[0], pinned);
  assert.is([...owner.slots].filter((slot) => slot !== NO_SLOT).length, 10);
  assert.is(new Set(owner.slots).size, 11);
  assert.is(cache.sizeBytes, 1000);
  assert.is(cache.claim(owner, 50, 1001), NO_SLOT);
});

test('a block a little larger than a usual one takes little more, and its slot is used again', () => {
  const cache = new BlockCache(100 * 4224, 4101);
  const owner = { slots: new Int32Array(1000).fill(NO_SLOT) };
  for (let block = 0; block < 1000; block++) cache.claim(owner, block, 4131 + (block % 90));
  assert.is(owner.slots.filter((slot) => slot !== NO_SLOT).length, 100);
  assert.is(new Set(owner.slots).size, 101);
  assert.is(Math.max(...owner.slots), 99);
});

test.run();
