/**
 * Walks over the keys of a tree as they were when the iterator was made, or at a snapshot, in one direction. It pins
 * the memtables and the version it reads, so that it may be left open across writes, flushes and compactions.
 */
import { compareRanges, copyRange } from './bytes.js';
import { AFTER_ALL_VERSIONS, BEFORE_ALL_VERSIONS, type Cursor } from './cursor.js';
import { checkBytes, invalid } from './errors.js';
import type { MergeCursor } from './merge-cursor.js';
import type { Snapshot } from './snapshot-list.js';

export interface IteratorOptions {
  readonly gt?: Uint8Array;
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
  /** From the largest key down. */
  readonly reverse?: boolean;
  /** At most so many entries. */
  readonly limit?: number;
  /** The state to read; by default the one of now. */
  readonly snapshot?: Snapshot;
}

export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** What an iterator needs of its tree. */
export interface IteratorSource {
  readonly merge: MergeCursor;
  readonly sequence: number;
  /** Throws `LSM_CLOSED` when the tree is closed. */
  check(): void;
  release(): void;
  /** Lets other events run. */
  breathe(): Promise<void>;
}

interface Bound {
  readonly key: Uint8Array;
  readonly included: boolean;
}

/** Entries between two pauses of the asynchronous form. */
const ASYNC_BATCH_ENTRIES = 512;

export class LsmIterator {
  readonly #source: IteratorSource;
  readonly #merge: MergeCursor;
  readonly #sequence: number;
  readonly #reverse: boolean;
  readonly #lower: Bound | undefined;
  readonly #upper: Bound | undefined;
  #left: number;
  #started = false;
  #closed = false;
  /** The key handed out last, whose other versions are passed over. */
  #key: Buffer = Buffer.allocUnsafe(128);
  #keyLength = -1;

  constructor(source: IteratorSource, options: IteratorOptions) {
    this.#source = source;
    this.#merge = source.merge;
    this.#sequence = source.sequence;
    this.#reverse = options.reverse ?? false;
    this.#left = options.limit ?? Number.POSITIVE_INFINITY;
    this.#lower = tighter(bound(options.gt, false), bound(options.gte, true), 1);
    this.#upper = tighter(bound(options.lt, false), bound(options.lte, true), -1);
  }

  /**
   * The next entry, or undefined at the end, where the iterator closes itself. Key and value are the caller's own.
   * Throws `LSM_CLOSED`, `CORRUPTION`, or the system's error.
   */
  next(): Entry | undefined {
    if (this.#closed) return undefined;
    this.#source.check();
    if (this.#left <= 0) {
      this.close();
      return undefined;
    }
    if (!this.#started) {
      this.#started = true;
      this.#seekToStart();
    }
    const entry = this.#reverse ? this.#nextInReverse() : this.#nextForward();
    if (entry) this.#left--;
    else this.close();
    return entry;
  }

  /** Up to `count` entries at once; fewer only at the end. */
  nextMany(count: number): Entry[] {
    const entries: Entry[] = [];
    while (entries.length < count) {
      const entry = this.next();
      if (!entry) break;
      entries.push(entry);
    }
    return entries;
  }

  /** Goes to the first key at or behind `key` in the iterator's direction, within its bounds. */
  seek(key: Uint8Array): void {
    if (this.#closed) return;
    this.#source.check();
    this.#started = true;
    this.#keyLength = -1;
    const start = this.#reverse ? this.#upper : this.#lower;
    const outside = start !== undefined && compareRanges(key, 0, key.length, start.key, 0, start.key.length);
    if (outside !== false && (this.#reverse ? outside >= 0 : outside <= 0)) this.#seekToStart();
    else this.#merge.seek(key, this.#reverse ? AFTER_ALL_VERSIONS : BEFORE_ALL_VERSIONS);
  }

  /** Lets go of what it pins. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#merge.close();
    this.#source.release();
  }

  *[Symbol.iterator](): Generator<Entry> {
    try {
      for (let entry = this.next(); entry; entry = this.next()) yield entry;
    } finally {
      this.close();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Entry> {
    try {
      for (let count = 1; ; count++) {
        const entry = this.next();
        if (!entry) return;
        yield entry;
        if (count % ASYNC_BATCH_ENTRIES === 0) await this.#source.breathe();
      }
    } finally {
      this.close();
    }
  }

  #seekToStart(): void {
    const start = this.#reverse ? this.#upper : this.#lower;
    if (start === undefined) this.#merge.seekToStart();
    else {
      const beforeKey = this.#reverse ? !start.included : start.included;
      this.#merge.seek(start.key, beforeKey ? BEFORE_ALL_VERSIONS : AFTER_ALL_VERSIONS);
    }
  }

  #nextForward(): Entry | undefined {
    const merge = this.#merge;
    for (let top = merge.top; top; merge.advance(), top = merge.top) {
      // The newest visible version comes first and speaks for the key.
      if (top.sequence > this.#sequence || this.#isLastKey(top)) continue;
      if (this.#upper && isOutside(top, this.#upper, 1)) return undefined;
      this.#rememberKey(top);
      if (top.deleted) continue;
      const entry = copyEntry(top);
      merge.advance();
      return entry;
    }
    return undefined;
  }

  #nextInReverse(): Entry | undefined {
    const merge = this.#merge;
    for (;;) {
      let entry: Entry | undefined;
      this.#keyLength = -1;
      // Versions come from old to new: the last visible one of a key speaks for it.
      for (let top = merge.top; top; merge.advance(), top = merge.top) {
        if (this.#keyLength >= 0 && !this.#isLastKey(top)) break;
        if (top.sequence > this.#sequence) continue;
        if (this.#keyLength < 0) {
          if (this.#lower && isOutside(top, this.#lower, -1)) return undefined;
          this.#rememberKey(top);
        }
        entry = top.deleted ? undefined : copyEntry(top);
      }
      if (entry) return entry;
      if (!merge.top) return undefined;
    }
  }

  #isLastKey(at: Cursor): boolean {
    return (
      this.#keyLength >= 0 &&
      compareRanges(this.#key, 0, this.#keyLength, at.keyBytes, at.keyStart, at.keyEnd) === 0
    );
  }

  #rememberKey(at: Cursor): void {
    const length = at.keyEnd - at.keyStart;
    if (length > this.#key.length) this.#key = Buffer.allocUnsafe(2 * length);
    const key = this.#key;
    for (let i = 0; i < length; i++) key[i] = at.keyBytes[at.keyStart + i] as number;
    this.#keyLength = length;
  }
}

/** Throws `LSM_INVALID`. */
export function checkIteratorOptions(options: IteratorOptions): void {
  for (const name of ['gt', 'gte', 'lt', 'lte'] as const) {
    if (options[name] !== undefined) checkBytes(options[name], name);
  }
  const { limit } = options;
  if (limit !== undefined && limit !== Number.POSITIVE_INFINITY && !(Number.isInteger(limit) && limit >= 0)) {
    throw invalid(`limit is ${String(limit)}; a whole number from 0 on is accepted`);
  }
}

function bound(key: Uint8Array | undefined, included: boolean): Bound | undefined {
  return key === undefined ? undefined : { key: Buffer.from(key), included };
}

/** Of two bounds of one side the one that lets less through; `direction` 1 for lower bounds, -1 for upper ones. */
function tighter(
  excluding: Bound | undefined,
  including: Bound | undefined,
  direction: number,
): Bound | undefined {
  if (!excluding || !including) return excluding ?? including;
  const order = compareRanges(excluding.key, 0, excluding.key.length, including.key, 0, including.key.length);
  return order * direction >= 0 ? excluding : including;
}

/** Whether an entry lies beyond an upper (`direction` 1) or a lower (-1) bound. */
function isOutside(at: Cursor, limit: Bound, direction: number): boolean {
  const order =
    compareRanges(at.keyBytes, at.keyStart, at.keyEnd, limit.key, 0, limit.key.length) * direction;
  return order > 0 || (order === 0 && !limit.included);
}

function copyEntry(at: Cursor): Entry {
  return {
    key: copyRange(at.keyBytes, at.keyStart, at.keyEnd),
    value: copyRange(at.valueBytes, at.valueStart, at.valueEnd),
  };
}
