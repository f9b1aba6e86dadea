/** The sequences of all open snapshots. Compaction keeps the versions that they see. */

/** A state of the tree for reading, until it is released. */
export interface Snapshot {
  readonly sequence: number;
  release(): void;
}

export class SnapshotList {
  readonly #counts = new Map<number, number>();
  readonly #live = new Set<Snapshot>();
  readonly #released: () => void;

  /** `released` is called when no snapshot with a sequence is left: versions that only it saw may be removed. */
  constructor(released: () => void) {
    this.#released = released;
  }

  get size(): number {
    return this.#counts.size;
  }

  take(sequence: number): Snapshot {
    this.#counts.set(sequence, (this.#counts.get(sequence) ?? 0) + 1);
    const snapshot: Snapshot = {
      sequence,
      release: () => {
        if (!this.#live.delete(snapshot)) return;
        const rest = (this.#counts.get(sequence) ?? 0) - 1;
        if (rest > 0) this.#counts.set(sequence, rest);
        else {
          this.#counts.delete(sequence);
          this.#released();
        }
      },
    };
    this.#live.add(snapshot);
    return snapshot;
  }

  /** Whether the snapshot was taken from this list and is not released. */
  has(snapshot: Snapshot): boolean {
    return this.#live.has(snapshot);
  }

  /** The lowest sequence; infinite if there is none. */
  get oldest(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const sequence of this.#counts.keys()) oldest = Math.min(oldest, sequence);
    return oldest;
  }

  /** Ascending. */
  sequences(): number[] {
    return [...this.#counts.keys()].sort((a, b) => a - b);
  }
}
