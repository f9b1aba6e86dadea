import * as zlib from 'node:zlib';
import CRC32 from 'crc-32';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32, crc32Chunks } from '../../src/record/checksum.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const random = new SeededRandom(1);
const lengths = [0, 1, 2, 3, 7, 8, 9, 40, 383, 384, 385, 512, 1023, 4096, 65_537];
for (let i = 0; i < 300; i++) lengths.push(random.between(0, 800));

/** Bit by bit, from the definition. */
function crcByDefinition(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

test('is the CRC-32 of the standards', () => {
  assert.is(crc32(Buffer.from('123456789')), 0xcbf43926);
  assert.is(crc32(Buffer.alloc(0)), 0);
  for (const length of lengths.slice(0, 60)) {
    const bytes = random.bytes(length);
    assert.is(crc32(bytes), crcByDefinition(bytes), `${length} bytes`);
  }
});

test('the portable package and zlib give the same number, with and without a seed', () => {
  const native: ((data: Uint8Array, seed?: number) => number) | undefined = zlib.crc32;
  for (const length of lengths) {
    const bytes = random.bytes(length);
    const seed = random.uint32();
    const portable = CRC32.buf(bytes, seed) >>> 0;
    assert.is(crc32(bytes, seed), portable, `${length} bytes`);
    if (native) assert.is(native(bytes, seed), portable, `${length} bytes`);
  }
});

test('pieces are summed as if they were one', () => {
  for (const length of lengths) {
    const bytes = random.bytes(length);
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < length; ) {
      const end = Math.min(length, at + random.between(0, 500));
      chunks.push(bytes.subarray(at, end));
      at = end;
    }
    assert.is(crc32Chunks(chunks), crc32(bytes), `${length} bytes`);
  }
});

test.run();
