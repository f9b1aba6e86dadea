/**
 * The bloom filter of an SSTable: the `bloom-filters` package's BloomFilter, whose bits stand raw in the file.
 *
 *     bits / 8 bytes: bit i is bit (i mod 8) of byte (i div 8)
 *
 * Only the hashing is ours: a key is hashed once, into two 32-bit numbers. Every filter computes its indexes from them
 * by double hashing (Kirsch and Mitzenmacher: Less Hashing, Same Performance, 2006, with the cubic term of Dillinger
 * and Manolios' enhanced double hashing, 2004). An index is the share hash / 2^32 of the bits.
 *
 * Only the two files of the package that are used are loaded: all its kinds of filters take twice as long.
 */
import bloomFilter from 'bloom-filters/dist/bloom/bloom-filter.js';
import hashingModule from 'bloom-filters/dist/hashing/hashing.js';
import type { KeyHash } from '../base/key-hash.js';

const BloomFilter = bloomFilter.default;
const Hashing = hashingModule.default;

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
