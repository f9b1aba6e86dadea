/**
 * How a block is stored: as it is, or compressed by LZ4 (https://github.com/lz4/lz4, doc/lz4_Block_format.md):
 *
 *     none   block
 *     lz4    block bytes u32 | LZ4 block
 *
 * Blocks of usual size are compressed and decompressed by `lz4.ts`, larger ones by the optional package `lz4-napi`.
 * Without the package, larger blocks are stored uncompressed, and decompressed in JavaScript.
 */
import { copyBytes } from './bytes.js';
import {
  compressFast,
  decompress,
  decompressFast,
  fitsFast,
  fitsFastCompression,
  packedScratch,
} from './lz4.js';

export type Codec = 'none' | 'lz4';

export const CODEC_NONE = 0;
export const CODEC_LZ4 = 1;
export const CODECS: readonly Codec[] = ['none', 'lz4'];
const LENGTH_BYTES = 4;
/** A block is stored compressed if that saves an eighth of it. */
const WORTHWHILE = 7 / 8;
/** The largest ratio by which LZ4 can compress. A block that claims more is damaged. */
const MOST_EXPANSION = 256;

interface Lz4 {
  /** With the length in front. */
  compressSync(data: Buffer): Buffer;
  uncompressSync(data: Buffer): Buffer;
}

const lz4: Lz4 | undefined = await import('lz4-napi').then(
  (found) => ('default' in found ? (found.default as Lz4) : found),
  () => undefined,
);

/** The codec that is used when `codec` is asked for: `none` without WebAssembly and the package. */
export function availableCodec(codec: Codec): Codec {
  return lz4 || fitsFastCompression(0) ? codec : 'none';
}

export function codecNumber(codec: Codec): number {
  return codec === 'lz4' ? CODEC_LZ4 : CODEC_NONE;
}

export function codecOfNumber(number: number): Codec | undefined {
  return CODECS[number];
}

/**
 * The compressed form of a block, valid until the next call for any block; or undefined if it is to be stored as it is.
 */
export function compressBlock(block: Buffer, codec: Codec): Buffer | undefined {
  if (codec === 'none') return undefined;
  const most = Math.floor(block.length * WORTHWHILE);
  if (fitsFastCompression(block.length)) {
    const end = compressFast(block, LENGTH_BYTES, Math.max(0, most - LENGTH_BYTES));
    if (end === 0) return undefined;
    packedScratch.writeUInt32LE(block.length, 0);
    return packedScratch.subarray(0, end);
  }
  const packed = lz4?.compressSync(block);
  return packed && packed.length <= most ? packed : undefined;
}

/** The uncompressed size of the compressed block at `start` to `end`; NaN if there is no such block. */
export function plainBytes(packed: Buffer, start: number, end: number): number {
  if (end - start <= LENGTH_BYTES) return Number.NaN;
  const bytes = packed.readUInt32LE(start);
  return bytes <= (end - start) * MOST_EXPANSION ? bytes : Number.NaN;
}

/**
 * Decompresses the block at `start` to `end` to the start of `target`; false if it is damaged. `portable`: without
 * WebAssembly and the package.
 */
export function decompressBlock(
  packed: Buffer,
  start: number,
  end: number,
  target: Buffer,
  portable = false,
): boolean {
  const bytes = plainBytes(packed, start, end);
  if (!(bytes <= target.length)) return false;
  const from = start + LENGTH_BYTES;
  if (portable) return decompress(packed, from, end, target, bytes);
  if (fitsFast(end - from, bytes)) return decompressFast(packed, from, end, target, bytes);
  if (!lz4) return decompress(packed, from, end, target, bytes);
  try {
    const plain = lz4.uncompressSync(packed.subarray(start, end));
    plain.copy(target);
    return plain.length === bytes;
  } catch {
    return false;
  }
}

/**
 * The stored block at `start` to `end`; its codec is the byte at `end`. Returns a view, or new memory if the block was
 * compressed. Undefined if the block is damaged or the codec is not known.
 */
export function plainBlock(bytes: Buffer, start: number, end: number): Buffer | undefined {
  if (bytes[end] === CODEC_NONE) return bytes.subarray(start, end);
  const size = bytes[end] === CODEC_LZ4 ? plainBytes(bytes, start, end) : Number.NaN;
  if (!(size > 0)) return undefined;
  const plain = Buffer.allocUnsafe(size);
  return decompressBlock(bytes, start, end, plain) ? plain : undefined;
}

/**
 * Writes the first bytes of the stored block at `start` to `end` to the start of `target`, until `target` is full. The
 * codec is the byte at `end`. Returns the block's size, or 0 if it is damaged or the codec is not known.
 */
export function startOfBlock(bytes: Buffer, start: number, end: number, target: Buffer): number {
  return startOfStored(bytes, start, end, bytes[end] as number, target);
}

/** As `startOfBlock`, but `bytes` may end before the block does. Returns 0 also if `bytes` ends too early. */
export function startOfStored(
  bytes: Buffer,
  start: number,
  end: number,
  codec: number,
  target: Buffer,
): number {
  if (codec === CODEC_NONE) {
    copyBytes(target, 0, bytes, start, Math.min(end, start + target.length));
    return end - start;
  }
  const size = codec === CODEC_LZ4 ? plainBytes(bytes, start, end) : Number.NaN;
  if (!(size > 0)) return 0;
  return decompress(bytes, start + LENGTH_BYTES, end, target, size, target.length) ? size : 0;
}
