/** Many writes at once wait; they are not refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeLevel } from '../../src/level/index.js';
import { processEnv, SimDisk, TINY } from '../lsm/tree-lab.js';
import { rejection, withDirectory } from './level-lab.js';

const keyAt = (i: number) => String(i).padStart(6, '0');

test('100 puts of 1 MiB under Promise.all', () =>
  withDirectory(async (directory) => {
    const db = new RaftreeLevel(directory);
    const value = 'v'.repeat(1024 * 1024);
    await Promise.all(Array.from({ length: 100 }, (_, i) => db.put(keyAt(i), value)));
    assert.is((await db.keys().all()).length, 100);
    await db.close();
  }));

test('while no table can be written, puts and batches wait, are counted, and keep their order', async () => {
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const env = processEnv(1, new SimDisk(), {
    latency: ({ path }) => (path.endsWith('.sst') ? gate : Promise.resolve()),
  });
  const db = new RaftreeLevel('/data/db', { engine: { ...TINY, env } });
  for (let i = 0; db.status === 'opening' || !db.stats().stalled; i++)
    await db.put('before', `${i}`.repeat(100));
  const value = 'v'.repeat(100 * 1024);
  const order: number[] = [];
  const writes = Array.from({ length: 1000 }, (_, i) => {
    const writing =
      i % 2 === 0
        ? db.put('key', `${i}${value}`)
        : db.batch([{ type: 'put', key: 'key', value: `${i}${value}` }]);
    return writing.then(() => order.push(i));
  });
  await Promise.resolve();
  const { waitingWrites, waitingBytes } = db.stats();
  assert.is(waitingWrites, 1000);
  assert.ok(waitingBytes > 1000 * value.length, 'more than an engine by itself lets wait');
  open();
  await Promise.all(writes);
  assert.equal(
    order,
    Array.from({ length: 1000 }, (_, i) => i),
  );
  assert.ok((await db.get('key'))?.startsWith('999v'));
  await db.close();
});

test('who asks for a limit gets it', async () => {
  const env = processEnv(1, new SimDisk());
  const db = new RaftreeLevel('/data/db', { engine: { ...TINY, env, maxWaitingBytes: 1000 } });
  await db.open();
  const first = db.put('a', 'v'.repeat(900));
  assert.equal(await rejection(db.put('b', 'v'.repeat(900))), ['LEVEL_BUSY', 'LSM_BUSY']);
  await first;
  await db.close();
});

test.run();
