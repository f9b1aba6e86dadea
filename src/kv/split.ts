/**
 * The split of a tablet: how an entry of the log asks for it, and how the state remembers it.
 *
 *     entry    version u8 | left id u32 | right id u32 | point bytes u32 | point | replicas
 *              The tablet ends here. Keys before the point are the left one's from now on, the others the right one's.
 *              The point is a bound as in `Tablet`: by range a key, by hash a place on the ring.
 *
 *     record   version u8 | by u8 | index u53 | term u53 | deadlines left u53 | deadlines right u53 | parent | left
 *              | right | replicas | configuration
 *     tablet   see tablet-codec.ts
 *     replicas replicas u32 | ( node u32 | id in the left one u32 | id in the right one u32 ) ...
 *              Version 1 does not have this part. Its children have no ids of replicas.
 *
 * The record is written with the applied index of the split's entry, and lies in the state of the parent and of both
 * children: each begins as a second name of the parent's files. It says to each which of the three it is: the parent
 * has ended, a child owns its part. A child that is split itself writes another record over it, which has it as the
 * parent. So one record says all, and it is in every snapshot.
 *
 * Integers are little-endian.
 */
import { RaftreeError } from '../env/errors.js';
import { hashOfKey } from '../placement/partition-key.js';
import { type PlacedReplica, type PlacementKind, ringPoint, type Tablet } from '../placement/placement.js';
import { contextsOf } from '../placement/replica-context.js';
import { type Configuration, isJoint, membersOf } from '../raft/configuration.js';
import { decodeConfiguration, encodeConfiguration } from '../raft/configuration-codec.js';
import { readUint53, writeUint53 } from '../record/record.js';
import { MAX_KEY_BYTES } from './limits.js';
import { encodeTablet, TabletReader } from './tablet-codec.js';

export interface SplitCommand {
  readonly left: number;
  readonly right: number;
  readonly point: Buffer;
  /** Of all members. Empty: the children's replicas have no ids. */
  readonly replicas?: readonly SplitReplica[];
}

/** The ids of a node's replicas of both children. */
export interface SplitReplica {
  readonly node: number;
  readonly left: number;
  readonly right: number;
}

export interface Split {
  readonly by: PlacementKind;
  /** The entry that made it, and its term. */
  readonly index: number;
  readonly term: number;
  /** The members of the parent then. Both children begin with the same nodes. */
  readonly configuration: Configuration;
  readonly replicas: readonly SplitReplica[];
  readonly parent: Tablet;
  readonly children: readonly [left: Tablet, right: Tablet];
  /** How many keys with a deadline each child begins with. */
  readonly deadlines: readonly [left: number, right: number];
}

const WITHOUT_REPLICAS = 1;
const WITH_REPLICAS = 2;
const ENTRY_BYTES = 13;
const REPLICA_BYTES = 12;

export function encodeSplitEntry({ left, right, point, replicas = [] }: SplitCommand): Buffer {
  const head = Buffer.alloc(ENTRY_BYTES);
  head[0] = versionOf(replicas);
  head.writeUInt32LE(left, 1);
  head.writeUInt32LE(right, 5);
  head.writeUInt32LE(point.length, 9);
  return Buffer.concat([head, point, encodeReplicas(replicas)]);
}

/** Undefined for a body of another form. */
export function decodeSplitEntry(bytes: Uint8Array): SplitCommand | undefined {
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (body.length < ENTRY_BYTES) return undefined;
  const end = ENTRY_BYTES + body.readUInt32LE(9);
  const replicas = decodeReplicas(body[0], body.subarray(end));
  if (body.length < end || !replicas || body.length !== end + replicas.sizeBytes) return undefined;
  return {
    left: body.readUInt32LE(1),
    right: body.readUInt32LE(5),
    point: Buffer.from(body.subarray(ENTRY_BYTES, end)),
    replicas: replicas.list,
  };
}

/**
 * Where a tablet is split so that this key begins the right part. By range the key itself; by hash the place of the
 * key on the ring.
 */
export function splitPointOf(by: PlacementKind, key: Uint8Array): Buffer {
  return by === 'hash' ? ringPoint(hashOfKey(key)) : Buffer.from(key);
}

/**
 * Why a tablet cannot be split so; undefined if it can. All replicas must find the same: of an entry that they refuse
 * nothing takes effect.
 */
export function splitRefusal(
  { left, right, point, replicas = [] }: SplitCommand,
  by: PlacementKind,
  parent: Tablet,
  configuration: Configuration,
): string | undefined {
  if (isJoint(configuration)) return 'a change of its members is under way';
  if (membersOf(configuration).length > configuration.voters.length) return 'one of its members is a learner';
  if (left <= parent.id || right <= parent.id || left === right) return 'its parts must have new ids';
  const nodes = new Set(replicas.map(({ node }) => node));
  const { voters } = configuration;
  const isOfVoters = nodes.size === voters.length && voters.every((node) => nodes.has(node));
  if (replicas.length > 0 && !(isOfVoters && nodes.size === replicas.length))
    return 'its members have changed meanwhile';
  if (by === 'hash' && point.length !== 4) return 'a place on the ring of hashes has 4 bytes';
  if (point.length > MAX_KEY_BYTES) return `a key has at most ${MAX_KEY_BYTES} bytes`;
  const { start, end } = parent;
  const isBoundary =
    Buffer.compare(point, start) === 0 || (end !== undefined && Buffer.compare(point, end) === 0);
  // The first place on the ring is written in two ways.
  const isFirst = by === 'hash' && start.length === 0 && point.readUInt32BE(0) === 0;
  if (point.length === 0 || isBoundary || isFirst) return 'a tablet begins there already';
  const isInside = Buffer.compare(point, start) > 0 && (end === undefined || Buffer.compare(point, end) < 0);
  return isInside ? undefined : 'the tablet does not have this key';
}

export function childrenOf(parent: Tablet, { left, right, point }: SplitCommand): readonly [Tablet, Tablet] {
  const generation = parent.generation + 1;
  return [
    { id: left, start: parent.start, end: point, generation },
    { id: right, start: point, end: parent.end, generation },
  ];
}

/** The replicas with which a child begins; none: they have no ids. */
export function replicasOf({ children: [left], replicas }: Split, child: number): readonly PlacedReplica[] {
  return replicas.map((each) => ({
    node: each.node,
    replicaId: child === left.id ? each.left : each.right,
  }));
}

/** The members with which a child begins. */
export function configurationOfChild(split: Split, child: number): Configuration {
  const { configuration, replicas } = split;
  if (replicas.length === 0) return configuration;
  return { ...configuration, contexts: contextsOf(replicasOf(split, child)) };
}

export function encodeSplit(split: Split): Buffer {
  const head = Buffer.alloc(34);
  head[0] = versionOf(split.replicas);
  head[1] = split.by === 'hash' ? 1 : 0;
  writeUint53(head, split.index, 2);
  writeUint53(head, split.term, 10);
  writeUint53(head, split.deadlines[0], 18);
  writeUint53(head, split.deadlines[1], 26);
  const tablets = [split.parent, ...split.children].map(encodeTablet);
  const replicas = encodeReplicas(split.replicas);
  return Buffer.concat([head, ...tablets, replicas, encodeConfiguration(split.configuration)]);
}

/** Throws `CORRUPTION` for bytes that `encodeSplit` does not write. */
export function decodeSplit(record: Buffer): Split {
  try {
    const reader = new TabletReader(record, 34);
    const split = {
      by: record.readUInt8(1) === 1 ? ('hash' as const) : ('range' as const),
      index: readUint53(record, 2),
      term: readUint53(record, 10),
      deadlines: [readUint53(record, 18), readUint53(record, 26)] as const,
      parent: reader.tablet(),
      children: [reader.tablet(), reader.tablet()] as const,
    };
    const rest = reader.rest();
    const replicas = decodeReplicas(record[0], rest);
    if (!replicas) throw new RangeError('it is of a newer version');
    const configuration = decodeConfiguration(rest.subarray(replicas.sizeBytes));
    return { ...split, replicas: replicas.list, configuration };
  } catch (error) {
    throw new RaftreeError('CORRUPTION', 'the record of a split cannot be read', { cause: error });
  }
}

function versionOf(replicas: readonly SplitReplica[]): number {
  return replicas.length > 0 ? WITH_REPLICAS : WITHOUT_REPLICAS;
}

function encodeReplicas(replicas: readonly SplitReplica[]): Buffer {
  if (replicas.length === 0) return Buffer.alloc(0);
  const bytes = Buffer.alloc(4 + REPLICA_BYTES * replicas.length);
  bytes.writeUInt32LE(replicas.length, 0);
  for (const [i, { node, left, right }] of replicas.entries())
    for (const [field, id] of [node, left, right].entries())
      bytes.writeUInt32LE(id, 4 + REPLICA_BYTES * i + 4 * field);
  return bytes;
}

/** Undefined for another version, or if bytes are missing. */
function decodeReplicas(
  version: number | undefined,
  bytes: Buffer,
): { readonly list: readonly SplitReplica[]; readonly sizeBytes: number } | undefined {
  if (version === WITHOUT_REPLICAS) return { list: [], sizeBytes: 0 };
  if (version !== WITH_REPLICAS || bytes.length < 4) return undefined;
  const count = bytes.readUInt32LE(0);
  const sizeBytes = 4 + REPLICA_BYTES * count;
  if (bytes.length < sizeBytes) return undefined;
  const list = Array.from({ length: count }, (_, i) => {
    const at = 4 + REPLICA_BYTES * i;
    const [node, left, right] = [
      bytes.readUInt32LE(at),
      bytes.readUInt32LE(at + 4),
      bytes.readUInt32LE(at + 8),
    ];
    return { node, left, right };
  });
  return { list, sizeBytes };
}
