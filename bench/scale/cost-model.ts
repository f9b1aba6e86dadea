/**
 * What a node's work costs: so much processor time for each frame, message, entry, byte and sync, and for each second
 * that it runs. These few numbers come from real runs with three nodes. Each run is one equation,
 *
 *     processor time of its nodes = sum of (how often they did something * what that costs)
 *
 * The runs differ in what there is much of: puts under way, tablets, bytes, or nothing at all. What a sync costs is
 * measured by itself, since runs with more syncs have more of everything else, too.
 */

/** How often a node did something. */
export interface Work {
  /** Reads from sockets and writes to them. */
  readonly frames: number;
  /** Of replicas, sent and received. */
  readonly messages: number;
  /** Appended to a log and applied, at leaders and followers. */
  readonly entries: number;
  /** Of the values in these entries. */
  readonly bytes: number;
  readonly syncs: number;
  readonly seconds: number;
}

/** µs of a processor for each of them. */
export type Costs = Work;

export interface Observed {
  readonly work: Work;
  readonly cpuMs: number;
}

export const KINDS = ['frames', 'messages', 'entries', 'bytes', 'syncs', 'seconds'] as const;

export function cpuMsOf(work: Work, costs: Costs): number {
  return KINDS.reduce((sum, kind) => sum + work[kind] * costs[kind], 0) / 1000;
}

const DESCENTS = 2000;
const WEIGHINGS = 20;
/** A smaller relative error weighs no more. */
const SMALL_ERROR = 0.02;

/**
 * The costs that explain what was observed with the least sum of relative errors. None is negative. Not the squares
 * count: a run that something else on the machine has disturbed is far off, and must not pull all others with it.
 */
export function costsOf(observed: readonly Observed[], usPerSync: number): Costs {
  const rows = observed.map(({ work, cpuMs }) => {
    const withoutSyncsUs = 1000 * cpuMs - work.syncs * usPerSync;
    return KINDS.map((kind) => (kind === 'syncs' ? 0 : work[kind] / withoutSyncsUs));
  });
  let costs: readonly number[] = KINDS.map(() => 0);
  let weights = rows.map(() => 1);
  // Least squares again and again, weighed so that in the end each error counts once.
  for (let weighing = 0; weighing < WEIGHINGS; weighing++) {
    costs = leastSquares(rows, weights, costs);
    weights = rows.map((row) => 1 / Math.max(SMALL_ERROR, Math.abs(restOf(row, costs))));
  }
  const found = Object.fromEntries(KINDS.map((kind, i) => [kind, costs[i] ?? 0])) as unknown as Costs;
  return { ...found, syncs: usPerSync };
}

/** The part that the costs do not explain; below zero if they explain too much. */
function restOf(row: readonly number[], costs: readonly number[]): number {
  return row.reduce((rest, times, kind) => rest - times * (costs[kind] ?? 0), 1);
}

/** Coordinate descent: a convex problem, so it ends at its only least value. */
function leastSquares(
  rows: readonly (readonly number[])[],
  weights: readonly number[],
  from: readonly number[],
): number[] {
  const weighed = (of: (row: readonly number[]) => number) =>
    rows.reduce((sum, row, i) => sum + (weights[i] ?? 0) * of(row), 0);
  const costs = [...from];
  const squares = costs.map((_, kind) => weighed((row) => (row[kind] ?? 0) ** 2));
  const rests = rows.map((row) => restOf(row, costs));
  for (let descent = 0; descent < DESCENTS; descent++)
    for (const [kind, before] of costs.entries()) {
      const square = squares[kind] ?? 0;
      if (square === 0) continue;
      const slope = rows.reduce(
        (sum, row, i) => sum + (weights[i] ?? 0) * (row[kind] ?? 0) * (rests[i] ?? 0),
        0,
      );
      const after = Math.max(0, before + slope / square);
      if (after === before) continue;
      costs[kind] = after;
      for (const [i, row] of rows.entries()) rests[i] = (rests[i] ?? 0) - (row[kind] ?? 0) * (after - before);
    }
  return costs;
}
