/** The row of cached entries against a plain array, over more entries than it frees at once. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Entry, entrySizeBytes } from '../../src/raft/types.js';
import { EntryCache } from '../../src/raft-log/entry-cache.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { entry } from './log-lab.js';

const texts = (entries: readonly Entry[]) => entries.map(({ body }) => `${body}`);

test('it holds what a plain array would hold', () => {
  const random = new SeededRandom(1);
  const below = (limit: number) => random.uint32() % limit;
  const cache = new EntryCache();
  cache.reset(5);
  let first = 5;
  let model: string[] = [];
  const last = () => first + model.length - 1;
  for (let round = 0; round < 30; round++) {
    for (let i = below(1500); i > 0; i--) {
      model.push(`entry ${last() + 1} of round ${round}`);
      cache.push(entry(1, model.at(-1) ?? ''));
    }
    if (below(3) === 0) {
      const from = first + below(model.length + 1);
      cache.dropFrom(from);
      model = model.slice(0, from - first);
    }
    for (let i = below(model.length + 1); i > 0; i--) {
      cache.dropFirst();
      model.shift();
      first++;
    }
    assert.is(cache.first, first);
    assert.is(cache.length, model.length);
    assert.is(
      cache.bytes,
      model.reduce((sum, text) => sum + entrySizeBytes(entry(1, text)), 0),
    );
    assert.equal(texts(cache.slice(first, last())), model);
    const middle = first + below(model.length + 1);
    assert.equal(texts(cache.slice(middle, last())), model.slice(middle - first));
  }
  cache.reset(1);
  assert.equal([cache.first, cache.length, cache.bytes], [1, 0, 0]);
});

test.run();
