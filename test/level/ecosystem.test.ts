/** Other libraries of the ecosystem at work on it: sublevels, and streams (level-read-stream). */
import { pipeline } from 'node:stream/promises';
import { EntryStream } from 'level-read-stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeLevel } from '../../src/level/index.js';
import { withDirectory } from './level-lab.js';

interface Person {
  readonly born: number;
}

test('people and an index of them, kept in step by one batch', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory);
    const people = db.sublevel<string, Person>('people', { valueEncoding: 'json' });
    const byYear = db.sublevel('born');

    await db.batch<string, Person | string>(
      [
        { type: 'put', sublevel: people, key: 'grace', value: { born: 1906 } },
        { type: 'put', sublevel: byYear, key: '1906', value: 'grace' },
        { type: 'put', sublevel: people, key: 'ada', value: { born: 1815 } },
        { type: 'put', sublevel: byYear, key: '1815', value: 'ada' },
      ],
      { sync: true },
    );

    const names = await byYear.values({ lt: '1900' }).all();
    assert.equal(names, ['ada']);
    assert.equal(await people.getMany(names), [{ born: 1815 }]);
    assert.equal(await people.keys().all(), ['ada', 'grace']);
    await byYear.clear();
    assert.is((await db.keys().all()).length, 2, 'a sublevel keeps to itself');
    await db.close();
  }));

test('a stream of everything, through a pipeline', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel<string, number>(directory, { valueEncoding: 'json' });
    const count = 3000;
    await db.batch(
      Array.from({ length: count }, (_, i) => ({ type: 'put', key: String(i).padStart(5, '0'), value: i })),
    );
    let sum = 0;
    let last = '';
    await pipeline(
      new EntryStream<string, number, typeof db>(db, { gte: '01000' }),
      async (entries: AsyncIterable<{ key: string; value: number }>) => {
        for await (const { key, value } of entries) {
          assert.ok(key > last);
          last = key;
          sum += value;
        }
      },
    );
    assert.is(sum, ((1000 + count - 1) * (count - 1000)) / 2);
    await db.close();
  }));

test.run();
