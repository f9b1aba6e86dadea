/**
 * Gives committed entries to the state machine, one range at a time. The state machine may answer late. While this is
 * paused, the next range waits. During a checkpoint or the takeover of a snapshot nothing is applied.
 */
import type { Timers } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { Entry } from '../raft/types.js';
import type { GroupLog } from '../raft-log/raft-log.js';
import type { GroupStateMachine } from './group-state-machine.js';
import type { PendingProposals } from './pending-proposals.js';
import type { CorePort } from './ports.js';

export interface ApplierParts<Result> {
  readonly timers: Pick<Timers, 'endOfTurn'>;
  readonly log: Pick<GroupLog, 'entries' | 'configurationAt'>;
  readonly stateMachine: Pick<GroupStateMachine<Result>, 'apply' | 'applyTablet'>;
  /** Makes the groups exist that follow from this one, or begin beside it, if there are any. */
  readonly succeed: () => Promise<void>;
  readonly core: Pick<CorePort, 'step' | 'fail'>;
  readonly proposals: Pick<PendingProposals<Result>, 'applied'>;
}

export class Applier<Result> {
  readonly #parts: ApplierParts<Result>;
  #applying: Promise<void> | undefined;
  /** Settles, and never rejects, when no checkpoint or takeover is under way. */
  #alone: Promise<unknown> = Promise.resolve();
  /** Calls of `pause` without their `resume`. */
  #pauses = 0;
  #waiting: { readonly first: number; readonly last: number } | undefined;
  #closed = false;

  constructor(parts: ApplierParts<Result>) {
    this.#parts = parts;
  }

  get isPaused(): boolean {
    return this.#pauses > 0;
  }

  /** Settles, and never rejects, when the current range is applied. Undefined if no range was applied late yet. */
  get applying(): Promise<void> | undefined {
    return this.#applying;
  }

  /** The caller waits for one range before it gives the next. Throws what the log or the state machine throws. */
  apply(first: number, last: number): void {
    if (this.isPaused) {
      this.#waiting = { first, last };
      return;
    }
    const { log, core } = this.#parts;
    const entries = log.entries(first, last);
    const results = this.#give(first, entries);
    if (!(results instanceof Promise) && results.length === entries.length) {
      this.#applied(first, entries, results);
      return;
    }
    this.#applying = this.#late(first, entries, results).catch((error: unknown) => core.fail(error));
  }

  #give(first: number, entries: readonly Entry[]): readonly Result[] | Promise<readonly Result[]> {
    const { stateMachine } = this.#parts;
    const [entry] = entries;
    if (entry?.kind !== 'tablet' || !stateMachine.applyTablet) return stateMachine.apply(first, entries);
    return this.#giveTablet(first, entry);
  }

  /** Counts as applied when the groups exist that follow from it. */
  async #giveTablet(index: number, entry: Entry): Promise<readonly Result[]> {
    const { stateMachine, log, timers } = this.#parts;
    const turn = () => new Promise<void>((resolve) => timers.endOfTurn(resolve));
    const result = await stateMachine.applyTablet?.(index, entry, log.configurationAt(index), turn);
    await this.#parts.succeed();
    return result === undefined ? [] : [result];
  }

  /** Who waits for the first results has them, and has let them go, before there are more. */
  async #late(
    first: number,
    entries: readonly Entry[],
    given: readonly Result[] | Promise<readonly Result[]>,
  ): Promise<void> {
    const { proposals, timers } = this.#parts;
    let [at, rest, results] = [first, entries, await given];
    while (results.length < rest.length) {
      if (results.length === 0) throw new RaftreeError('CORRUPTION', `entry ${at} was not applied`);
      proposals.applied(at, rest.slice(0, results.length), results);
      at += results.length;
      rest = rest.slice(results.length);
      results = [];
      await new Promise<void>((resolve) => timers.endOfTurn(resolve));
      if (this.#closed) return;
      results = await this.#give(at, rest);
    }
    this.#applied(at, rest, results);
  }

  /** The current range is still applied to its end. */
  pause(): void {
    this.#pauses++;
  }

  /**
   * Runs this when the range that is being applied, and all that ran alone before, is done. Rejects as it does.
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
      // The caller of `resume` did not cause this.
      this.#parts.core.fail(error);
    }
  }

  #applied(first: number, entries: readonly Entry[], results: readonly Result[]): void {
    const { core, proposals } = this.#parts;
    core.step({ type: 'applied', index: first + entries.length - 1 });
    proposals.applied(first, entries, results);
  }

  /** Starts no more ranges. */
  close(): void {
    this.#closed = true;
  }
}
