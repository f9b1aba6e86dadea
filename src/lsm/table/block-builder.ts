/**
 * A data block: entries in internal order, keys compressed by the prefix they share with the key before them, except
 * at restart points, where a search can begin (after LevelDB's table format).
 *
 *     entry   ( shared key bytes varint | other key bytes varint | value tag varint | sequence low u32 |
 *               sequence high u24 | other key bytes | value bytes )
 *     block   entry ... | restart offset u32 ... | restart count u32
 *
 * The value tag is 0 for a tombstone and otherwise the value's length plus 1. Integers are little-endian, varints
 * hold seven bits a byte, lowest first. In the file, codec and checksum follow the block, see `table-format.ts`.
 */
import {
  ALIGNED_BYTES,
  alignmentGap,
  copyBytes,
  MAX_VARINT_BYTES,
  sharedLength,
  varintBytes,
  writeVarint,
} from '../base/bytes.js';
import type { Cursor } from '../base/cursor.js';

export const SEQUENCE_BYTES = 7;
const MAX_ENTRY_OVERHEAD_BYTES = 3 * MAX_VARINT_BYTES + SEQUENCE_BYTES;

export class BlockBuilder {
  readonly #restartInterval: number;
  #bytes: Buffer;
  /** Where the block begins, so that a large first value is aligned like its source. */
  #start = 0;
  #size = 0;
  #entries = 0;
  #sinceRestart = 0;
  #restarts: number[] = [];
  #lastKey: Buffer = Buffer.allocUnsafe(256);
  #lastKeyLength = 0;

  constructor(expectedBytes: number, restartInterval: number) {
    this.#bytes = Buffer.allocUnsafeSlow(expectedBytes * 2);
    this.#restartInterval = restartInterval;
  }

  get isEmpty(): boolean {
    return this.#entries === 0;
  }

  /** The size of the block if it were finished now. */
  get sizeBytes(): number {
    return this.#size - this.#start + 4 * this.#restarts.length + 4;
  }

  /** How many leading bytes the key of an entry shares with the last key. */
  sharedWith(entry: Cursor): number {
    return sharedLength(this.#lastKey, 0, this.#lastKeyLength, entry.keyBytes, entry.keyStart, entry.keyEnd);
  }

  /** How many bytes an entry adds to the block. */
  growthBytes(entry: Cursor, sharedWithLast: number = this.sharedWith(entry)): number {
    const keyLength = entry.keyEnd - entry.keyStart;
    const valueLength = entry.valueEnd - entry.valueStart;
    const isRestart = this.#entries === 0 || this.#sinceRestart >= this.#restartInterval;
    const shared = isRestart ? 0 : sharedWithLast;
    return (
      varintBytes(shared) +
      varintBytes(keyLength - shared) +
      varintBytes(valueLength + 1) +
      SEQUENCE_BYTES +
      keyLength -
      shared +
      valueLength +
      (isRestart ? 4 : 0)
    );
  }

  get lastKeyBytes(): number {
    return this.#lastKeyLength;
  }

  /** The key of the last entry; a view that the next entry overwrites. */
  get lastKey(): Buffer {
    return this.#lastKey.subarray(0, this.#lastKeyLength);
  }

  add(entry: Cursor, sharedWithLast: number = this.sharedWith(entry)): void {
    const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd, sequence } = entry;
    const keyLength = keyEnd - keyStart;
    let shared = 0;
    if (this.#entries === 0 && valueEnd - valueStart >= ALIGNED_BYTES) {
      const before = this.growthBytes(entry, 0) - 4 - (valueEnd - valueStart);
      this.#start = alignmentGap(this.#bytes, before, valueBytes, valueStart);
      this.#size = this.#start;
    }
    if (this.#entries === 0 || this.#sinceRestart >= this.#restartInterval) {
      this.#restarts.push(this.#size - this.#start);
      this.#sinceRestart = 0;
    } else shared = sharedWithLast;
    this.#reserve(MAX_ENTRY_OVERHEAD_BYTES + keyLength + valueEnd - valueStart);
    const bytes = this.#bytes;
    let at = writeVarint(bytes, shared, this.#size);
    at = writeVarint(bytes, keyLength - shared, at);
    at = writeVarint(bytes, entry.deleted ? 0 : valueEnd - valueStart + 1, at);
    const high = Math.floor(sequence / 2 ** 32);
    const low = sequence >>> 0;
    bytes[at] = low & 255;
    bytes[at + 1] = (low >>> 8) & 255;
    bytes[at + 2] = (low >>> 16) & 255;
    bytes[at + 3] = low >>> 24;
    bytes[at + 4] = high & 255;
    bytes[at + 5] = (high >>> 8) & 255;
    bytes[at + 6] = (high >>> 16) & 255;
    at += SEQUENCE_BYTES;
    at = copyBytes(bytes, at, keyBytes, keyStart + shared, keyEnd);
    at = copyBytes(bytes, at, valueBytes, valueStart, valueEnd);
    this.#size = at;
    this.#entries++;
    this.#sinceRestart++;
    this.#rememberKey(keyBytes, keyStart, keyEnd, sharedWithLast);
  }

  /** The finished block: a view, valid until the next `add`. The builder starts a new block. */
  finish(): Buffer {
    this.#reserve(4 * this.#restarts.length + 4);
    for (const restart of this.#restarts) this.#size = this.#bytes.writeUInt32LE(restart, this.#size);
    this.#size = this.#bytes.writeUInt32LE(this.#restarts.length, this.#size);
    const block = this.#bytes.subarray(this.#start, this.#size);
    this.#start = 0;
    this.#size = 0;
    this.#entries = 0;
    this.#sinceRestart = 0;
    this.#restarts = [];
    return block;
  }

  #rememberKey(source: Buffer, start: number, end: number, shared: number): void {
    const length = end - start;
    if (length > this.#lastKey.length) {
      const longer = Buffer.allocUnsafe(length * 2);
      this.#lastKey.copy(longer, 0, 0, this.#lastKeyLength);
      this.#lastKey = longer;
    }
    const target = this.#lastKey;
    for (let i = shared; i < length; i++) target[i] = source[start + i] as number;
    this.#lastKeyLength = length;
  }

  #reserve(bytes: number): void {
    if (this.#size + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#size + bytes));
    this.#bytes.copy(larger, 0, 0, this.#size);
    this.#bytes = larger;
  }
}
