/** The hash of a user key, for filters. The filters of tables hold its bits, so it must not change. */

/** Two independent 32-bit hashes of a user key. */
export interface KeyHash {
  first: number;
  second: number;
}

/** Hashes a range of bytes into `into`; two multiply-and-rotate lanes with murmur3's finalizer. */
export function hashKey(bytes: Uint8Array, start: number, end: number, into: KeyHash): void {
  let a = 0x9747b28c ^ (end - start);
  let b = 0x3c6ef372;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    a = Math.imul(a ^ word, 0xcc9e2d51);
    a = (a << 15) | (a >>> 17);
    b = Math.imul(b ^ word, 0x85ebca6b);
    b = (b << 13) | (b >>> 19);
  }
  let word = 0;
  for (let shift = 0; at < end; at++, shift += 8) word |= (bytes[at] as number) << shift;
  a = Math.imul(a ^ word, 0x1b873593);
  b = Math.imul(b ^ word, 0xc2b2ae35);
  into.first = finalize(a);
  into.second = finalize(b ^ a);
}

function finalize(hash: number): number {
  let mixed = hash;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
