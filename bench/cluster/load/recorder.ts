/** Latencies of the measured time: of all operations, and second by second. */
import { build, type Histogram } from 'hdr-histogram-js';
import type { LatencyMs, Second } from './plan.js';

const newHistogram = (): Histogram =>
  build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 600_000_000,
    numberOfSignificantValueDigits: 3,
  });

export class Recorder {
  readonly #startMs: number;
  readonly #all = newHistogram();
  readonly #second = newHistogram();
  readonly #seconds: Second[] = [];
  #ended = 0;

  /** `startMs`: when the measured time begins. */
  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  /** Operations that ended within the measured time. */
  get ended(): number {
    return this.#ended;
  }

  /** An operation ended within the measured time. */
  countEnd(endMs: number): void {
    this.#closeSeconds(endMs);
    this.#ended++;
  }

  record(latencyMs: number): void {
    const us = Math.max(1, Math.round(latencyMs * 1000));
    this.#all.recordValue(us);
    this.#second.recordValue(us);
  }

  /** The whole seconds of the measured time until now. */
  perSecond(nowMs: number): readonly Second[] {
    this.#closeSeconds(nowMs);
    return this.#seconds;
  }

  latencyMs(): LatencyMs {
    const max = this.#all.maxValue / 1000;
    // The histogram names the end of a bucket.
    const at = (percentile: number) => Math.min(max, this.#all.getValueAtPercentile(percentile) / 1000);
    return { p50: at(50), p99: at(99), p999: at(99.9), max };
  }

  #closeSeconds(nowMs: number): void {
    while (nowMs >= this.#startMs + (this.#seconds.length + 1) * 1000) {
      this.#seconds.push({
        operations: this.#ended - this.#seconds.reduce((sum, { operations }) => sum + operations, 0),
        p99Ms: this.#second.totalCount > 0 ? this.#second.getValueAtPercentile(99) / 1000 : 0,
        maxMs: this.#second.maxValue / 1000,
      });
      this.#second.reset();
    }
  }
}
