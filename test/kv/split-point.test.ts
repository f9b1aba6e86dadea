/** Where a tablet is split by itself, and what it is told of its load. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { middleOf } from '../../src/kv/split-point.js';
import { TabletLoad } from '../../src/kv/tablet-load.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const bytesOf = (...keys: string[]) => keys.map((key) => Buffer.from(key));

test('the point divides the sample as evenly as its keys allow', () => {
  assert.is(middleOf('range', bytesOf('d', 'a', 'c', 'b'))?.point.toString(), 'c');
  // One key has most of it: the parts begin at it, or behind it.
  const heavy = middleOf('range', bytesOf('a', 'm', 'm', 'm', 'm', 'm', 'z', 'z'));
  assert.is(heavy?.point.toString(), 'z');
  assert.is(heavy?.leftShare, 6 / 8);
  assert.is(middleOf('range', bytesOf('m', 'm', 'm')), undefined);
  assert.is(middleOf('range', []), undefined);
});

test('by hash the point is a place on the ring, and keys with one tag lie in one place', () => {
  const middle = middleOf(
    'hash',
    Array.from({ length: 400 }, (_, i) => Buffer.from(`key${i}`)),
  );
  assert.is(middle?.point.length, 4);
  assert.ok(Math.abs((middle?.point.readUInt32BE(0) ?? 0) / 2 ** 32 - 0.5) < 0.1);
  assert.is(middleOf('hash', bytesOf('{a}1', '{a}2', 'x{a}3')), undefined);
});

test('the sample of a load is even, in the order of the requests too, and bounded', () => {
  const load = new TabletLoad(new SeededRandom(1), 'range');
  for (let i = 0; i < 200_000; i++)
    load.add(1, Buffer.from(i < 100_000 ? 'early' : i % 4 > 0 ? 'often' : 'rare'));
  const { operations, keys } = load.take();
  assert.is(operations, 200_000);
  assert.is(keys.length, 256);
  const share = (wanted: string) => keys.filter((key) => key.toString() === wanted).length / 256;
  assert.ok(Math.abs(share('early') - 0.5) < 0.1, `${share('early')}`);
  assert.ok(Math.abs(share('rare') - 0.125) < 0.07, `${share('rare')}`);
  assert.equal(load.take(), { operations: 0, keys: [] });
});

test('by hash a scan counts, and names no key', () => {
  const load = new TabletLoad(new SeededRandom(1), 'hash');
  for (let i = 0; i < 1000; i++) load.addScan(Buffer.from('a'));
  assert.equal(load.take(), { operations: 1000, keys: [] });
});

test.run();
