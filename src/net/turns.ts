/**
 * Shares the event loop between the answers of many connections: a limited number of bytes per turn, one answer of each
 * connection after the other. Between two turns the loop reads its sockets, so small requests do not wait for large
 * answers. Light work (of connections whose last answer was small) goes first. Each turn does at least one piece of
 * heavy work.
 */
import type { Timers } from '../env/env.js';

/** Added to the size of each answer. */
const ANSWER_OVERHEAD_BYTES = 1024;

export type Weight = 'light' | 'heavy';

/** Makes an answer and returns its size in bytes. */
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

  /** Runs the work now if this turn has room and no work of the same weight waits, otherwise in a later turn. */
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

  /** Runs at least `least` pieces of work, and more while this turn has room. */
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
