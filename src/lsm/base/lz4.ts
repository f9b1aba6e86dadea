/**
 * LZ4 blocks (https://github.com/lz4/lz4, doc/lz4_Block_format.md). A block is sequences of literals and a match:
 *
 *     token | further literal bytes ... | literals | offset u16 | further match bytes ...
 *
 * The token's high four bits count the literals, the low four the bytes of the match, less 4; 15 goes on in further
 * bytes. The last sequence ends after its literals.
 *
 * Blocks of usual size are compressed and decompressed in WebAssembly (`assembly/lz4.ts`), which is faster than the
 * call of an addon, and than JavaScript.
 */
import { MODULE_BASE64 } from './lz4-wasm.js';

/** What is used of it. The compiler's library for Node.js does not declare it. */
declare const WebAssembly: {
  readonly Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Buffer) => object;
  readonly Instance: new (
    module: object,
    imports: { env: { memory: object } },
  ) => { readonly exports: object };
};

/** The parameters are addresses in the module's memory, and sizes. */
interface Exports {
  /** Returns 1 if the block is intact. */
  decompress(source: number, sourceEnd: number, target: number, bytes: number): number;
  /** Returns the compressed size; 0 if it is above `most`. */
  compress(source: number, sourceEnd: number, target: number, most: number): number;
}

/** The largest block, compressed or not, that the module's memory takes, and the largest that it compresses. */
const MOST_BYTES = 256 * 1024;
const MOST_COMPRESSED_BYTES = 64 * 1024;
/** The module may read and write so far behind a block. */
const SLACK_BYTES = 64;
/** In the module's memory: behind its hash table a compressed block, then an uncompressed one. */
const PACKED_AT = 8192;
const PLAIN_AT = PACKED_AT + MOST_BYTES + SLACK_BYTES;
const PAGE_BYTES = 64 * 1024;
const PAGES = Math.ceil((PLAIN_AT + MOST_BYTES + SLACK_BYTES) / PAGE_BYTES);

interface Module {
  readonly exports: Exports;
  readonly packed: Buffer;
  readonly plain: Buffer;
}

/** Undefined where the processor or the settings of Node.js do not allow it. */
function load(): Module | undefined {
  try {
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
    const module = new WebAssembly.Module(Buffer.from(MODULE_BASE64, 'base64'));
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    return {
      exports: exports as Exports,
      packed: Buffer.from(memory.buffer, PACKED_AT, MOST_BYTES),
      plain: Buffer.from(memory.buffer, PLAIN_AT, MOST_BYTES),
    };
  } catch {
    return undefined;
  }
}

const module = load();

/** A buffer for a compressed block, from which `decompressFast` need not copy it. */
export const packedScratch: Buffer = module?.packed ?? Buffer.allocUnsafeSlow(MOST_BYTES);

/** Whether `compressFast` can be used for a block. */
export function fitsFastCompression(bytes: number): boolean {
  return module !== undefined && bytes <= MOST_COMPRESSED_BYTES;
}

/**
 * Compresses a block to `packedScratch`, from `start` on, where it stays until that is used again. Returns the end, or
 * 0 if the compressed block is above `most`.
 */
export function compressFast(plain: Buffer, start: number, most: number): number {
  if (!module) return 0;
  module.plain.set(plain);
  const from = PACKED_AT + start;
  const bytes = module.exports.compress(PLAIN_AT, PLAIN_AT + plain.length, from, most);
  return bytes === 0 ? 0 : start + bytes;
}

/** Whether `decompressFast` can be used for a block. */
export function fitsFast(packedBytes: number, plainBytes: number): boolean {
  return module !== undefined && packedBytes <= MOST_BYTES && plainBytes <= MOST_BYTES;
}

/**
 * Decompresses the sequences at `start` to `end` to the start of `target`; false if they are damaged, or are not
 * exactly `bytes` uncompressed.
 */
export function decompressFast(
  source: Buffer,
  start: number,
  end: number,
  target: Buffer,
  bytes: number,
): boolean {
  if (!module) return false;
  let at = start;
  if (source !== module.packed) {
    module.packed.set(source.subarray(start, end));
    at = 0;
  }
  at += PACKED_AT;
  if (module.exports.decompress(at, at + end - start, PLAIN_AT, bytes) === 0) return false;
  target.set(module.plain.subarray(0, bytes));
  return true;
}

const MIN_MATCH_BYTES = 4;
/** From here on a call into the runtime copies faster than a loop. */
const CALL_COPY_BYTES = 256;
/**
 * A loop copies whole words. It may write up to this many bytes too many; later writes replace them or nobody reads
 * them.
 */
const WORD_BYTES = 4;

/**
 * In JavaScript. Stops when the first `enough` of all `bytes` are there. `source` may end before `end` if these come
 * from before.
 */
export function decompress(
  source: Buffer,
  start: number,
  end: number,
  target: Buffer,
  bytes: number,
  enough: number = bytes,
): boolean {
  const from = new DataView(source.buffer, source.byteOffset, source.length);
  const to = new DataView(target.buffer, target.byteOffset, target.length);
  const safeSource = source.length - WORD_BYTES;
  const safeTarget = target.length - WORD_BYTES;
  let at = start;
  let out = 0;
  while (at < end && at < source.length) {
    const token = source[at++] as number;
    let literals = token >>> 4;
    if (literals === 15) {
      for (let more = 255; more === 255; literals += more) {
        if (at >= end || at >= source.length) return false;
        more = source[at++] as number;
      }
    }
    if (literals > end - at || literals > bytes - out) return false;
    const behind = at + literals;
    let stop = Math.min(out + literals, enough);
    if (at + stop - out > source.length) return false;
    if (literals >= CALL_COPY_BYTES) target.set(source.subarray(at, at + stop - out), out);
    else if (behind <= safeSource && stop <= safeTarget) {
      for (; out < stop; out += WORD_BYTES, at += WORD_BYTES) to.setInt32(out, from.getInt32(at, true), true);
    } else while (out < stop) target[out++] = source[at++] as number;
    out = stop;
    at = behind;
    if (at === end) return out === bytes;
    if (out === enough && enough < bytes) return true;
    if (at + 2 > end || at + 2 > source.length) return false;
    const offset = (source[at] as number) | ((source[at + 1] as number) << 8);
    at += 2;
    let match = token & 15;
    if (match === 15) {
      for (let more = 255; more === 255; match += more) {
        if (at >= end || at >= source.length) return false;
        more = source[at++] as number;
      }
    }
    match += MIN_MATCH_BYTES;
    if (offset === 0 || offset > out || match > bytes - out) return false;
    stop = Math.min(out + match, enough);
    if (match >= CALL_COPY_BYTES && offset >= match) target.copyWithin(out, out - offset, stop - offset);
    else if (offset >= WORD_BYTES && stop <= safeTarget) {
      for (; out < stop; out += WORD_BYTES) to.setInt32(out, to.getInt32(out - offset, true), true);
      // A match may overlap what it produces.
    } else for (; out < stop; out++) target[out] = target[out - offset] as number;
    out = stop;
    if (out === enough && enough < bytes) return true;
  }
  return false;
}
