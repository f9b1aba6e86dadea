/**
 * A position in a sorted sequence of internal entries: user key ascending, then sequence descending. So the newest
 * version of a key comes first. The fields hold the current entry as ranges of bytes. The source owns these bytes and
 * may reuse them on the next move, so a caller copies what it keeps.
 *
 * A pair (key, sequence) names a position between entries: `BEFORE_ALL_VERSIONS` is before every version of the key,
 * `AFTER_ALL_VERSIONS` is after them.
 */
import { compareRanges, NO_BYTES } from './bytes.js';

export const BEFORE_ALL_VERSIONS: number = Number.POSITIVE_INFINITY;
export const AFTER_ALL_VERSIONS = -1;

export abstract class Cursor {
  /** Whether there is a current entry. */
  valid = false;
  keyBytes: Buffer = NO_BYTES;
  keyStart = 0;
  keyEnd = 0;
  sequence = 0;
  /** A tombstone; it has no value. */
  deleted = false;
  valueBytes: Buffer = NO_BYTES;
  valueStart = 0;
  valueEnd = 0;
  /**
   * If `storedEnd` is not 0, the entry is the only one in its block. These bytes are the block as it is stored in the
   * file, with codec and checksum; the checksum was verified. The value itself is then not available: `valueStart` and
   * `valueEnd` only give its length.
   */
  storedBytes: Buffer = NO_BYTES;
  storedStart = 0;
  storedEnd = 0;

  abstract seekToFirst(): void;
  abstract seekToLast(): void;
  /** Moves to the first entry at or after a position. */
  abstract seek(key: Uint8Array, sequence: number): void;
  /** Moves to the last entry before a position. */
  abstract seekBefore(key: Uint8Array, sequence: number): void;
  /** Needs a current entry. */
  abstract next(): void;
  /** Needs a current entry. */
  abstract previous(): void;
  /** Releases what the cursor holds. */
  abstract close(): void;
}

/** Internal order of the current entries of two cursors. */
export function compareCursors(a: Cursor, b: Cursor): number {
  const order = compareRanges(a.keyBytes, a.keyStart, a.keyEnd, b.keyBytes, b.keyStart, b.keyEnd);
  return order !== 0 ? order : b.sequence - a.sequence;
}
