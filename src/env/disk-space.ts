/**
 * Whether writes of this node fail because the disk is full or because file descriptors ran out. Writers report it. The
 * log gets one line when it begins and one when it ends, however many writers retry.
 */
import type { Logger } from './env.js';
import { errorCode, errorMessage, isOutOfDescriptors } from './errors.js';

export class DiskSpace {
  readonly #logger: Logger;
  /** Names of the writers whose last write failed. */
  readonly #waiting = new Set<string>();
  /** Called at each failed write. */
  onFull: () => void = () => {};

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get isFull(): boolean {
    return this.#waiting.size > 0;
  }

  /** The writer reports that its write failed for lack of space. */
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

  /** The writer reports that its write succeeded. */
  available(writer: string): void {
    if (this.#waiting.delete(writer) && !this.isFull)
      this.#logger.info({}, 'the disk can be written again: writes are taken');
  }
}
