/** Reads the entries of one data block (format: `block-builder.ts`), forward, backward, or from a search. */
import { corruption } from '../../record/record.js';
import { compareRanges, copyBytes, NO_BYTES, sharedLength } from '../base/bytes.js';
import { Cursor } from '../base/cursor.js';
import { SEQUENCE_BYTES } from './block-builder.js';

export class BlockCursor extends Cursor {
  #block: Buffer = NO_BYTES;
  #start = 0;
  /** The offset at which entries end and restart offsets begin. */
  #entriesEnd = 0;
  #restartCount = 0;
  /** The offsets of the current entry and of the next one. */
  #current = 0;
  #following = 0;
  /**
   * For the last decoded entry: how many key bytes it shares with the entry before it, how many others it has, and
   * their offset.
   */
  #shared = 0;
  #other = 0;
  #keyAt = 0;
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

  /**
   * Between two restart points only the new bytes of each entry are compared. The previous entry is before the
   * position, and shares `matched` bytes with the searched key. An entry that shares fewer bytes with the previous
   * entry differs from the searched key there, and is after the position. An entry that shares more bytes with it is
   * before the position, and `matched` stays the same.
   */
  seek(key: Uint8Array, sequence: number): void {
    const bytes = this.#block;
    const limit = this.#entriesEnd;
    let at = this.#restart(this.#lastRestartBefore(key, sequence));
    let matched = 0;
    let keyBytes = 0;
    for (this.valid = false; at < limit; at = this.#following) {
      this.#decodeLengths(at);
      const shared = this.#shared;
      if (shared > keyBytes) this.#damaged('an entry reaches outside');
      keyBytes = shared + this.#other;
      if (shared > matched) continue;
      if (shared === matched) {
        const more = sharedLength(bytes, this.#keyAt, this.valueStart, key, matched, key.length);
        const from = this.#keyAt + more;
        matched += more;
        const endsHere = from === this.valueStart;
        if (endsHere && matched < key.length) continue;
        if (endsHere && this.sequence > sequence) continue;
        if (!endsHere && matched < key.length && (bytes[from] as number) < (key[matched] as number)) continue;
      }
      if (keyBytes > this.keyBytes.length) this.#growKey(keyBytes, 0);
      copyBytes(this.keyBytes, 0, key, 0, shared);
      this.#showEntry();
      return;
    }
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
      this.#decodeLengths(this.#restart(middle));
      if (this.#shared > 0) this.#damaged('a restart point is within an entry');
      const order = compareRanges(this.#block, this.#keyAt, this.valueStart, key, 0, key.length);
      if (order < 0 || (order === 0 && this.sequence > sequence)) low = middle;
      else high = middle - 1;
    }
    return low;
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

  /**
   * From a restart point, moves to the last entry before `end`. `end` is the offset of an entry, or the end of the last
   * one.
   */
  #scanTo(restart: number, end: number): void {
    this.#following = this.#restart(restart);
    if (this.#following >= end) this.#damaged('restart points are out of order');
    do this.#decodeFollowing();
    while (this.valid && this.#following < end);
    if (this.#following !== end) this.#damaged('a restart point is within an entry');
  }

  #decodeFollowing(): void {
    const at = this.#following;
    if (at >= this.#entriesEnd) {
      this.valid = false;
      return;
    }
    this.#decodeLengths(at);
    if (this.#shared > this.keyBytes.length) this.#damaged('an entry reaches outside');
    const keyBytes = this.#shared + this.#other;
    if (keyBytes > this.keyBytes.length) this.#growKey(keyBytes, this.#shared);
    this.#showEntry();
  }

  /** Completes the key. Its shared bytes are there already. */
  #showEntry(): void {
    this.keyEnd = copyBytes(this.keyBytes, this.#shared, this.#block, this.#keyAt, this.valueStart);
    this.valid = true;
  }

  /** Decodes everything of the entry at an offset except its key. */
  #decodeLengths(offset: number): void {
    const bytes = this.#block;
    let at = offset;
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
    if (valueEnd > this.#entriesEnd) this.#damaged('an entry reaches outside');
    const low =
      ((bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24)) >>>
      0;
    const high =
      (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8) | ((bytes[at + 6] as number) << 16);
    if (high >= 2 ** 21) this.#damaged('a sequence is above 2^53 - 1');
    this.#shared = shared;
    this.#other = other;
    this.#keyAt = keyAt;
    this.sequence = high * 2 ** 32 + low;
    this.deleted = tag === 0;
    this.valueStart = valueAt;
    this.valueEnd = valueEnd;
    this.#following = valueEnd;
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
