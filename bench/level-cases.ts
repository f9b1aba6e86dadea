/**
 * What has been slow on databases of the abstract-level ecosystem: large values that are only counted or deleted, what
 * was deleted or overwritten before, long keys, small iterators, many puts at once. Each case fills a new database,
 * untimed, and then does what is measured.
 */
import type { AbstractLevel } from 'abstract-level';

type Format = string | Buffer | Uint8Array;
/** What the databases that are compared have in common. */
export interface Database extends AbstractLevel<Format> {
  compactRange(start: string, end: string): Promise<void>;
}

export interface LevelCase {
  readonly name: string;
  fill?(db: Database): Promise<void>;
  /** What is timed; made after `fill`, so that it may hold on to a state of then. */
  prepare?(db: Database): Promise<() => Promise<unknown>>;
  run?(db: Database): Promise<unknown>;
}

const MIB = 1024 * 1024;
const BINARY = { valueEncoding: 'buffer' } as const;
const keyAt = (i: number) => `key${String(i).padStart(9, '0')}`;

/** Text that compresses by a half at most, the same in every run; `seed` tells one value from another. */
function bytesOf(bytes: number, seed: number): Buffer {
  const value = Buffer.allocUnsafe(bytes);
  let state = seed + 1;
  for (let at = 0; at < bytes; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    value[at] = 48 + (state >>> 26);
  }
  return value;
}

async function fillWith(db: Database, count: number, valueBytes: number, batch: number): Promise<void> {
  for (let start = 0; start < count; start += batch) {
    await db.batch<string, Buffer>(
      Array.from({ length: Math.min(batch, count - start) }, (_, i) => ({
        type: 'put',
        key: keyAt(start + i),
        value: bytesOf(valueBytes, start + i),
      })),
      BINARY,
    );
  }
}

async function deleteAll(db: Database, count: number): Promise<void> {
  for (let start = 0; start < count; start += 1000) {
    await db.batch(Array.from({ length: 1000 }, (_, i) => ({ type: 'del', key: keyAt(start + i) })));
  }
}

const LARGE_VALUES = 64;
const large = (db: Database) => fillWith(db, LARGE_VALUES, MIB, 1);
const largeKeys = () => Array.from({ length: LARGE_VALUES }, (_, i) => keyAt(i));
const SMALL_VALUES = 400_000;
const small = (db: Database) => fillWith(db, SMALL_VALUES, 30, 1000);
const LONG_KEY = 'k'.repeat(60 * 1000);
const LONG_KEYS = 1000;

async function fillLongKeys(db: Database): Promise<void> {
  for (let i = 0; i < LONG_KEYS; i++) await db.put(LONG_KEY + keyAt(i), 'value');
}

function putAll(db: Database, count: number, bytes: number): Promise<unknown> {
  const value = bytesOf(bytes, 0);
  return Promise.all(
    Array.from({ length: count }, (_, i) => db.put<string, Buffer>(keyAt(i), value, BINARY)),
  );
}

export const CASES: readonly LevelCase[] = [
  { name: 'clear() of 64 values of 1 MiB', fill: large, run: (db) => db.clear() },
  { name: 'keys() of them', fill: large, run: (db) => db.keys().all() },
  { name: 'values: false of them', fill: large, run: (db) => db.iterator({ values: false }).all() },
  {
    name: 'has() of each',
    fill: large,
    run: (db) => Promise.all(largeKeys().map((key) => db.has(key))),
  },
  { name: 'hasMany() of them', fill: large, run: (db) => db.hasMany(largeKeys()) },
  { name: 'values().all() of them', fill: large, run: (db) => db.values<string, Buffer>(BINARY).all() },
  { name: 'getMany() of them', fill: large, run: (db) => db.getMany<string, Buffer>(largeKeys(), BINARY) },
  { name: 'clear() of 400,000 keys', fill: small, run: (db) => db.clear() },
  {
    name: '20 peeks behind that',
    async fill(db) {
      await small(db);
      await db.put('queue', 'first');
      await db.clear({ lt: 'l' });
    },
    async run(db) {
      for (let i = 0; i < 20; i++) await db.keys({ limit: 1 }).next();
    },
  },
  {
    name: '20 pops behind 400,000 deletes',
    async fill(db) {
      await small(db);
      for (let i = 0; i < 20; i++) await db.put(`queue${i}`, 'item');
      await deleteAll(db, SMALL_VALUES);
    },
    async run(db) {
      for (let i = 0; i < 20; i++) {
        const [key] = await db.keys({ limit: 1 }).all();
        if (key !== undefined) await db.del(key);
      }
    },
  },
  {
    name: 'a queue: 4,000 puts and pops',
    async run(db) {
      for (let i = 0; i < 4000; i++) {
        await db.put(keyAt(i), 'item');
        const [key] = await db.keys({ limit: 1 }).all();
        if (key !== undefined) await db.del(key);
      }
    },
  },
  {
    name: 'an old iterator, 60,000 versions',
    async prepare(db) {
      for (let i = 0; i < 10; i++) await db.put(keyAt(i), 'old');
      const old = db.iterator();
      for (let i = 0; i < 60_000; i += 100) {
        await db.batch(
          Array.from({ length: 100 }, (_, j) => ({ type: 'put', key: keyAt(5), value: `${i + j}` })),
        );
      }
      return () => old.all();
    },
  },
  {
    name: 'the same in reverse',
    async prepare(db) {
      for (let i = 0; i < 10; i++) await db.put(keyAt(i), 'old');
      const old = db.iterator({ reverse: true });
      for (let i = 0; i < 60_000; i += 100) {
        await db.batch(
          Array.from({ length: 100 }, (_, j) => ({ type: 'put', key: keyAt(5), value: `${i + j}` })),
        );
      }
      return () => old.all();
    },
  },
  { name: 'puts of 1,000 keys of 60 KB', run: fillLongKeys },
  { name: 'keys() of them, 60 KB', fill: fillLongKeys, run: (db) => db.keys().all() },
  {
    name: 'gets of them, 60 KB',
    fill: fillLongKeys,
    async run(db) {
      for (let i = 0; i < LONG_KEYS; i++) await db.get(LONG_KEY + keyAt((i * 7) % LONG_KEYS));
    },
  },
  { name: 'clear() of them, 60 KB', fill: fillLongKeys, run: (db) => db.clear() },
  {
    name: '600 iterators of 200 entries',
    fill: (db) => fillWith(db, 120_000, 30, 1000),
    async run(db) {
      for (let i = 0; i < 600; i++) await db.iterator({ gte: keyAt((i * 7919) % 119_000), limit: 200 }).all();
    },
  },
  {
    name: 'the same by for await',
    fill: (db) => fillWith(db, 120_000, 30, 1000),
    async run(db) {
      let bytes = 0;
      for (let i = 0; i < 600; i++) {
        const entries = db.iterator({ gte: keyAt((i * 7919) % 119_000), limit: 200 });
        for await (const [, value] of entries) bytes += value.length;
      }
      return bytes;
    },
  },
  { name: '100 puts of 1 MiB at once', run: (db) => putAll(db, 100, MIB) },
  { name: '2,000 puts of 100 KB at once', run: (db) => putAll(db, 2000, 100_000) },
  { name: '200,000 puts of 400 B at once', run: (db) => putAll(db, 200_000, 400) },
];
