/**
 * Which keys a memtable may hold: a bloom filter in which all bits of a key lie in one word, so that a question reads
 * one word (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007). A reader asks it before it
 * descends the tree. Only readers fill it: a table that is only written costs nothing more.
 */
import type { KeyHash } from '../base/key-hash.js';

/** Three bits of the word. */
function bitsOf({ second }: KeyHash): number {
  return (1 << (second & 31)) | (1 << ((second >>> 5) & 31)) | (1 << ((second >>> 10) & 31));
}

export class KeyFilter {
  /** A power of two of them. */
  readonly #words: Int32Array;

  /** With this number of keys, one question in a hundred is answered wrongly with yes. */
  constructor(keys: number) {
    this.#words = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(1, keys / 2))));
  }

  /** How many keys it is made for. */
  get capacity(): number {
    return 2 * this.#words.length;
  }

  add(hash: KeyHash): void {
    const at = hash.first & (this.#words.length - 1);
    this.#words[at] = (this.#words[at] as number) | bitsOf(hash);
  }

  /** False: the key was certainly not added. */
  mayContain(hash: KeyHash): boolean {
    const bits = bitsOf(hash);
    return ((this.#words[hash.first & (this.#words.length - 1)] as number) & bits) === bits;
  }
}
