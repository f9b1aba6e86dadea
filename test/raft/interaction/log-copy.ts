/** A log in memory, from its base on: what a core has handed over, or what of it has reached the disk. */
import type { Entry } from '../../../src/raft/types.js';

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
    this.#entries = [...this.#entries.slice(0, first - this.#baseIndex - 1), ...entries];
  }

  slice(first: number, last: number): Entry[] {
    if (last < first) return [];
    return this.#entries.slice(first - this.#baseIndex - 1, last - this.#baseIndex);
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
