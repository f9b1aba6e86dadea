/** The reservations of one kind that wait for room in the buffer budget, and the order in which they get it. */
import type { BufferAccount } from './buffer-account.js';

/** Every so many grants the oldest reservation goes first: no connection waits forever. */
const OLDEST_FIRST_EVERY = 4;

interface Reservation {
  readonly account: BufferAccount;
  readonly bytes: number;
  readonly claimBytes: number;
  readonly granted: () => void;
}

export class ReservationQueue {
  /** In order of arrival. */
  #waiting: Reservation[] = [];
  #grants = 0;
  #granting = false;

  get size(): number {
    return this.#waiting.length;
  }

  add(waiting: Reservation): void {
    this.#waiting.push(waiting);
  }

  forget(account: BufferAccount): void {
    if (this.#waiting.length > 0)
      this.#waiting = this.#waiting.filter((waiting) => waiting.account !== account);
  }

  /** Grants waiting reservations, best first, as long as the next one fits. */
  grant(fits: (account: BufferAccount, bytes: number) => boolean, nowMs: number): void {
    if (this.#granting) return;
    this.#granting = true;
    try {
      for (let next = this.#next(nowMs); next && fits(next.account, next.bytes); next = this.#next(nowMs)) {
        this.#waiting.splice(this.#waiting.indexOf(next), 1);
        this.#grants++;
        next.granted();
      }
    } finally {
      this.#granting = false;
    }
  }

  #next(nowMs: number): Reservation | undefined {
    const [oldest] = this.#waiting;
    if (!oldest || this.#grants % OLDEST_FIRST_EVERY === OLDEST_FIRST_EVERY - 1) return oldest;
    let best = oldest;
    let least = Number.POSITIVE_INFINITY;
    for (const waiting of this.#waiting) {
      const claim = waiting.account.givenLatelyBytes(nowMs) + waiting.claimBytes;
      if (claim >= least) continue;
      least = claim;
      best = waiting;
    }
    return best;
  }
}
