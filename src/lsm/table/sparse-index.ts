/**
 * The sparse index of an SSTable. Each data block has a separator: a key at or after every key of the block and before
 * every key of the next block. If both blocks hold versions of the same key, the separator is that key.
 *
 *     entry   block offset u64 | block bytes u32, without codec and CRC | separator bytes u32 | separator
 *
 * In memory it is flat: the separators one after another, and typed arrays that are searched by `orderPrefix` first.
 */
import { corruption, readUint53, writeUint53 } from '../../record/record.js';
import { compareBytes, compareRanges, ORDER_PREFIX_BYTES, orderPrefix, sharedLength } from '../base/bytes.js';

const ENTRY_BYTES = 16;

/** Collects the entries of a table while it is written. */
export class SparseIndexBuilder {
  readonly #entries: Buffer[] = [];

  get blocks(): number {
    return this.#entries.length;
  }

  add(separator: Uint8Array, offset: number, sizeBytes: number): void {
    const entry = Buffer.allocUnsafe(ENTRY_BYTES + separator.length);
    writeUint53(entry, offset, 0);
    entry.writeUInt32LE(sizeBytes, 8);
    entry.writeUInt32LE(separator.length, 12);
    entry.set(separator, ENTRY_BYTES);
    this.#entries.push(entry);
  }

  finish(): Buffer {
    return Buffer.concat(this.#entries);
  }
}

/** A short key at or after `last` and before `next`; `last` itself if they are equal or no shorter key fits. */
export function separatorBetween(last: Uint8Array, next: Uint8Array): Uint8Array {
  const shared = sharedLength(last, 0, last.length, next, 0, next.length);
  if (shared >= last.length || shared + 1 >= last.length || shared >= next.length) return last;
  const separator = Buffer.from(last.subarray(0, shared + 1));
  separator[shared] = (separator[shared] as number) + 1;
  return compareBytes(separator, next) < 0 ? separator : last;
}

export class SparseIndex {
  readonly count: number;
  readonly offsets: Float64Array;
  readonly sizes: Uint32Array;
  readonly #bytes: Buffer;
  readonly #keyStarts: Uint32Array;
  readonly #keyEnds: Uint32Array;
  readonly #prefixes: Float64Array;
  readonly #shared: number;

  /** Throws `CORRUPTION` if the blocks do not follow one another from `dataStart` to `dataEnd`. */
  constructor(
    bytes: Buffer,
    count: number,
    layout: { path: string; offset: number; dataStart: number; dataEnd: number; trailerBytes: number },
  ) {
    const malformed = () => corruption(layout.path, layout.offset, 'the index is malformed');
    if (count < 1 || count * ENTRY_BYTES > bytes.length) throw malformed();
    this.count = count;
    this.#bytes = bytes;
    this.offsets = new Float64Array(count);
    this.sizes = new Uint32Array(count);
    this.#keyStarts = new Uint32Array(count);
    this.#keyEnds = new Uint32Array(count);
    this.#prefixes = new Float64Array(count);
    let at = 0;
    let blockStart = layout.dataStart;
    for (let i = 0; i < count; i++) {
      if (at + ENTRY_BYTES > bytes.length) throw malformed();
      this.offsets[i] = readUint53(bytes, at);
      this.sizes[i] = bytes.readUInt32LE(at + 8);
      const keyStart = at + ENTRY_BYTES;
      at = keyStart + bytes.readUInt32LE(at + 12);
      if (at > bytes.length || this.offsets[i] !== blockStart) throw malformed();
      blockStart += (this.sizes[i] as number) + layout.trailerBytes;
      this.#keyStarts[i] = keyStart;
      this.#keyEnds[i] = at;
    }
    if (at !== bytes.length || blockStart !== layout.dataEnd) throw malformed();
    // Separators are in order. So all of them share the prefix that the first and the last share.
    const first = this.separator(0);
    const last = this.separator(count - 1);
    this.#shared = sharedLength(first, 0, first.length, last, 0, last.length);
    for (let i = 0; i < count; i++) {
      this.#prefixes[i] = orderPrefix(
        bytes,
        (this.#keyStarts[i] as number) + this.#shared,
        this.#keyEnds[i] as number,
      );
    }
  }

  separator(block: number): Buffer {
    return this.#bytes.subarray(this.#keyStarts[block], this.#keyEnds[block]);
  }

  /** The first block whose separator is at or after a key; `count` if there is none. */
  find(key: Uint8Array): number {
    const shared = this.#shared;
    const bytes = this.#bytes;
    const start = this.#keyStarts[0] as number;
    if (sharedLength(bytes, start, start + shared, key, 0, key.length) < shared) {
      return compareRanges(key, 0, key.length, bytes, start, start + shared) < 0 ? 0 : this.count;
    }
    const prefix = orderPrefix(key, shared, key.length);
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#prefixes[middle] as number;
      let isBefore = other < prefix;
      if (other === prefix) isBefore = this.#compareRest(middle, key) < 0;
      if (isBefore) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Compares a separator with a key whose prefix is the same. */
  #compareRest(block: number, key: Uint8Array): number {
    const known = this.#shared + ORDER_PREFIX_BYTES;
    const start = this.#keyStarts[block] as number;
    const end = this.#keyEnds[block] as number;
    if (end - start <= known || key.length <= known) return end - start - key.length;
    return compareRanges(this.#bytes, start + known, end, key, known, key.length);
  }
}
