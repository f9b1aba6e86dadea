/** An iterator that is left open over other steps, beside what it must give: the state of when it was made. */
import { errorCode } from '../../src/env/errors.js';
import type { LsmIterator } from '../../src/lsm/index.js';
import type { Range } from './crash-history.js';
import { type Entries, inRange } from './crash-model.js';

export class OpenIterator {
  readonly #iterator: LsmIterator;
  readonly #entries: Entries;
  readonly #reverse: boolean;
  #at = 0;
  #left: number;
  #hasEnded = false;

  constructor(iterator: LsmIterator, range: Range, state: Entries) {
    this.#iterator = iterator;
    this.#entries = inRange(state, range);
    this.#reverse = range.reverse;
    this.#left = range.limit ?? Number.POSITIVE_INFINITY;
  }

  /** What is wrong with the next entries, or undefined. */
  advance(count: number): string | undefined {
    for (let i = 0; i < count && !this.#hasEnded; i++) {
      const expected = this.#left > 0 ? this.#entries[this.#at] : undefined;
      const found = this.#iterator.next();
      const [key, value] = [found?.key.toString('latin1'), found?.value.toString('latin1')];
      if (key !== expected?.[0] || value !== expected?.[1]) {
        return `an open iterator gave ${key}=${value}, not ${expected?.join('=')}`;
      }
      this.#at++;
      this.#left--;
      if (!found) this.#hasEnded = true;
    }
    return undefined;
  }

  seek(key: string): undefined {
    if (this.#hasEnded) return;
    this.#iterator.seek(Buffer.from(key, 'latin1'));
    const at = this.#entries.findIndex(([other]) => (this.#reverse ? other <= key : other >= key));
    this.#at = at < 0 ? this.#entries.length : at;
  }

  close(): void {
    this.#iterator.close();
  }

  /** Whether it refuses to go on, as it must when its tree is closed. */
  isRefused(): boolean {
    if (this.#hasEnded) return true;
    try {
      this.#iterator.next();
      return false;
    } catch (error) {
      return errorCode(error) === 'LSM_CLOSED';
    }
  }
}
