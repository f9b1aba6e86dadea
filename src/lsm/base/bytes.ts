/**
 * User keys are compared as unsigned bytes. If one key is a prefix of another, the shorter key comes first. Ranges are
 * given as (bytes, start, end), so that a comparison needs no view.
 */
export const NO_BYTES: Buffer = Buffer.alloc(0);

/** Negative, zero or positive, as `a` is before, equal to or after `b`. */
export function compareRanges(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLength = aEnd - aStart;
  const bLength = bEnd - bStart;
  const shared = aLength < bLength ? aLength : bLength;
  const looped = shared < LONG_BYTES ? shared : LOOP_BYTES;
  for (let i = 0; i < looped; i++) {
    const difference = (a[aStart + i] as number) - (b[bStart + i] as number);
    if (difference !== 0) return difference;
  }
  return looped < shared
    ? Buffer.compare(a.subarray(aStart + looped, aEnd), b.subarray(bStart + looped, bEnd))
    : aLength - bLength;
}

/**
 * From this length on a call into the runtime compares faster than a loop, unless the difference is near the beginning.
 */
const LONG_BYTES = 512;
const LOOP_BYTES = 64;

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return compareRanges(a, 0, a.length, b, 0, b.length);
}

export const ORDER_PREFIX_BYTES = 6;

/**
 * The six bytes from `start` as one integer that a double holds exactly; zeros after the end of the key. If two such
 * integers differ, the keys compare in the same way. If they are equal, the keys must be compared.
 */
export function orderPrefix(bytes: Uint8Array, start: number, end: number): number {
  let high = 0;
  let low = 0;
  if (start + 6 <= end) {
    high = ((bytes[start] as number) << 8) | (bytes[start + 1] as number);
    low =
      ((bytes[start + 2] as number) << 24) |
      ((bytes[start + 3] as number) << 16) |
      ((bytes[start + 4] as number) << 8) |
      (bytes[start + 5] as number);
    return high * 2 ** 32 + (low >>> 0);
  }
  for (let i = 0; i < 6; i++) high = high * 256 + (start + i < end ? (bytes[start + i] as number) : 0);
  return high;
}

/** How many leading bytes two ranges have in common. */
export function sharedLength(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const limit = Math.min(aEnd - aStart, bEnd - bStart);
  let i = 0;
  const looped = limit < LONG_BYTES ? limit : LOOP_BYTES;
  while (i < looped && a[aStart + i] === b[bStart + i]) i++;
  if (i < looped || i === limit) return i;
  // Compares pieces, each half as long as the one before, until a loop can find the difference.
  for (let piece = 2 ** Math.floor(Math.log2(limit)); piece >= LOOP_BYTES; piece /= 2) {
    if (i + piece > limit) continue;
    const [from, to] = [i + aStart, i + bStart];
    if (Buffer.compare(a.subarray(from, from + piece), b.subarray(to, to + piece)) === 0) i += piece;
  }
  while (i < limit && a[aStart + i] === b[bStart + i]) i++;
  return i;
}

/** Below this a loop is faster than making a view for a call into the runtime. */
const LOOP_COPY_BYTES = 128;

/** Copies `start` to `end` of `source` to `at` of `target`; returns the offset after the copy. */
export function copyBytes(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  start: number,
  end: number,
): number {
  if (end - start > LOOP_COPY_BYTES) target.set(source.subarray(start, end), at);
  else for (let from = start, to = at; from < end; from++, to++) target[to] = source[from] as number;
  return at + end - start;
}

/** From here on a copy from or to shared memory is five times as fast if both are aligned alike. */
export const ALIGNED_BYTES = 128;

/** How many bytes after `at` of `bytes` is the first place that is aligned like `start` of `like`: 0 to 7. */
export function alignmentGap(bytes: Uint8Array, at: number, like: Uint8Array, start: number): number {
  // The runtime then copies words. Otherwise it copies single bytes, so that each is read and written only once.
  return (like.byteOffset + start - bytes.byteOffset - at) & 7;
}

/** A copy, to be kept or handed out. */
export function copyRange(bytes: Uint8Array, start: number, end: number): Buffer {
  const copy = copies.allocate(end - start, bytes, start);
  copyBytes(copy, 0, bytes, start, end);
  return copy;
}

const [SLAB_LEAST_BYTES, SLAB_MOST_BYTES, SLAB_BYTES] = [2 * 1024, 8 * 1024, 32 * 1024];

/**
 * Gives memory with undefined content. Pieces of some KiB are cut from slabs, because separate memory for each would
 * cost more than the work on it. A small piece that is kept may keep up to 32 KiB alive; with `Buffer`'s own pool, 8
 * KiB.
 */
export class Slabs {
  #slab = NO_BYTES;
  #used = 0;

  /** A piece from 2 KiB on is aligned like `start` of `like`. */
  allocate(size: number, like: Uint8Array = NO_BYTES, start = 0): Buffer {
    if (size < SLAB_LEAST_BYTES) return Buffer.allocUnsafe(size);
    if (size > SLAB_MOST_BYTES) {
      const gap = (like.byteOffset + start) & 7;
      return gap === 0 ? Buffer.allocUnsafe(size) : Buffer.allocUnsafe(size + gap).subarray(gap);
    }
    let gap = alignmentGap(this.#slab, this.#used, like, start);
    if (this.#used + gap + size > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
      gap = alignmentGap(this.#slab, 0, like, start);
    }
    const at = this.#used + gap;
    this.#used = at + size;
    return this.#slab.subarray(at, this.#used);
  }
}

const copies = new Slabs();

export const MAX_VARINT_BYTES = 5;

/** Writes an unsigned 32-bit integer, seven bits a byte, lowest first; returns the offset after it. */
export function writeVarint(target: Uint8Array, value: number, offset: number): number {
  let at = offset;
  let rest = value;
  while (rest >= 128) {
    target[at++] = (rest & 127) | 128;
    rest = rest >>> 7;
  }
  target[at++] = rest;
  return at;
}

export function varintBytes(value: number): number {
  return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : value < 268435456 ? 4 : 5;
}
