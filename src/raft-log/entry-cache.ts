/** The newest entries of one group in memory: a row that grows at its end and shrinks at both ends. */
import { type Entry, entrySizeBytes } from '../raft/types.js';

/** Free places at the front are removed when they are at least so many, and half of the row. */
const LEAST_FREED = 1024;
const FREE: Entry = { term: 0, kind: 'noop', body: new Uint8Array(0) };

export class EntryCache {
  /** From `#head` on. The places before it are free: moving the entries for each that leaves would be quadratic. */
  #row: Entry[] = [];
  #head = 0;
  #first = 1;
  #bytes = 0;

  /** Index of the oldest entry, or of the next one if there is none. */
  get first(): number {
    return this.#first;
  }

  get length(): number {
    return this.#row.length - this.#head;
  }

  /** As `entrySizeBytes` counts. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Drops everything. The next entry is `first`. */
  reset(first: number): void {
    this.#row = [];
    this.#head = 0;
    this.#first = first;
    this.#bytes = 0;
  }

  push(entry: Entry): void {
    this.#row.push(entry);
    this.#bytes += entrySizeBytes(entry);
  }

  /** Drops the entries from `index` on, which is not before the first. */
  dropFrom(index: number): void {
    const length = this.#head + index - this.#first;
    while (this.#row.length > length) this.#bytes -= entrySizeBytes(this.#row.pop() as Entry);
  }

  /** Drops the oldest entry. There must be one. */
  dropFirst(): void {
    this.#bytes -= entrySizeBytes(this.#row[this.#head] as Entry);
    this.#row[this.#head] = FREE;
    this.#head++;
    this.#first++;
    if (this.#head < LEAST_FREED || this.#head * 2 < this.#row.length) return;
    this.#row = this.#row.slice(this.#head);
    this.#head = 0;
  }

  /** The entries from `first` to `last`; all of them must be here. */
  slice(first: number, last: number): Entry[] {
    const shift = this.#head - this.#first;
    return this.#row.slice(first + shift, last + 1 + shift);
  }
}
