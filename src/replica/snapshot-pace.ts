/** How fast a node sends snapshots, all transfers of all its groups together. */
import type { Clock } from '../env/env.js';

export class SnapshotPace {
  readonly #clock: Clock;
  readonly #maxBytesPerSecond: number;
  #nextChunkMs = 0;

  constructor(clock: Clock, maxBytesPerSecond: number) {
    this.#clock = clock;
    this.#maxBytesPerSecond = maxBytesPerSecond;
  }

  /** How long until the next chunk may be sent. Ask again then: another transfer may have been first. */
  get waitMs(): number {
    return Math.max(0, this.#nextChunkMs - this.#clock.nowMs());
  }

  sent(bytes: number): void {
    const nowMs = this.#clock.nowMs();
    this.#nextChunkMs = Math.max(nowMs, this.#nextChunkMs) + (bytes / this.#maxBytesPerSecond) * 1000;
  }
}
