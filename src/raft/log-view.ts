/**
 * The log as the core knows it, without bodies: its start and end, the term of every entry (stored as runs of equal
 * terms), and the size of every entry.
 */
interface TermRun {
  readonly first: number;
  readonly term: number;
}

const FIRST_CAPACITY = 16;

export class LogView {
  #baseIndex: number;
  #baseTerm: number;
  /** Ordered by `first`. A run ends where the next one starts, or at the end of the log. */
  #runs: TermRun[] = [];
  /** Size in bytes of the entry `#sizesBase + 1 + i`. */
  #sizes = new Uint32Array(FIRST_CAPACITY);
  #sizesBase: number;
  #lastIndex: number;

  constructor(base: { index: number; term: number }) {
    this.#baseIndex = base.index;
    this.#baseTerm = base.term;
    this.#sizesBase = base.index;
    this.#lastIndex = base.index;
  }

  get baseIndex(): number {
    return this.#baseIndex;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get lastTerm(): number {
    return this.#runs.at(-1)?.term ?? this.#baseTerm;
  }

  /** Undefined outside the log. At the base it is the base's term. */
  termAt(index: number): number | undefined {
    if (index === this.#baseIndex) return this.#baseTerm;
    if (index < this.#baseIndex || index > this.#lastIndex) return undefined;
    return this.#runs[this.#runAt(index)]?.term;
  }

  sizeAt(index: number): number {
    return this.#sizes[index - this.#sizesBase - 1] ?? 0;
  }

  append(term: number, sizeBytes: number): void {
    const slot = this.#lastIndex - this.#sizesBase;
    if (slot === this.#sizes.length) this.#makeRoom();
    this.#sizes[this.#lastIndex - this.#sizesBase] = sizeBytes;
    this.#lastIndex++;
    if (this.#runs.at(-1)?.term !== term) this.#runs.push({ first: this.#lastIndex, term });
  }

  /** Removes the entry at `index` and all after it. */
  truncateFrom(index: number): void {
    this.#lastIndex = Math.min(this.#lastIndex, index - 1);
    while ((this.#runs.at(-1)?.first ?? 0) > this.#lastIndex) this.#runs.pop();
  }

  /** Removes everything: the log starts again after a snapshot's last entry. */
  reset(base: { index: number; term: number }): void {
    this.#baseIndex = base.index;
    this.#baseTerm = base.term;
    this.#sizesBase = base.index;
    this.#lastIndex = base.index;
    this.#runs = [];
  }

  /** Removes the entries up to and including `index`, which becomes the base. */
  compactTo(index: number): void {
    if (index <= this.#baseIndex) return;
    const term = this.termAt(index);
    if (term === undefined)
      throw new RangeError(`cannot compact to ${index}: the log ends at ${this.#lastIndex}`);
    const at = this.#runAt(index);
    this.#runs = this.#runs.slice(at);
    this.#baseIndex = index;
    this.#baseTerm = term;
    const [run] = this.#runs;
    if (run && index >= this.#lastIndex) this.#runs = [];
    else if (run && (this.#runs[1]?.first ?? Number.POSITIVE_INFINITY) <= index + 1) this.#runs.shift();
    else if (run) this.#runs[0] = { first: index + 1, term };
  }

  /** The last entry of the range from `first` on that stays within `maxBytes`; at least `first` itself. */
  lastWithin(first: number, last: number, maxBytes: number): { last: number; sizeBytes: number } {
    let sizeBytes = this.sizeAt(first);
    let end = first;
    while (end < last) {
      const next = this.sizeAt(end + 1);
      if (sizeBytes + next > maxBytes) break;
      sizeBytes += next;
      end++;
    }
    return { last: end, sizeBytes };
  }

  /**
   * Whether a log that ends in (`lastTerm`, `lastIndex`) is at least as up-to-date as this one (Raft paper, section
   * 5.4.1).
   */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.#lastIndex);
  }

  /**
   * The last entry at or before `index` whose term is at most `term`: the highest index at which this log can match a
   * log that has `term` at `index`. Leader and follower both use it, so each round trip skips a whole term (Raft paper,
   * section 5.3; in both directions, as in etcd's findConflictByTerm).
   */
  lastNotAfter(index: number, term: number): { index: number; term: number } {
    let at = Math.min(index, this.#lastIndex);
    while (at > this.#baseIndex) {
      const run = this.#runs[this.#runAt(at)];
      if (!run || run.term <= term) return { index: at, term: run?.term ?? 0 };
      at = run.first - 1;
    }
    return { index: at, term: at === this.#baseIndex ? this.#baseTerm : 0 };
  }

  #runAt(index: number): number {
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#runs[middle]?.first ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #makeRoom(): void {
    const dropped = this.#baseIndex - this.#sizesBase;
    const live = this.#sizes.subarray(dropped);
    // Moving the sizes down pays only if it frees at least half of the array.
    const target =
      live.length <= this.#sizes.length / 2 ? this.#sizes : new Uint32Array(this.#sizes.length * 2);
    target.set(live);
    this.#sizes = target;
    this.#sizesBase = this.#baseIndex;
  }
}
