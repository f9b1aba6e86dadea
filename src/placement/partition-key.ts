/**
 * The partition key of a key says which tablet owns it.
 *
 *     by range    the key itself
 *     by hash     the hash of the key, a u32: the tablets divide the ring of hashes
 *
 * In a key with `{tag}` only the tag is hashed, so that related keys share a tablet: the bytes between the first `{`
 * and the first `}` behind it, if there are any. (Redis Cluster has the same rule.)
 *
 * The hash is MurmurHash3_x86_32 (Austin Appleby, public domain) with seed 0: HASH_VERSION 1. It is fixed when a
 * cluster is made.
 */

export const HASH_VERSION = 1;
/** Hashes are below this. */
export const RING_SIZE: number = 2 ** 32;

const OPEN = 0x7b;
const CLOSE = 0x7d;

/** The hash of a key, or of its tag. */
export function hashOfKey(key: Uint8Array): number {
  const open = key.indexOf(OPEN);
  if (open >= 0) {
    const close = key.indexOf(CLOSE, open + 1);
    if (close > open + 1) return murmur3(key, open + 1, close);
  }
  return murmur3(key, 0, key.length);
}

/** MurmurHash3_x86_32 of bytes[from, to), with seed 0. */
export function murmur3(bytes: Uint8Array, from: number, to: number): number {
  const length = to - from;
  const blocksEnd = from + (length & ~3);
  let hash = 0;
  for (let at = from; at < blocksEnd; at += 4) {
    const block =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    hash ^= mixed(block);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = to - 1; at >= blocksEnd; at--) tail = (tail << 8) | (bytes[at] as number);
  if (blocksEnd < to) hash ^= mixed(tail);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function mixed(block: number): number {
  const product = Math.imul(block, 0xcc9e2d51);
  return Math.imul((product << 15) | (product >>> 17), 0x1b873593);
}
