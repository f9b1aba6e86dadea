/** Limits repeated log lines: each distinct line at most once a minute. */
import type { Clock } from './env.js';

const MINUTE_MS = 60_000;
/** The lines can contain names that clients choose, so their number must be bounded. */
const MAX_REMEMBERED = 1000;

export class OnceAMinute {
  readonly #clock: Clock;
  /** Time of the last report of each line, the oldest first. */
  readonly #saidMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the line may be logged now. If so, it counts as logged. */
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
