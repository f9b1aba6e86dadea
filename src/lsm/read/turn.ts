/**
 * How much is read in one turn of the event loop before other events get theirs. All long reads of a tree share one:
 * many short ones, one behind the other, block as much as a long one.
 */
import type { Timers } from '../../env/env.js';

const TURN_BYTES = 256 * 1024;

export class Turn {
  readonly #timers: Timers;
  #leftBytes = TURN_BYTES;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  get isOver(): boolean {
    return this.#leftBytes <= 0;
  }

  /** Bytes that may still be read in it. */
  get leftBytes(): number {
    return this.#leftBytes;
  }

  spend(bytes: number): void {
    this.#leftBytes -= bytes;
  }

  /** Lets other events run; then the next turn begins. */
  async end(): Promise<void> {
    await new Promise<void>((resolve) => this.#timers.endOfTurn(resolve));
    this.#leftBytes = TURN_BYTES;
  }
}
