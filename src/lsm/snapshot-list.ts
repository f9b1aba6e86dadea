/** The sequences that somebody reads at: versions that they see are not dropped. */

/** A state of the tree to read at, until it is released. */
export interface Snapshot {
  readonly sequence: number;
  release(): void;
}

export class SnapshotList {
  readonly #counts = new Map<number, number>();

  get size(): number {
    return this.#counts.size;
  }

  take(sequence: number): Snapshot {
    this.#counts.set(sequence, (this.#counts.get(sequence) ?? 0) + 1);
    let released = false;
    return {
      sequence,
      release: () => {
        if (released) return;
        released = true;
        const rest = (this.#counts.get(sequence) ?? 0) - 1;
        if (rest > 0) this.#counts.set(sequence, rest);
        else this.#counts.delete(sequence);
      },
    };
  }

  has(sequence: number): boolean {
    return this.#counts.has(sequence);
  }

  /** Ascending. */
  sequences(): number[] {
    return [...this.#counts.keys()].sort((a, b) => a - b);
  }
}
