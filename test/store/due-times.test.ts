/** The heap of due times, against a list that is sorted anew each time. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { type Due, DueTimes } from '../../src/store/due-times.js';

interface Named extends Due {
  readonly name: number;
}

const never = Number.POSITIVE_INFINITY;

test('whatever is added, moved and removed: what is due comes in the order of time, then of adding', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const times = new DueTimes<Named>();
    /** In the order of adding. */
    const all: Named[] = [];
    const someMs = () => random.pick([random.between(0, 20), random.between(0, 20), never]);
    for (let step = 0; step < 300; step++) {
      const what = random.between(0, 9);
      if (all.length === 0 || what < 4) {
        const element: Named = { name: step, dueMs: someMs(), place: undefined };
        all.push(element);
        times.add(element);
      } else if (what < 7) times.move(random.pick(all), someMs());
      else if (what < 9) {
        const [gone] = all.splice(random.between(0, all.length - 1), 1);
        if (gone) times.remove(gone);
        assert.is(gone?.place, undefined);
      } else {
        const byMs = random.between(0, 20);
        const expected = all.filter(({ dueMs }) => dueMs <= byMs).sort((a, b) => a.dueMs - b.dueMs);
        const names = expected.map(({ name }) => name);
        assert.equal(
          times.takeDue(byMs).map(({ name }) => name),
          names,
        );
        for (const { dueMs } of expected) assert.is(dueMs, never);
      }
      assert.is(times.size, all.length);
      assert.is(times.firstMs, Math.min(never, ...all.map(({ dueMs }) => dueMs)));
    }
  }
});

test('an element that is removed twice is removed once', () => {
  const times = new DueTimes<Due>();
  const [one, other] = [1, 2].map((dueMs): Due => ({ dueMs, place: undefined }));
  if (!one || !other) throw new Error('both are there');
  times.add(one);
  times.add(other);
  times.remove(one);
  times.remove(one);
  assert.is(times.size, 1);
  assert.is(times.firstMs, 2);
});

test.run();
