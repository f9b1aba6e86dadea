/** A log in memory, from its base on: what a core has handed over, or what of it has reached the disk. */
import type { Entry, Message, OutgoingMessage } from '../../../src/raft/types.js';
import { between, filled, written } from '../entries.js';

export class LogCopy {
  #baseIndex: number;
  /** Entry i is at i - base - 1. */
  #entries: Entry[] = [];

  constructor(baseIndex: number) {
    this.#baseIndex = baseIndex;
  }

  get firstIndex(): number {
    return this.#baseIndex + 1;
  }

  get lastIndex(): number {
    return this.#baseIndex + this.#entries.length;
  }

  at(index: number): Entry | undefined {
    return this.#entries[index - this.#baseIndex - 1];
  }

  /** What it held from `first` on is replaced. */
  write(first: number, entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    this.#entries = written(this.#entries, this.#baseIndex, { first, entries });
  }

  slice(first: number, last: number): Entry[] {
    return between(this.#entries, this.#baseIndex, first, last);
  }

  /** The message with the entries that it names. */
  filled(message: OutgoingMessage): Message {
    return filled(this.#entries, this.#baseIndex, message);
  }

  compactTo(index: number): void {
    this.#entries = this.#entries.slice(index - this.#baseIndex);
    this.#baseIndex = index;
  }

  /** A snapshot replaced everything. */
  reset(baseIndex: number): void {
    this.#entries = [];
    this.#baseIndex = baseIndex;
  }
}
