/**
 * An iterator over the entries in the state of its creation, or of an explicit snapshot.
 *
 * The engine reads synchronously. So that a long scan does not block other events, the iterator pauses after a number
 * of bytes, read or skipped, until the waiting events are handled. It does not read ahead.
 */
import { AbstractIterator, type AbstractIteratorOptions } from 'abstract-level';
import type { LsmTree } from '../lsm/lsm-tree.js';
import { type LsmIterator, PAUSED } from '../lsm/read/iterator.js';
import type { Snapshot } from '../lsm/read/snapshot-list.js';
import { type Format, fromRange, toBytes } from './formats.js';
import { type EncodedRange, isWithin, type KeyBounds, keyBounds } from './key-bounds.js';
import { abortError, levelError } from './level-errors.js';
import { readOptions } from './level-snapshot.js';

/** In the form that abstract-level gives to implementations. */
export interface EncodedIteratorOptions extends EncodedRange {
  readonly keys: boolean;
  readonly values: boolean;
  readonly keyEncoding: string;
  readonly valueEncoding: string;
  readonly signal?: AbortSignal | null;
  readonly snapshot?: unknown;
}

type EncodedEntry = [key: Format | undefined, value: Format | undefined];

export class LevelIterator<TDatabase, K, V> extends AbstractIterator<TDatabase, K, V> {
  readonly #tree: LsmTree;
  readonly #options: EncodedIteratorOptions;
  readonly #bounds: KeyBounds;
  readonly #snapshot: Snapshot;
  readonly #ownsSnapshot: boolean;
  /** Undefined before the first read, and after the end. After the end only a seek starts again. */
  #entries: LsmIterator<EncodedEntry> | undefined;
  #atEnd = false;

  constructor(db: TDatabase, tree: LsmTree, options: EncodedIteratorOptions) {
    super(db, options as AbstractIteratorOptions<K, V>);
    this.#tree = tree;
    this.#options = options;
    this.#bounds = keyBounds(options);
    const { snapshot } = readOptions(options);
    this.#ownsSnapshot = snapshot === undefined;
    this.#snapshot = snapshot ?? tree.snapshot();
  }

  _next(): EncodedEntry | undefined | Promise<EncodedEntry | undefined> {
    if (this.#options.signal) return this.#nextLater();
    const entry = this.#read();
    return entry === PAUSED ? this.#nextLater() : entry;
  }

  async _nextv(size: number): Promise<EncodedEntry[]> {
    const entries: EncodedEntry[] = [];
    while (entries.length < size) {
      this.#throwIfAborted();
      const entry = this.#read();
      if (!entry) break;
      if (entry === PAUSED) await this.#giveWay();
      else entries.push(entry);
    }
    await this.#noticeAbort();
    return entries;
  }

  _all(): Promise<EncodedEntry[]> {
    return this._nextv(this.limit - this.count);
  }

  _seek(target: Format): void {
    const key = toBytes(target);
    this.#atEnd = !isWithin(key, this.#bounds);
    if (this.#atEnd) return;
    try {
      this.#entries ??= this.#open();
      this.#entries.seek(key);
    } catch (error) {
      throw levelError(error);
    }
  }

  async _close(): Promise<void> {
    this.#atEnd = true;
    this.#entries?.close();
    this.#entries = undefined;
    if (this.#ownsSnapshot) this.#snapshot.release();
  }

  #open(): LsmIterator<EncodedEntry> {
    const { keys, values, keyEncoding, valueEncoding } = this.#options;
    return this.#tree.iteratorOf(
      (at) => [
        keys ? fromRange(at.keyBytes, at.keyStart, at.keyEnd, keyEncoding) : undefined,
        values ? fromRange(at.valueBytes, at.valueStart, at.valueEnd, valueEncoding) : undefined,
      ],
      { ...this.#bounds, snapshot: this.#snapshot, values },
    );
  }

  #read(): EncodedEntry | undefined | typeof PAUSED {
    if (this.#atEnd) return undefined;
    try {
      this.#entries ??= this.#open();
      const entry = this.#entries.nextInTurn();
      if (!entry) {
        this.#entries = undefined;
        this.#atEnd = true;
      }
      return entry;
    } catch (error) {
      throw levelError(error);
    }
  }

  async #nextLater(): Promise<EncodedEntry | undefined> {
    for (;;) {
      this.#throwIfAborted();
      const entry = this.#read();
      if (entry === PAUSED) await this.#giveWay();
      else {
        await this.#noticeAbort();
        return entry;
      }
    }
  }

  async #giveWay(): Promise<void> {
    await this.#entries?.giveWay();
  }

  /** An abort in the same turn as the call counts, although the entries are already read. */
  async #noticeAbort(): Promise<void> {
    if (!this.#options.signal) return;
    await undefined;
    this.#throwIfAborted();
  }

  #throwIfAborted(): void {
    if (this.#options.signal?.aborted) throw abortError();
  }
}
