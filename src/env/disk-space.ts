/**
 * Whether the disk of a node is full, or no file can be opened for want of descriptors, as those who write find out. It
 * is logged once when it begins and once when it ends, however many writers there are. What failed is tried again after
 * a pause, and all writers make the same pause.
 */
import type { Logger, Timer, Timers } from './env.js';
import { errorCode, errorMessage, isNoSpace, isOutOfDescriptors } from './errors.js';

/** How long a writer waits before it tries again. */
export const DISK_FULL_RETRY_MS = 500;

export class DiskSpace {
  readonly #logger: Logger;
  readonly #timers: Timers;
  readonly #retryMs: number;
  /** Writers whose last write failed. */
  readonly #waiting = new Set<string>();
  readonly #listeners = new Set<() => void>();

  constructor(logger: Logger, timers: Timers, retryMs = DISK_FULL_RETRY_MS) {
    this.#logger = logger;
    this.#timers = timers;
    this.#retryMs = retryMs;
  }

  get isFull(): boolean {
    return this.#waiting.size > 0;
  }

  /** Calls the listener at each write that fails for want of space. Returns what ends that. */
  onFull(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A write of this writer failed for want of space: `again` runs after the pause, unless the timer is cancelled. */
  retryAfter(writer: string, error: unknown, again: () => void): Timer {
    const timer = this.#timers.after(this.#retryMs, again);
    this.#full(writer, error);
    return timer;
  }

  /** A write of this writer succeeded. */
  available(writer: string): void {
    if (this.#waiting.delete(writer) && !this.isFull)
      this.#logger.info({}, 'the disk can be written again: writes are accepted');
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

  #full(writer: string, error: unknown): void {
    if (!this.isFull) {
      const cause = error instanceof Error ? error.cause : undefined;
      const what = isOutOfDescriptors(cause) ? 'no file can be opened' : 'the disk is full';
      this.#logger.error(
        { code: errorCode(error), writer },
        `${what}: writes are refused until this has passed; reads continue (${errorMessage(error)})`,
      );
    }
    this.#waiting.add(writer);
    for (const listener of this.#listeners) listener();
  }
}
