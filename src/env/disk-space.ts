/**
 * Tries again what failed because the disk is full, or because no file descriptor is left. Writers that share a disk
 * share this: it is logged once when the first of them fails and once when all of them can write again. A disk that is
 * nearly full begins and ends being full many times: that is logged once a minute at most.
 */
import type { Clock, Logger, Timer, Timers } from './env.js';
import { errorCode, errorMessage, isNoSpace, isOutOfDescriptors } from './errors.js';

export interface DiskSpaceOptions {
  /** How long a writer waits before it tries again. */
  readonly retryMs: number;
  /** The wait doubles with each failure in a row, up to this. */
  readonly maxRetryMs: number;
  /** What is logged when the disk becomes full, after the reason, and when that has passed. */
  readonly began: string;
  readonly ended: string;
}

export const DISK_FULL_RETRY_MS = 500;
const NODE: DiskSpaceOptions = {
  retryMs: DISK_FULL_RETRY_MS,
  maxRetryMs: DISK_FULL_RETRY_MS,
  began: 'writes are refused until this has passed; reads continue',
  ended: 'the disk can be written again: writes are accepted',
};
/** The time from one report that the disk is full to the next. */
const REPORT_INTERVAL_MS = 60_000;

interface Failing {
  /** In a row. */
  readonly failures: number;
  readonly isOutOfDescriptors: boolean;
}

export class DiskSpace {
  readonly #logger: Logger;
  readonly #env: { readonly clock: Clock; readonly timers: Timers };
  readonly #options: DiskSpaceOptions;
  /** Writers whose last write failed. */
  readonly #failing = new Map<string, Failing>();
  readonly #listeners = new Set<() => void>();
  #isReported = false;
  #nextReportMs = Number.NEGATIVE_INFINITY;

  constructor(
    logger: Logger,
    env: { readonly clock: Clock; readonly timers: Timers },
    options: Partial<DiskSpaceOptions> = {},
  ) {
    this.#logger = logger;
    this.#env = env;
    this.#options = { ...NODE, ...options };
  }

  /** Whether the last write of some writer failed. */
  get isFull(): boolean {
    return this.#failing.size > 0;
  }

  /** Whether the last write of this writer failed for lack of space, not of descriptors. */
  isOutOfSpace(writer: string): boolean {
    return this.#failing.get(writer)?.isOutOfDescriptors === false;
  }

  /** Calls the listener at each write that fails for want of space. Returns what ends that. */
  onFull(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A write of this writer failed for want of space: `again` runs after the wait, unless the timer is cancelled. */
  retryAfter(writer: string, error: unknown, again: () => void): Timer {
    const { retryMs, maxRetryMs } = this.#options;
    const failures = this.#failing.get(writer)?.failures ?? 0;
    const timer = this.#env.timers.after(Math.min(retryMs * 2 ** failures, maxRetryMs), again);
    this.#full(writer, failures + 1, error);
    return timer;
  }

  /** A write of this writer succeeded. Returns whether the one before had failed. */
  available(writer: string): boolean {
    const hadFailed = this.#failing.delete(writer);
    if (hadFailed && !this.isFull && this.#isReported) {
      this.#isReported = false;
      this.#logger.info({}, this.#options.ended);
    }
    return hadFailed;
  }

  /** Tries again as long as the attempt fails for want of space. Rejects with any other error. */
  async untilWritten<T>(writer: string, attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        const done = await attempt();
        this.available(writer);
        return done;
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        await new Promise<void>((again) => this.retryAfter(writer, error, again));
      }
    }
  }

  #full(writer: string, failures: number, error: unknown): void {
    const cause = error instanceof Error ? error.cause : undefined;
    const noDescriptor = isOutOfDescriptors(error) || isOutOfDescriptors(cause);
    this.#failing.set(writer, { failures, isOutOfDescriptors: noDescriptor });
    this.#report(writer, noDescriptor, error);
    for (const listener of this.#listeners) listener();
  }

  #report(writer: string, noDescriptor: boolean, error: unknown): void {
    const nowMs = this.#env.clock.nowMs();
    if (this.#isReported || nowMs < this.#nextReportMs) return;
    this.#isReported = true;
    this.#nextReportMs = nowMs + REPORT_INTERVAL_MS;
    const what = noDescriptor ? 'too many files are open' : 'the disk is full';
    this.#logger.error(
      { code: errorCode(error), writer },
      `${what}: ${this.#options.began} (${errorMessage(error)})`,
    );
  }
}
