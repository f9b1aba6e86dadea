/**
 * How a block is stored: as it is, or compressed by LZ4 (https://github.com/lz4/lz4, doc/lz4_Block_format.md):
 *
 *     none   block
 *     lz4    block bytes u32 | LZ4 block
 *
 * Compressing needs the optional package `lz4-napi`; where it is not installed blocks are stored as they are, and
 * those that are compressed are read by the code below.
 */
import { copyBytes } from './bytes.js';

export type Codec = 'none' | 'lz4';

export const CODEC_NONE = 0;
export const CODEC_LZ4 = 1;
export const CODECS: readonly Codec[] = ['none', 'lz4'];
const LENGTH_BYTES = 4;
/** A block is stored compressed if that saves an eighth of it. */
const WORTHWHILE = 7 / 8;
/** LZ4 cannot make a block more than this many times smaller: a larger claim is damage. */
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

/** The codec that is written where one is asked for. */
export function availableCodec(codec: Codec): Codec {
  return lz4 ? codec : 'none';
}

export function codecNumber(codec: Codec): number {
  return codec === 'lz4' ? CODEC_LZ4 : CODEC_NONE;
}

export function codecOfNumber(number: number): Codec | undefined {
  return CODECS[number];
}

/** The compressed form of a block, or undefined if it is to be stored as it is. */
export function compressBlock(block: Buffer, codec: Codec): Buffer | undefined {
  if (codec === 'none' || !lz4) return undefined;
  const packed = lz4.compressSync(block);
  return packed.length <= block.length * WORTHWHILE ? packed : undefined;
}

/** The size of a block that stands compressed at `start` to `end`; NaN if there is none. */
export function plainBytes(packed: Buffer, start: number, end: number): number {
  if (end - start <= LENGTH_BYTES) return Number.NaN;
  const bytes = packed.readUInt32LE(start);
  return bytes <= (end - start) * MOST_EXPANSION ? bytes : Number.NaN;
}

/** Writes the block that stands compressed at `start` to `end` to the start of `target`; false if it is damaged. */
export function decompressBlock(
  packed: Buffer,
  start: number,
  end: number,
  target: Buffer,
  portable = false,
): boolean {
  const bytes = plainBytes(packed, start, end);
  if (!(bytes <= target.length)) return false;
  if (!lz4 || portable) return decompress(packed, start + LENGTH_BYTES, end, target, bytes);
  try {
    const plain = lz4.uncompressSync(packed.subarray(start, end));
    plain.copy(target);
    return plain.length === bytes;
  } catch {
    return false;
  }
}

/**
 * The block that stands stored at `start` to `end`, where its codec stands: a view, or memory of its own if it was
 * compressed. Undefined if it is damaged or the codec is not known.
 */
export function plainBlock(bytes: Buffer, start: number, end: number): Buffer | undefined {
  if (bytes[end] === CODEC_NONE) return bytes.subarray(start, end);
  const size = bytes[end] === CODEC_LZ4 ? plainBytes(bytes, start, end) : Number.NaN;
  if (!(size > 0)) return undefined;
  const plain = Buffer.allocUnsafe(size);
  return decompressBlock(bytes, start, end, plain) ? plain : undefined;
}

/**
 * Writes the first bytes of the block that stands stored at `start` to `end`, where its codec stands, to the start of
 * `target`, as many as it takes; returns the block's size, or 0 if it is damaged or the codec is not known.
 */
export function startOfBlock(bytes: Buffer, start: number, end: number, target: Buffer): number {
  if (bytes[end] === CODEC_NONE) {
    copyBytes(target, 0, bytes, start, Math.min(end, start + target.length));
    return end - start;
  }
  const size = bytes[end] === CODEC_LZ4 ? plainBytes(bytes, start, end) : Number.NaN;
  if (!(size > 0)) return 0;
  return decompress(bytes, start + LENGTH_BYTES, end, target, size, target.length) ? size : 0;
}

const MIN_MATCH_BYTES = 4;
/** Below this a loop is faster than a call into the runtime. */
const LOOP_COPY_BYTES = 48;

/**
 * An LZ4 block is sequences of literals and a match: `token (high four bits: literals, low four: match bytes less 4;
 * 15 goes on in further bytes) | literals | offset u16 | further match bytes`; the last one ends after its literals.
 * Stops when the first `enough` of all `bytes` are there.
 */
function decompress(
  source: Buffer,
  start: number,
  end: number,
  target: Buffer,
  bytes: number,
  enough: number = bytes,
): boolean {
  let at = start;
  let out = 0;
  const lengthFrom = (nibble: number): number => {
    let length = nibble;
    if (nibble < 15) return length;
    for (;;) {
      if (at >= end) return Number.POSITIVE_INFINITY;
      const more = source[at++] as number;
      length += more;
      if (more < 255) return length;
    }
  };
  while (at < end) {
    const token = source[at++] as number;
    const literals = lengthFrom(token >>> 4);
    if (literals > end - at || literals > bytes - out) return false;
    copyBytes(target, out, source, at, at + Math.min(literals, enough - out));
    at += literals;
    out += literals;
    if (at === end) return out === bytes;
    if (out >= enough) return true;
    if (at + 2 > end) return false;
    const offset = (source[at] as number) | ((source[at + 1] as number) << 8);
    at += 2;
    const whole = lengthFrom(token & 15) + MIN_MATCH_BYTES;
    if (offset === 0 || offset > out || whole > bytes - out) return false;
    const match = Math.min(whole, enough - out);
    const from = out - offset;
    if (offset >= match && match > LOOP_COPY_BYTES) target.copyWithin(out, from, from + match);
    // Byte by byte: a match may overlap what it produces.
    else for (let i = 0; i < match; i++) target[out + i] = target[from + i] as number;
    out += match;
    if (out === enough && enough < bytes) return true;
  }
  return false;
}
