/** Lets so many bytes per millisecond through: a token bucket. */
import type { Clock } from '../../env/env.js';

/** What may be saved up, and what a single large write may overdraw, in milliseconds of the rate. */
const MOST_CREDIT_MS = 2;
const MOST_DEBT_MS = 100;

export class WritePace {
  readonly #clock: Clock;
  #creditBytes = 0;
  #lastMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a write may go on now, at a rate of bytes per millisecond; if so its bytes are taken. */
  take(sizeBytes: number, rate: number): boolean {
    if (rate === Number.POSITIVE_INFINITY) return true;
    const nowMs = this.#clock.nowMs();
    this.#add(nowMs - this.#lastMs, rate);
    this.#lastMs = nowMs;
    if (this.#creditBytes <= 0) return false;
    this.#creditBytes = Math.max(this.#creditBytes - sizeBytes, -MOST_DEBT_MS * rate);
    return true;
  }

  /** Time has passed, whatever the clock says. */
  tick(elapsedMs: number, rate: number): void {
    if (rate < Number.POSITIVE_INFINITY && this.#clock.nowMs() - this.#lastMs < elapsedMs)
      this.#add(elapsedMs, rate);
  }

  #add(elapsedMs: number, rate: number): void {
    this.#creditBytes = Math.min(MOST_CREDIT_MS * rate, this.#creditBytes + elapsedMs * rate);
  }
}
