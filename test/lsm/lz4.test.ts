/** Both decompressors, held against blocks made by hand; and the module against its source. */
import lz4 from 'lz4-napi';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  compressFast,
  decompress,
  decompressFast,
  fitsFast,
  fitsFastCompression,
  packedScratch,
} from '../../src/lsm/base/lz4.js';
import { SOURCE_HASH } from '../../src/lsm/base/lz4-wasm.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { sourceHash } from '../support/wasm-source.js';

const DECOMPRESSORS = [decompress, decompressFast];

/** A count as a token's half and its further bytes. */
function counted(count: number): { half: number; more: number[] } {
  if (count < 15) return { half: count, more: [] };
  const more: number[] = [];
  for (let left = count - 15; ; left -= 255) {
    more.push(Math.min(left, 255));
    if (left < 255) return { half: 15, more };
  }
}

/** `literals`, a match of `match` bytes from `offset` back, and one last literal. */
function sequences(literals: Buffer, offset: number, match: number): Buffer {
  const first = counted(literals.length);
  const second = counted(match - 4);
  return Buffer.concat([
    Buffer.from([first.half * 16 + second.half, ...first.more]),
    literals,
    Buffer.from([offset & 255, offset >> 8, ...second.more, 0x10, 0x2e]),
  ]);
}

function expected(literals: Buffer, offset: number, match: number): Buffer {
  const bytes = [...literals];
  for (let i = 0; i < match; i++) bytes.push(bytes[bytes.length - offset] as number);
  return Buffer.from([...bytes, 0x2e]);
}

test('the module is what its source compiles to', () => {
  assert.is(SOURCE_HASH, sourceHash(), 'run npm run build:wasm');
  assert.ok(fitsFast(4096, 4096), 'WebAssembly can be used where the tests run');
});

test('matches of every distance and length, also those that overlap what they produce', () => {
  for (const literalBytes of [1, 2, 3, 14, 15, 16, 17, 31, 33, 128, 129, 270, 600]) {
    const literals = Buffer.from(Array.from({ length: literalBytes }, (_, i) => (i * 37 + 11) & 255));
    for (let offset = 1; offset <= Math.min(literalBytes, 40); offset++) {
      for (const match of [4, 5, 15, 16, 17, 18, 19, 40, 274, 600]) {
        const packed = sequences(literals, offset, match);
        const plain = expected(literals, offset, match);
        for (const run of DECOMPRESSORS) {
          const target = Buffer.alloc(plain.length + 1, 0xee);
          const name = `${run.name}: ${literalBytes} literals, ${match} bytes from ${offset} back`;
          assert.ok(run(packed, 0, packed.length, target, plain.length), name);
          assert.ok(target.subarray(0, -1).equals(plain) && target.at(-1) === 0xee, name);
        }
      }
    }
  }
});

test('a match from before the block, of distance 0 or longer than the block is damage', () => {
  const literals = Buffer.from('abcd');
  for (const [offset, match, bytes] of [
    [5, 4, 9],
    [0, 4, 9],
    [1, 6, 9],
    [1, 4, 10],
    [1, 4, 8],
  ] as const) {
    const packed = sequences(literals, offset, match);
    for (const run of DECOMPRESSORS) {
      assert.not(run(packed, 0, packed.length, Buffer.alloc(bytes), bytes), `${run.name} ${offset} ${match}`);
    }
  }
});

/** Bytes with runs, repeats near and far, and noise. */
function mixedBlock(random: SeededRandom, bytes: number): Buffer {
  const block = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; ) {
    const piece = random.between(1, random.chance(0.1) ? 5000 : 60);
    const choice = random.float();
    if (choice < 0.2) block.fill(random.between(0, 255), at, Math.min(bytes, at + piece));
    else if (choice < 0.6 && at > 0)
      block.copyWithin(at, random.between(0, at - 1), random.between(0, at - 1) + piece);
    else random.bytes(piece).copy(block, at);
    at += piece;
  }
  return block;
}

test('what is compressed is read by every decompressor, and never larger than was asked for', () => {
  const random = new SeededRandom(8);
  const sizes = [...Array.from({ length: 80 }, (_, i) => i), 65_535, 65_536];
  for (let i = 0; i < 300; i++) sizes.push(random.between(80, i % 20 === 0 ? 65_536 : 6000));
  let compressed = 0;
  for (const size of sizes) {
    const block = mixedBlock(random, size);
    assert.ok(fitsFastCompression(size));
    const most = random.pick([size, size, size >> 1, size + 40]);
    const end = compressFast(block, 9, most);
    if (end === 0) continue;
    compressed++;
    assert.ok(end - 9 <= most, `${size} bytes became ${end - 9} of ${most}`);
    const packed = Buffer.alloc(4 + end - 9);
    packed.writeUInt32LE(size, 0);
    packedScratch.copy(packed, 4, 9, end);
    for (const run of DECOMPRESSORS) {
      const target = Buffer.alloc(size);
      assert.ok(run(packed, 4, packed.length, target, size), `${run.name}: ${size} bytes`);
      assert.ok(target.equals(block), `${run.name}: ${size} bytes`);
    }
    if (size > 0) assert.ok(lz4.uncompressSync(packed).equals(block), `the package: ${size} bytes`);
  }
  assert.ok(compressed > 150, `${compressed} blocks were compressed`);
  assert.not(fitsFastCompression(65_537));
});

test('compression finds the repeats: it is within a hundredth of the package', () => {
  const random = new SeededRandom(9);
  let ours = 0;
  let theirs = 0;
  for (let i = 0; i < 200; i++) {
    const block = mixedBlock(random, 4096);
    ours += compressFast(block, 0, 8192);
    theirs += lz4.compressSync(block).length - 4;
  }
  assert.ok(ours < 1.01 * theirs, `${ours} bytes, the package makes ${theirs}`);
});

test('every cut of a block is damage', () => {
  const packed = sequences(Buffer.alloc(300, 'ab'), 2, 400);
  for (let end = 0; end < packed.length; end++) {
    for (const run of DECOMPRESSORS) assert.not(run(packed, 0, end, Buffer.alloc(701), 701), `${end}`);
  }
});

test('a block in the shared buffer is decompressed from there', () => {
  const literals = Buffer.from('0123456789abcdef');
  const packed = sequences(literals, 16, 32);
  packed.copy(packedScratch, 5);
  const target = Buffer.alloc(49);
  assert.ok(decompressFast(packedScratch, 5, 5 + packed.length, target, 49));
  assert.equal(target, expected(literals, 16, 32));
});

test('larger blocks than the module takes are left to others', () => {
  assert.ok(fitsFast(packedScratch.length, packedScratch.length));
  assert.not(fitsFast(packedScratch.length + 1, 10));
  assert.not(fitsFast(10, packedScratch.length + 1));
});

test.run();
