/**
 * Whether the disk of a node is full, or no file can be opened for want of descriptors, as those who write find out. It
 * is logged once when it begins and once when it ends, however many writers there are and however often they try.
 */
import type { Logger } from './env.js';
import { errorCode, errorMessage, isOutOfDescriptors } from './errors.js';

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
      const cause = error instanceof Error ? error.cause : undefined;
      const what = isOutOfDescriptors(cause) ? 'no file can be opened' : 'the disk is full';
      this.#logger.error(
        { code: errorCode(error), writer },
        `${what}: writes are refused until that has passed; reads go on (${errorMessage(error)})`,
      );
    }
    this.#waiting.add(writer);
    this.onFull();
  }

  /** A write of this writer succeeded. */
  available(writer: string): void {
    if (this.#waiting.delete(writer) && !this.isFull)
      this.#logger.info({}, 'the disk can be written again: writes are taken');
  }
}
