import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ALIGNED_BYTES, compareBytes } from '../../src/lsm/base/bytes.js';
import { AFTER_ALL_VERSIONS, BEFORE_ALL_VERSIONS } from '../../src/lsm/base/cursor.js';
import { hashKey } from '../../src/lsm/base/key-hash.js';
import { KeyFilter } from '../../src/lsm/memtable/key-filter.js';
import { Memtable, type MemtableCursor, MOST_FILTERED_BYTES } from '../../src/lsm/memtable/memtable.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

interface Version {
  readonly key: Buffer;
  readonly sequence: number;
  readonly value: string | undefined;
}

/** Finds with and without the filter, which must agree. */
function find(memtable: Memtable, key: Buffer, sequence: number): number {
  const hash = { first: 0, second: 0 };
  hashKey(key, 0, key.length, hash);
  const node = memtable.find(key, sequence, hash);
  assert.is(memtable.find(key, sequence), node);
  return node;
}

function inOrder(a: Version, b: Version): number {
  return compareBytes(a.key, b.key) || b.sequence - a.sequence;
}

function current(cursor: MemtableCursor): Version {
  return {
    key: Buffer.from(cursor.keyBytes.subarray(cursor.keyStart, cursor.keyEnd)),
    sequence: cursor.sequence,
    value: cursor.deleted
      ? undefined
      : cursor.valueBytes.toString('latin1', cursor.valueStart, cursor.valueEnd),
  };
}

/** Keys that share long beginnings, end early, hold zeros, or are empty. */
function oddKey(random: SeededRandom): Buffer {
  const shared = random.pick(['', 'a', 'shared/prefix/', 'shared/prefix/\0']);
  const tail = random.bytes(random.between(0, 9)).map((byte) => byte % 3);
  return Buffer.concat([Buffer.from(shared), tail]);
}

const KEY_MAKERS: Record<string, (random: SeededRandom, i: number) => Buffer> = {
  'odd keys': oddKey,
  'decimal keys at random': (random) => Buffer.from(String(random.between(0, 99_999)).padStart(16, '0')),
  'ascending keys': (_random, i) => Buffer.from(String(i).padStart(16, '0')),
  'descending keys': (_random, i) => Buffer.from(String(99_999 - i).padStart(16, '0')),
  'few keys with many versions': (random) => Buffer.from([random.between(0, 4)]),
};

for (const [name, makeKey] of Object.entries(KEY_MAKERS)) {
  test(`${name}: red-black rules hold, and finds, seeks and walks agree with a sorted array`, () => {
    const random = new SeededRandom(7);
    const memtable = new Memtable();
    const model: Version[] = [];
    for (let i = 0; i < 3000; i++) {
      const key = makeKey(random, i);
      const value = random.chance(0.2) ? undefined : `value ${i}`;
      memtable.insertPair(i + 1, key, value === undefined ? undefined : Buffer.from(value));
      model.push({ key, sequence: i + 1, value });
      // Now and then, so that the filter is filled in parts and grows.
      if (i % 7 === 0) assert.is(find(memtable, key, i + 1), i + 1);
      if (i % 500 === 0) assert.is(memtable.findViolation(), undefined);
    }
    assert.is(memtable.findViolation(), undefined);
    model.sort(inOrder);

    const cursor = memtable.cursor();
    const forward: Version[] = [];
    for (cursor.seekToFirst(); cursor.valid; cursor.next()) forward.push(current(cursor));
    assert.equal(forward, model);
    const backward: Version[] = [];
    for (cursor.seekToLast(); cursor.valid; cursor.previous()) backward.push(current(cursor));
    assert.equal(backward.reverse(), model);

    for (let i = 0; i < 500; i++) {
      const key = random.chance(0.5) ? random.pick(model).key : makeKey(random, random.between(0, 9000));
      const sequence = random.pick([BEFORE_ALL_VERSIONS, AFTER_ALL_VERSIONS, random.between(0, 3001)]);
      const target = { key, sequence, value: undefined };
      const at = model.findIndex((version) => inOrder(version, target) >= 0);
      cursor.seek(key, sequence);
      assert.equal(cursor.valid ? current(cursor) : undefined, at < 0 ? undefined : model[at]);
      cursor.seekBefore(key, sequence);
      assert.equal(
        cursor.valid ? current(cursor) : undefined,
        model.at(at < 0 ? -1 : at - 1 < 0 ? 1e9 : at - 1),
      );
      const newest = model.find((version) => version.key.equals(key) && version.sequence <= sequence);
      const node = find(memtable, key, sequence);
      assert.is(node !== 0, newest !== undefined);
      if (node !== 0) {
        const value = memtable.isDeleted(node) ? undefined : memtable.value(node).toString();
        assert.is(value, newest?.value);
      }
    }
  });
}

test('a cursor stays where it is while entries are inserted around it', () => {
  const memtable = new Memtable();
  const insert = (key: string, sequence: number) =>
    memtable.insertPair(sequence, Buffer.from(key), Buffer.from(key));
  insert('b', 1);
  insert('d', 2);
  const cursor = memtable.cursor();
  cursor.seekToFirst();
  for (let i = 0; i < 1000; i++) insert(`c${String(i).padStart(4, '0')}`, i + 3);
  insert('a', 2000);
  assert.is(current(cursor).key.toString(), 'b');
  cursor.next();
  assert.is(current(cursor).key.toString(), 'c0000');
});

test('a value of many chunks and an empty one come back', () => {
  const memtable = new Memtable();
  const large = Buffer.alloc(5_000_000, 'large');
  memtable.insertPair(1, Buffer.from('large'), large);
  memtable.insertPair(2, Buffer.alloc(0), Buffer.alloc(0));
  assert.ok(memtable.value(memtable.find(Buffer.from('large'), 10)).equals(large));
  assert.is(memtable.value(memtable.find(Buffer.alloc(0), 10)).length, 0);
  assert.ok(memtable.sizeBytes >= large.length);
});

test('the filter knows every key that was added, and few others', () => {
  const filter = new KeyFilter(10_000);
  const hashOf = (i: number) => {
    const hash = { first: 0, second: 0 };
    const key = Buffer.from(String(i).padStart(16, '0'));
    hashKey(key, 0, key.length, hash);
    return hash;
  };
  for (let i = 0; i < filter.capacity; i++) filter.add(hashOf(i));
  let wrong = 0;
  for (let i = 0; i < 20_000; i++) {
    const isIn = i < filter.capacity;
    const answer = filter.mayContain(hashOf(i));
    assert.ok(answer || !isIn, `${i} was added`);
    if (answer && !isIn) wrong++;
  }
  assert.ok(filter.capacity >= 10_000 && filter.capacity < 20_000);
  assert.ok(wrong < 200, `${wrong} wrong answers`);
});

test('long keys are found without the filter, among many that are in it', () => {
  const memtable = new Memtable();
  const long = (i: number) => Buffer.alloc(MOST_FILTERED_BYTES + 1, `${i} `);
  for (let i = 0; i < 200; i++) {
    memtable.insertPair(2 * i + 1, Buffer.from(`${i}`), Buffer.from('short'));
    memtable.insertPair(2 * i + 2, long(i), Buffer.from('long'));
    assert.is(find(memtable, Buffer.from(`${i}`), 1000), 2 * i + 1);
    assert.is(find(memtable, long(i), 1000), 2 * i + 2);
  }
});

test('values keep their bytes at every alignment of their source, and lie aligned alike', () => {
  const memtable = new Memtable();
  const source = Buffer.allocUnsafeSlow(4000).map((_, i) => (i * 7) & 255);
  const cursor = memtable.cursor();
  for (let i = 0; i < 800; i++) {
    const [key, start, length] = [Buffer.from(`${10_000 + i}`), i % 13, 100 + ((i * 37) % 3000)];
    memtable.insert(i + 1, key, 0, key.length, source, start, start + length);
    cursor.seek(key, BEFORE_ALL_VERSIONS);
    const copy = memtable.value(memtable.find(key, i + 1));
    assert.ok(copy.equals(source.subarray(start, start + length)), `${i}`);
    if (length < ALIGNED_BYTES) continue;
    assert.is((cursor.valueStart - start) % 8, 0, `${i}`);
    if (length >= 2048) assert.is((copy.byteOffset - start) % 8, 0, `${i}`);
  }
});

test('the checker sees a broken tree', () => {
  const memtable = new Memtable();
  for (let i = 0; i < 100; i++) memtable.insertPair(100 - i, Buffer.from([i]), undefined);
  assert.is(memtable.findViolation(), undefined);
  // A sequence that does not rise puts a version before a newer one of its key.
  memtable.insertPair(1, Buffer.from([7]), undefined);
  assert.match(memtable.findViolation() ?? '', 'out of order');
});

test.run();
