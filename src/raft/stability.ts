/**
 * Which part of the log is durable here, and whether term and vote are, tracked by batch numbers.
 *
 * Batches complete in order. An entry is stable when the batch that *last* carried it is persisted: after a truncation,
 * an earlier batch says nothing about the entries that replaced its own.
 */
interface CarriedRange {
  readonly batch: number;
  readonly first: number;
  last: number;
}

export class Stability {
  #stableIndex: number;
  #persistedBatch = 0;
  #issuedBatch = 0;
  /** The batch that carries the current term and vote. */
  #termBatch = 0;
  #inflight: CarriedRange[] = [];
  #oldestIssuedMs: { batch: number; atMs: number }[] = [];

  constructor(stableIndex: number) {
    this.#stableIndex = stableIndex;
  }

  /** Entries up to here are durable. */
  get stableIndex(): number {
    return this.#stableIndex;
  }

  get persistedBatch(): number {
    return this.#persistedBatch;
  }

  /** The batch that makes all current state durable; with `unsaved` it is the next one. */
  batchFor(unsaved: boolean): number {
    return unsaved ? this.#issuedBatch + 1 : this.#issuedBatch;
  }

  get termBatch(): number {
    return this.#termBatch;
  }

  /** Term or vote changed: the next batch carries them. */
  termChanged(): void {
    this.#termBatch = this.#issuedBatch + 1;
  }

  issue(first: number, count: number, nowMs: number): number {
    const batch = ++this.#issuedBatch;
    if (count > 0) this.#inflight.push({ batch, first, last: first + count - 1 });
    this.#oldestIssuedMs.push({ batch, atMs: nowMs });
    return batch;
  }

  truncated(from: number): void {
    this.#stableIndex = Math.min(this.#stableIndex, from - 1);
    for (const range of this.#inflight) range.last = Math.min(range.last, from - 1);
  }

  /** A snapshot replaced the log: earlier batches carried entries that are gone. */
  restored(index: number): void {
    this.#stableIndex = Math.min(this.#stableIndex, index - 1);
    this.#inflight = [];
  }

  persisted(batch: number): void {
    if (batch <= this.#persistedBatch || batch > this.#issuedBatch) return;
    this.#persistedBatch = batch;
    while ((this.#inflight[0]?.batch ?? Number.POSITIVE_INFINITY) <= batch) {
      const range = this.#inflight.shift();
      if (range && range.last >= range.first) this.#stableIndex = Math.max(this.#stableIndex, range.last);
    }
    while ((this.#oldestIssuedMs[0]?.batch ?? Number.POSITIVE_INFINITY) <= batch)
      this.#oldestIssuedMs.shift();
  }

  /** How long the oldest batch has been waiting for the disk; 0 if none is. */
  oldestAgeMs(nowMs: number): number {
    const oldest = this.#oldestIssuedMs[0];
    return oldest ? nowMs - oldest.atMs : 0;
  }
}
