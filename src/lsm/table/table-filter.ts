/**
 * The bloom filter of an SSTable: the `bloom-filters` package's BloomFilter, whose bits stand raw in the file.
 *
 *     bits / 8 bytes: bit i is bit (i mod 8) of byte (i div 8)
 *
 * Only the hashing is ours: a key is hashed once, into two 32-bit numbers. Every filter computes its indexes from them
 * by double hashing (Kirsch and Mitzenmacher: Less Hashing, Same Performance, 2006, with the cubic term of Dillinger
 * and Manolios' enhanced double hashing, 2004). An index is the share hash / 2^32 of the bits.
 */
import bloomFilters from 'bloom-filters';

const { BloomFilter, Hashing } = bloomFilters;

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

/** Gives the indexes for the hash that was set, and ignores the element: a key is hashed once, not once per filter. */
class PreparedHashing extends Hashing {
  first = 0;
  second = 0;
  readonly #indexes: number[] = [];

  override getIndexes(_element: string, size: number, hashCount: number): number[] {
    const indexes = this.#indexes;
    if (indexes.length !== hashCount) indexes.length = hashCount;
    let a = this.first;
    let b = this.second;
    for (let i = 0; i < hashCount; i++) {
      indexes[i] = Math.floor(a * size * 2 ** -32);
      a = (a + b) >>> 0;
      b = (b + i + 1) >>> 0;
    }
    return indexes;
  }
}

const hashing = new PreparedHashing();
const PREPARED = '';

/** The package's filter over given bits. Making a new one for each table takes longer than opening the table. */
class SharedFilter extends BloomFilter {
  constructor() {
    super(64, 1);
    this._hashing = hashing;
  }

  over(bits: Uint8Array, hashes: number, key: KeyHash): this {
    this._filter.array = bits;
    this._size = bits.length * 8;
    this._nbHashes = hashes;
    hashing.first = key.first;
    hashing.second = key.second;
    return this;
  }
}

const filter = new SharedFilter();

export class TableFilter {
  readonly bits: Uint8Array;
  readonly hashes: number;

  /** A filter over the bits given, a multiple of 8 of them; `hashes` indexes are set per key. */
  constructor(bits: Uint8Array, hashes: number) {
    this.bits = bits;
    this.hashes = hashes;
  }

  /** An empty filter for this number of keys. */
  static sizedFor(keys: number, bitsPerKey: number): TableFilter {
    // With fewer than 64 bits, a filter of a few keys has a very high rate of false positives.
    const bytes = Math.ceil(Math.max(64, keys * bitsPerKey) / 8);
    const hashes = Math.min(30, Math.max(1, Math.floor(bitsPerKey * Math.LN2)));
    return new TableFilter(new Uint8Array(bytes), hashes);
  }

  addHash(hash: KeyHash): void {
    filter.over(this.bits, this.hashes, hash).add(PREPARED);
  }

  /** False: the key is certainly not in the table. */
  mayContain(hash: KeyHash): boolean {
    return filter.over(this.bits, this.hashes, hash).has(PREPARED);
  }
}
