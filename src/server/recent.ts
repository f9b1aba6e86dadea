/**
 * The last time in numbers. Each two seconds there is one point for the charts of ten minutes, in a ring; whoever asks
 * for figures gets those of the last two to four seconds. A node with HTTP measures all the time. Another one measures
 * while somebody asks, and otherwise that costs nothing.
 */
import type { NodeFigures, Quantiles } from '../doors/ports.js';
import type { Env, Timer } from '../env/env.js';
import type { Histogram } from '../metrics/histogram.js';

export interface RecentPoint {
  /** On the wall clock, for people. */
  readonly atMs: number;
  /** Entries of the log that were applied here, whoever proposed them. */
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
  /** From a proposal to its commit; undefined if there was none. */
  readonly commitP50Ms: number | undefined;
  readonly commitP99Ms: number | undefined;
  /** Of durable writes of the log. */
  readonly syncP99Ms: number | undefined;
}

export interface RecentSource {
  readonly appliedIndex: () => number;
  /** Since the start of the node. */
  readonly reads: () => number;
  readonly writtenBytes: () => number;
  /** Where the data are. */
  readonly freeBytes: () => Promise<number | undefined>;
  readonly metrics: {
    readonly commits: Histogram;
    readonly applies: Histogram;
    readonly syncs: Histogram;
    /** Since the last call. */
    takeLongestDelayMs(): number | undefined;
    start(): void;
    stop(): void;
  };
}

export const POINT_EVERY_MS = 2000;
const MAX_POINTS = 300;
/** Measured so long after somebody asked. */
const WANTED_MS = 60_000;

export class Recent {
  readonly #env: Pick<Env, 'clock' | 'timers'>;
  readonly #source: RecentSource;
  readonly #points: RecentPoint[] = [];
  #before: ReturnType<Recent['now']>;
  #earlier: ReturnType<Recent['now']>;
  #delayMs: number | undefined;
  #freeBytes: number | undefined;
  #timer: Timer | undefined;
  #wantedUntilMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(env: Pick<Env, 'clock' | 'timers'>, source: RecentSource) {
    this.#env = env;
    this.#source = source;
    this.#before = this.now();
    this.#earlier = this.#before;
  }

  /** Oldest first. */
  get points(): readonly RecentPoint[] {
    return this.#points;
  }

  /** Measures from now on, as long as `forMs` says. */
  start(forMs = Number.POSITIVE_INFINITY): void {
    this.#wantedUntilMs = Math.max(this.#wantedUntilMs, this.#env.clock.nowMs() + forMs);
    if (this.#timer || this.#isClosed) return;
    this.#source.metrics.start();
    this.#before = this.now();
    this.#earlier = this.#before;
    this.#lookAtDisk();
    this.#next();
  }

  /** Of the last seconds; the first ones have nothing to tell yet. */
  figures(): NodeFigures {
    this.start(WANTED_MS);
    const now = this.now();
    const { metrics, writtenBytes } = this.#source;
    const quantiles = (of: 'commits' | 'applies' | 'syncs'): Quantiles | undefined => {
      const counts = since(now[of], this.#earlier[of]);
      const p50Us = microseconds(quantileMs(metrics[of].bounds, counts, 0.5));
      const p99Us = microseconds(quantileMs(metrics[of].bounds, counts, 0.99));
      return p50Us === undefined || p99Us === undefined ? undefined : { p50Us, p99Us };
    };
    this.#delayMs = longest(this.#delayMs, metrics.takeLongestDelayMs());
    return {
      ...{ commit: quantiles('commits'), apply: quantiles('applies'), sync: quantiles('syncs') },
      loopDelayUs: microseconds(this.#delayMs),
      writtenBytes: writtenBytes(),
      freeBytes: this.#freeBytes,
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#stop();
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#source.metrics.stop();
  }

  private now() {
    const { appliedIndex, reads, metrics } = this.#source;
    const { commits, applies, syncs } = metrics;
    return {
      atMs: this.#env.clock.nowMs(),
      ...{ applied: appliedIndex(), reads: reads() },
      ...{ commits: commits.cumulative, applies: applies.cumulative, syncs: syncs.cumulative },
    };
  }

  #next(): void {
    this.#timer = this.#env.timers.after(POINT_EVERY_MS, () => {
      this.#take();
      if (this.#env.clock.nowMs() < this.#wantedUntilMs) this.#next();
      else this.#stop();
    });
  }

  #lookAtDisk(): void {
    void this.#source.freeBytes().then((freeBytes) => {
      this.#freeBytes = freeBytes;
    });
  }

  #take(): void {
    const before = this.#before;
    const now = this.now();
    this.#earlier = before;
    this.#before = now;
    this.#delayMs = this.#source.metrics.takeLongestDelayMs();
    this.#lookAtDisk();
    const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
    // What was applied before the group was open was not applied in this time. A count of a new group begins anew.
    const rate = (count: number, earlier: number) => Math.max(0, count - earlier) / seconds;
    const { bounds } = this.#source.metrics.commits;
    const commits = since(now.commits, before.commits);
    const syncs = since(now.syncs, before.syncs);
    this.#points.push({
      atMs: this.#env.clock.wallMs(),
      writesPerSecond: before.applied === 0 ? 0 : rate(now.applied, before.applied),
      readsPerSecond: rate(now.reads, before.reads),
      commitP50Ms: quantileMs(bounds, commits, 0.5),
      commitP99Ms: quantileMs(bounds, commits, 0.99),
      syncP99Ms: quantileMs(this.#source.metrics.syncs.bounds, syncs, 0.99),
    });
    if (this.#points.length > MAX_POINTS) this.#points.shift();
  }
}

function since(counts: readonly number[], earlier: readonly number[]): number[] {
  return counts.map((count, i) => count - (earlier[i] as number));
}

function microseconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(1000 * ms);
}

function longest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}

/** Within its bucket a value is taken to stand as far as its rank does. `cumulative`: as of Histogram. */
export function quantileMs(
  bounds: readonly number[],
  cumulative: readonly number[],
  quantile: number,
): number | undefined {
  const total = cumulative.at(-1) ?? 0;
  if (total === 0) return undefined;
  const rank = quantile * total;
  const bucket = cumulative.findIndex((count) => count >= rank);
  const upper = bounds[Math.min(bucket, bounds.length - 1)] as number;
  const lower = bucket === 0 ? 0 : (bounds[bucket - 1] as number);
  const under = bucket === 0 ? 0 : (cumulative[bucket - 1] as number);
  const within = (cumulative[bucket] as number) - under;
  return 1000 * (lower + (Math.max(0, upper - lower) * (rank - under)) / within);
}
