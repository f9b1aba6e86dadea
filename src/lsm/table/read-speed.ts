/**
 * How long reads of blocks take lately. From the page cache a read takes a microsecond, and giving it to another
 * thread forty; from a disk that is busy or far away it may take so long that the loop must not wait for it.
 */
import type { Clock } from '../../env/env.js';

/** Reads that take longer than this, on average, are not waited for. */
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

  /** A read has ended that began at `startMs`. */
  note(startMs: number): void {
    this.#averageMs += (this.#clock.nowMs() - startMs - this.#averageMs) * LAST_SHARE;
  }
}
