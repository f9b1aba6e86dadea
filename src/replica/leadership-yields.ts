/**
 * A leader whose disk fails it gives its leadership to another voter. That one may be no better and give it back, so
 * this becomes rarer each time.
 */
import type { Clock } from '../env/env.js';
import type { CorePort } from './ports.js';

const MOST_DOUBLINGS = 6;

export class LeadershipYields {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #core: Pick<CorePort, 'role' | 'step'>;
  readonly #leastPauseMs: number;
  #nextMs = 0;
  #count = 0;

  constructor(clock: Pick<Clock, 'nowMs'>, core: Pick<CorePort, 'role' | 'step'>, leastPauseMs: number) {
    this.#clock = clock;
    this.#core = core;
    this.#leastPauseMs = leastPauseMs;
  }

  /** Nothing happens at a follower, or if the last time is not long enough ago. */
  yield(): void {
    const nowMs = this.#clock.nowMs();
    if (this.#core.role !== 'leader' || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + this.#leastPauseMs * 2 ** Math.min(this.#count++, MOST_DOUBLINGS);
    this.#core.step({ type: 'transfer' });
  }

  /** The disk has shown that it works. */
  reset(): void {
    this.#nextMs = 0;
    this.#count = 0;
  }
}
