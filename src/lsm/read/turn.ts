/**
 * Limits how much is read in one turn of the event loop. All long reads of a tree share one limit, because many short
 * reads in a row block other events as long as one long read.
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

  /** The bytes that may still be read in this turn. */
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
