/**
 * Whether the disk of a node is full, as those who write to it find out. It is logged once when it begins and once when it
 * ends, however many writers there are and however often they try.
 */
import type { Logger } from './env.js';
import { errorCode, errorMessage } from './errors.js';

export class DiskSpace {
  readonly #logger: Logger;
  /** Those whose last write failed. */
  readonly #waiting = new Set<string>();
  /** Called at each write that fails. */
  onFull: () => void = () => {};

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get isFull(): boolean {
    return this.#waiting.size > 0;
  }

  /** A write of this writer failed for want of space. */
  full(writer: string, error: unknown): void {
    if (!this.isFull) {
      this.#logger.error(
        { code: errorCode(error), writer },
        `the disk is full: writes are refused until there is space; reads go on (${errorMessage(error)})`,
      );
    }
    this.#waiting.add(writer);
    this.onFull();
  }

  /** A write of this writer succeeded. */
  available(writer: string): void {
    if (this.#waiting.delete(writer) && !this.isFull)
      this.#logger.info({}, 'the disk has space again: writes are taken');
  }
}
