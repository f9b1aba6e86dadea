import type { Clock } from '../../env/env.js';
import type { Scheduler } from './scheduler.js';

/** A clock that may run fast or slow, and be set by hand. */
export class SimClock implements Clock {
  readonly #scheduler: Scheduler;
  #sinceMs = 0;
  #baseMs = 0;
  #rate = 1;
  #wallOffsetMs = 0;

  /** `startMs`: what it shows when the world begins. Clocks of different processes count from different points. */
  constructor(scheduler: Scheduler, startMs = 0) {
    this.#scheduler = scheduler;
    this.#baseMs = startMs;
  }

  get rate(): number {
    return this.#rate;
  }

  nowMs(): number {
    return this.#baseMs + (this.#scheduler.nowMs() - this.#sinceMs) * this.#rate;
  }

  wallMs(): number {
    return this.#scheduler.wallMs() + this.#wallOffsetMs;
  }

  /** Milliseconds of this clock per millisecond of the world, from now on. */
  setRate(rate: number): void {
    this.#baseMs = this.nowMs();
    this.#sinceMs = this.#scheduler.nowMs();
    this.#rate = rate;
  }

  /** Moves the clock forward without running timers, as for a virtual machine that was paused and moved. */
  jump(byMs: number): void {
    this.#baseMs += byMs;
  }

  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }
}
