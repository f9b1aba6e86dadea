/**
 * How tablets follow from each other: one is split in two (split.ts), two are merged into one (merge.ts). The record of
 * the newest change lies in the state of the tablets that it has ended, and of those that it has begun.
 */
import { RaftreeError } from '../env/errors.js';
import type { PlacedReplica, Placement, Tablet } from '../placement/placement.js';
import { TabletRange } from '../placement/tablet-map.js';
import type { Configuration } from '../raft/configuration.js';
import { configurationOfMerged, decodeMerge, MERGE_RECORD, type Merge } from './merge.js';
import { configurationOfChild, decodeSplit, replicasOf, type Split } from './split.js';

export type TabletChange = Split | Merge;

export function isMerge(change: TabletChange): change is Merge {
  return 'parents' in change;
}

/** The tablets that it has ended. */
export function parentsOf(change: TabletChange): readonly Tablet[] {
  return isMerge(change) ? change.parents : [change.parent];
}

/** The replicas with which a child begins; none: they have no ids. */
export function placedIn(change: TabletChange, child: number): readonly PlacedReplica[] {
  return isMerge(change) ? change.members : replicasOf(change, child);
}

/** The members with which a child begins. */
export function firstMembersOf(change: TabletChange, child: number): Configuration {
  return isMerge(change) ? configurationOfMerged(change) : configurationOfChild(change, child);
}

/** Throws `CORRUPTION`. */
export function decodeTabletChange(record: Buffer): TabletChange {
  return record[0] === MERGE_RECORD ? decodeMerge(record) : decodeSplit(record);
}

/** What a group's own state says of its tablet. */
export interface OwnTablet {
  readonly tablet: Tablet;
  /** Undefined: all keys. */
  readonly range: TabletRange | undefined;
  /** It has ended by it, instead of begun. */
  readonly hasEnded: boolean;
}

/** Throws `CORRUPTION` for the record of another tablet. */
export function ownTabletOf(id: number, { by }: Pick<Placement, 'by'>, change: TabletChange): OwnTablet {
  const [parent] = parentsOf(change);
  if (parent?.id === id) return { tablet: parent, range: TabletRange.NOTHING, hasEnded: true };
  const tablet = change.children.find((child) => child.id === id);
  if (!tablet || change.by !== by)
    throw new RaftreeError('CORRUPTION', `the state of tablet ${id} is that of tablet ${parent?.id}`);
  const range = new TabletRange(by, tablet);
  return { tablet, range: range.isEverything ? undefined : range, hasEnded: false };
}
