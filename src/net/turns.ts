/**
 * Shares the event loop between the answers of many connections: a limited number of bytes and a limited time per turn,
 * one answer of each connection after the other. Between two turns the loop reads its sockets, so small requests do not
 * wait for large answers, nor a write, which needs several turns, for many scans in each. Light work (of connections
 * whose last answer was small) goes first. Each turn does at least one piece of heavy work.
 */
import type { Env } from '../env/env.js';

/** Added to the size of each answer. */
const ANSWER_OVERHEAD_BYTES = 1024;

export type Weight = 'light' | 'heavy';

/** Makes an answer and returns its size in bytes. */
type Work = () => number;

export interface TurnLimits {
  readonly maxBytes: number;
  readonly maxMs: number;
}

export class Turns {
  readonly #env: Pick<Env, 'clock' | 'timers'>;
  readonly #limits: TurnLimits;
  readonly #waiting: Record<Weight, Work[]> = { light: [], heavy: [] };
  #usedBytes = 0;
  #usedMs = 0;
  #isScheduled = false;
  #isRunning = false;

  constructor(env: Pick<Env, 'clock' | 'timers'>, limits: TurnLimits) {
    this.#env = env;
    this.#limits = limits;
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
    this.#env.timers.endOfTurn(() => {
      this.#isScheduled = false;
      this.#usedBytes = 0;
      this.#usedMs = 0;
      this.#go(true);
    });
  }

  /** Runs at least `least` pieces of work, and more while this turn has room. */
  #take(weight: Weight, least: number): void {
    const waiting = this.#waiting[weight];
    if (waiting.length === 0) return;
    const { maxBytes, maxMs } = this.#limits;
    const { clock } = this.#env;
    const beforeMs = this.#usedMs - clock.nowMs();
    let done = 0;
    try {
      while (
        done < waiting.length &&
        (done < least || (this.#usedBytes < maxBytes && this.#usedMs < maxMs))
      ) {
        const work = waiting[done++] as Work;
        this.#usedBytes += ANSWER_OVERHEAD_BYTES + work();
        this.#usedMs = beforeMs + clock.nowMs();
      }
    } finally {
      waiting.splice(0, done);
    }
  }
}
