/**
 * How many snapshots a node sends, or receives, at the same time, those of all its groups together. The others wait in
 * the order in which they asked. Whoever has a turn ends it, whatever happens: a sender gives a silent receiver up, and
 * a receiver a silent sender.
 */
import type { Timers } from '../env/env.js';

export interface SnapshotTurn {
  readonly isGiven: boolean;
  /** Gives the turn to the next, or waits no longer. */
  end(): void;
}

/** Of a node. */
export interface NodeSnapshotTurns {
  readonly sending: SnapshotTurns;
  readonly receiving: SnapshotTurns;
}

interface Asked extends SnapshotTurn {
  isGiven: boolean;
  readonly given: () => void;
}

export class SnapshotTurns {
  readonly #timers: Pick<Timers, 'endOfTurn'>;
  readonly #maxSnapshots: number;
  /** Those whose turn it is, and behind them those that wait. */
  readonly #asked = new Set<Asked>();
  #given = 0;
  #isScheduled = false;

  constructor(timers: Pick<Timers, 'endOfTurn'>, maxSnapshots: number) {
    this.#timers = timers;
    this.#maxSnapshots = maxSnapshots;
  }

  /** If the turn is not given at once, `given` is called when it is, at the end of a turn of the event loop. */
  ask(given: () => void): SnapshotTurn {
    const asked: Asked = { isGiven: false, given, end: () => this.#end(asked) };
    this.#asked.add(asked);
    // Nobody passes those that wait already.
    if (this.#given < this.#maxSnapshots && this.#asked.size === this.#given + 1) {
      asked.isGiven = true;
      this.#given++;
    }
    return asked;
  }

  #end(asked: Asked): void {
    if (!this.#asked.delete(asked) || !asked.isGiven) return;
    this.#given--;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#timers.endOfTurn(() => {
      this.#isScheduled = false;
      this.#giveNext();
    });
  }

  #giveNext(): void {
    for (const asked of this.#asked) {
      if (this.#given >= this.#maxSnapshots) return;
      if (asked.isGiven) continue;
      asked.isGiven = true;
      this.#given++;
      asked.given();
    }
  }
}
