/**
 * Answers of many connections, shared out over turns of the event loop: so many bytes per turn, one answer of each
 * connection after the other. Between two turns the loop reads its sockets, so what is small is not kept waiting by
 * what is large. Light work (of connections whose last answer was small) goes first; of heavy work each turn does one
 * piece at least.
 */
import type { Timers } from '../env/env.js';

/** Counts for each answer, whatever its size. */
const ANSWER_OVERHEAD_BYTES = 1024;

export type Weight = 'light' | 'heavy';

/** Makes an answer; returns its bytes. */
type Work = () => number;

export class Turns {
  readonly #timers: Timers;
  readonly #maxBytesPerTurn: number;
  readonly #waiting: Record<Weight, Work[]> = { light: [], heavy: [] };
  #usedBytes = 0;
  #isScheduled = false;
  #isRunning = false;

  constructor(timers: Timers, maxBytesPerTurn: number) {
    this.#timers = timers;
    this.#maxBytesPerTurn = maxBytesPerTurn;
  }

  /** Work that waits for a turn. */
  get waiting(): number {
    return this.#waiting.light.length + this.#waiting.heavy.length;
  }

  /** Runs the work now, if this turn has room and nothing of its kind waits, or in a later turn. */
  run(work: Work, weight: Weight): void {
    this.#waiting[weight].push(work);
    this.#go(false);
  }

  #go(isNewTurn: boolean): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      this.#take('light', 0);
      this.#take('heavy', isNewTurn ? 1 : 0);
    } finally {
      this.#isRunning = false;
    }
    if (this.#isScheduled || this.#usedBytes === 0) return;
    this.#isScheduled = true;
    this.#timers.endOfTurn(() => {
      this.#isScheduled = false;
      this.#usedBytes = 0;
      this.#go(true);
    });
  }

  /** So many at least, and more while this turn has room. */
  #take(weight: Weight, least: number): void {
    const waiting = this.#waiting[weight];
    let done = 0;
    try {
      while (done < waiting.length && (done < least || this.#usedBytes < this.#maxBytesPerTurn)) {
        const work = waiting[done++] as Work;
        this.#usedBytes += ANSWER_OVERHEAD_BYTES + work();
      }
    } finally {
      waiting.splice(0, done);
    }
  }
}
