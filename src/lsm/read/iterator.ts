/**
 * Iterates over the keys of a tree in one direction, in the state of the iterator's creation or of a snapshot. It pins
 * the memtables and the version that it reads. So it may stay open during writes, flushes and compactions.
 */
import { compareRanges, copyBytes, copyRange, NO_BYTES } from '../base/bytes.js';
import { AFTER_ALL_VERSIONS, BEFORE_ALL_VERSIONS, type Cursor } from '../base/cursor.js';
import { checkBytes, invalid } from '../base/errors.js';
import type { OwnedKeys } from '../base/key-bounds.js';
import type { MergeCursor } from './merge-cursor.js';
import type { Snapshot } from './snapshot-list.js';
import type { Turn } from './turn.js';

export interface IteratorOptions {
  readonly gt?: Uint8Array;
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
  /** From the largest key down. */
  readonly reverse?: boolean;
  /** The most entries that are returned. */
  readonly limit?: number;
  /** Whether values are read; true. If false, values are empty, and large ones need not be read from their files. */
  readonly values?: boolean;
  /** The state to read; by default the current one. */
  readonly snapshot?: Snapshot;
}

export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/**
 * Makes the result for the entry at a cursor. It must copy: the bytes may be reused afterwards. In reverse it is also
 * called for versions of a key that a newer version then hides.
 */
export type MakeEntry<E extends object> = (at: Cursor) => E;

/** What an iterator needs of its tree. */
export interface IteratorSource {
  readonly merge: MergeCursor;
  readonly sequence: number;
  /** Throws `LSM_CLOSED` when the tree is closed. */
  check(): void;
  /** Called when this many deleted or hidden entries were skipped. */
  passed(entries: number): void;
  release(): void;
  readonly turn: Turn;
  /** Other keys are passed over; undefined: none. */
  readonly owned?: OwnedKeys | undefined;
}

interface Bound {
  readonly key: Uint8Array;
  readonly included: boolean;
}

/** The turn of the event loop ended before an entry was found. */
export const PAUSED = 'paused';

/** The cost of an entry in a turn, besides its bytes: if it is skipped, and if it is returned. */
const PASSING_BYTES = 64;
const HANDING_OUT_BYTES = 192;
/** A smaller number is not reported at once. */
const PASSED_TO_TELL = 64;
/** After this many versions of one key in a row, the other versions are skipped by a search. */
const MOST_STEPS = 8;

export class LsmIterator<E extends object = Entry> {
  readonly #source: IteratorSource;
  readonly #merge: MergeCursor;
  readonly #sequence: number;
  readonly #reverse: boolean;
  readonly #lower: Bound | undefined;
  readonly #upper: Bound | undefined;
  readonly #keysOnly: boolean;
  #left: number;
  #started = false;
  #closed = false;
  /** The current key, whose other versions are skipped. */
  #key: Buffer = Buffer.allocUnsafe(128);
  #keyLength = -1;
  /** Forward: the newest visible version of the key was seen. In both directions: it is not one of the tree's own. */
  #keyIsDone = false;
  /** Versions of the key that were skipped one by one. */
  #steps = 0;
  /** In reverse: the newest visible version so far, unless it is a tombstone. */
  #newest: E | undefined;
  readonly #make: MakeEntry<E>;
  #spentBytes = 0;
  #passedEntries = 0;

  constructor(source: IteratorSource, options: IteratorOptions, make: MakeEntry<E>) {
    this.#source = source;
    this.#make = make;
    this.#merge = source.merge;
    this.#sequence = source.sequence;
    this.#reverse = options.reverse ?? false;
    this.#keysOnly = options.values === false;
    this.#left = options.limit ?? Number.POSITIVE_INFINITY;
    this.#lower = tighter(bound(options.gt, false), bound(options.gte, true), 1);
    this.#upper = tighter(bound(options.lt, false), bound(options.lte, true), -1);
  }

  /**
   * The next entry, or undefined at the end, where the iterator closes itself. Key and value are the caller's own.
   * Throws `LSM_CLOSED`, `CORRUPTION`, or the system's error.
   */
  next(): E | undefined {
    return this.#next(Number.POSITIVE_INFINITY) as E | undefined;
  }

  /**
   * As `next`, but `PAUSED` if the turn of the event loop is over before an entry is found: deleted and overwritten
   * entries count, too. `giveWay` then begins the next turn.
   */
  nextInTurn(): E | undefined | typeof PAUSED {
    const { turn } = this.#source;
    const entry = this.#next(turn.leftBytes);
    turn.spend(this.#spentBytes);
    return entry;
  }

  /** Lets other events run. */
  giveWay(): Promise<void> {
    return this.#source.turn.end();
  }

  /** Up to `count` entries in one call; fewer only at the end. */
  nextMany(count: number): E[] {
    const entries: E[] = [];
    while (entries.length < count) {
      const entry = this.next();
      if (!entry) break;
      entries.push(entry);
    }
    return entries;
  }

  /** Moves to the first key at or after `key` in the iterator's direction, within its bounds. */
  seek(key: Uint8Array): void {
    if (this.#closed) return;
    this.#source.check();
    this.#started = true;
    this.#keyLength = -1;
    this.#newest = undefined;
    const start = this.#reverse ? this.#upper : this.#lower;
    const outside = start !== undefined && compareRanges(key, 0, key.length, start.key, 0, start.key.length);
    if (outside !== false && (this.#reverse ? outside >= 0 : outside <= 0)) this.#seekToStart();
    else this.#merge.seek(key, this.#reverse ? AFTER_ALL_VERSIONS : BEFORE_ALL_VERSIONS);
  }

  /** Releases its pins. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#merge.close();
    this.#source.release();
  }

  *[Symbol.iterator](): Generator<E> {
    try {
      for (let entry = this.next(); entry; entry = this.next()) yield entry;
    } finally {
      this.close();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<E> {
    try {
      for (;;) {
        const entry = this.nextInTurn();
        if (!entry) return;
        if (entry === PAUSED) await this.giveWay();
        else yield entry;
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

  #next(mostBytes: number): E | undefined | typeof PAUSED {
    this.#spentBytes = 0;
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
    const entry = this.#reverse ? this.#nextInReverse(mostBytes) : this.#nextForward(mostBytes);
    if (this.#passedEntries > PASSED_TO_TELL) {
      this.#source.passed(this.#passedEntries);
      this.#passedEntries = 0;
    }
    if (entry === PAUSED) return entry;
    if (entry) {
      this.#left--;
      this.#spentBytes += HANDING_OUT_BYTES;
    } else this.close();
    return entry;
  }

  /** The newest visible version of a key comes first and decides whether the key is there. */
  #nextForward(mostBytes: number): E | undefined | typeof PAUSED {
    const merge = this.#merge;
    for (let top = merge.top; top; top = merge.top) {
      if (this.#spentBytes >= mostBytes) return PAUSED;
      if (!this.#isLastKey(top)) {
        if (this.#upper && isOutside(top, this.#upper, 1)) return undefined;
        this.#rememberKey(top);
        this.#keyIsDone = this.#isForeign();
      }
      this.#spend(top);
      if (this.#keyIsDone) this.#pass(AFTER_ALL_VERSIONS, 'at');
      else if (top.sequence > this.#sequence) this.#pass(this.#sequence, 'at');
      else {
        this.#keyIsDone = true;
        const entry = top.deleted ? undefined : this.#make(top);
        merge.advance();
        if (entry) return entry;
        this.#passedEntries++;
      }
    }
    return undefined;
  }

  /** Versions come from old to new: the last visible one of a key decides whether the key is there. */
  #nextInReverse(mostBytes: number): E | undefined | typeof PAUSED {
    const merge = this.#merge;
    for (let top = merge.top; top; top = merge.top) {
      if (this.#spentBytes >= mostBytes) return PAUSED;
      if (!this.#isLastKey(top)) {
        if (this.#newest) return this.#takeNewest();
        if (this.#lower && isOutside(top, this.#lower, -1)) return undefined;
        this.#rememberKey(top);
        this.#keyIsDone = this.#isForeign();
      }
      this.#spend(top);
      if (this.#keyIsDone || top.sequence > this.#sequence) this.#pass(BEFORE_ALL_VERSIONS, 'before');
      else {
        this.#newest = top.deleted ? undefined : this.#make(top);
        this.#pass(this.#sequence, 'at');
      }
    }
    return this.#takeNewest();
  }

  #takeNewest(): E | undefined {
    const entry = this.#newest;
    this.#newest = undefined;
    return entry;
  }

  /**
   * Moves past the version at the top; after too many versions, searches for a position among or after the key's
   * versions.
   */
  #pass(sequence: number, to: 'before' | 'at'): void {
    this.#passedEntries++;
    if (++this.#steps < MOST_STEPS) this.#merge.advance();
    else {
      this.#steps = 0;
      this.#merge.moveTop(this.#key.subarray(0, this.#keyLength), sequence, to);
    }
  }

  #spend(at: Cursor): void {
    this.#spentBytes += PASSING_BYTES + at.keyEnd - at.keyStart;
    if (!this.#keysOnly) this.#spentBytes += at.valueEnd - at.valueStart;
  }

  #isLastKey(at: Cursor): boolean {
    return (
      this.#keyLength >= 0 &&
      compareRanges(this.#key, 0, this.#keyLength, at.keyBytes, at.keyStart, at.keyEnd) === 0
    );
  }

  #isForeign(): boolean {
    return this.#source.owned?.owns(this.#key.subarray(0, this.#keyLength)) === false;
  }

  #rememberKey(at: Cursor): void {
    const length = at.keyEnd - at.keyStart;
    if (length > this.#key.length) this.#key = Buffer.allocUnsafe(2 * length);
    copyBytes(this.#key, 0, at.keyBytes, at.keyStart, at.keyEnd);
    this.#keyLength = length;
    this.#steps = 0;
  }
}

/** Key and value as copies. */
export function copyEntry(at: Cursor): Entry {
  return { key: copyKey(at), value: copyRange(at.valueBytes, at.valueStart, at.valueEnd) };
}

/** The same without the value. */
export function copyKeyOnly(at: Cursor): Entry {
  return { key: copyKey(at), value: NO_BYTES };
}

function copyKey(at: Cursor): Buffer {
  return copyRange(at.keyBytes, at.keyStart, at.keyEnd);
}

/** Throws `LSM_INVALID`. */
export function checkIteratorOptions(options: IteratorOptions): void {
  for (const name of ['gt', 'gte', 'lt', 'lte'] as const) {
    if (options[name] !== undefined) checkBytes(options[name], name);
  }
  const { limit, values } = options;
  if (values !== undefined && typeof values !== 'boolean') {
    throw invalid(`values is ${String(values)}; true or false is accepted`);
  }
  if (limit !== undefined && limit !== Number.POSITIVE_INFINITY && !(Number.isInteger(limit) && limit >= 0)) {
    throw invalid(`limit is ${String(limit)}; a whole number from 0 on is accepted`);
  }
}

function bound(key: Uint8Array | undefined, included: boolean): Bound | undefined {
  return key === undefined ? undefined : { key: Buffer.from(key), included };
}

/** The narrower of two bounds on the same side; `direction` is 1 for lower bounds, -1 for upper ones. */
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
