/**
 * How a cluster's keys are divided into tablets: decided when the cluster is made, and the same on all nodes.
 *
 *     by range, splits g and n      tablet 1: keys below g    tablet 2: g up to n    tablet 3: n and above
 *     by hash, 4 tablets            tablet 1: hashes below 2^30    tablet 2: below 2^31    ...
 *
 * The first tablets have the ids 1, 2, 3 ... in this order. The range of a tablet never changes.
 */
import { HASH_VERSION, RING_SIZE } from './partition-key.js';

/** In a cluster with one tablet its group's members are those of the cluster. */
export const FIRST_TABLET = 1;
/** The group that keeps the map of a cluster with several tablets; its members are those of the cluster. */
export const META_GROUP = 0;

/** The group whose members are those of the cluster. */
export function clusterGroupOf({ tablets }: Placement): number {
  return tablets === 1 ? FIRST_TABLET : META_GROUP;
}

/** A listing by hash asks all of them. */
export const MAX_FIRST_TABLETS = 256;

export type PlacementKind = 'range' | 'hash';

export interface Placement {
  readonly by: PlacementKind;
  /** 0 by range. */
  readonly hashVersion: number;
  /** How many tablets the cluster begins with. */
  readonly tablets: number;
  /** By range: where the second and each further tablet begins. */
  readonly splits: readonly string[];
  /** How many of the first members hold each tablet; 0: all of them. */
  readonly replicas: number;
}

/** A replica of a tablet, which is on one node all its life. */
export interface PlacedReplica {
  readonly replicaId: number;
  readonly node: number;
}

/** A cluster without placement in node.json. */
export const ONE_TABLET: Placement = { by: 'range', hashVersion: 0, tablets: 1, splits: [], replicas: 0 };

/** A part of the keys: what lies from `start` up to, not including, `end`. It is one Raft group with this id. */
export interface Tablet {
  readonly id: number;
  /** By range a key; by hash a u32, big-endian. Empty: from the first key. */
  readonly start: Uint8Array;
  /** Undefined: to the last key. */
  readonly end: Uint8Array | undefined;
  /** Of two tablets that overlap the one with the higher generation was made later. */
  readonly generation: number;
}

const FIRST = Buffer.alloc(0);

export function placementByRange(splits: readonly string[], replicas = 0): Placement {
  return { by: 'range', hashVersion: 0, tablets: splits.length + 1, splits, replicas };
}

export function placementByHash(tablets: number, replicas = 0): Placement {
  return { by: 'hash', hashVersion: HASH_VERSION, tablets, splits: [], replicas };
}

/** The tablets that a cluster begins with, in the order of their ranges. */
export function firstTablets({ by, tablets, splits }: Placement): Tablet[] {
  const boundaries =
    by === 'range'
      ? splits.map((split) => Buffer.from(split))
      : Array.from({ length: tablets - 1 }, (_, i) => ringPoint(Math.floor(((i + 1) * RING_SIZE) / tablets)));
  return [FIRST, ...boundaries].map((start, i) => ({
    id: i + 1,
    start,
    end: boundaries[i],
    generation: 1,
  }));
}

/**
 * Which of the first members hold each of the first tablets: so many in turn, beginning one further for each tablet.
 * The ids follow those of the tablets, so that the next id is known too.
 */
export function firstReplicas(
  placement: Placement,
  founders: readonly number[],
): { readonly replicas: ReadonlyMap<number, readonly PlacedReplica[]>; readonly nextId: number } {
  const nodes = [...founders].sort((a, b) => a - b);
  const count = placement.replicas === 0 ? nodes.length : Math.min(placement.replicas, nodes.length);
  const tablets = firstTablets(placement);
  let nextId = tablets.length + 1;
  const replicas = new Map(
    tablets.map(({ id }, at) => {
      const placed = Array.from({ length: count }, (_, i) => nodes[(at + i) % nodes.length] as number);
      return [id, placed.map((node) => ({ replicaId: nextId++, node }))] as const;
    }),
  );
  return { replicas, nextId };
}

export function ringPoint(hash: number): Buffer {
  const point = Buffer.allocUnsafe(4);
  point.writeUInt32BE(hash, 0);
  return point;
}

/** Where a range by hash begins or ends on the ring. */
export function hashAt(bound: Uint8Array | undefined, otherwise: number): number {
  if (bound === undefined || bound.length < 4) return otherwise;
  return Buffer.from(bound.buffer, bound.byteOffset, bound.length).readUInt32BE(0);
}

export function isSamePlacement(one: Placement, other: Placement): boolean {
  return (
    one.by === other.by &&
    one.hashVersion === other.hashVersion &&
    one.tablets === other.tablets &&
    one.replicas === other.replicas &&
    one.splits.length === other.splits.length &&
    one.splits.every((split, i) => split === other.splits[i])
  );
}

/** Whether this version can divide keys so. Another node may announce anything. */
export function isKnownPlacement({ by, hashVersion, tablets, splits }: Placement): boolean {
  if (tablets < 1 || tablets > MAX_FIRST_TABLETS) return false;
  if (by === 'hash') return hashVersion === HASH_VERSION && splits.length === 0;
  return hashVersion === 0 && splits.length === tablets - 1 && splitsProblem(splits) === undefined;
}

/** For messages, as node.json would say it. */
export function describePlacement({ by, tablets, splits, replicas }: Placement): string {
  const held = replicas === 0 ? '' : `, ${replicas} ${replicas === 1 ? 'replica' : 'replicas'} of each`;
  if (by === 'hash') return `${count(tablets)} by hash${held}`;
  if (splits.length === 0) return 'one tablet';
  const shown = splits.slice(0, 5).map(shortened);
  return `${count(tablets)} by range, split at ${shown.join(', ')}${splits.length > shown.length ? ' …' : ''}${held}`;
}

const MAX_SHOWN_LENGTH = 40;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** A key may be long, and the message is sent to the other node too. */
function shortened(split: string): string {
  const isLong = split.length > MAX_SHOWN_LENGTH;
  return JSON.stringify(isLong ? `${split.slice(0, MAX_SHOWN_LENGTH)}…` : split);
}

function count(tablets: number): string {
  return tablets === 1 ? '1 tablet' : `${tablets} tablets`;
}

/** Why boundaries divide no range; undefined if they do: texts with bytes, each behind the one before it. */
export function splitsProblem(splits: readonly string[]): string | undefined {
  for (const [i, split] of splits.entries()) {
    if (split === '') return 'expected keys, and none is empty';
    if (LONE_SURROGATE.test(split))
      return `expected texts that UTF-8 can encode, and ${shortened(split)} has half a surrogate pair`;
    const before = splits[i - 1];
    if (before !== undefined && Buffer.compare(Buffer.from(before), Buffer.from(split)) >= 0)
      return `expected keys in ascending order of their bytes, but ${shortened(split)} does not follow ${shortened(before)}`;
  }
  return undefined;
}
