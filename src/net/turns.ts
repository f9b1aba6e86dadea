/**
 * Work with large answers, shared out over turns of the event loop: so many bytes per turn, one piece of each connection
 * after the other. Between two turns the loop reads its sockets, so what is small is not kept waiting by what is large.
 */
import type { Timers } from '../env/env.js';

/** Counts for each piece of work, whatever its answer. */
const PIECE_BYTES = 1024;

export class Turns {
  readonly #timers: Timers;
  readonly #maxBytesPerTurn: number;
  #waiting: (() => number)[] = [];
  #usedBytes = 0;
  #isScheduled = false;
  #isRunning = false;

  constructor(timers: Timers, maxBytesPerTurn: number) {
    this.#timers = timers;
    this.#maxBytesPerTurn = maxBytesPerTurn;
  }

  /** Runs the work, which returns the bytes that it made: now if this turn has room and nobody waits, or in a later turn. */
  run(work: () => number): void {
    this.#waiting.push(work);
    this.#go();
  }

  #go(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    let done = 0;
    try {
      while (this.#usedBytes < this.#maxBytesPerTurn) {
        const work = this.#waiting[done];
        if (!work) break;
        done++;
        this.#usedBytes += PIECE_BYTES + work();
      }
    } finally {
      this.#waiting = this.#waiting.slice(done);
      this.#isRunning = false;
    }
    if (this.#isScheduled || this.#usedBytes === 0) return;
    this.#isScheduled = true;
    this.#timers.endOfTurn(() => {
      this.#isScheduled = false;
      this.#usedBytes = 0;
      this.#go();
    });
  }
}
