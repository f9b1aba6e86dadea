/** Merges of tablets as records of the map: what is checked before one is recorded, and how it goes on. */
import type { Descriptor } from '../balance/cluster-map.js';
import { refused } from '../env/errors.js';
import type { PlacedReplica } from '../placement/placement.js';
import type { MetaChange } from './meta.js';
import type { MetaState } from './meta-state.js';
import { intentKey, type MergeIntent, nodesOf, tabletKey } from './records.js';

export interface WantedMerge {
  readonly left: number;
  readonly right: number;
  /** Undefined: an operator wants it. */
  readonly reason?: string | undefined;
}

/** How many ids a merge of tablets with so many replicas needs: of the attempt, of the child, and of its replicas. */
export function idsOfMerge(replicas: number): number {
  return 2 + replicas;
}

/** Of the ids that were given to a merge, that of the child. */
export function childOfMerge(firstId: number): number {
  return firstId + 1;
}

/** Throws `CHANGE_INVALID` or `CHANGE_PENDING`: why the tablets cannot be merged now. */
export function checkMerge(
  state: MetaState,
  { left, right }: WantedMerge,
): readonly [left: Descriptor, right: Descriptor] {
  const [one, other] = [left, right].map((tablet) => {
    const descriptor = state.tablets.get(tablet);
    if (!descriptor) throw refused('CHANGE_INVALID', `there is no tablet ${tablet}; see \`raftree shards\``);
    return descriptor;
  }) as [Descriptor, Descriptor];
  if (!one.end || Buffer.compare(one.end, other.start) !== 0)
    throw refused(
      'CHANGE_INVALID',
      `tablet ${right} does not begin where tablet ${left} ends: only neighbours can be merged, the left one first`,
    );
  const [nodes, others] = [one, other].map(({ replicas }) => nodesOf(replicas).join(', '));
  if (nodes !== others)
    throw refused(
      'CHANGE_INVALID',
      `tablet ${left} is on the nodes ${nodes}, tablet ${right} on ${others}: move replicas first (\`raftree tablet move\`)`,
    );
  for (const { id, replicas } of [one, other]) {
    const intent = state.intents.get(id);
    if (intent)
      throw refused(
        'CHANGE_PENDING',
        `a ${intent.type} of tablet ${id} is under way; try again when it is done`,
      );
    if (replicas.some(({ role }) => role !== 'voter'))
      throw refused('CHANGE_INVALID', `tablet ${id} has a learner: promote or remove it first`);
  }
  return [one, other];
}

/** The changes that record a merge, with ids that were never used, from this one on. Throws as `checkMerge`. */
export function recordMerge(
  state: MetaState,
  wanted: WantedMerge,
  firstId: number,
  nowMs: number,
): MetaChange[] {
  const tablets = checkMerge(state, wanted);
  const { left, right, reason } = wanted;
  const replicas = nodesOf(tablets[0].replicas).map((node, i) => ({
    ...{ replicaId: firstId + 2 + i, node, role: 'voter' as const },
  }));
  const child = { id: childOfMerge(firstId), replicas };
  return tablets.flatMap(({ id, generation }) => {
    const value: MergeIntent = {
      ...{ type: 'merge', generation, attempt: firstId, left, right, child },
      ...{ stage: 'freezing', sinceMs: nowMs, reason },
    };
    return [
      { key: tabletKey(id), expectedVersion: state.versionOf(tabletKey(id)), value: null },
      { key: intentKey(id), expectedVersion: 0, value },
    ];
  });
}

/**
 * A merge as the map has it at a moment. What is done about it later names the versions of that moment: the map may
 * have another attempt with the same tablets by then.
 */
export interface RecordedMerge {
  readonly intent: MergeIntent;
  readonly records: readonly {
    readonly key: string;
    readonly version: number;
    readonly intent: MergeIntent;
  }[];
}

/** The merge of which this is one of the tablets, if both records have the same attempt in the same stage. */
export function mergeOf(state: MetaState, tablet: number): RecordedMerge | undefined {
  const intent = state.intents.get(tablet);
  if (intent?.type !== 'merge') return undefined;
  const records = [intent.left, intent.right].flatMap((id) => {
    const own = state.intents.get(id);
    const isOf = own?.type === 'merge' && own.attempt === intent.attempt && own.stage === intent.stage;
    const key = intentKey(id);
    return isOf ? [{ key, version: state.versionOf(key), intent: own }] : [];
  });
  return records.length === 2 ? { intent, records } : undefined;
}

/**
 * The changes that decide what becomes of a merge. Only of one that is not decided: of two that do so, one finds other
 * versions. `frozen`: the entry that has frozen the right one. Throws a RangeError for one that is decided.
 */
export function decideMerge(
  { intent, records }: RecordedMerge,
  decision:
    | { readonly stage: 'merging'; readonly frozen: MergeIntent['frozen'] }
    | { readonly stage: 'ending' },
): MetaChange[] {
  if (intent.stage !== 'freezing') throw new RangeError('it is decided already');
  return records.map(({ key, version, intent: own }) => ({
    ...{ key, expectedVersion: version, value: { ...own, ...decision } },
  }));
}

/** The changes after a merge that was given up: both tablets are thawed. Throws a RangeError if it was not. */
export function dropMerge({ intent, records }: RecordedMerge): MetaChange[] {
  if (intent.stage !== 'ending') throw new RangeError('it was not given up');
  return records.map(({ key, version }) => ({ key, expectedVersion: version, value: undefined }));
}

export function membersOfMerge({ child }: MergeIntent): PlacedReplica[] {
  return child.replicas.map(({ replicaId, node }) => ({ replicaId, node }));
}
