/** Who asks for keys does not read large values; who asks for many values leaves others their turns. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeLevel } from '../../src/level/index.js';
import { availableCodec, type Codec } from '../../src/lsm/base/block-codec.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { processEnv, SimDisk } from '../lsm/tree-lab.js';
import { countingTurns, rejection } from './level-lab.js';

const COUNT = 20;
const VALUE_BYTES = 100_000;
const keyAt = (i: number) => `key${String(i).padStart(3, '0')}`;
const keys = Array.from({ length: COUNT }, (_, i) => keyAt(i));
const BINARY = { valueEncoding: 'buffer' } as const;

/** Random bytes, every other run of 1000 of them zeros: about half of it compresses away. */
function valueAt(i: number): Buffer {
  const value = new SeededRandom(i).bytes(VALUE_BYTES);
  for (let at = 0; at < VALUE_BYTES; at += 2000) value.fill(0, at, at + 1000);
  return value;
}

interface Filled {
  readonly db: RaftreeLevel;
  readonly disk: SimDisk;
  /** Bytes of tables that were read meanwhile. */
  bytesReadBy(work: () => Promise<unknown>): Promise<number>;
}

/** Large values in tables, after it was opened anew: nothing is cached. */
async function filled(codec: Codec): Promise<Filled> {
  const disk = new SimDisk();
  const env = processEnv(1, disk);
  let bytes = 0;
  const open = env.fs.open.bind(env.fs);
  env.fs.open = (path, mode) => {
    const file = open(path, mode);
    const readSync = file.readSync.bind(file);
    file.readSync = (target, position) => {
      if (path.endsWith('.sst')) bytes += target.length;
      return readSync(target, position);
    };
    return file;
  };
  const db = new RaftreeLevel('/data/db', { engine: { env, codecs: [codec] } });
  for (let i = 0; i < COUNT; i++) await db.put<string, Buffer>(keyAt(i), valueAt(i), BINARY);
  await db.compactRange('a', 'z');
  await db.close();
  await db.open();
  return {
    db,
    disk,
    async bytesReadBy(work) {
      const before = bytes;
      await work();
      return bytes - before;
    },
  };
}

for (const codec of new Set(['none', availableCodec('lz4')] as const)) {
  test(`keys, has, hasMany and clear read no large values, ${codec}`, async () => {
    const { db, bytesReadBy } = await filled(codec);
    const most = (COUNT * VALUE_BYTES) / 10;
    const reads: Readonly<Record<string, () => Promise<unknown>>> = {
      keys: async () => assert.equal(await db.keys().all(), keys),
      reverse: async () => assert.equal(await db.keys({ reverse: true }).all(), keys.toReversed()),
      'values: false': async () => assert.is((await db.iterator({ values: false }).all()).length, COUNT),
      'a range': async () =>
        assert.equal(await db.keys({ gt: keyAt(3), lte: keyAt(5) }).all(), [keyAt(4), keyAt(5)]),
      'a seek': async () => {
        const it = db.keys();
        it.seek(`${keyAt(6)}a`);
        assert.is(await it.next(), keyAt(7));
        await it.close();
      },
      has: async () => {
        for (const key of keys) assert.ok(await db.has(key));
        assert.not.ok(await db.has(`${keyAt(4)}a`));
      },
      hasMany: async () => assert.equal(await db.hasMany(['a', ...keys]), [false, ...keys.map(() => true)]),
      clear: () => db.clear({ gte: keyAt(1) }),
    };
    for (const [name, read] of Object.entries(reads)) {
      const bytes = await bytesReadBy(read);
      assert.ok(bytes < most, `${name}: ${bytes} bytes were read`);
    }
    assert.equal(await db.keys().all(), [keyAt(0)]);
    assert.equal(await db.get<string, Buffer>(keyAt(0), BINARY), valueAt(0));
    await db.close();
  });
}

test('a damaged key of a large value is never handed out', async () => {
  const { db, disk } = await filled('none');
  await db.close();
  const fs = disk.mount();
  const [table = ''] = fs.list('/data/db').filter((name) => name.endsWith('.sst'));
  const file = fs.open(`/data/db/${table}`, 'modify');
  const start = Buffer.alloc(200);
  file.readSync(start, 128);
  const keyEnd = start.indexOf(keyAt(0)) + keyAt(0).length;
  assert.ok(keyEnd > 6, 'the key stands at the beginning of the first block');
  let refused = 0;
  for (let at = 0; at < keyEnd; at++) {
    for (const bit of [1, 128]) {
      file.writeSync([Buffer.of((start[at] as number) ^ bit)], 128 + at);
      const damaged = new RaftreeLevel('/data/db', { engine: { env: processEnv(2, disk) } });
      const read = await damaged
        .keys()
        .all()
        .catch(() => undefined);
      if (read === undefined) refused++;
      else assert.equal(read, keys, `byte ${at}, bit ${bit}`);
      assert.is((await rejection(damaged.get(keyAt(0))))[0], 'LEVEL_CORRUPTION');
      await damaged.close();
      file.writeSync([start.subarray(at, at + 1)], 128 + at);
    }
  }
  assert.ok(refused >= 2 * keyAt(0).length, `${refused} were refused`);
});

test('large values are read in turns, in the order and of the moment of the call', async () => {
  const { db } = await filled('none');
  const [turns, values] = await countingTurns(() => {
    const reading = db.getMany<string, Buffer>([...keys, 'none'], BINARY);
    void db.put(keyAt(COUNT - 1), 'later');
    return reading;
  });
  assert.equal(values, [...keys.map((_, i) => valueAt(i)), undefined]);
  assert.ok(turns >= (COUNT * VALUE_BYTES) / (512 * 1024), `${turns} turns`);
  const [turnsOfHas] = await countingTurns(() =>
    db.hasMany(Array.from({ length: 1000 }, (_, i) => keyAt(i))),
  );
  assert.ok(turnsOfHas >= 5, `${turnsOfHas} turns of hasMany`);
  await db.close();
});

test.run();
