/** Whether a tree is open, and whether it still takes writes. */
import { closedError, readOnlyError } from './errors.js';

export class LifeCycle {
  #state: 'open' | 'closing' | 'closed' = 'open';
  #failure: unknown;

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Why nothing more is written until the tree is reopened; undefined while it takes writes. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Remembers the first failure only; returns whether this is the first. */
  fail(error: unknown): boolean {
    if (this.#failure !== undefined) return false;
    this.#failure = error;
    return true;
  }

  /** Only what was begun before goes on. */
  beginClosing(): void {
    this.#state = 'closing';
  }

  /** Iterators stop, too. */
  endClosing(): void {
    this.#state = 'closed';
  }

  /** Throws `LSM_CLOSED` if the tree is closing or closed. */
  checkOpen(): void {
    if (this.#state !== 'open') throw closedError();
  }

  /** Throws `LSM_CLOSED` if the tree is closed. */
  checkNotClosed(): void {
    if (this.#state === 'closed') throw closedError();
  }

  /** Throws `LSM_CLOSED`, or `LSM_READ_ONLY` after a failure. */
  checkWritable(): void {
    this.checkOpen();
    if (this.#failure !== undefined) throw readOnlyError(this.#failure, 'notCommitted');
  }
}
