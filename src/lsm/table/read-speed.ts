/**
 * The average time of recent block reads. A read from the page cache takes a microsecond; giving it to another thread
 * takes forty. A read from a busy or remote disk may take so long that the event loop must not wait for it.
 */
import type { Clock } from '../../env/env.js';

/** If reads take longer than this on average, the event loop does not wait for them. */
const SLOW_MS = 1;
/** The share of the last read in the average. */
const LAST_SHARE = 1 / 8;

export class ReadSpeed {
  readonly #clock: Clock;
  #averageMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isSlow(): boolean {
    return this.#averageMs > SLOW_MS;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** A read that began at `startMs` has ended. */
  note(startMs: number): void {
    this.#averageMs += (this.#clock.nowMs() - startMs - this.#averageMs) * LAST_SHARE;
  }
}
