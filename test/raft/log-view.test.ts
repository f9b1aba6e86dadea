/** What the core knows of its log: by example, and against a plain list of entries. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LogView } from '../../src/raft/log-view.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

/** A log after entry `base` of term `baseTerm`, with these terms. */
function viewOf(terms: readonly number[], base = 0, baseTerm = 0): LogView {
  const view = new LogView({ index: base, term: baseTerm });
  for (const term of terms) view.append(term, 10);
  return view;
}

test('terms are known from the base to the end', () => {
  const view = viewOf([3, 3, 5], 10, 2);
  assert.equal(
    [9, 10, 11, 12, 13, 14].map((index) => view.termAt(index)),
    [undefined, 2, 3, 3, 5, undefined],
  );
  assert.is(view.lastIndex, 13);
  assert.is(view.lastTerm, 5);
  assert.is(viewOf([], 10, 2).lastTerm, 2);
});

test('a cut makes its last entry the base', () => {
  const view = viewOf([1, 1, 2, 2, 3]);
  view.compactTo(3);
  assert.equal(
    [2, 3, 4, 5].map((index) => view.termAt(index)),
    [undefined, 2, 2, 3],
  );
  view.compactTo(2);
  assert.is(view.baseIndex, 3);
  view.compactTo(5);
  assert.is(view.lastIndex, 5);
  assert.is(view.lastTerm, 3);
  view.append(3, 1);
  assert.is(view.termAt(6), 3);
  assert.throws(() => view.compactTo(9));
});

test('who is up to date: the later last term, then the longer log', () => {
  const view = viewOf([1, 2, 2]);
  const cases: [index: number, term: number, expected: boolean][] = [
    [3, 2, true],
    [4, 2, true],
    [2, 2, false],
    [1, 3, true],
    [9, 1, false],
  ];
  for (const [index, term, expected] of cases) assert.is(view.isUpToDate(index, term), expected);
});

test('a range within a limit of bytes has at least one entry', () => {
  const view = new LogView({ index: 0, term: 0 });
  for (const size of [10, 20, 30, 40]) view.append(1, size);
  assert.equal(view.lastWithin(1, 4, 60), { last: 3, sizeBytes: 60 });
  assert.equal(view.lastWithin(1, 4, 59), { last: 2, sizeBytes: 30 });
  assert.equal(view.lastWithin(4, 4, 1), { last: 4, sizeBytes: 40 });
  assert.equal(view.lastWithin(2, 3, 1000), { last: 3, sizeBytes: 50 });
});

/*
 *   leader      1 1 1 3 3 3 5 5      follower     1 1 1 2 2 2 2 2 2
 *               1 2 3 4 5 6 7 8                   1 2 3 4 5 6 7 8 9
 *
 * The follower refuses (8, term 5) and names its last entry of a term not after 5: (8, term 2). The leader looks for
 * its own last entry at or before 8 of a term not after 2: 3, where they agree. One round trip.
 */
test('where two logs may agree is found in one step per side', () => {
  const leader = viewOf([1, 1, 1, 3, 3, 3, 5, 5]);
  const follower = viewOf([1, 1, 1, 2, 2, 2, 2, 2, 2]);
  const hint = follower.lastNotAfter(8, 5);
  assert.equal(hint, { index: 8, term: 2 });
  assert.equal(leader.lastNotAfter(hint.index, hint.term), { index: 3, term: 1 });
});

test('where two logs may agree, at the edges of a log', () => {
  const view = viewOf([4, 4], 10, 3);
  assert.equal(view.lastNotAfter(99, 9), { index: 12, term: 4 });
  assert.equal(view.lastNotAfter(12, 3), { index: 10, term: 3 });
  assert.equal(view.lastNotAfter(10, 9), { index: 10, term: 3 });
  assert.is(view.lastNotAfter(5, 9).index, 5, 'below the base nothing is known');
});

test('random appends, truncations and cuts are what a plain list would do', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new SeededRandom(seed);
    let base = random.between(0, 5);
    let baseTerm = base === 0 ? 0 : 1;
    const view = new LogView({ index: base, term: baseTerm });
    let list: { term: number; size: number }[] = [];
    let term = 1;
    for (let step = 0; step < 150; step++) {
      const choice = random.float();
      if (choice < 0.6) {
        if (random.chance(0.2)) term++;
        for (let count = random.between(1, 60); count > 0; count--) {
          const size = random.between(1, 1000);
          list.push({ term, size });
          view.append(term, size);
        }
      } else if (choice < 0.8 && list.length > 0) {
        const kept = random.between(0, list.length);
        list = list.slice(0, kept);
        view.truncateFrom(base + kept + 1);
        term++;
      } else if (list.length > 0) {
        const dropped = random.between(1, list.length);
        baseTerm = list[dropped - 1]?.term ?? 0;
        base += dropped;
        list = list.slice(dropped);
        view.compactTo(base);
      }
      assert.is(view.baseIndex, base);
      assert.is(view.lastIndex, base + list.length);
      assert.is(view.lastTerm, list.at(-1)?.term ?? baseTerm);
      for (let probe = 0; probe < 10; probe++) {
        const index = random.between(base, base + list.length);
        const present = list[index - base - 1];
        assert.is(view.termAt(index), present ? present.term : baseTerm);
        if (present) assert.is(view.sizeAt(index), present.size);
        const limit = random.between(0, term + 1);
        let at = index;
        while (at > base && (list[at - base - 1]?.term ?? 0) > limit) at--;
        assert.is(view.lastNotAfter(index, limit).index, at);
      }
    }
  }
});

test.run();
