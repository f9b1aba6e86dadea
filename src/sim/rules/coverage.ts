/** Counts what happened in a run. A simulator that never meets a conflict has not tested one. */
export const COVERAGE = [
  'elections',
  'elections that failed',
  'elections of an old term',
  'leader changes',
  'conflicts truncated',
  'torn tails recovered',
  'log cuts',
  'snapshots installed',
  'members changed',
  'groups grown from one node',
  'joint configurations',
  'learners',
  'leaders transferred',
  'changes by the client library',
  'log segments started',
  'flushes',
  'compactions',
  'late applies',
  'replicas fallen quiet',
  'retries deduplicated',
  'sessions dropped',
  'limits reached',
  'conditions not met',
  'outcomes unknown',
  'stale reads',
  'watches',
  'changes told',
  'watches that fell behind',
  'lives given',
  'lives ended',
  'linearizable reads',
  'lease reads',
  'lease reads without a lease',
  'follower reads',
  'reads by a lease of the client library',
  'reads by a follower of the client library',
  'scans',
  'scans of several pages',
  'batches',
  'batches not applied',
  'batches that name a key again',
  'bursts to a key',
  'bursts of a lane',
  'writes out of order',
  'string operations',
  'transactions not applied',
  'kills',
  'power cuts',
  'power cuts of some',
  'power cuts of all',
  'kills between disk operations',
  'orderly restarts',
  'restarts',
  'settings changed by a restart',
  'pauses',
  'short stalls',
  'leaders paused',
  'clock drifts',
  'wall clock jumps',
  'clock jumps',
  'partitions',
  'one-way cuts',
  'leaders isolated',
  'new leaders cut off',
  'links mended one by one',
  'clients cut off',
  'slow links',
  'narrow links',
  'connections broken',
  'connections forgotten',
  'messages lost',
  'messages repeated',
  'messages reordered',
  'slow disks',
  'disk stalls',
  'full disks',
  'syncs failed',
  'reads failed',
  'bits flipped',
  'disks replaced',
  'damage while members change',
  'quorums lost',
  'node.json edited',
  'node.json edited before birth',
  'data folders emptied before birth',
  'data folders emptied',
  'emptied nodes added again',
  'parts of data folders emptied',
  'data folders copied',
  'nodes of other clusters',
  'mistaken commands',
  'strange bytes',
  'lies of strangers',
  'nodes made up',
  'connections held by strangers',
  'frames replayed',
  'requests of strangers',
] as const;

export type CoverageKind = (typeof COVERAGE)[number];

/** Too rare to be required of every test run. */
export const RARE: readonly CoverageKind[] = [
  'quorums lost',
  'elections of an old term',
  'emptied nodes added again',
];

export class Coverage {
  readonly #counts = new Map<CoverageKind, number>();

  count(kind: CoverageKind, times = 1): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + times);
  }

  get(kind: CoverageKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  toObject(): Record<string, number> {
    return Object.fromEntries(COVERAGE.map((kind) => [kind, this.get(kind)]));
  }
}
