/** What came from what, as a client knows it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MetTablets } from '../../src/client/met-tablets.js';

const tablet = (id: number, generation: number, start: string, end?: string) => ({
  ...{ id, generation, start: Buffer.from(start) },
  end: end === undefined ? undefined : Buffer.from(end),
});

test('of those that a tablet came from, its parents are the ones from which no other of them came', () => {
  const met = new MetTablets();
  met.meet([tablet(1, 1, '', 'm'), tablet(2, 1, 'm')], () => true);
  met.meet([tablet(3, 2, '', 'g'), tablet(4, 2, 'g', 'm')], (id) => id > 1);
  met.meet([tablet(5, 3, 'g')], (id) => id === 3 || id === 5);
  met.meet([tablet(6, 4, 'g', 'p'), tablet(7, 4, 'p')], (id) => id === 3 || id > 5);
  assert.equal(met.parentsOf(7, [1, 2, 3, 4, 5]), [5]);
  assert.equal(met.parentsOf(7, [1, 2, 3, 4]), [2], 'by range it shares no key with the others');
  assert.equal(met.parentsOf(6, [1, 2, 3, 4]), [2, 4]);
  assert.equal(met.parentsOf(3, [1, 2]), [1]);
  assert.equal(met.parentsOf(3, [0]), [0]);
  assert.equal(met.parentsOf(8, [1]), [], 'it was not met');
});

test('of tablets that have ended the oldest are forgotten', () => {
  const met = new MetTablets();
  const forgotten: number[] = [];
  for (let id = 1; id <= 5000; id++)
    forgotten.push(...met.meet([tablet(id, id, '')], (other) => other === id));
  assert.is(forgotten.length, 4999 - 4096);
  assert.equal([forgotten[0], forgotten.at(-1)], [1, 4999 - 4096]);
  assert.not(met.cameFrom(5000, 1));
  assert.ok(met.cameFrom(5000, 4000));
});

test.run();
