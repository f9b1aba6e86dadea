/** Moves of replicas as records of the map: what is checked before one is recorded, and how it ends. */
import type { Descriptor } from '../balance/cluster-map.js';
import { refused } from '../env/errors.js';
import type { MetaChange } from './meta.js';
import type { MetaState } from './meta-state.js';
import { intentKey, type MoveIntent, nodeKey, tabletKey } from './records.js';

export interface WantedMove {
  readonly tablet: number;
  /** The node whose replica leaves; undefined: one only comes. */
  readonly from: number | undefined;
  /** Undefined: one only leaves. */
  readonly to: number | undefined;
  /** Undefined: an operator wants it. */
  readonly reason?: string;
}

/** Throws `CHANGE_INVALID`, `CHANGE_PENDING` or `NOT_A_MEMBER`: why a move cannot be recorded now. */
export function checkMove(state: MetaState, { tablet, from, to }: WantedMove): Descriptor {
  const descriptor = state.tablets.get(tablet);
  if (!descriptor) throw refused('CHANGE_INVALID', `there is no tablet ${tablet}; see \`raftree shards\``);
  const node = to === undefined ? undefined : state.nodes.get(to);
  if (to !== undefined && !node) throw refused('NOT_A_MEMBER', `node ${to} is no member of this cluster`);
  if (node?.isDraining)
    throw refused(
      'CHANGE_INVALID',
      `node ${to} is being drained; end that first: raftree node drain ${to} --off`,
    );
  const has = (wanted: number) => descriptor.replicas.some((replica) => replica.node === wanted);
  if (to !== undefined && has(to))
    throw refused('CHANGE_INVALID', `node ${to} has a replica of tablet ${tablet} already`);
  if (from !== undefined && !has(from))
    throw refused('CHANGE_INVALID', `node ${from} has no replica of tablet ${tablet}`);
  const intent = state.intents.get(tablet);
  if (intent)
    throw refused(
      'CHANGE_PENDING',
      `a ${intent.type} of tablet ${tablet} is under way; try again when it is done`,
    );
  return descriptor;
}

/** The changes that record a move, with a replica id that was never used. Throws as `checkMove`. */
export function recordMove(
  state: MetaState,
  wanted: WantedMove,
  replicaId: number,
  nowMs: number,
): MetaChange[] {
  const { tablet, from, to, reason } = wanted;
  const { generation, replicas } = checkMove(state, wanted);
  const intent: MoveIntent = {
    ...{ type: 'move', generation, sinceMs: nowMs, reason },
    add: to === undefined ? undefined : { replicaId, node: to },
    remove: replicas.find(({ node }) => node === from)?.replicaId,
  };
  return [
    { key: tabletKey(tablet), expectedVersion: state.versionOf(tabletKey(tablet)), value: null },
    // A node that begins to drain meanwhile gets nothing more.
    ...(to === undefined
      ? []
      : [{ key: nodeKey(to), expectedVersion: state.versionOf(nodeKey(to)), value: null }]),
    { key: intentKey(tablet), expectedVersion: 0, value: intent },
  ];
}

/** The changes that end a move: the members are so by the entry `confIndex` of the tablet's log. */
export function endMove(
  state: MetaState,
  tablet: number,
  { replicas, confIndex }: Pick<Descriptor, 'replicas' | 'confIndex'>,
): MetaChange[] {
  const descriptor = state.tablets.get(tablet);
  const end = {
    key: intentKey(tablet),
    expectedVersion: state.versionOf(intentKey(tablet)),
    value: undefined,
  };
  if (!descriptor || confIndex <= descriptor.confIndex) return [end];
  const value = { ...descriptor, replicas, confIndex };
  return [{ key: tabletKey(tablet), expectedVersion: state.versionOf(tabletKey(tablet)), value }, end];
}
