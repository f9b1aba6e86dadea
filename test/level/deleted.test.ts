/** What was deleted or overwritten is passed over in turns, and old versions of one key by a search. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeLevel } from '../../src/level/index.js';
import { Memtable, MemtableCursor } from '../../src/lsm/memtable/memtable.js';
import { copyEntry, LsmIterator, PAUSED } from '../../src/lsm/read/iterator.js';
import { MergeCursor } from '../../src/lsm/read/merge-cursor.js';
import { Turn } from '../../src/lsm/read/turn.js';
import { countingTurns, withDirectory } from './level-lab.js';

const COUNT = 20_000;
const keyAt = (i: number) => String(i).padStart(6, '0');

async function withDeleted(use: (db: RaftreeLevel) => Promise<void>): Promise<void> {
  await withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory);
    await db.batch(Array.from({ length: COUNT }, (_, i) => ({ type: 'put', key: keyAt(i), value: 'v' })));
    await db.batch(Array.from({ length: COUNT - 2 }, (_, i) => ({ type: 'del', key: keyAt(i + 1) })));
    await use(db);
    await db.close();
  });
}

/** So many turns at least: an entry that is passed over costs 64 bytes of 256 KiB and those of its key. */
const LEAST_TURNS = Math.floor((COUNT * 2 * 70) / (256 * 1024)) - 1;

for (const reverse of [false, true]) {
  test(`a crawl over deleted keys leaves others their turns${reverse ? ', in reverse' : ''}`, () =>
    withDeleted(async (db) => {
      const expected = [keyAt(0), keyAt(COUNT - 1)];
      const [turns, all] = await countingTurns(() => db.keys({ reverse }).all());
      assert.equal(all, reverse ? expected.reverse() : expected);
      assert.ok(turns >= LEAST_TURNS, `${turns} turns of all()`);
      const it = db.keys({ reverse });
      await it.next();
      const [turnsOfNext] = await countingTurns(() => it.next());
      assert.ok(turnsOfNext >= LEAST_TURNS, `${turnsOfNext} turns of next()`);
      await it.close();
      const [turnsOfClear] = await countingTurns(() => db.clear({ reverse }));
      assert.ok(turnsOfClear >= LEAST_TURNS, `${turnsOfClear} turns of clear()`);
      assert.equal(await db.keys().all(), []);
    }));
}

test('a queue is not crawled over again and again: what was taken out is flushed away', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory);
    const rounds = 2000;
    for (let i = 0; i < rounds; i++) {
      await db.put(keyAt(i), 'item');
      assert.equal(await db.keys({ limit: 1 }).all(), [keyAt(i)]);
      await db.del(keyAt(i));
    }
    // On a slow disk the flushes may be behind.
    for (let peeks = 0; db.stats().entries >= rounds; peeks++) {
      assert.ok(peeks < 20_000, `${db.stats().entries} entries are left of ${2 * rounds}`);
      assert.equal(await db.keys({ limit: 1 }).all(), []);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(db.stats().flushes > 0, 'the memtable was flushed although it is small');
    await db.close();
  }));

class CountingCursor extends MemtableCursor {
  moves = 0;

  override next(): void {
    this.moves++;
    super.next();
  }

  override previous(): void {
    this.moves++;
    super.previous();
  }
}

const VERSIONS = 60_000;
/** An iterator over a, b and c as they were at a sequence, of which b has many versions, and its cursors. */
function overVersions(sequence: number, reverse: boolean) {
  const memtables = [new Memtable(), new Memtable()];
  let last = 0;
  const write = (key: string, value: string) =>
    memtables[last++ % 2]?.insertPair(last, Buffer.from(key), Buffer.from(value));
  write('a', 'a');
  write('c', 'c');
  for (let i = 0; i < VERSIONS; i++) write('b', String(last + 1));
  const cursors = memtables.map((memtable) => new CountingCursor(memtable));
  const turn = new Turn({
    endOfTurn: (run) => {
      setImmediate(run);
    },
    after: () => ({ cancel() {} }),
  });
  const source = {
    merge: new MergeCursor(cursors, reverse),
    sequence,
    check() {},
    passed() {},
    release() {},
    turn,
  };
  return { iterator: new LsmIterator(source, { reverse }, copyEntry), cursors };
}

for (const reverse of [false, true]) {
  for (const sequence of [3, 30_001, VERSIONS + 2]) {
    test(`of ${VERSIONS} versions few are looked at, ${reverse ? 'in reverse, ' : ''}at sequence ${sequence}`, () => {
      const { iterator, cursors } = overVersions(sequence, reverse);
      const seen: string[] = [];
      for (let entry = iterator.nextInTurn(); entry; entry = iterator.nextInTurn()) {
        assert.is.not(entry, PAUSED);
        if (entry !== PAUSED) seen.push(`${entry.key}=${entry.value}`);
      }
      const expected = ['a=a', `b=${sequence}`, 'c=c'];
      assert.equal(seen, reverse ? expected.reverse() : expected);
      const moves = cursors.reduce((sum, cursor) => sum + cursor.moves, 0);
      assert.ok(moves < 100, `${moves} moves`);
    });
  }
}

test.run();
