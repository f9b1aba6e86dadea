/** Iterators: seeking, snapshots, signals, and not starving anybody. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeLevel } from '../../src/level/index.js';
import { countingTurns, rejection, withDirectory } from './level-lab.js';

const COUNT = 5000;
const keyAt = (i: number) => String(i).padStart(5, '0');

async function withFilled(use: (db: RaftreeLevel) => Promise<void>): Promise<void> {
  await withDirectory(async (directory) => {
    // So small that the data is in memtables and on several levels.
    const db = new RaftreeLevel(directory, { writeBufferSize: 16 * 1024 });
    for (let i = 0; i < COUNT; i += 500) {
      await db.batch(
        Array.from({ length: 500 }, (_, j) => ({ type: 'put', key: keyAt(i + j), value: `v${i + j}` })),
      );
    }
    try {
      await use(db);
    } finally {
      await db.close();
    }
  });
}

test('next, nextv and seek mixed go through the same entries once', () =>
  withFilled(async (db) => {
    const it = db.iterator({ lt: keyAt(12) });
    assert.equal(await it.next(), [keyAt(0), 'v0']);
    assert.equal(await it.next(), [keyAt(1), 'v1']);
    assert.equal(
      (await it.nextv(3)).map(([key]) => key),
      [2, 3, 4].map(keyAt),
    );
    it.seek(keyAt(10));
    assert.equal(await it.next(), [keyAt(10), 'v10']);
    assert.equal(
      (await it.nextv(10)).map(([key]) => key),
      [keyAt(11)],
    );
    assert.equal(await it.nextv(10), [], 'the end');
    it.seek(keyAt(1));
    assert.equal(await it.next(), [keyAt(1), 'v1'], 'from the end a seek leads back');
    await it.close();
  }));

test('a seek back from the end sees the same moment', () =>
  withFilled(async (db) => {
    const it = db.keys({ gte: keyAt(COUNT - 2) });
    assert.equal(await it.nextv(10), [keyAt(COUNT - 2), keyAt(COUNT - 1)]);
    assert.equal(await it.nextv(10), []);
    await db.del(keyAt(COUNT - 1));
    await db.put(keyAt(COUNT), 'new');
    await db.compactRange(keyAt(0), keyAt(COUNT));
    it.seek(keyAt(COUNT - 2));
    assert.equal(await it.nextv(10), [keyAt(COUNT - 2), keyAt(COUNT - 1)]);
    await it.close();
  }));

test('100 explicit snapshots, each with its own state, across flush and compaction', () =>
  withFilled(async (db) => {
    const snapshots = [];
    for (let i = 0; i < 100; i++) {
      await db.put('changing', String(i));
      await db.del(keyAt(i));
      snapshots.push(db.snapshot());
    }
    await db.compactRange('!', '~');
    for (const [i, snapshot] of snapshots.entries()) {
      assert.is(await db.get('changing', { snapshot }), String(i));
      assert.is(db.getSync(keyAt(i), { snapshot }), undefined);
      assert.equal(await db.hasMany([keyAt(i), keyAt(i + 1)], { snapshot }), [false, true]);
      assert.equal(await db.keys({ snapshot, limit: 1 }).all(), [keyAt(i + 1)]);
      await snapshot.close();
    }
    assert.is(db.stats().snapshots, 0);
  }));

test('clear deletes what a snapshot holds, and nothing that came later', () =>
  withFilled(async (db) => {
    const snapshot = db.snapshot();
    await db.put('later', 'stays');
    await db.clear({ snapshot, gte: keyAt(1000) });
    assert.equal(await db.keys({ gte: keyAt(999) }).all(), [keyAt(999), 'later']);
    await db.clear({ reverse: true, limit: 2 });
    assert.equal(await db.keys({ gte: keyAt(997) }).all(), [keyAt(997), keyAt(998)]);
    await snapshot.close();
  }));

for (const reverse of [false, true]) {
  test(`clear keeps what was deleted at its snapshot and is back${reverse ? ', in reverse' : ''}`, () =>
    withFilled(async (db) => {
      await db.del(keyAt(7));
      const snapshot = db.snapshot();
      await db.put(keyAt(7), 'back');
      await db.put(keyAt(8), 'newer');
      await db.clear({ snapshot, reverse });
      assert.equal(await db.iterator().all(), [[keyAt(7), 'back']]);
      await snapshot.close();
    }));
}

test('a scan by next, and all at once, leave others their turns', () =>
  withFilled(async (db) => {
    let entries = 0;
    const [turnsByNext] = await countingTurns(async () => {
      for await (const _entry of db.iterator()) entries++;
    });
    const [turns, all] = await countingTurns(() => db.values().all());
    assert.is(entries, COUNT);
    assert.is(all.length, COUNT);
    assert.ok(turnsByNext >= 5, `${turnsByNext} turns by next`);
    assert.ok(turns >= 5, `${turns} turns while all() ran`);
  }));

test('reads one behind the other leave others their turns', () =>
  withFilled(async (db) => {
    const reads = {
      get: async (key: string) => assert.ok(await db.get(key)),
      has: async (key: string) => assert.ok(await db.has(key)),
      'a small iterator': async (gte: string) =>
        assert.is((await db.keys({ gte, limit: 10 }).all()).length, 10),
    };
    for (const [name, read] of Object.entries(reads)) {
      const [turns] = await countingTurns(async () => {
        for (let i = 0; i < 2000; i++) await read(keyAt(i));
      });
      assert.ok(turns >= 5, `${turns} turns of ${name}`);
    }
  }));

test('a signal ends a long read in the middle', () =>
  withFilled(async (db) => {
    const controller = new AbortController();
    const it = db.iterator({ signal: controller.signal });
    const reading = rejection(it.all());
    setImmediate(() => controller.abort());
    assert.is((await reading)[0], 'LEVEL_ABORTED');

    const second = new AbortController();
    const seen: string[] = [];
    const scanning = rejection(
      (async () => {
        for await (const key of db.keys({ signal: second.signal })) {
          seen.push(key);
          if (seen.length === 700) second.abort();
        }
      })(),
    );
    assert.is((await scanning)[0], 'LEVEL_ABORTED');
    assert.is(seen.length, 700);
    assert.is(db.stats().snapshots, 0, 'both were closed');
  }));

test('keys and values on their own, in every format', () =>
  withFilled(async (db) => {
    const options = { gte: keyAt(7), limit: 1 };
    const entries = await db
      .iterator({ limit: 1, keyEncoding: 'buffer', valueEncoding: 'view', gte: Buffer.from(keyAt(7)) })
      .all();
    assert.equal(entries, [[Buffer.from(keyAt(7)), Buffer.from('v7')]]);
    assert.equal(await db.iterator({ ...options, values: false }).all(), [[keyAt(7), undefined]]);
    assert.equal(await db.iterator({ ...options, keys: false }).all(), [[undefined, 'v7']]);
  }));

test.run();
