/** The last ten minutes in numbers: one point every two seconds, in a ring. */
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
  readonly commits: Histogram;
  readonly syncs: Histogram;
}

export const POINT_EVERY_MS = 2000;
const MAX_POINTS = 300;

export class Recent {
  readonly #env: Pick<Env, 'clock' | 'timers'>;
  readonly #source: RecentSource;
  readonly #points: RecentPoint[] = [];
  #before: ReturnType<Recent['now']>;
  #timer: Timer | undefined;

  constructor(env: Pick<Env, 'clock' | 'timers'>, source: RecentSource) {
    this.#env = env;
    this.#source = source;
    this.#before = this.now();
    this.#next();
  }

  /** Oldest first. */
  get points(): readonly RecentPoint[] {
    return this.#points;
  }

  close(): void {
    this.#timer?.cancel();
  }

  private now() {
    const { appliedIndex, reads, commits, syncs } = this.#source;
    return {
      atMs: this.#env.clock.nowMs(),
      ...{ applied: appliedIndex(), reads: reads() },
      ...{ commits: commits.cumulative, syncs: syncs.cumulative },
    };
  }

  #next(): void {
    this.#timer = this.#env.timers.after(POINT_EVERY_MS, () => {
      this.#take();
      this.#next();
    });
  }

  #take(): void {
    const before = this.#before;
    const now = this.now();
    this.#before = now;
    const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
    // What was applied before the group was open was not applied in this time. A count of a new group begins anew.
    const rate = (count: number, earlier: number) => Math.max(0, count - earlier) / seconds;
    const { bounds } = this.#source.commits;
    const since = (counts: readonly number[], earlier: readonly number[]) =>
      counts.map((count, i) => count - (earlier[i] as number));
    const commits = since(now.commits, before.commits);
    const syncs = since(now.syncs, before.syncs);
    this.#points.push({
      atMs: this.#env.clock.wallMs(),
      writesPerSecond: before.applied === 0 ? 0 : rate(now.applied, before.applied),
      readsPerSecond: rate(now.reads, before.reads),
      commitP50Ms: quantileMs(bounds, commits, 0.5),
      commitP99Ms: quantileMs(bounds, commits, 0.99),
      syncP99Ms: quantileMs(this.#source.syncs.bounds, syncs, 0.99),
    });
    if (this.#points.length > MAX_POINTS) this.#points.shift();
  }
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
