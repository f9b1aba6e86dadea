/** Reads the entries of one data block (format: `block-builder.ts`), forward, backward, or from a search. */
import { corruption } from '../record/record.js';
import { SEQUENCE_BYTES } from './block-builder.js';
import { compareRanges, NO_BYTES } from './bytes.js';
import { Cursor } from './cursor.js';

export class BlockCursor extends Cursor {
  #block: Buffer = NO_BYTES;
  #start = 0;
  /** Where entries end and restart offsets begin. */
  #entriesEnd = 0;
  #restartCount = 0;
  /** Where the current entry, and the one behind it, begin. */
  #current = 0;
  #following = 0;
  #path = '';
  #fileOffset = 0;

  constructor() {
    super();
    this.keyBytes = Buffer.allocUnsafe(128);
  }

  /** Gives the cursor another block, `start` to `end` of `bytes`; path and file offset are for error messages. */
  setBlock(bytes: Buffer, start: number, end: number, path: string, fileOffset: number): void {
    this.valid = false;
    this.#block = bytes;
    this.valueBytes = bytes;
    this.#start = start;
    this.#path = path;
    this.#fileOffset = fileOffset;
    this.#restartCount = end - start >= 8 ? bytes.readUInt32LE(end - 4) : 0;
    this.#entriesEnd = end - 4 - 4 * this.#restartCount;
    if (this.#restartCount < 1 || this.#entriesEnd <= start) this.#damaged('it has no restart points');
  }

  clearBlock(): void {
    this.valid = false;
    this.#block = NO_BYTES;
    this.valueBytes = NO_BYTES;
    this.#restartCount = 0;
    this.#entriesEnd = 0;
    this.#start = 0;
  }

  seekToFirst(): void {
    this.#following = this.#start;
    this.#decodeFollowing();
  }

  seekToLast(): void {
    this.#scanTo(this.#restartCount - 1, this.#entriesEnd);
  }

  seek(key: Uint8Array, sequence: number): void {
    this.#following = this.#restart(this.#lastRestartBefore(key, sequence));
    do this.#decodeFollowing();
    while (this.valid && this.#compareWith(key, sequence) < 0);
  }

  seekBefore(key: Uint8Array, sequence: number): void {
    this.seek(key, sequence);
    if (this.valid) this.#stepBack();
    else this.#scanTo(this.#restartCount - 1, this.#entriesEnd);
  }

  next(): void {
    this.#decodeFollowing();
  }

  previous(): void {
    this.#stepBack();
  }

  close(): void {
    this.clearBlock();
  }

  #restart(index: number): number {
    const offset = this.#start + this.#block.readUInt32LE(this.#entriesEnd + 4 * index);
    if (offset >= this.#entriesEnd) this.#damaged('a restart point lies outside');
    return offset;
  }

  /** Binary search for the last restart point whose entry is before a position; 0 if there is none. */
  #lastRestartBefore(key: Uint8Array, sequence: number): number {
    let low = 0;
    let high = this.#restartCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      this.#following = this.#restart(middle);
      this.#decodeFollowing();
      if (this.valid && this.#compareWith(key, sequence) < 0) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #compareWith(key: Uint8Array, sequence: number): number {
    const order = compareRanges(this.keyBytes, 0, this.keyEnd, key, 0, key.length);
    return order !== 0 ? order : sequence - this.sequence;
  }

  #stepBack(): void {
    const current = this.#current;
    if (current <= this.#start) {
      this.valid = false;
      return;
    }
    let low = 0;
    let high = this.#restartCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#restart(middle) < current) low = middle;
      else high = middle - 1;
    }
    this.#scanTo(low, current);
  }

  /** To the last entry before `end`, where an entry begins or the last one ends, from a restart point. */
  #scanTo(restart: number, end: number): void {
    this.#following = this.#restart(restart);
    if (this.#following >= end) this.#damaged('restart points are out of order');
    do this.#decodeFollowing();
    while (this.valid && this.#following < end);
    if (this.#following !== end) this.#damaged('a restart point is within an entry');
  }

  #decodeFollowing(): void {
    let at = this.#following;
    const limit = this.#entriesEnd;
    if (at >= limit) {
      this.valid = false;
      return;
    }
    const bytes = this.#block;
    this.#current = at;
    let shared = bytes[at++] as number;
    if (shared >= 128) {
      shared = this.#restOfVarint(shared, at);
      at = this.#varintEnd;
    }
    let other = bytes[at++] as number;
    if (other >= 128) {
      other = this.#restOfVarint(other, at);
      at = this.#varintEnd;
    }
    let tag = bytes[at++] as number;
    if (tag >= 128) {
      tag = this.#restOfVarint(tag, at);
      at = this.#varintEnd;
    }
    const keyAt = at + SEQUENCE_BYTES;
    const valueAt = keyAt + other;
    const valueEnd = tag === 0 ? valueAt : valueAt + tag - 1;
    if (valueEnd > limit || shared > this.keyBytes.length) this.#damaged('an entry reaches outside');
    const low =
      ((bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24)) >>>
      0;
    const high =
      (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8) | ((bytes[at + 6] as number) << 16);
    if (high >= 2 ** 21) this.#damaged('a sequence is above 2^53 - 1');
    const keyLength = shared + other;
    if (keyLength > this.keyBytes.length) this.#growKey(keyLength, shared);
    const key = this.keyBytes;
    for (let from = keyAt, to = shared; from < valueAt; from++, to++) key[to] = bytes[from] as number;
    this.keyEnd = keyLength;
    this.sequence = high * 2 ** 32 + low;
    this.deleted = tag === 0;
    this.valueStart = valueAt;
    this.valueEnd = valueEnd;
    this.#following = valueEnd;
    this.valid = true;
  }

  #varintEnd = 0;

  #restOfVarint(first: number, offset: number): number {
    let value = first & 127;
    let at = offset;
    for (let shift = 7; ; shift += 7) {
      const byte = this.#block[at++];
      if (byte === undefined || shift > 28) this.#damaged('a length is not a varint');
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    this.#varintEnd = at;
    return value;
  }

  #growKey(length: number, keep: number): void {
    const longer = Buffer.allocUnsafe(length * 2);
    this.keyBytes.copy(longer, 0, 0, keep);
    this.keyBytes = longer;
  }

  #damaged(what: string): never {
    this.valid = false;
    throw corruption(this.#path, this.#fileOffset, `the block there is intact but malformed: ${what}`);
  }
}
