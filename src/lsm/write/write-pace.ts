/** Limits writes to a number of bytes per millisecond: a token bucket. */
import type { Clock } from '../../env/env.js';

/** The most credit that can be saved, and that one large write can overdraw, in milliseconds of the rate. */
const MOST_CREDIT_MS = 2;
const MOST_DEBT_MS = 100;

export class WritePace {
  readonly #clock: Clock;
  #creditBytes = 0;
  #lastMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a write may proceed now, at this rate in bytes per millisecond. If so, its bytes are taken. */
  take(sizeBytes: number, rate: number): boolean {
    if (rate === Number.POSITIVE_INFINITY) return true;
    const nowMs = this.#clock.nowMs();
    this.#add(nowMs - this.#lastMs, rate);
    this.#lastMs = nowMs;
    if (this.#creditBytes <= 0) return false;
    this.#creditBytes = Math.max(this.#creditBytes - sizeBytes, -MOST_DEBT_MS * rate);
    return true;
  }

  /** Adds this elapsed time, whatever the clock says. */
  tick(elapsedMs: number, rate: number): void {
    if (rate < Number.POSITIVE_INFINITY && this.#clock.nowMs() - this.#lastMs < elapsedMs)
      this.#add(elapsedMs, rate);
  }

  #add(elapsedMs: number, rate: number): void {
    this.#creditBytes = Math.min(MOST_CREDIT_MS * rate, this.#creditBytes + elapsedMs * rate);
  }
}
