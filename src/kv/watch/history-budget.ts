/**
 * What the histories of all groups of a node may hold together, in size and time. Above the size the history that holds
 * most lets its oldest chunk go.
 */
import type { Clock } from '../../env/env.js';

export interface HistoryLimits {
  readonly maxBytes: number;
  /** Changes are kept at least this long, unless there are too many. */
  readonly keepMs: number;
}

const MIB = 1024 * 1024;
export const DEFAULT_HISTORY_LIMITS: HistoryLimits = { maxBytes: 32 * MIB, keepMs: 10 * 60_000 };

/** Chunks of this size are used again. */
export const CHUNK_BYTES: number = 64 * 1024;
/** Those that are not in use. */
const MAX_SPARE_CHUNKS = 16;

/** A history, as its budget sees it. */
export interface BudgetedHistory {
  /** The size of its chunks; 0 if the oldest may not go. */
  readonly droppableBytes: number;
  /** Lets the oldest chunk go. Returns whether there was one that may go. */
  dropOldest(): boolean;
}

export class HistoryBudget {
  readonly limits: HistoryLimits;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #histories = new Set<BudgetedHistory>();
  readonly #spare: Buffer[] = [];
  #usedBytes = 0;

  constructor(clock: Pick<Clock, 'nowMs'>, limits: HistoryLimits = DEFAULT_HISTORY_LIMITS) {
    this.#clock = clock;
    this.limits = limits;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  add(history: BudgetedHistory): void {
    this.#histories.add(history);
  }

  remove(history: BudgetedHistory): void {
    this.#histories.delete(history);
  }

  /** Memory for a chunk. Others are let go for it, as far as they may go. */
  take(sizeBytes: number): Buffer {
    while (this.#usedBytes + sizeBytes > this.limits.maxBytes && this.#largest?.dropOldest()) {}
    this.#usedBytes += sizeBytes;
    if (sizeBytes === CHUNK_BYTES) {
      const spare = this.#spare.pop();
      if (spare) return spare;
    }
    return Buffer.allocUnsafeSlow(sizeBytes);
  }

  /** `isShared`: someone may still read the memory. */
  give(chunk: Buffer, isShared: boolean): void {
    this.#usedBytes -= chunk.length;
    if (!isShared && chunk.length === CHUNK_BYTES && this.#spare.length < MAX_SPARE_CHUNKS)
      this.#spare.push(chunk);
  }

  get #largest(): BudgetedHistory | undefined {
    let largest: BudgetedHistory | undefined;
    let mostBytes = 0;
    for (const history of this.#histories) {
      if (history.droppableBytes <= mostBytes) continue;
      largest = history;
      mostBytes = history.droppableBytes;
    }
    return largest;
  }
}
