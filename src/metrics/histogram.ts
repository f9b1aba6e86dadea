/** Counts of observed values by size. An observation takes no memory. */
export class Histogram {
  /** Upper bounds of the buckets, ascending, inclusive. Larger values are in one more bucket. */
  readonly bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let bucket = 0;
    while (bucket < this.bounds.length && value > (this.bounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += value;
  }

  get sum(): number {
    return this.#sum;
  }

  /** How many values were at most as large as each bound; the last number counts them all. */
  get cumulative(): number[] {
    let count = 0;
    return Array.from(this.#counts, (of) => {
      count += of;
      return count;
    });
  }
}

/** From a sync of a fast disk to an election, in seconds. */
export const LATENCY_BOUNDS_SECONDS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
