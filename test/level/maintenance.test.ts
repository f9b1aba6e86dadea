/** approximateSize and compactRange: as on classic-level. */
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { ClassicLevel } from 'classic-level';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeLevel } from '../../src/level/index.js';
import { availableCodec } from '../../src/lsm/base/block-codec.js';
import { rejection, withDirectory } from './level-lab.js';

const VALUE = 'aaaaaaaaaa'.repeat(1000);

async function fill(db: RaftreeLevel, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await db.put(`foo${String(i).padStart(3, '0')}`, VALUE);
}

const METHODS = ['approximateSize', 'compactRange'] as const;

for (const method of METHODS) {
  test(`${method}: needs both ends, an open database, and waits while it opens`, () =>
    withDirectory(async (directory) => {
      const db = new RaftreeLevel(directory);
      const opening = db.open().then(() => 'open');
      const deferred = db[method]('a', 'b').then(() => method);
      assert.is(await Promise.race([opening, deferred]), 'open');
      assert.is(await deferred, method);
      const [start, end] = ['foo', undefined as unknown as string];
      await db[method](start, end).then(
        () => assert.unreachable('an end must be given'),
        (error: unknown) => assert.instance(error, TypeError),
      );
      await db.close();
      assert.equal(await rejection(db[method]('a', 'b')), ['LEVEL_DATABASE_NOT_OPEN']);
    }));

  test(`${method}: encodes start and end`, () =>
    withDirectory(async (directory) => {
      const seen: string[] = [];
      const keyEncoding = {
        name: 'seen',
        format: 'utf8' as const,
        encode(key: string) {
          seen.push(key);
          return key;
        },
        decode: (key: string) => key,
      };
      const db = new RaftreeLevel(directory, { keyEncoding });
      await db.open();
      await db[method]('a', 'b');
      await db[method]('c', 'd', { keyEncoding });
      assert.equal(seen, ['a', 'b', 'c', 'd']);
      await db.close();
    }));
}

test('approximateSize is of the range asked for', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory, { engine: { maxFileBytes: 64 * 1024 } });
    await fill(db, 100);
    await db.compactRange('a', 'z');
    const all = await db.approximateSize('!', '~');
    const half = await db.approximateSize('foo000', 'foo050');
    assert.ok(half > 0.3 * all && half < 0.7 * all, `${half} of ${all} bytes`);
    assert.is(await db.approximateSize('x', 'z'), 0);
    await db.close();
  }));

test('compression can be switched off', () =>
  withDirectory(async (directory) => {
    const sizes: number[] = [];
    for (const compression of [true, false]) {
      const db = new RaftreeLevel(`${directory}-${compression}`, { compression });
      await fill(db, 20);
      await db.compactRange('foo', 'fop');
      assert.is(await db.get('foo007'), VALUE);
      sizes.push(await db.approximateSize('!', '~'));
      await db.close();
    }
    const [compressed = 0, plain = 0] = sizes;
    assert.ok(plain > 20 * VALUE.length, `${plain} bytes`);
    const most = availableCodec('lz4') === 'lz4' ? plain / 4 : plain;
    assert.ok(compressed <= most, `${compressed} bytes of ${plain}`);
  }));

test('compactRange gives back what was deleted', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory);
    await fill(db, 100);
    await db.compactRange('foo', 'fop');
    const before = await db.approximateSize('!', '~');
    for (let i = 0; i < 90; i++) await db.del(`foo${String(i).padStart(3, '0')}`);
    await db.compactRange('foo', 'fop');
    const after = await db.approximateSize('!', '~');
    assert.ok(before > 0 && after < before / 5, `${before} bytes before, ${after} after`);
    assert.is((await db.keys().all()).length, 10);
    assert.is(db.stats().tombstones, 0);
    await db.close();
  }));

test('getProperty tells what it tells on classic-level', () =>
  withDirectory(async (directory) => {
    const ours = new RaftreeLevel(directory);
    const theirs = new ClassicLevel(`${directory}-classic`);
    assert.throws(() => ours.getProperty('leveldb.stats'), /not open/);
    for (const db of [ours, theirs]) {
      await db.open();
      await db.put('a', '1');
      await db.compactRange('a', 'z');
      const files = Array.from({ length: 7 }, (_, level) =>
        db.getProperty(`leveldb.num-files-at-level${level}`),
      );
      assert.is(
        files.reduce((sum, count) => sum + Number(count), 0),
        1,
      );
      assert.match(
        db.getProperty('leveldb.sstables'),
        /--- level 0 ---\n(?:--- level \d ---\n)* \d+:\d+\['a/,
      );
      assert.match(db.getProperty('leveldb.stats'), /^Level +Files Size\(MB\)/m);
      assert.ok(Number(db.getProperty('leveldb.approximate-memory-usage')) >= 0);
      for (const unknown of ['leveldb.num-files-at-level7', 'leveldb.none', 'stats', '']) {
        assert.is(db.getProperty(unknown), '', unknown);
      }
      assert.throws(() => db.getProperty(7 as unknown as string), TypeError);
      await db.close();
    }
  }));

test('destroy removes a closed database, and nothing else', () =>
  withDirectory(async (directory) => {
    await RaftreeLevel.destroy(directory);
    const db = new RaftreeLevel(directory, { writeBufferSize: 1024 });
    await fill(db, 20);
    assert.equal(await rejection(RaftreeLevel.destroy(directory)), ['LEVEL_LOCKED', 'LSM_LOCKED', 'LOCKED']);
    assert.is(await db.get('foo007'), VALUE, 'it is still there');
    await db.close();
    await RaftreeLevel.destroy(directory);
    assert.not.ok(existsSync(directory));

    await db.open();
    assert.equal(await db.keys().all(), []);
    await db.put('a', '1');
    await db.close();
    writeFileSync(`${directory}/notes.txt`, 'mine');
    await RaftreeLevel.destroy(directory);
    assert.equal(readdirSync(directory), ['notes.txt']);
    await RaftreeLevel.destroy(directory);
    assert.equal(readdirSync(directory), ['notes.txt'], 'where no database is, nothing is removed');
    assert.equal(await db.open().then(() => db.keys().all()), []);
    await db.close();
    await rejects(RaftreeLevel.destroy(''), TypeError);
    assert.equal(await rejection(RaftreeLevel.destroy(`${directory}/notes.txt`)), [
      'LEVEL_INVALID',
      'LSM_INVALID',
    ]);
  }));

test('repair brings back what is intact of a damaged database', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory, { engine: { codecs: ['none'] } });
    await fill(db, 20);
    await db.compactRange('a', 'z');
    assert.equal(await rejection(RaftreeLevel.repair(directory)), ['LEVEL_LOCKED', 'LSM_LOCKED']);
    await db.close();
    assert.not.ok((await RaftreeLevel.repair(directory)).isRepaired, 'nothing is wrong');
    const manifest = readdirSync(directory).find((name) => name.startsWith('MANIFEST')) ?? '';
    rmSync(`${directory}/${manifest}`);
    assert.is((await rejection(db.open()))[1], 'LEVEL_CORRUPTION');
    assert.ok((await RaftreeLevel.repair(directory)).isRepaired);
    await db.open();
    assert.is((await db.keys().all()).length, 20);
    await db.close();
    await rejects(RaftreeLevel.repair(''), TypeError);
  }));

async function rejects(promise: Promise<unknown>, type: new () => Error): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.instance(error, type);
}

test.run();
