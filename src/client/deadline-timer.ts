/**
 * One timer for many deadlines: it is set for the soonest one. Whoever owns the deadlines is asked then to end what is
 * due. Most calls end long before their deadline, so a deadline costs one comparison and no timer of its own.
 */
import type { Timer } from '../env/env.js';
import type { ClientEnv } from './client-options.js';

/** Ends what is due by now. Returns the soonest deadline that is left, or Infinity. */
type Expire = (nowMs: number) => number;

export class DeadlineTimer {
  readonly #env: ClientEnv;
  readonly #expire: Expire;
  #timer: Timer | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  constructor(env: ClientEnv, expire: Expire) {
    this.#env = env;
    this.#expire = expire;
  }

  /** From now on there is this deadline, too. */
  add(deadlineMs: number): void {
    if (deadlineMs >= this.#atMs) return;
    this.#timer?.cancel();
    this.#atMs = deadlineMs;
    this.#timer = this.#env.timers.after(Math.max(0, deadlineMs - this.#env.clock.nowMs()), () => {
      this.#timer = undefined;
      this.#atMs = Number.POSITIVE_INFINITY;
      this.add(this.#expire(this.#env.clock.nowMs()));
    });
  }

  /** Forgets all deadlines. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#atMs = Number.POSITIVE_INFINITY;
  }
}
