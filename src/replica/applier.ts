/**
 * Gives committed entries to the state machine, one range at a time, however late that answers. It can be paused: a
 * range that comes then waits. Whoever copies or replaces the state has it alone.
 */
import type { Entry } from '../raft/types.js';
import type { GroupLog } from '../raft-log/raft-log.js';
import type { StateMachine } from './state-machine.js';

export interface ApplierParts<Result> {
  readonly log: GroupLog;
  readonly stateMachine: StateMachine<Result>;
  readonly applied: (first: number, entries: readonly Entry[], results: readonly Result[]) => void;
  readonly failed: (error: unknown) => void;
}

export class Applier<Result> {
  readonly #parts: ApplierParts<Result>;
  #applying: Promise<void> | undefined;
  /** Settles, and never rejects, when nobody has the state machine alone. */
  #alone: Promise<unknown> = Promise.resolve();
  /** Each is ended by a `resume`. */
  #pauses = 0;
  #waiting: { readonly first: number; readonly last: number } | undefined;
  #closed = false;

  constructor(parts: ApplierParts<Result>) {
    this.#parts = parts;
  }

  get isPaused(): boolean {
    return this.#pauses > 0;
  }

  /** Settles, and never rejects, when the range is done that is being applied; undefined if none ever took time. */
  get applying(): Promise<void> | undefined {
    return this.#applying;
  }

  /** No range comes before the one before it is applied. Throws what the log or the state machine throws. */
  apply(first: number, last: number): void {
    if (this.isPaused) {
      this.#waiting = { first, last };
      return;
    }
    const { log, stateMachine, applied, failed } = this.#parts;
    const entries = log.entries(first, last);
    const results = stateMachine.apply(first, entries);
    if (!(results instanceof Promise)) {
      applied(first, entries, results);
      return;
    }
    this.#applying = results.then((late) => applied(first, entries, late)).catch(failed);
  }

  /** What is being applied goes on to its end. */
  pause(): void {
    this.#pauses++;
  }

  /**
   * Runs this when what is being applied, and whoever had the state machine alone before, is done. Rejects as it does.
   */
  alone<T>(run: () => Promise<T>): Promise<T> {
    this.pause();
    const done = Promise.all([this.#applying, this.#alone])
      .then(run)
      .finally(() => this.resume());
    this.#alone = done.catch(() => {});
    return done;
  }

  /** A snapshot replaces the range that waits. */
  forgetWaiting(): void {
    this.#waiting = undefined;
  }

  resume(): void {
    this.#pauses--;
    if (this.isPaused) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting || this.#closed) return;
    try {
      this.apply(waiting.first, waiting.last);
    } catch (error) {
      // Nobody who resumes is to blame, or to be told.
      this.#parts.failed(error);
    }
  }

  /** Begins nothing any more. */
  close(): void {
    this.#closed = true;
  }
}
