/**
 * The merge of two tablets, left and right, that lie side by side on the same nodes: what entries of their logs ask
 * for, and what the state remembers. Each attempt has an id of its own, which the map gives; ids rise.
 *
 *     freeze   17 u8 | attempt u53 | members             in both logs. The tablet keeps its keys, and does nothing
 *     thaw     18 u8 | attempt u53                       it goes on; this attempt, and each before it, is over
 *     merge    19 u8 | attempt u53 | child id u32 | index u53 | term u53 | right | members
 *              in the log of the left one. Both end, and the child begins. Index and term are those of the freeze in
 *              the log of the right one
 *     members  members u32 | ( node u32 | id of its replica of the child u32 ) ...
 *
 *     record   3 u8 | by u8 | attempt u53 | index u53 | term u53 | left end u53 | right end u53 | left born at u53
 *              | left | right | child | members | configuration
 *              Of a merge (`SPLIT_KEY`): in the state of the left one, and of the child
 *     frozen   1 u8 | tablet u32 | attempt u53 | index u53 | term u53 | over through u53
 *              (`FREEZE_KEY`.) Attempt 0: it is not frozen. Of another tablet: it says nothing
 *
 * **A frozen tablet changes nothing that a child begins with**: neither keys nor sessions nor its time, until it is
 * thawed. So it does not matter at which entry behind the freeze a replica makes the child: all make the same one. It
 * answers no read and tells watchers of no later entry, its members do not change, and it is not split.
 *
 * **Why no two things happen with an attempt.** Meta decides once, by a conditional update of the intent, whether the
 * tablets are merged or thawed, and after that only one of the entries `merge` and `thaw` is ever proposed for it. It
 * decides for the merge only when every replica of both has applied the freeze. An entry `freeze` that is late finds
 * that its attempt is over, and does nothing; so does a `merge` whose attempt does not hold the tablet. So an attempt
 * that was given up is no part of the next one.
 *
 * The child begins behind all entries of both: its base is the higher index and the higher term of the entry `merge`
 * and the freeze of the right one. So versions rise, and its replicas have promised nobody anything in those terms.
 *
 * Integers are little-endian.
 */
import { RaftreeError } from '../env/errors.js';
import type { PlacedReplica, PlacementKind, Tablet } from '../placement/placement.js';
import { contextsOf } from '../placement/replica-context.js';
import { type Configuration, isJoint, membersOf } from '../raft/configuration.js';
import { decodeConfiguration, encodeConfiguration } from '../raft/configuration-codec.js';
import { readUint53, writeUint53 } from '../record/record.js';
import { encodeTablet, TabletReader } from './tablet-codec.js';

const FREEZE = 17;
const THAW = 18;
const MERGE = 19;
export const MERGE_RECORD = 3;
const FROZEN_RECORD = 1;
const FROZEN_BYTES = 37;
const MEMBER_BYTES = 8;

/** A step of an attempt, as the log has it. */
export type MergeStep =
  | { readonly type: 'freeze'; readonly attempt: number; readonly members: readonly PlacedReplica[] }
  | { readonly type: 'thaw'; readonly attempt: number }
  | MergeCommand;

export interface MergeCommand {
  readonly type: 'merge';
  readonly attempt: number;
  readonly child: number;
  /** The entry that froze the right one, and its term. */
  readonly index: number;
  readonly term: number;
  readonly right: Tablet;
  /** The replicas of the child. */
  readonly members: readonly PlacedReplica[];
}

export interface Merge {
  readonly by: PlacementKind;
  readonly attempt: number;
  /** The child begins behind this entry. */
  readonly index: number;
  readonly term: number;
  /** Behind these entries of their logs the tablets have done nothing. */
  readonly ends: readonly [left: number, right: number];
  /** Where the log of the left one began: its own record of that has made room for this one. */
  readonly leftBornAt: number;
  readonly parents: readonly [left: Tablet, right: Tablet];
  readonly children: readonly [Tablet];
  readonly members: readonly PlacedReplica[];
  /** Of the left one then. The child has the same nodes. */
  readonly configuration: Configuration;
}

/** Which attempt holds a tablet. */
export interface Freeze {
  readonly attempt: number;
  /** The entry that froze it, and its term. */
  readonly index: number;
  readonly term: number;
}

export interface FreezeState {
  readonly freeze: Freeze | undefined;
  /** Attempts up to this one are over. */
  readonly overThrough: number;
}

export const NEVER_FROZEN: FreezeState = { freeze: undefined, overThrough: 0 };

export function encodeMergeStep(step: MergeStep): Buffer {
  const head = Buffer.alloc(9);
  writeUint53(head, step.attempt, 1);
  if (step.type === 'thaw') {
    head[0] = THAW;
    return head;
  }
  if (step.type === 'freeze') {
    head[0] = FREEZE;
    return Buffer.concat([head, encodeMembers(step.members)]);
  }
  head[0] = MERGE;
  const numbers = Buffer.alloc(20);
  numbers.writeUInt32LE(step.child, 0);
  writeUint53(numbers, step.index, 4);
  writeUint53(numbers, step.term, 12);
  return Buffer.concat([head, numbers, encodeTablet(step.right), encodeMembers(step.members)]);
}

/** Undefined for a body of another form. */
export function decodeMergeStep(bytes: Uint8Array): MergeStep | undefined {
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = body[0];
  if (kind !== FREEZE && kind !== THAW && kind !== MERGE) return undefined;
  try {
    const reader = new TabletReader(body, 1);
    const step = decodeStep(kind, reader.u53(), reader);
    return reader.isAtEnd ? step : undefined;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function decodeStep(kind: number, attempt: number, reader: TabletReader): MergeStep {
  if (kind === THAW) return { type: 'thaw', attempt };
  if (kind === FREEZE) return { type: 'freeze', attempt, members: decodeMembers(reader) };
  const [child, index, term] = [reader.u32(), reader.u53(), reader.u53()];
  return {
    type: 'merge',
    attempt,
    child,
    index,
    term,
    right: reader.tablet(),
    members: decodeMembers(reader),
  };
}

/** Why a tablet cannot be frozen so; undefined if it can. All replicas must find the same. */
export function freezeRefusal(
  { attempt, members }: { readonly attempt: number; readonly members: readonly PlacedReplica[] },
  { freeze, overThrough }: FreezeState,
  configuration: Configuration,
): string | undefined {
  if (attempt <= overThrough) return 'this attempt is over';
  if (freeze) return 'another merge of it is under way';
  return membersRefusal(members, configuration);
}

/** Why a merge cannot take place, at the left one; undefined if it can. All replicas must find the same. */
export function mergeRefusal(
  { attempt, child, right, members }: MergeCommand,
  { freeze }: FreezeState,
  left: Tablet,
  configuration: Configuration,
): string | undefined {
  if (freeze?.attempt !== attempt) return 'the tablet is not frozen for this attempt';
  if (child <= left.id || child <= right.id) return 'what it becomes must have a new id';
  if (!left.end || Buffer.compare(left.end, right.start) !== 0) return 'the tablets do not lie side by side';
  return membersRefusal(members, configuration);
}

function membersRefusal(members: readonly PlacedReplica[], configuration: Configuration): string | undefined {
  if (isJoint(configuration)) return 'a change of its members is under way';
  const { voters } = configuration;
  if (membersOf(configuration).length > voters.length) return 'one of its members is a learner';
  const nodes = new Set(members.map(({ node }) => node));
  const isOfVoters = nodes.size === voters.length && voters.every((node) => nodes.has(node));
  return isOfVoters && nodes.size === members.length ? undefined : 'its members have changed meanwhile';
}

/** What a merge has made of the left tablet and the right one. */
export function mergeOf(
  { attempt, child, right, members, ...freeze }: MergeCommand,
  { bornAt: leftBornAt, ...left }: Tablet & { readonly bornAt: number },
  by: PlacementKind,
  entry: { readonly index: number; readonly term: number },
  configuration: Configuration,
): Merge {
  const generation = Math.max(left.generation, right.generation) + 1;
  return {
    ...{ by, attempt, members, configuration },
    index: Math.max(entry.index, freeze.index),
    term: Math.max(entry.term, freeze.term),
    ends: [entry.index, freeze.index],
    leftBornAt,
    parents: [left, right],
    children: [{ id: child, start: left.start, end: right.end, generation }],
  };
}

/** The members with which the child begins. */
export function configurationOfMerged({ configuration, members }: Merge): Configuration {
  return { ...configuration, contexts: contextsOf(members) };
}

export function encodeMerge(merge: Merge): Buffer {
  const head = Buffer.alloc(50);
  head[0] = MERGE_RECORD;
  head[1] = merge.by === 'hash' ? 1 : 0;
  const numbers = [merge.attempt, merge.index, merge.term, ...merge.ends, merge.leftBornAt];
  for (const [i, number] of numbers.entries()) writeUint53(head, number, 2 + 8 * i);
  const tablets = [...merge.parents, ...merge.children].map(encodeTablet);
  return Buffer.concat([
    ...[head, ...tablets, encodeMembers(merge.members)],
    encodeConfiguration(merge.configuration),
  ]);
}

/** Throws `CORRUPTION` for bytes that `encodeMerge` does not write. */
export function decodeMerge(record: Buffer): Merge {
  try {
    const reader = new TabletReader(record, 2);
    return {
      by: record[1] === 1 ? 'hash' : 'range',
      ...{ attempt: reader.u53(), index: reader.u53(), term: reader.u53() },
      ends: [reader.u53(), reader.u53()],
      leftBornAt: reader.u53(),
      parents: [reader.tablet(), reader.tablet()],
      children: [reader.tablet()],
      members: decodeMembers(reader),
      configuration: decodeConfiguration(reader.rest()),
    };
  } catch (error) {
    throw new RaftreeError('CORRUPTION', 'the record of a merge cannot be read', { cause: error });
  }
}

export function encodeFreeze(tablet: number, { freeze, overThrough }: FreezeState): Buffer {
  const record = Buffer.alloc(FROZEN_BYTES);
  record[0] = FROZEN_RECORD;
  record.writeUInt32LE(tablet, 1);
  const { attempt = 0, index = 0, term = 0 } = freeze ?? {};
  for (const [i, number] of [attempt, index, term, overThrough].entries())
    writeUint53(record, number, 5 + 8 * i);
  return record;
}

/** Of this tablet. Throws `CORRUPTION` for bytes that `encodeFreeze` does not write. */
export function decodeFreeze(tablet: number, record: Buffer | undefined): FreezeState {
  if (!record) return NEVER_FROZEN;
  if (record.length !== FROZEN_BYTES || record[0] !== FROZEN_RECORD)
    throw new RaftreeError('CORRUPTION', 'the record of a frozen tablet cannot be read');
  if (record.readUInt32LE(1) !== tablet) return NEVER_FROZEN;
  const [attempt = 0, index = 0, term = 0, overThrough = 0] = [5, 13, 21, 29].map((at) =>
    readUint53(record, at),
  );
  return { freeze: attempt > 0 ? { attempt, index, term } : undefined, overThrough };
}

function encodeMembers(members: readonly PlacedReplica[]): Buffer {
  const bytes = Buffer.alloc(4 + MEMBER_BYTES * members.length);
  bytes.writeUInt32LE(members.length, 0);
  for (const [i, { node, replicaId }] of members.entries()) {
    bytes.writeUInt32LE(node, 4 + MEMBER_BYTES * i);
    bytes.writeUInt32LE(replicaId, 8 + MEMBER_BYTES * i);
  }
  return bytes;
}

function decodeMembers(reader: TabletReader): PlacedReplica[] {
  const members: PlacedReplica[] = [];
  for (let left = reader.u32(); left > 0; left--)
    members.push({ node: reader.u32(), replicaId: reader.u32() });
  return members;
}
