/**
 * What an entry of the kind `tablet` does: a split, a step of a merge, or the birth of a map. A function of the entry
 * and of what the tablet is, the same on all replicas.
 */
import type { EngineOperation } from '../engines/storage-engine.js';
import type { PlacementKind, Tablet } from '../placement/placement.js';
import { TabletRange } from '../placement/tablet-map.js';
import type { Configuration } from '../raft/configuration.js';
import type { Entry, SnapshotBase } from '../raft/types.js';
import { FREEZE_KEY, MAP_KEY, SPLIT_KEY } from './keys.js';
import type { CommandResult } from './kv-state-machine.js';
import type { TabletChange } from './lineage.js';
import { decodeMapEntry, encodeMapBirth, mapRefusal } from './map-birth.js';
import {
  decodeMergeStep,
  encodeFreeze,
  encodeMerge,
  type FreezeState,
  freezeRefusal,
  type MergeStep,
  mergeOf,
  mergeRefusal,
} from './merge.js';
import {
  childrenOf,
  decodeSplitEntry,
  encodeSplit,
  type Split,
  type SplitCommand,
  splitRefusal,
} from './split.js';

export type TabletEntry = Pick<Entry, 'body' | 'term'> & {
  readonly index: number;
  /** Of the entry. */
  readonly configuration: Configuration;
};

/** The tablet, directly before the entry. */
export interface TabletState {
  readonly tablet: Tablet | undefined;
  readonly by: PlacementKind | undefined;
  readonly freezing: FreezeState;
  /** Behind which entry the group of the map has begun beside it. */
  readonly map: SnapshotBase | undefined;
  /** Where its log began. */
  readonly bornAt: number;
  readonly hasEnded: boolean;
  /** How many keys with a deadline lie in the left part, and how many do not. */
  readonly countDeadlines: (left: TabletRange) => Promise<[left: number, right: number]>;
}

export interface TabletEffect {
  readonly result: CommandResult;
  /** With the index of the entry. */
  readonly written: readonly EngineOperation[];
  /** What holds from then on, where it is another. */
  readonly change?: TabletChange;
  readonly freezing?: FreezeState;
  readonly map?: SnapshotBase;
}

const WRONG_TABLET: CommandResult = { type: 'refused', code: 'WRONG_TABLET' };

interface Owned {
  readonly tablet: Tablet;
  readonly by: PlacementKind;
}

/** Undefined for a body that has no known form, or says nothing to this group. Rejects as `countDeadlines`. */
export async function tabletEffect(
  entry: TabletEntry,
  state: TabletState,
): Promise<TabletEffect | undefined> {
  const { body } = entry;
  const { tablet, by, hasEnded } = state;
  const split = decodeSplitEntry(body);
  const named = decodeMapEntry(body);
  const step = decodeMergeStep(body);
  if (hasEnded && (split ?? named ?? step) !== undefined) return { result: WRONG_TABLET, written: [] };
  if (named !== undefined && tablet) return mapEffect(entry, tablet, named, state);
  if (!tablet || !by) return undefined;
  if (split) return splitEffect(entry, split, { tablet, by }, state);
  return step && mergeEffect(entry, step, { tablet, by }, state);
}

function mapEffect(
  { index, term, configuration }: TabletEntry,
  { id }: Tablet,
  named: number,
  { map: present }: TabletState,
): TabletEffect {
  const reason = present ? undefined : mapRefusal(id, named, configuration);
  if (reason !== undefined) return { result: { type: 'mapRefused', reason }, written: [] };
  const map = present ?? { index, term, configuration };
  const written = [{ type: 'put', key: MAP_KEY, value: encodeMapBirth(map) }] as const;
  return { result: { type: 'mapBegun' }, written, map };
}

async function splitEffect(
  { index, term, configuration }: TabletEntry,
  command: SplitCommand,
  { tablet: parent, by }: Owned,
  { freezing, countDeadlines }: TabletState,
): Promise<TabletEffect> {
  const reason = freezing.freeze
    ? 'a merge of it is under way'
    : splitRefusal(command, by, parent, configuration);
  if (reason !== undefined) return { result: { type: 'splitRefused', reason }, written: [] };
  const children = childrenOf(parent, command);
  const deadlines = await countDeadlines(new TabletRange(by, children[0]));
  const { replicas = [] } = command;
  const split: Split = { by, index, term, configuration, replicas, parent, children, deadlines };
  const written = [{ type: 'put', key: SPLIT_KEY, value: encodeSplit(split) }] as const;
  return { result: { type: 'split', split }, written, change: split };
}

function mergeEffect(
  { index, term, configuration }: TabletEntry,
  step: MergeStep,
  { tablet, by }: Owned,
  { freezing, bornAt }: TabletState,
): TabletEffect {
  const { attempt } = step;
  const { freeze, overThrough } = freezing;
  const becomes = (next: FreezeState, result: CommandResult): TabletEffect => ({
    ...{ result, freezing: next },
    written: [{ type: 'put', key: FREEZE_KEY, value: encodeFreeze(tablet.id, next) }],
  });
  if (step.type === 'thaw') {
    const isHeld = freeze !== undefined && freeze.attempt > attempt;
    const next = { freeze: isHeld ? freeze : undefined, overThrough: Math.max(overThrough, attempt) };
    return becomes(next, { type: 'thawed' });
  }
  if (step.type === 'freeze' && freeze?.attempt === attempt)
    return { result: { type: 'frozen', freeze }, written: [] };
  const reason =
    step.type === 'freeze'
      ? freezeRefusal(step, freezing, configuration)
      : mergeRefusal(step, freezing, tablet, configuration);
  if (reason !== undefined) return { result: { type: 'mergeRefused', reason }, written: [] };
  if (step.type === 'freeze') {
    const next = { attempt, index, term };
    return becomes({ freeze: next, overThrough }, { type: 'frozen', freeze: next });
  }
  const merge = mergeOf(step, { ...tablet, bornAt }, by, { index, term }, configuration);
  const written = [{ type: 'put', key: SPLIT_KEY, value: encodeMerge(merge) }] as const;
  return { result: { type: 'merged', merge }, written, change: merge };
}
