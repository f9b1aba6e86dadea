/**
 * One limit for the logs of all groups of a node. While their sum is within the limit, a group cuts only entries that
 * all its members hold. Above the limit, those groups cut more that hold at least an equal share of it.
 */
import type { Clock } from '../env/env.js';
import type { LogLimits } from '../replica/log-compaction.js';

/** The log of one group. */
export interface BudgetedLog {
  readonly sizeBytes: number;
}

/** The sum is counted again after this time. */
const COUNT_EVERY_MS = 10;

export class LogBudget {
  readonly #clock: Clock;
  readonly #limits: LogLimits;
  readonly #logs = new Set<BudgetedLog>();
  #sumBytes = 0;
  #countedMs = Number.NEGATIVE_INFINITY;

  /** `limits` apply to all groups together. */
  constructor(clock: Clock, limits: LogLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  add(log: BudgetedLog): void {
    this.#logs.add(log);
    this.#countedMs = Number.NEGATIVE_INFINITY;
  }

  remove(log: BudgetedLog): void {
    this.#logs.delete(log);
    this.#countedMs = Number.NEGATIVE_INFINITY;
  }

  /** The limits of one log now. With one group they are those of the node. */
  limitsOf(log: BudgetedLog): LogLimits {
    const { maxLogBytes, maxSnapshotLogBytes, trailingEntries } = this.#limits;
    if (this.#logs.size <= 1) return this.#limits;
    const equalOf = (limitBytes: number) => Math.floor(limitBytes / this.#logs.size);
    // Within an equal share a log is within its limit, however large the others are: thousands are not added up.
    const isSmall = log.sizeBytes <= equalOf(maxLogBytes);
    const othersBytes = isSmall ? Number.POSITIVE_INFINITY : this.#sum() - log.sizeBytes;
    const shareOf = (limitBytes: number) => Math.max(limitBytes - othersBytes, equalOf(limitBytes));
    return {
      maxLogBytes: shareOf(maxLogBytes),
      maxSnapshotLogBytes: shareOf(maxSnapshotLogBytes),
      trailingEntries,
    };
  }

  #sum(): number {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#countedMs < COUNT_EVERY_MS) return this.#sumBytes;
    this.#countedMs = nowMs;
    this.#sumBytes = 0;
    for (const { sizeBytes } of this.#logs) this.#sumBytes += sizeBytes;
    return this.#sumBytes;
  }
}
