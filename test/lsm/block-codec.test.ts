/** Compressed blocks: both decoders agree, damage is seen, and a tree of mixed codecs is one tree. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import {
  availableCodec,
  CODEC_LZ4,
  compressBlock,
  decompressBlock,
  plainBlock,
  plainBytes,
} from '../../src/lsm/base/block-codec.js';
import type { LsmOptions } from '../../src/lsm/index.js';
import { BlockCache } from '../../src/lsm/table/block-cache.js';
import {
  DIRECTORY,
  openTree,
  put,
  randomBatches,
  recordingLogger,
  renderTree,
  SeededRandom,
  SimDisk,
  statesOf,
} from './tree-lab.js';

/** Bytes with runs, repeats near and far, and noise. */
function randomBlock(random: SeededRandom): Buffer {
  const parts: Buffer[] = [];
  for (let pieces = random.between(1, 30); pieces > 0; pieces--) {
    const choice = random.float();
    if (choice < 0.3) parts.push(Buffer.alloc(random.between(1, 600), random.between(0, 255)));
    else if (choice < 0.6 && parts.length > 0) parts.push(random.pick(parts));
    else parts.push(random.bytes(random.between(1, 200)));
  }
  return Buffer.concat(parts);
}

test('what is compressed comes back, by the package and without it', () => {
  assert.is(availableCodec('lz4'), 'lz4', 'lz4-napi is installed where the tests run');
  const random = new SeededRandom(1);
  let compressed = 0;
  for (let i = 0; i < 500; i++) {
    const block = randomBlock(random);
    const shared = compressBlock(block, 'lz4');
    if (!shared) continue;
    const packed = Buffer.from(shared);
    compressed++;
    assert.ok(packed.length < block.length);
    const surrounded = Buffer.concat([random.bytes(7), packed, Buffer.of(CODEC_LZ4), random.bytes(5)]);
    const end = 7 + packed.length;
    assert.is(plainBytes(surrounded, 7, end), block.length);
    for (const portable of [false, true]) {
      const target = Buffer.alloc(block.length + 3, 0xee);
      assert.ok(decompressBlock(surrounded, 7, end, target, portable));
      assert.ok(target.subarray(0, block.length).equals(block));
    }
    assert.ok(plainBlock(surrounded, 7, end)?.equals(block));
  }
  assert.ok(compressed > 200);
  assert.is(compressBlock(random.bytes(4096), 'lz4'), undefined, 'noise is stored as it is');
  assert.is(compressBlock(Buffer.alloc(4096), 'none'), undefined);
});

test('damaged bytes give an answer, never a hang, a throw, or a byte behind the block', () => {
  const random = new SeededRandom(2);
  for (let i = 0; i < 3000; i++) {
    const block = randomBlock(random);
    const shared = compressBlock(block, 'lz4');
    if (!shared) continue;
    const packed = Buffer.from(shared);
    for (let flips = random.between(1, 4); flips > 0; flips--) {
      const at = random.between(0, packed.length - 1);
      packed[at] = (packed[at] as number) ^ (1 << random.between(0, 7));
    }
    const cut = random.chance(0.3) ? random.between(0, packed.length) : packed.length;
    for (const portable of [false, true]) {
      const target = Buffer.alloc(block.length + 64, 0xee);
      decompressBlock(packed, 0, cut, target.subarray(0, block.length), portable);
      assert.ok(target.subarray(block.length).every((byte) => byte === 0xee));
    }
  }
});

test('a tree that is reopened with other codecs reads what it has, and rewrites it as it goes', async () => {
  const disk = new SimDisk();
  const batches = randomBatches(new SeededRandom(3), 200, 60);
  const states = statesOf(batches);
  const settings: LsmOptions[] = [
    { codecs: ['none'] },
    { codecs: ['none', 'none', 'lz4'] },
    { codecs: ['lz4'] },
    { codecs: ['lz4', 'none'] },
  ];
  let done = 0;
  for (const options of settings) {
    const tree = await openTree(disk, { ...options, blockBytes: 512 });
    for (const batch of batches.slice(done, done + 50)) await tree.write(batch, { durability: 'buffered' });
    done += 50;
    await tree.flush();
    assert.is(renderTree(tree), states[done]);
    assert.equal((await tree.verify()).problems, []);
    await tree.close();
  }
  const tree = await openTree(disk, { codecs: ['none'] });
  await tree.compactRange();
  assert.is(renderTree(tree), states[200]);
  await tree.close();
});

test('every flipped byte of a compressed table is reported, and no read gives a wrong value', async () => {
  const disk = new SimDisk();
  const options: LsmOptions = {
    codecs: ['lz4'],
    blockBytes: 512,
    level0Trigger: 10,
    level0StopTrigger: 20,
    durability: 'none',
  };
  const tree = await openTree(disk, options);
  const value = (i: number) => `${i}`.repeat(60);
  for (let i = 0; i < 30; i++) await tree.write([put(`key${i}`, value(i))]);
  await tree.flush();
  await tree.close();
  const name = disk
    .mount()
    .list(DIRECTORY)
    .find((entry) => entry.endsWith('.sst'));
  const path = `${DIRECTORY}/${name}`;
  const size = disk.mount().readFile(path).length;
  assert.ok(size < 1500, 'it is compressed');
  for (let at = 0; at < size; at++) {
    const damaged = disk.clone();
    damaged.edit(path, (bytes) => {
      bytes[at] = (bytes[at] as number) ^ 0x10;
      return bytes;
    });
    const again = await openTree(damaged, { ...options, logger: recordingLogger([]) });
    const { problems } = await again.verify();
    assert.ok(problems.length > 0, `byte ${at}`);
    for (let i = 0; i < 30; i++) {
      try {
        const found = again.getSync(Buffer.from(`key${i}`))?.toString();
        assert.is(found, value(i), `byte ${at}`);
      } catch (error) {
        assert.is(errorCode(error), 'CORRUPTION', `byte ${at}: ${error}`);
      }
    }
    await again.close();
  }
});

test('the cache keeps blocks of any size within its bytes', () => {
  const random = new SeededRandom(4);
  const cache = new BlockCache(100_000, 4096);
  const owner = { slots: new Int32Array(500).fill(-1) };
  const sizes = Array.from({ length: 500 }, () => random.pick([100, 4096, 4097, 9000, 30_000, 200_000]));
  const pinned: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    const block = random.between(0, 499);
    const known = owner.slots[block] as number;
    if (known >= 0) {
      assert.is(cache.bytes(known).readUInt16LE(0), block);
      assert.is(cache.blockBytes(known), sizes[block]);
      cache.use(known);
      if (random.chance(0.05)) cache.discard(known);
      continue;
    }
    const slot = cache.claim(owner, block, sizes[block] as number);
    assert.ok(cache.sizeBytes <= 100_000);
    if (slot < 0) {
      assert.ok(sizes[block] === 200_000 || pinned.length > 0);
      continue;
    }
    assert.ok(cache.bytes(slot).length >= (sizes[block] as number));
    cache.bytes(slot).writeUInt16LE(block, 0);
    if (random.chance(0.02) && pinned.length < 2) {
      cache.pin(slot);
      pinned.push(slot);
    } else if (random.chance(0.05)) {
      const unpinned = pinned.pop();
      if (unpinned !== undefined) cache.unpin(unpinned);
    }
  }
  assert.ok(cache.hits > 100 && cache.sizeBytes > 60_000);
});

test.run();
