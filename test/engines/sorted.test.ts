/** The ordered map and the sorted file below the engines that have no files of their own. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readSortedFile, writeSortedFile } from '../../src/engines/sorted-file.js';
import { SortedMap } from '../../src/engines/sorted-map.js';
import { errorCode } from '../../src/env/errors.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { SimWorld } from '../../src/sim/world/world.js';

const render = (entries: Iterable<readonly [Buffer, unknown]>) =>
  Array.from(entries, ([key, value]) => `${key.toString('hex')}=${value}`).join(' ');

test('the map equals a plain one, through splits and merges, and its views stay as they were', () => {
  for (let seed = 1; seed <= 3; seed++) {
    const random = new SeededRandom(seed);
    const map = new SortedMap<number>();
    const plain = new Map<string, number>();
    const expected = () => [...plain].sort(([a], [b]) => (a < b ? -1 : 1));
    const views: { readonly entries: Iterable<readonly [Buffer, number]>; readonly expected: string }[] = [];
    let largest = 0;
    for (let step = 0; step < 12_000; step++) {
      const isGrowing = step % 6000 < 3000;
      const key = random.between(0, 3000).toString(16).padStart(4, '0');
      if (random.chance(isGrowing ? 0.9 : 0.1)) {
        map.set(Buffer.from(key, 'hex'), step);
        plain.set(key, step);
      } else assert.is(map.delete(Buffer.from(key, 'hex')), plain.delete(key));
      largest = Math.max(largest, map.size);
      if (step % 100 === 0) assert.is(map.get(Buffer.from(key, 'hex')), plain.get(key));
      if (step % 1000 > 2) continue;
      assert.is(map.size, plain.size);
      const [from, to] = [random.between(0, 3000), random.between(0, 3000)].map((at) =>
        at.toString(16).padStart(4, '0'),
      ) as [string, string];
      const reverse = random.chance(0.5);
      const within = expected().filter(([name]) => name >= from && name < to);
      views.push({
        entries: map.entries({ gte: Buffer.from(from, 'hex'), lt: Buffer.from(to, 'hex'), reverse }),
        expected: (reverse ? within.reverse() : within).map(([name, value]) => `${name}=${value}`).join(' '),
      });
      assert.is(
        render(map.entries({})),
        expected()
          .map(([name, value]) => `${name}=${value}`)
          .join(' '),
      );
    }
    assert.ok(largest > 1500, `${largest} keys`);
    for (const view of views) assert.is(render(view.entries), view.expected);
  }
});

const ENTRIES = Array.from(
  { length: 10_000 },
  (_, i) => [Buffer.from(`key ${String(i).padStart(5, '0')}`), Buffer.alloc(i % 90, `${i}`)] as const,
);

async function fileOf(entries: Iterable<readonly [Buffer, Buffer]>) {
  const world = new SimWorld(1);
  const disk = new SimDisk();
  const { env } = world.start('n', disk);
  await world.scheduler.run(writeSortedFile(env, '/file', entries));
  const read = async () => {
    const found: (readonly [Buffer, Buffer])[] = [];
    for await (const block of readSortedFile(env, '/file')) found.push(...block);
    return found;
  };
  return { env, disk, read: () => world.scheduler.run(read()) };
}

test('a sorted file gives what was written, also nothing and very large values', async () => {
  const large = [[Buffer.from('a'), Buffer.alloc(9_000_000, 'x')]] as const;
  for (const entries of [ENTRIES, [], large]) {
    const { read } = await fileOf(entries);
    assert.equal(render(await read()), render(entries));
  }
});

test('any changed, missing or added byte of a sorted file is CORRUPTION', async () => {
  const { disk, read, env } = await fileOf(ENTRIES.slice(0, 60));
  const whole = env.fs.readFile('/file');
  const outcome = async (content: Buffer) => {
    disk.edit('/file', () => content);
    return read().then(() => 'sound', errorCode);
  };
  for (let at = 0; at < whole.length; at += 7) {
    const changed = Buffer.from(whole);
    changed[at] = (changed[at] ?? 0) ^ 0x10;
    assert.is(await outcome(changed), 'CORRUPTION', `byte ${at}`);
    assert.is(await outcome(whole.subarray(0, at)), 'CORRUPTION', `cut at ${at}`);
  }
  assert.is(await outcome(Buffer.concat([whole, Buffer.of(0)])), 'CORRUPTION');
  assert.is(await outcome(whole), 'sound');
});

test('blocks that change places, and keys that do not ascend, are CORRUPTION', async () => {
  const { disk, read, env } = await fileOf(ENTRIES);
  const content = env.fs.readFile('/file');
  const blocks: Buffer[] = [];
  for (let at = 16; at < content.length; ) {
    const end = at + 12 + content.readUInt32LE(at + 4);
    blocks.push(content.subarray(at, end));
    at = end;
  }
  assert.ok(blocks.length >= 4, `${blocks.length} blocks`);
  const [first, second, ...others] = blocks as [Buffer, Buffer, ...Buffer[]];
  const header = content.subarray(0, 16);
  for (const order of [
    [second, first, ...others],
    [first, ...others],
    [first, first, second, ...others],
  ]) {
    disk.edit('/file', () => Buffer.concat([header, ...order]));
    assert.is(await read().then(() => 'sound', errorCode), 'CORRUPTION');
  }
  const unordered = await fileOf([...ENTRIES.slice(0, 2)].reverse());
  assert.is(await unordered.read().then(() => 'sound', errorCode), 'CORRUPTION');
});

test.run();
