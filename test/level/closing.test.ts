/** Closing with work under way and iterators left open: nothing hangs, nothing is cut off. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { RaftreeLevel } from '../../src/level/index.js';
import { systemError } from '../../src/sim/world/file-operation.js';
import { processEnv, SimDisk } from '../lsm/tree-lab.js';
import { rejection, withDirectory } from './level-lab.js';

type Work = (db: RaftreeLevel) => Promise<unknown>;

const OPERATIONS: Readonly<Record<string, Work>> = {
  'get()': (db) => db.get('key'),
  'getMany()': (db) => db.getMany(['key', 'none']),
  'has()': (db) => db.has('key'),
  'put()': (db) => db.put('key2', 'value'),
  'put() with sync': (db) => db.put('key2', 'value', { sync: true }),
  'del()': (db) => db.del('key'),
  'del() with sync': (db) => db.del('key', { sync: true }),
  'batch([])': (db) => db.batch([{ type: 'del', key: 'key' }]),
  'batch([]) with sync': (db) => db.batch([{ type: 'del', key: 'key' }], { sync: true }),
  'batch()': (db) => db.batch().del('key').write(),
  'batch() with sync': (db) => db.batch().del('key').write({ sync: true }),
  'clear()': (db) => db.clear(),
  'approximateSize()': (db) => db.approximateSize('a', 'z'),
  'compactRange()': (db) => db.compactRange('a', 'z'),
};

function testPending(name: string, work: Work): void {
  test(`close() waits for ${name}`, () =>
    withDirectory(async (directory) => {
      const db = new RaftreeLevel(directory);
      await db.put('key', 'value');
      let isFinished = false;
      const working = work(db).then(() => {
        isFinished = true;
      });
      await db.close();
      assert.ok(isFinished, 'finished before close() was');
      await working;
    }));
}

for (const [name, work] of Object.entries(OPERATIONS)) testPending(name, work);
testPending('all of them', (db) => Promise.all(Object.values(OPERATIONS).map((work) => work(db))));

function testLeftOpen(name: string, use: (db: RaftreeLevel) => Promise<unknown> | undefined): void {
  test(`close() with ${name}`, () =>
    withDirectory(async (directory) => {
      const db = new RaftreeLevel(directory);
      await db.batch([
        { type: 'put', key: 'a', value: '1' },
        { type: 'put', key: 'b', value: '2' },
      ]);
      const running = use(db);
      await db.close();
      await running;
      await db.open();
      assert.is(db.stats().snapshots, 0);
      assert.is(await db.get('b'), '2');
      await db.close();
    }));
}

/** Reads on and on, until the iterator says that it is closed. */
async function readOnAndOn(db: RaftreeLevel): Promise<void> {
  for (;;) {
    const it = db.iterator();
    try {
      while (await it.next()) it.seek('a');
    } catch (error) {
      assert.ok(['LEVEL_ITERATOR_NOT_OPEN', 'LEVEL_DATABASE_NOT_OPEN'].includes(errorCode(error) ?? ''));
      return;
    }
  }
}

testLeftOpen('an iterator that was never used', (db) => {
  db.iterator();
  return undefined;
});
testLeftOpen('400 iterators, of which 200 are reading', (db) => {
  const reading = Array.from({ length: 200 }, () => {
    db.iterator();
    return db.iterator().next();
  });
  return Promise.all(reading);
});
testLeftOpen('an iterator that reads on and on', readOnAndOn);
testLeftOpen('snapshots and a batch left open', (db) => {
  db.snapshot();
  db.batch().put('c', '3');
  return undefined;
});

test('closing says once that writes may be lost, and the database is closed then', async () => {
  let broken = false;
  const env = processEnv(1, new SimDisk(), {
    fault: ({ kind, path }) =>
      broken && kind === 'sync' && path.includes('wal-') ? systemError('EIO', 'fsync', path) : undefined,
  });
  const db = new RaftreeLevel('/data/db', { engine: { env } });
  await db.put('a', '1');
  broken = true;
  const refused = await rejection(db.put('b', '2', { sync: true }));
  assert.equal(refused.slice(0, 2), ['LEVEL_IO_ERROR', 'LSM_READ_ONLY']);
  const codes = await rejection(db.close());
  assert.equal(codes.slice(0, 3), ['LEVEL_DATABASE_NOT_CLOSED', 'LEVEL_IO_ERROR', 'LSM_NOT_DURABLE']);
  await db.close();
  assert.is(db.status, 'closed');
  broken = false;
  await db.open();
  assert.is(await db.get('a'), '1');
  await db.close();
});

test('iterators and batches by the thousand leave nothing behind', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory);
    await db.put('a', '1');
    for (let i = 0; i < 2000; i++) {
      const it = db.iterator();
      assert.equal(await it.next(), ['a', '1']);
      await it.close();
      await db.batch().put('b', '2').close();
    }
    assert.is(db.stats().snapshots, 0);
    assert.is(await db.get('b'), undefined);
    await db.close();
  }));

test.run();
