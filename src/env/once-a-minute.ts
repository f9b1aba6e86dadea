/** What would fill the log if it were said each time: each thing once a minute. */
import type { Clock } from './env.js';

const MINUTE_MS = 60_000;
/** Strangers have many names. */
const MAX_REMEMBERED = 1000;

export class OnceAMinute {
  readonly #clock: Clock;
  /** When each was said last; the oldest first. */
  readonly #saidMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether this is to be said now; then it is taken as said. */
  isDue(what: string): boolean {
    const nowMs = this.#clock.nowMs();
    const saidMs = this.#saidMs.get(what);
    if (saidMs !== undefined && nowMs - saidMs < MINUTE_MS) return false;
    this.#saidMs.delete(what);
    const [oldest] = this.#saidMs.keys();
    if (oldest !== undefined && this.#saidMs.size >= MAX_REMEMBERED) this.#saidMs.delete(oldest);
    this.#saidMs.set(what, nowMs);
    return true;
  }
}
