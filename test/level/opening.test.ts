/** Opening, locks, options and errors: as on classic-level where it has the same thing. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeLevel } from '../../src/level/index.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { processEnv, SimDisk, TINY } from '../lsm/tree-lab.js';
import { codesOf, rejection, withDirectory } from './level-lab.js';

test('a location must be given', () => {
  for (const location of ['', undefined, 7]) {
    assert.throws(() => new RaftreeLevel(location as string), /must be a non-empty string/);
  }
});

test('it opens itself, in directories that it makes, and keeps its location', () =>
  withDirectory(async (directory) => {
    const location = join(directory, 'deep', 'down');
    const db = new RaftreeLevel(location);
    assert.is(db.status, 'opening');
    await db.put('a', '1');
    assert.is(db.status, 'open');
    assert.is(db.location, location);
    await db.close();
  }));

test('what is there is found again, whatever opened it before', () =>
  withDirectory(async (directory) => {
    for (let round = 0; round < 5; round++) {
      const db = new RaftreeLevel(directory, { writeBufferSize: 4096 });
      assert.is((await db.keys().all()).length, round * 50);
      await db.batch(
        Array.from({ length: 50 }, (_, i) => ({
          type: 'put',
          key: `${round}:${i}`,
          value: 'v'.repeat(i * 10),
        })),
      );
      await db.close();
    }
  }));

test('one database per directory, in this process', () =>
  withDirectory(async (directory) => {
    const first = new RaftreeLevel(directory);
    await first.open();
    const second = new RaftreeLevel(directory);
    assert.equal((await rejection(second.open())).slice(0, 2), ['LEVEL_DATABASE_NOT_OPEN', 'LEVEL_LOCKED']);
    assert.is(second.status, 'closed');
    await first.close();
    await second.open();
    await second.close();
  }));

test('one database per directory, among processes', () =>
  withDirectory(async (directory) => {
    const entry = JSON.stringify(new URL('../../src/level/index.js', import.meta.url).href);
    const program = `
      const { RaftreeLevel } = await import(${entry});
      const db = new RaftreeLevel(${JSON.stringify(directory)});
      await db.open().then(() => console.log('open'), (error) => console.log(error.cause.code));
      if (db.status === 'open') console.log(await db.get('a'));`;
    const other = () =>
      spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }).stdout.trim();
    const db = new RaftreeLevel(directory);
    await db.put('a', 'from here');
    assert.is(other(), 'LEVEL_LOCKED');
    await db.close();
    assert.is(other(), 'open\nfrom here');
    await db.open();
    assert.is(await db.get('a'), 'from here', 'a lock dies with its process');
    await db.close();
  }));

test('createIfMissing and errorIfExists', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory, { createIfMissing: false });
    const missing = await rejection(db.open());
    assert.equal(missing, ['LEVEL_DATABASE_NOT_OPEN', 'LEVEL_DATABASE_MISSING', 'LSM_MISSING']);
    await db.open({ createIfMissing: true, errorIfExists: true });
    await db.close();
    const existing = await rejection(db.open({ errorIfExists: true }));
    assert.equal(existing, ['LEVEL_DATABASE_NOT_OPEN', 'LEVEL_DATABASE_EXISTS', 'LSM_EXISTS']);
    await db.open();
    await db.close();
  }));

test('the options reach the engine', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory, { writeBufferSize: 2048, engine: { level0Trigger: 2 } });
    await db.open();
    for (let i = 0; i < 10; i++) await db.put(`key${i}`, 'v'.repeat(1000));
    await db.compactRange('a', 'z');
    assert.ok(db.stats().flushedSequence >= 8, 'small memtables were flushed');
    await db.close();
    assert.equal((await rejection(db.open({ engine: { blockBytes: 1 } }))).slice(0, 2), [
      'LEVEL_DATABASE_NOT_OPEN',
      'LEVEL_INVALID',
    ]);
  }));

test("no value of classic-level's options keeps a database from opening", () =>
  withDirectory(async (directory) => {
    const values = [0, 1, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32, 2 ** 53, '7', null, true];
    const names = [
      'cacheSize',
      'blockSize',
      'writeBufferSize',
      'maxOpenFiles',
      'maxFileSize',
      'blockRestartInterval',
    ];
    const others = ['compression', 'multithreading', 'infoLogLevel'];
    let opened = 0;
    for (const name of [...names, ...others]) {
      for (const value of values) {
        const db = new RaftreeLevel(directory);
        await db.close();
        await db.open({ [name]: value } as object);
        await db.put(name, String(value));
        assert.is(await db.get(name), String(value));
        await db.close();
        opened++;
      }
    }
    assert.is(opened, 99);
  }));

test('with sync a put survives a power cut; without, the end of the process', async () => {
  const disk = new SimDisk();
  const env = processEnv(1, disk);
  const db = new RaftreeLevel('/data/db', { engine: { ...TINY, env } });
  await db.put('synced', '1', { sync: true });
  for (let i = 0; i < 10; i++) await db.put(`buffered${i}`, 'v'.repeat(100));
  const afterKill = disk.clone();
  const afterPowerCuts = [1, 2, 3, 4, 5].map((seed) => disk.powerCutClone(new SeededRandom(seed)));
  await db.close();

  const keysOn = async (survivor: SimDisk) => {
    const reopened = new RaftreeLevel('/data/db', { engine: { ...TINY, env: processEnv(2, survivor) } });
    const keys = await reopened.keys().all();
    await reopened.close();
    return keys;
  };
  assert.is((await keysOn(afterKill)).length, 11);
  const survived = await Promise.all(afterPowerCuts.map(keysOn));
  assert.ok(survived.every((keys) => keys.includes('synced')));
  assert.ok(
    survived.some((keys) => keys.length < 11),
    'a power cut does take what was not synced',
  );
});

test('damage is LEVEL_CORRUPTION, and the engine tells where', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory);
    const value = new SeededRandom(1).bytes(1000).toString('base64');
    await db.put('a', value);
    await db.compactRange('a', 'b');
    await db.close();
    const table = join(directory, readdirSync(directory).find((name) => name.endsWith('.sst')) ?? '');
    const bytes = readFileSync(table);
    const inData = bytes.indexOf(value.slice(500, 520));
    assert.ok(inData > 0, 'random bytes are stored as they are');
    bytes.writeUInt8(bytes.readUInt8(inData) ^ 1, inData);
    writeFileSync(table, bytes);

    await db.open();
    assert.equal((await rejection(db.get('a'))).slice(0, 2), ['LEVEL_CORRUPTION', 'CORRUPTION']);
    assert.equal((await rejection(db.getMany(['a']))).slice(0, 2), ['LEVEL_CORRUPTION', 'CORRUPTION']);
    assert.equal((await rejection(db.iterator().next())).slice(0, 2), ['LEVEL_CORRUPTION', 'CORRUPTION']);
    try {
      db.getSync('a');
      assert.unreachable('damage must not be read over');
    } catch (error) {
      assert.is(codesOf(error)[0], 'LEVEL_CORRUPTION');
    }
    await db.close();
  }));

test('what the engine does not accept is LEVEL_INVALID', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory);
    assert.equal(await rejection(db.put('k'.repeat(70_000), '1')), ['LEVEL_INVALID', 'LSM_INVALID']);
    await db.close();
  }));

test.run();
