/** The table of sessions: limits, who goes when there are too many, and its image in the engine. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SESSION_RANGE, sessionKey } from '../../src/kv/keys.js';
import { MAX_SESSIONS, MAX_WINDOW, Sessions, type WriteResult } from '../../src/kv/sessions.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { MemoryEngine } from './kv-lab.js';

function resultAt(index: number): WriteResult {
  return {
    applied: index % 2 === 0,
    index,
    results: [{ status: 'ok', existed: index % 3 === 0, version: index }],
  };
}

/** A table with its engine; `index` counts like the log. */
class Table {
  readonly engine = new MemoryEngine();
  readonly sessions = new Sessions();
  index = 0;

  open(window: number): number {
    const id = ++this.index;
    this.sessions.open(id, window);
    return id;
  }

  /** Gives the engine what it lacks of the image. */
  save(): void {
    this.engine.write(this.sessions.takeChanges());
  }

  write(id: number, sequence: number, floor = 0, after = 0): string {
    const index = ++this.index;
    const check = this.sessions.check(id, sequence, floor, after);
    if (check.state === 'new') this.sessions.record(id, sequence, floor, resultAt(index));
    return check.state === 'refused' ? check.reason : check.state;
  }

  restored(): Sessions {
    this.save();
    const sessions = new Sessions();
    sessions.restore(this.engine.entries(SESSION_RANGE));
    return sessions;
  }
}

/** What opening a session changes in the engine; the deletions are of different keys, in any order. */
function changesOf(sessions: Sessions, id: number): string[] {
  sessions.open(id, 1);
  return sessions
    .takeChanges()
    .map(({ type, key }) => `${type} ${Buffer.from(key).toString('hex')}`)
    .sort();
}

test('the window is what was asked for, within limits', () => {
  const table = new Table();
  assert.is(table.sessions.open(1, 0), 1);
  assert.is(table.sessions.open(2, 8), 8);
  assert.is(table.sessions.open(3, 1_000_000), MAX_WINDOW);
});

test('of too many sessions the one whose last write is the oldest goes, with all it left in the engine', () => {
  const table = new Table();
  const ids = Array.from({ length: MAX_SESSIONS }, () => table.open(2));
  const [first, second, third] = ids as [number, number, number];
  assert.is(table.write(second, 1), 'new');
  assert.is(table.write(first, 1), 'new');
  table.open(2);
  assert.is(table.write(third, 1), 'SESSION_EXPIRED');
  for (const id of ids.slice(3)) table.write(id, 1);
  table.open(2);
  assert.is(table.write(second, 1), 'SESSION_EXPIRED');
  assert.is(table.write(first, 1), 'repeated');
  table.open(2);
  assert.is(table.write(first, 1), 'SESSION_EXPIRED', 'a repetition is no use');
  assert.is(table.sessions.size, MAX_SESSIONS);
  table.save();
  const kept = [...table.engine.entries(SESSION_RANGE)].map(([key]) => key.readUInt32BE(5));
  for (const id of [first, second, third]) assert.not(kept.includes(id));
});

test('a write that follows another is carried out when that one was, or is past the floor', () => {
  const table = new Table();
  const id = table.open(4);
  assert.is(table.write(id, 2, 0, 1), 'OUT_OF_ORDER');
  assert.is(table.write(id, 3, 0, 2), 'OUT_OF_ORDER', 'the one before was refused: it was not carried out');
  assert.is(table.write(id, 1), 'new');
  assert.is(table.write(id, 2, 0, 1), 'new', 'a refused one may come again with its sequence');
  assert.is(table.write(id, 2, 0, 1), 'repeated');
  assert.is(table.write(id, 4, 0, 3), 'OUT_OF_ORDER');
  assert.is(table.write(id, 4, 3, 3), 'new', 'the one before was given up');
  assert.is(table.write(id, 3, 2), 'INVALID_REQUEST', 'and can no longer be carried out');
  assert.is(table.write(id, 5, 3, 4), 'new', 'its place in the window is that of 1');
  assert.is(table.write(id, 6, 3, 1), 'new');
  assert.is(table.write(id, 7, 3, 8), 'OUT_OF_ORDER');
  assert.is(table.write(id, 6, 3, 8), 'repeated');
});

test('what is restored decides as what was live, in every case and about who goes next', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const random = new SeededRandom(seed);
    const table = new Table();
    const ids: number[] = [];
    for (let step = 0; step < 300; step++) {
      if (random.chance(0.05)) ids.push(table.open(random.between(1, 5)));
      else if (ids.length > 0) {
        const sequence = random.between(1, 20);
        const after = random.between(0, sequence);
        table.write(random.pick(ids), sequence, random.between(0, 12), after);
      }
      if (random.chance(0.1)) table.save();
    }
    const restored = table.restored();
    assert.is(restored.size, table.sessions.size);
    for (const id of ids) {
      for (let sequence = 1; sequence <= 25; sequence++) {
        for (let floor = 0; floor < 15; floor += 3) {
          for (const after of [0, sequence - 1, sequence - 3])
            assert.equal(
              restored.check(id, sequence, floor, after),
              table.sessions.check(id, sequence, floor, after),
            );
        }
      }
    }
    for (let i = table.sessions.size; i <= MAX_SESSIONS + ids.length; i++) {
      const id = table.index + i;
      assert.equal(changesOf(restored, id), changesOf(table.sessions, id));
    }
  }
});

test('with too many results kept, the sessions least recently used go, but never the one that writes', () => {
  const sessions = new Sessions(10);
  const result = (index: number, count: number): WriteResult => ({
    applied: true,
    index,
    results: Array.from({ length: count }, () => ({ status: 'ok' as const, existed: false, version: index })),
  });
  for (const id of [1, 2, 3]) sessions.open(id, 8);
  sessions.record(1, 1, 0, result(4, 4));
  sessions.record(2, 1, 0, result(5, 4));
  sessions.takeChanges();
  sessions.record(3, 1, 0, result(6, 4));
  assert.is(sessions.size, 2, 'the first has gone');
  assert.equal(
    sessions.takeChanges().map(({ type }) => type),
    ['put', 'delete', 'delete', 'put'],
  );
  sessions.record(3, 1, 0, result(7, 5));
  assert.is(sessions.size, 2, 'a slot that is used again counts once');
  sessions.record(3, 2, 0, result(8, 100));
  assert.is(sessions.size, 1, 'the one that writes stays');
  assert.is(sessions.check(3, 2, 0).state, 'repeated');
});

test('changes are given once, each slot with its last result, in the order of the keys', () => {
  const sessions = new Sessions();
  for (const id of [3, 700]) sessions.open(id, 4);
  for (const sequence of [3, 1, 5, 2]) sessions.record(700, sequence, 1, resultAt(700 + sequence));
  sessions.record(3, 1, 0, resultAt(710));
  assert.is(sessions.changedResults, 2 + 3 * 2 + 2, 'a slot that was used again counts once');
  const keys = sessions.takeChanges().map(({ key }) => Buffer.from(key).toString('hex'));
  const hex = (id: number, slot?: number) => sessionKey(id, slot).toString('hex');
  assert.equal(keys, [hex(3), hex(3, 1), hex(700), hex(700, 1), hex(700, 2), hex(700, 3)]);
  assert.is(sessions.changedResults, 0);
  assert.equal(sessions.takeChanges(), []);
  sessions.record(700, 6, 1, resultAt(711));
  assert.is(sessions.takeChanges().length, 1);
});

class FewSessions extends Sessions {
  override get maxSize(): number {
    return 6;
  }
}

test('the one that goes is always the least recently used, also after many others went and were used', () => {
  const random = new SeededRandom(7);
  const sessions = new FewSessions(14);
  /** Numbers of sessions, in order of their last use, with their next sequence. */
  let model: { id: number; next: number }[] = [];
  const kept = () => model.reduce((sum, { next }) => sum + Math.min(next - 1, 3), 0);
  for (let index = 1; index < 3000; index++) {
    const used = model[random.between(0, 8)];
    if (used && random.chance(0.7)) {
      assert.is(sessions.check(used.id, used.next, 0).state, 'new');
      sessions.record(used.id, used.next++, used.next - 2, resultAt(index));
      model = [...model.filter((other) => other !== used), used];
      while (kept() > 14) model.shift();
    } else {
      sessions.open(index, 3);
      if (model.length === 6) model.shift();
      model.push({ id: index, next: 1 });
    }
    assert.is(sessions.size, model.length);
    for (const { id } of model) assert.not(sessions.check(id, 1_000_000, 999_999).state === 'refused');
  }
});

test.run();
