/**
 * A place in a sorted sequence of internal entries: user key ascending, then sequence descending, so that the newest
 * version of a key comes first. The current entry is in the fields, as ranges of bytes that the source owns and may
 * reuse on the next move: a caller that keeps something copies it.
 *
 * Positions between entries are named by a pair (key, sequence): `BEFORE_ALL_VERSIONS` stands before every version of
 * the key, `AFTER_ALL_VERSIONS` behind them.
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
   * If `storedEnd` is not 0, the entry is alone in its block, and this is the block as it stands in the file, with
   * codec and checksum, which was checked. The value is then not at hand; `valueStart` and `valueEnd` only tell its
   * length.
   */
  storedBytes: Buffer = NO_BYTES;
  storedStart = 0;
  storedEnd = 0;

  abstract seekToFirst(): void;
  abstract seekToLast(): void;
  /** To the first entry at or behind a position. */
  abstract seek(key: Uint8Array, sequence: number): void;
  /** To the last entry before a position. */
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
