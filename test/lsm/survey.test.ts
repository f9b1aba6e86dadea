/** How large a part of a tree is, and what lies in its middle, without a look at all of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LsmTree } from '../../src/lsm/index.js';
import { roomEnv } from '../../src/sim/world/room-env.js';
import { openTree, processEnv, put, remove, SeededRandom, SimDisk, TINY } from './tree-lab.js';

const name = (i: number) => `\u0001key${String(i).padStart(4, '0')}`;
const ALL = { smallest: Buffer.of(1), largest: Buffer.of(2) };
const SECTIONS = [{ first: 1, skippedBytes: 1 }];

/** 400 keys, of which those from 300 on have nine times the bytes; written in no order, and some of them twice. */
async function filled(disk: SimDisk): Promise<LsmTree> {
  const random = new SeededRandom(3);
  const tree = await openTree(disk, { writeBufferBytes: 16 * 1024, maxFileBytes: 4096 });
  const numbers = Array.from({ length: 400 }, (_, i) => i).sort(() => random.float() - 0.5);
  const all = [...numbers, ...numbers.slice(0, 100)];
  for (let at = 0; at < all.length; at += 25)
    await tree.write(all.slice(at, at + 25).map((i) => put(name(i), 'x'.repeat(i < 300 ? 40 : 360))));
  await tree.write(Array.from({ length: 100 }, (_, i) => put(`\u0002session${i}`, 'y'.repeat(400))));
  await tree.compactRange();
  return tree;
}

test('the sampled keys lie at even distances of bytes, and the size is that of the range', async () => {
  const tree = await filled(new SimDisk());
  const { bytes, keys } = await tree.survey(ALL, 100);
  // 300 keys of about 60 bytes, 100 of about 380.
  assert.ok(bytes > 50_000 && bytes < 70_000, `${bytes} bytes`);
  assert.ok(keys.length > 95 && keys.length <= 100, `${keys.length} keys`);
  const light = keys.filter((key) => key.toString('latin1') < name(300)).length / keys.length;
  assert.ok(light > 0.25 && light < 0.4, `${light} lie in the light part`);
  assert.equal(keys, [...keys].sort(Buffer.compare));
  assert.ok(keys.every((key) => key[0] === 1));
  const heavy = await tree.survey({ smallest: Buffer.from(name(300)), largest: Buffer.of(2) }, 10);
  assert.ok(heavy.bytes > 36_000 && heavy.bytes < 45_000, `${heavy.bytes} bytes`);
  assert.ok(heavy.keys.every((key) => key.toString('latin1') >= name(300)));
  await tree.close();
});

test('an empty tree has no keys; one value that fills it is one key', async () => {
  const tree = await openTree(new SimDisk());
  assert.equal(await tree.survey(ALL, 10), { bytes: 0, keys: [] });
  await tree.write([put(name(1), 'x'.repeat(200_000)), put(name(2), 'y')]);
  const { bytes, keys } = await tree.survey(ALL, 10);
  assert.ok(bytes >= 200_000);
  assert.is(new Set(keys.map(String)).size, 1);
  await tree.write([remove(name(1))]);
  await tree.close();
});

test('it reads as many blocks as it gives keys, however large the tree is', async () => {
  const disk = new SimDisk();
  await (await filled(disk)).close();
  let reads = 0;
  const env = roomEnv(2, disk, {
    fault: ({ kind }) => {
      if (kind === 'read') reads++;
      return undefined;
    },
  });
  const tree = await openTree(disk, {}, { ...processEnv(2, disk), fs: env.fs });
  const tables = tree.tables().flat().length;
  reads = 0;
  await tree.survey(ALL, 5);
  // A table has three sections that are read when it is opened.
  assert.ok(tables > 10 && reads <= 3 * tables + 5, `${reads} reads of ${tables} tables`);
  await tree.close();
});

/** Foreign keys never count as keys, and never choose a split point. */
for (const bounds of [
  { by: 'range', start: Buffer.alloc(0), end: Buffer.from('key0300'), sections: SECTIONS },
  { by: 'hash', start: Buffer.alloc(0), end: Buffer.of(128, 0, 0, 0), sections: SECTIONS },
] as const)
  test(`by ${bounds.by}: keys that a tree shares tables with, and that are not its own, count for nothing`, async () => {
    const disk = new SimDisk();
    const tree = await filled(disk);
    const whole = await tree.survey(ALL, 200);
    await tree.checkpoint('/data/part', bounds);
    await tree.close();
    // Nothing is compacted: the tables have the keys of both.
    const part = await LsmTree.open('/data/part', {
      ...TINY,
      ...{ createIfMissing: false, env: processEnv(2, disk), level0Trigger: 100, level0StopTrigger: 200 },
    });
    part.restrict(bounds);
    const { bytes, keys } = await part.survey(ALL, 200);
    const share = bytes / whole.bytes;
    if (bounds.by === 'range') assert.ok(share > 0.25 && share < 0.4, `${share}`);
    else assert.ok(share > 0.35 && share < 0.65, `${share}`);
    assert.ok(keys.length > 0);
    for (const key of keys) assert.ok(part.hasSync(key), `${key} is not its own`);
    await part.close();
  });

test.run();
