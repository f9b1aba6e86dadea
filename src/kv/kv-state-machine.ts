/**
 * The replicated key-value store. Each call of `apply` turns committed commands into one engine batch. After any crash
 * data, sessions and the applied index agree. What the engine has lost, the Raft log replays.
 *
 * - To an engine with a log of its own each batch can be the last that survives. So each one has the data, the changed
 *   sessions and the applied index.
 * - An engine that `defers` loses all that it has not made durable, and asks for the changed sessions and the applied
 *   index directly before it makes something durable. It asks between two batches only: from the first command of a
 *   batch on until the engine has its data, the sessions are ahead of the data.
 */

import type {
  EngineOperation,
  EngineStats,
  EngineSurvey,
  OpenEngine,
  StorageEngine,
} from '../engines/storage-engine.js';
import { RaftreeError } from '../env/errors.js';
import type { KeyBounds } from '../lsm/base/key-bounds.js';
import { FIRST_TABLET, type PlacementKind, type Tablet } from '../placement/placement.js';
import { TabletRange } from '../placement/tablet-map.js';
import type { Configuration } from '../raft/configuration.js';
import type { Entry, SnapshotBase } from '../raft/types.js';
import type { BeginParts, Companion, GroupStateMachine, Succession } from '../replica/group-state-machine.js';
import { performWrite } from './atomic-write.js';
import { BatchKeys, living } from './batch-keys.js';
import { BatchMemory } from './batch-memory.js';
import {
  type Command,
  commandOf,
  type ExpiredKey,
  type ExpiryCommand,
  type VoidEntry,
  type WriteCommand,
} from './command.js';
import {
  AFTER_DEADLINES,
  AFTER_USER_KEYS,
  APPLIED_KEY,
  DROPPED_KEY,
  deadlineKey,
  decodeApplied,
  encodeApplied,
  FREEZE_KEY,
  fromDeadlineKey,
  fromStoredValue,
  fromUserKey,
  MAP_KEY,
  SESSION_RANGE,
  SPLIT_KEY,
  type StoredKey,
  storedValue,
  TIME_KEY,
  USER_KEY_SECTIONS,
  userKey,
} from './keys.js';
import { decodeTabletChange, firstMembersOf, isMerge, ownTabletOf, type TabletChange } from './lineage.js';
import { companionOf, decodeMapBirth } from './map-birth.js';
import { decodeFreeze, type Freeze, type FreezeState, type Merge, NEVER_FROZEN } from './merge.js';
import { buildMerged, type MergeSource } from './merged-state.js';
import { ReplicatedTime } from './replicated-time.js';
import type { LivingKey, PageEntry, SessionOpened, WriteOperation, Written } from './requests.js';
import { Sessions } from './sessions.js';
import type { Split } from './split.js';
import { furtherKeys } from './string-operation.js';
import { type TabletEffect, type TabletEntry, tabletEffect } from './tablet-effect.js';
import type { ChangeHistory } from './watch/change-history.js';

export type CommandResult =
  | { readonly type: 'none' }
  | Written
  | SessionOpened
  /** So many keys were deleted. */
  | { readonly type: 'expired'; readonly keys: number }
  | {
      readonly type: 'refused';
      readonly code:
        | 'SESSION_EXPIRED'
        | 'INVALID_REQUEST'
        | 'OUT_OF_ORDER'
        | 'WRONG_TABLET'
        | 'TABLET_FROZEN';
    }
  /** The tablet has ended, and its children begin. */
  | { readonly type: 'split'; readonly split: Split }
  | { readonly type: 'splitRefused'; readonly reason: string }
  /** The tablet does nothing until it is thawed, or ends. */
  | { readonly type: 'frozen'; readonly freeze: Freeze }
  | { readonly type: 'thawed' }
  /** The tablet has ended, and another one, and the child begins. */
  | { readonly type: 'merged'; readonly merge: Merge }
  | { readonly type: 'mergeRefused'; readonly reason: string }
  /** The cluster keeps a map from now on, or did so before. */
  | { readonly type: 'mapBegun' }
  | { readonly type: 'mapRefused'; readonly reason: string }
  /** No replica can apply the entry: it changed nothing. */
  | { readonly type: 'void' };

/** When a batch has so many bytes of keys and values, it is written, and the next entry begins another. */
const FULL_BATCH_BYTES = 64 * 1024 * 1024;
/** When the results of one call of `apply` have so many bytes of values, the other entries need another call. */
const FULL_RESULT_BYTES = 64 * 1024 * 1024;
/** An engine that defers is given the changes of sessions at the latest when they are so many. */
const MAX_DEFERRED_RESULTS = 40_000;
const NO_RESULT: CommandResult = { type: 'none' };
const WRONG_TABLET: CommandResult = { type: 'refused', code: 'WRONG_TABLET' };
const TABLET_FROZEN: CommandResult = { type: 'refused', code: 'TABLET_FROZEN' };
const NOTHING = Buffer.alloc(0);
/** A page of a scan ends when it has passed over so many keys that have expired and are not deleted yet. */
const MAX_EXPIRED_KEYS_PER_PAGE = 10_000;
/** So many deadlines are counted before other events run. */
const COUNTED_PER_TURN = 4096;

/** Which tablet a group is. */
export interface TabletOwner {
  readonly id: number;
  readonly by: PlacementKind;
  /** As the birth of the cluster made it; undefined: it came from others, and its state says what it owns. */
  readonly born: Tablet | undefined;
}

export class KvStateMachine implements GroupStateMachine<CommandResult> {
  readonly #owner: TabletOwner | undefined;
  #tablet: Tablet | undefined;
  #range: TabletRange | undefined;
  /** The change that has ended this tablet, or has begun it. */
  #change: TabletChange | undefined;
  #freezing: FreezeState = NEVER_FROZEN;
  /** Its own log says that it has ended. */
  #hasEnded = false;
  /** It has ended, and its own log does not say so: entries find a frozen tablet, on all replicas alike. */
  #absorbedBy: Merge | undefined;
  /** Beside this tablet the group of the map began, behind this entry. */
  #map: SnapshotBase | undefined;
  /** The engine may have keys of others, and shows them. */
  #hidesOthers = false;
  #engine: StorageEngine;
  readonly #reopen: OpenEngine;
  readonly #sessions = new Sessions();
  readonly #memory = new BatchMemory();
  readonly #time = new ReplicatedTime();
  /** As of the data that the engine has: what reads go by. */
  #readTimeMs = 0;
  #isTimeChanged = false;
  #expiredKeys = 0;
  /** Told that keys have got deadlines, none of them before this one. */
  onDeadlines: (earliestMs: number) => void = () => {};
  #earliestNewMs = Number.POSITIVE_INFINITY;
  /** Told that an expiry has deleted keys, when the engine has that. */
  onExpired: () => void = () => {};
  #hasExpired = false;
  #appliedIndex = 0;
  #durableIndex = 0;
  #isClosed = false;
  /** The applied index in the engine is an older one. */
  #isAppliedDeferred = false;
  #appliedTerm = 0;
  /** Commands have changed the sessions, and a deferring engine does not have their data yet. */
  #isAhead = false;
  /** What is applied when a deferring engine has taken the batch that it is being given. */
  #given: { readonly last: number; readonly term: number } | undefined;
  /** Batches that the engine has taken and not yet made durable. */
  #undurable: { readonly sequence: number; readonly index: number }[] = [];
  readonly #onVoid: (index: number, reason: string) => void;
  /** What watchers are told from. Undefined: there are none. */
  readonly history: ChangeHistory | undefined;
  #voidEntries = 0;

  /**
   * `reopen` opens the engine of a snapshot. `emptyAt` is the applied index of an empty engine. `onVoid` is called for
   * each entry that no replica can apply. Without an owner, the group has all keys for ever. Throws `CORRUPTION` if the
   * parts of the engine's state contradict each other.
   */
  constructor(
    engine: StorageEngine,
    reopen: OpenEngine,
    emptyAt = 0,
    onVoid: (index: number, reason: string) => void = () => {},
    owner?: TabletOwner,
    history?: ChangeHistory,
  ) {
    this.#owner = owner;
    this.#engine = engine;
    this.#reopen = reopen;
    this.#onVoid = onVoid;
    this.history = history;
    this.#load(emptyAt);
  }

  /** The keys that this group owns; undefined: all. Who asks for others is refused when an entry is applied. */
  get range(): TabletRange | undefined {
    return this.#absorbedBy ? TabletRange.NOTHING : this.#range;
  }

  /** Its part of the keys, also when it has ended. Undefined: it has all of them for ever. */
  get tablet(): Tablet | undefined {
    return this.#tablet;
  }

  /** It has ended, and others go on. */
  get endedBy(): TabletChange | undefined {
    return this.#hasEnded ? this.#change : this.#absorbedBy;
  }

  /** It began with the keys of others. */
  get begunBy(): TabletChange | undefined {
    return this.#hasEnded ? undefined : this.#change;
  }

  /** It does nothing: another tablet may have its keys soon, or has. */
  get freeze(): Freeze | undefined {
    return this.#freezing.freeze;
  }

  get isHeld(): boolean {
    return this.freeze !== undefined;
  }

  /** Attempts to merge it up to this one are over. */
  get overThrough(): number {
    return this.#freezing.overThrough;
  }

  /**
   * The tablet to its left has ended by this merge, and with it this one. Its own log does not say so, and what it
   * applies goes by that: a power cut may have set it back, and a snapshot of it must be that of every other replica.
   */
  endBy(merge: Merge): void {
    this.#absorbedBy = merge;
  }

  get succession(): Succession | undefined {
    const change = this.#hasEnded ? this.#change : undefined;
    if (!change) return undefined;
    const groups = change.children.map(({ id }) => ({ id, configuration: firstMembersOf(change, id) }));
    if (!isMerge(change)) return { ...change, groups };
    return { ...change, groups, absorbed: { group: change.parents[1].id, index: change.ends[1] } };
  }

  get companion(): Companion | undefined {
    return this.#map && companionOf(this.#map);
  }

  /**
   * Up to which version watchers are told all, when entries up to this one are applied. Entries behind the end of a
   * tablet are void, and its children have others with the same numbers. So they are while it is frozen.
   */
  #lastChange(appliedIndex: number): number {
    const end = this.freeze ?? this.endedBy;
    return Math.min(appliedIndex, end?.index ?? appliedIndex);
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** How many entries that no replica can apply were given to this process. */
  get voidEntries(): number {
    return this.#voidEntries;
  }

  get durableIndex(): number {
    const { durableSequence } = this.#engine;
    let count = 0;
    for (const { sequence, index } of this.#undurable) {
      if (sequence > durableSequence) break;
      this.#durableIndex = index;
      count++;
    }
    if (count > 0) this.#undurable = this.#undurable.slice(count);
    return this.#durableIndex;
  }

  apply(
    first: number,
    entries: readonly Entry[],
  ): readonly CommandResult[] | Promise<readonly CommandResult[]> {
    if (first !== this.#appliedIndex + 1) {
      throw new RaftreeError(
        'CORRUPTION',
        `entry ${first} does not follow entry ${this.#appliedIndex}, the last one applied`,
      );
    }
    return this.#applyOnwards(first, entries, []);
  }

  /** Writes several batches if one would be too large: an append changes a whole value and brings a few bytes. */
  #applyOnwards(
    first: number,
    entries: readonly Entry[],
    before: readonly CommandResult[],
    bytesBefore = 0,
    hasRoom = false,
  ): readonly CommandResult[] | Promise<readonly CommandResult[]> {
    // Before the first command: while the engine waits it may make something durable.
    const room = hasRoom ? undefined : this.#engine.room?.();
    if (room) return room.then(() => this.#applyOnwards(first, entries, before, bytesBefore, true));
    const keys = new BatchKeys((stored) => this.#read(stored), this.#time, this.history);
    const own: CommandResult[] = [];
    this.#isAhead = this.#engine.defer !== undefined;
    let resultBytes = bytesBefore;
    for (const { kind, body, term } of entries) {
      if (kind === 'tablet') break;
      if (keys.changedBytes > FULL_BATCH_BYTES || resultBytes > FULL_RESULT_BYTES) break;
      const index = first + own.length;
      const result = kind === 'command' ? this.#applyCommand(commandOf(body), index, term, keys) : NO_RESULT;
      if (result.type === 'written') resultBytes += valueBytes(result);
      own.push(result);
    }
    const last = first + own.length - 1;
    const term = entries[own.length - 1]?.term ?? 0;
    const rest = entries.slice(own.length);
    const defers = this.#engine.defer !== undefined;
    const isDue = !defers || this.#sessions.changedResults > MAX_DEFERRED_RESULTS;
    const operations = isDue ? this.#sessions.takeChanges() : [];
    // An engine that defers takes the batch at once, and copies it.
    const allocate = defers ? this.#memory.allocate : undefined;
    for (const { stored: key, left, storedDeadlineMs } of keys.changed) {
      const deadlineMs = left?.deadlineMs;
      if (left) {
        const value = storedValue(left.version, left.value, allocate, deadlineMs);
        operations.push({ type: 'put', key, value });
      } else operations.push({ type: 'delete', key });
      if (deadlineMs !== storedDeadlineMs) this.#indexDeadline(operations, key, storedDeadlineMs, deadlineMs);
    }
    if (!defers) {
      operations.push(this.#appliedOperation(first, last, term));
      this.#addTime(operations);
    }
    const timeMs = this.#time.nowMs;
    if (defers) this.#given = { last, term };
    const done = (sequence: number) => {
      if (defers) this.#take();
      else this.#appliedIndex = last;
      this.#readTimeMs = timeMs;
      this.#tellDeadlines();
      if (this.#hasExpired) {
        this.#hasExpired = false;
        this.onExpired();
      }
      this.history?.publish(this.#lastChange(last));
      this.#undurable.push({ sequence, index: last });
      const results = before.length > 0 ? [...before, ...own] : own;
      if (rest.length === 0 || rest[0]?.kind === 'tablet' || resultBytes > FULL_RESULT_BYTES) return results;
      return this.#applyOnwards(last + 1, rest, results, resultBytes);
    };
    let written: number | Promise<number>;
    try {
      written = this.#engine.write(operations);
    } catch (error) {
      // The sessions stay ahead: the engine must not make anything durable any more.
      this.#given = undefined;
      throw error;
    }
    if (typeof written !== 'number') return written.then(done);
    this.#memory.clear();
    return done(written);
  }

  /** A change of this tablet as a whole, or the birth of a map. It is applied alone, and on all replicas alike. */
  async applyTablet(
    index: number,
    { body, term }: Entry,
    configuration: Configuration,
    turn: () => Promise<void>,
  ): Promise<CommandResult> {
    if (index !== this.#appliedIndex + 1)
      throw new RaftreeError('CORRUPTION', `entry ${index} does not follow entry ${this.#appliedIndex}`);
    const effect = await this.#tabletEffect({ index, term, body, configuration }, turn);
    await this.#engine.room?.();
    const defers = this.#engine.defer !== undefined;
    const operations = defers ? [] : this.#sessions.takeChanges();
    operations.push(...effect.written);
    if (defers) this.#given = { last: index, term };
    else {
      operations.push(this.#appliedOperation(index, index, term));
      this.#addTime(operations);
    }
    const sequence = await this.#engine.write(operations);
    if (defers) this.#take();
    else this.#appliedIndex = index;
    this.#undurable.push({ sequence, index });
    if (effect.change) this.#own(effect.change);
    this.#map = effect.map ?? this.#map;
    this.#freezing = effect.freezing ?? this.#freezing;
    // Expiries that were void while it was frozen are proposed again.
    if (effect.result.type === 'thawed') this.onDeadlines(0);
    this.history?.publish(this.#lastChange(index));
    return effect.result;
  }

  async #tabletEffect(entry: TabletEntry, turn: () => Promise<void>): Promise<TabletEffect> {
    const effect = await tabletEffect(entry, {
      ...{ tablet: this.#tablet, by: this.#owner?.by, freezing: this.#freezing, map: this.#map },
      ...{ bornAt: this.begunBy?.index ?? 0, hasEnded: this.#hasEnded },
      countDeadlines: (left) => this.#countDeadlines(left, turn),
    });
    if (effect) return effect;
    this.#voidEntries++;
    this.#onVoid(entry.index, 'it changes a tablet in a way that is not known here');
    return { result: { type: 'void' }, written: [] };
  }

  async #countDeadlines(left: TabletRange, turn: () => Promise<void>): Promise<[number, number]> {
    const counts: [number, number] = [0, 0];
    let from = deadlineKey(0, NOTHING);
    for (let isMore = this.#time.keysWithDeadline > 0; isMore; ) {
      isMore = false;
      let counted = 0;
      for (const [stored] of this.#engine.entries({ gte: from, lt: AFTER_DEADLINES })) {
        if (++counted > COUNTED_PER_TURN) {
          from = stored;
          isMore = true;
          break;
        }
        const { key } = fromDeadlineKey(stored);
        // The engine may still show keys of the other part of the tablet that this one came from.
        if (this.#range?.owns(key) === false) continue;
        counts[left.owns(key) ? 0 : 1]++;
      }
      if (isMore) await turn();
    }
    return counts;
  }

  /** The state begins as that of a child of this tablet; that of the map is empty. */
  async begin(
    group: number,
    directory: string,
    { absorbed, workDirectory, turn }: BeginParts<KvStateMachine>,
  ): Promise<void> {
    const { companion } = this;
    if (group === companion?.group) {
      const { index, term } = companion;
      const value = encodeApplied({ first: index, last: index, term, tablet: 0 });
      await this.#build(workDirectory, directory, async (engine) => {
        await engine.write([{ type: 'put', key: APPLIED_KEY, value }]);
      });
      return;
    }
    const change = this.endedBy;
    const child = change?.children.find(({ id }) => id === group);
    if (!change || !child) throw new RaftreeError('CORRUPTION', `tablet ${group} does not begin here`);
    if (isMerge(change)) {
      if (absorbed?.freeze?.attempt !== change.attempt)
        throw new RaftreeError('CORRUPTION', `tablet ${change.parents[1].id} is not frozen for this merge`);
      await this.#build(workDirectory, directory, (engine) =>
        buildMerged(engine, change, [this.#source, absorbed.#source], turn),
      );
      // When the Raft log says that it has ended, nobody may be left who could tell it so again.
      await this.#engine.flush();
    } else if (this.#engine.checkpointWithin)
      await this.#engine.checkpointWithin(directory, boundsOf(change.by, child));
    else await this.#engine.checkpoint(directory);
  }

  /** What a merge takes of it. */
  get #source(): MergeSource {
    const tablet = this.#tablet as Tablet;
    const change = this.#change;
    const bornAt = this.#hasEnded && change && isMerge(change) ? change.leftBornAt : (change?.index ?? 0);
    return { tablet, engine: this.#engine, sessions: this.#sessions, bornAt, timeMs: this.#time.nowMs };
  }

  /** Fills an empty engine, and has a directory hold what it then holds. */
  async #build(
    workDirectory: string,
    directory: string,
    fill: (engine: StorageEngine) => Promise<void>,
  ): Promise<void> {
    const engine = await this.#reopen(workDirectory);
    try {
      await fill(engine);
      await engine.checkpoint(directory);
    } finally {
      await engine.close();
    }
  }

  /** What the state says of the tablet. */
  #own(change: TabletChange | undefined): void {
    const owner = this.#owner;
    this.#change = owner && change;
    this.#hasEnded = false;
    const born = owner?.born;
    if (!owner || !change) {
      this.#tablet = born;
      const range = born && owner && new TabletRange(owner.by, born);
      this.#range = range?.isEverything ? undefined : range;
      return;
    }
    const { tablet, range, hasEnded } = ownTabletOf(owner.id, owner, change);
    this.#tablet = tablet;
    this.#range = range;
    this.#hasEnded = hasEnded;
    // What was merged has no keys of others.
    const isShared = !hasEnded && !isMerge(change);
    this.#hidesOthers = isShared && this.#engine.restrict === undefined;
    if (isShared) this.#engine.restrict?.(boundsOf(owner.by, tablet));
  }

  /** A deferring engine has taken the batch. */
  #take(): void {
    if (!this.#given) return;
    this.#appliedIndex = this.#given.last;
    this.#appliedTerm = this.#given.term;
    this.#given = undefined;
    this.#isAppliedDeferred = true;
    this.#isAhead = false;
  }

  /** What a deferring engine has to add before it makes something durable. */
  #takeDeferred(): readonly EngineOperation[] {
    // It may ask while it takes a batch: when it has it.
    this.#take();
    if (this.#isAhead) throw new RaftreeError('CORRUPTION', 'the engine has not taken the last batch');
    if (!this.#isAppliedDeferred) return [];
    this.#isAppliedDeferred = false;
    const operations = this.#sessions.takeChanges();
    operations.push(this.#appliedOperation(this.#appliedIndex, this.#appliedIndex, this.#appliedTerm));
    this.#addTime(operations);
    return operations;
  }

  flush(): Promise<void> {
    return this.#engine.flush();
  }

  checkpoint(directory: string): Promise<void> {
    return this.#engine.checkpoint(directory);
  }

  check(directory: string): Promise<void> {
    return this.#engine.check(directory);
  }

  async restore(directory: string): Promise<void> {
    const before = this.#engine;
    const opened = await this.#reopen(directory);
    if (this.#isClosed) {
      // No other code closes this engine.
      await opened.close();
      return;
    }
    // What the engine before adds when it is closed is of its own data.
    const last = this.#takeDeferred();
    before.defer?.(() => last);
    this.#engine = opened;
    this.#load(0);
    await before.close();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.history?.close();
    return this.#engine.close();
  }

  get(key: Uint8Array): LivingKey | undefined {
    const found = living(this.#read(userKey(key)), this.#readTimeMs);
    return found && this.#shown(found);
  }

  #shown({ version, value, deadlineMs }: StoredKey): LivingKey {
    if (deadlineMs === undefined) return { version, value };
    return { version, value, remainingMs: deadlineMs - this.#readTimeMs };
  }

  /** The replicated time, as reads see it. */
  get timeMs(): number {
    return this.#readTimeMs;
  }

  get keysWithDeadline(): number {
    return this.#time.keysWithDeadline;
  }

  /** Keys that expiries have deleted since the start of this process. */
  get expiredKeys(): number {
    return this.#expiredKeys;
  }

  /** What the replicated time will be with this stamp; undefined if the leader of this term has proposed none yet. */
  timeAt(term: number, stampMs: number): number | undefined {
    return this.#time.at(term, stampMs);
  }

  /** The keys with deadlines in their order, which is that of deadline and key, from this one on. */
  *deadlines(from: ExpiredKey): Generator<ExpiredKey> {
    const range = { gte: deadlineKey(from.deadlineMs, from.key), lt: AFTER_DEADLINES };
    for (const [stored] of this.#engine.entries(range)) {
      const found = fromDeadlineKey(stored);
      if (!this.#hidesOthers || this.range?.owns(found.key)) yield found;
    }
  }

  /** A page of keys in [from, to); without `to`, to the last key. `more`: other keys follow. */
  scan(options: {
    from: Uint8Array;
    to: Uint8Array | undefined;
    reverse: boolean;
    maxEntries: number;
    maxBytes: number;
  }): { entries: PageEntry[]; more: boolean; coveredTo?: Buffer } {
    const entries: PageEntry[] = [];
    let bytes = 0;
    let expired = 0;
    const range = {
      gte: userKey(options.from),
      lt: options.to ? userKey(options.to) : AFTER_USER_KEYS,
      reverse: options.reverse,
    };
    if (Buffer.compare(range.gte, range.lt) >= 0) return { entries, more: false };
    for (const [key, stored] of this.#engine.entries(range)) {
      if (entries.length >= options.maxEntries) return { entries, more: true };
      if (this.#hidesOthers && !this.range?.owns(fromUserKey(key))) continue;
      const found = living(fromStoredValue(stored), this.#readTimeMs);
      if (!found) {
        if (++expired < MAX_EXPIRED_KEYS_PER_PAGE) continue;
        return { entries, more: true, coveredTo: fromUserKey(key) };
      }
      bytes += key.length + stored.length;
      if (entries.length > 0 && bytes > options.maxBytes) return { entries, more: true };
      entries.push({ key: fromUserKey(key), ...this.#shown(found) });
    }
    return { entries, more: false };
  }

  /** At most so many bytes: keys of others count, too, until they are dropped. Undefined: the engine does not say. */
  get isOutOfSpace(): boolean {
    return this.#engine.isOutOfSpace ?? false;
  }

  get sizeBytes(): number | undefined {
    const stats = this.#engine.stats?.();
    return stats?.levels.reduce((sum, { bytes }) => sum + bytes, stats.memtableBytes);
  }

  /**
   * About how many bytes its keys take, and some of them, at even distances of these bytes. Undefined if the engine
   * cannot say it, or the tablet has ended. Rejects as the engine does.
   */
  async survey(samples: number): Promise<EngineSurvey | undefined> {
    const { tablet } = this;
    const by = this.#owner?.by;
    if (!tablet || !by || this.endedBy || !this.#engine.survey) return undefined;
    const isByRange = by === 'range';
    const gte = userKey(isByRange ? tablet.start : NOTHING);
    const lt = isByRange && tablet.end ? userKey(tablet.end) : AFTER_USER_KEYS;
    const { bytes, keys } = await this.#engine.survey({ gte, lt }, samples);
    const owned = keys.map(fromUserKey).filter((key) => key.length > 0 && (this.#range?.owns(key) ?? true));
    return { bytes, keys: owned };
  }

  approximateKeys(): number {
    // Each of them has a second key in the index.
    return Math.max(0, this.#engine.approximateKeys() - this.#time.keysWithDeadline);
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** Results of writes that sessions keep. */
  get keptResults(): number {
    return this.#sessions.keptResults;
  }

  /** Undefined if the engine measures nothing. */
  engineStats(): EngineStats | undefined {
    return this.#engine.stats?.();
  }

  #load(emptyAt: number): void {
    const change = this.#engine.get(SPLIT_KEY);
    this.#own(change && decodeTabletChange(change));
    this.#freezing = decodeFreeze(this.#owner?.id ?? 0, this.#engine.get(FREEZE_KEY));
    // The parts of the first tablet have its record, and begin nothing.
    const map = this.#owner?.id === FIRST_TABLET ? this.#engine.get(MAP_KEY) : undefined;
    this.#map = map && decodeMapBirth(map);
    const stored = this.#engine.get(APPLIED_KEY);
    const applied = stored && decodeApplied(stored);
    const begun = this.begunBy;
    // What the parent has applied since was void.
    const isNew = begun !== undefined && applied?.tablet !== this.#owner?.id;
    this.#appliedIndex = isNew ? begun.index : (applied?.last ?? emptyAt);
    this.#durableIndex = this.#appliedIndex;
    this.#isAppliedDeferred = false;
    this.#isAhead = false;
    this.#given = undefined;
    this.#undurable = [];
    this.#sessions.restore(this.#engine.entries(SESSION_RANGE), this.#engine.get(DROPPED_KEY) !== undefined);
    this.#time.restore(this.#engine.get(TIME_KEY));
    this.#readTimeMs = this.#time.nowMs;
    this.#isTimeChanged = false;
    if (isNew && !isMerge(begun)) this.#takeDeadlines(begun);
    this.#earliestNewMs = 0;
    this.#tellDeadlines();
    this.#engine.defer?.(() => this.#takeDeferred());
    this.history?.reset(this.#lastChange(this.#appliedIndex));
    if (this.history && begun && isMerge(begun)) this.history.mergedThrough = begun.index;
  }

  /** A tablet that has just begun as a part of another one has some of its deadlines. */
  #takeDeadlines(split: Split): void {
    const isLeft = split.children[0].id === this.#owner?.id;
    this.#time.keysWithDeadline = split.deadlines[isLeft ? 0 : 1];
    this.#isTimeChanged = true;
  }

  /** The time changes with few entries, so its record is written only then. */
  #addTime(operations: EngineOperation[]): void {
    if (!this.#isTimeChanged) return;
    this.#isTimeChanged = false;
    operations.push({ type: 'put', key: TIME_KEY, value: this.#time.encode() });
  }

  /** A key has another deadline than before, or none any more. */
  #indexDeadline(
    operations: EngineOperation[],
    storedKey: Buffer,
    beforeMs: number | undefined,
    nowMs: number | undefined,
  ): void {
    const key = fromUserKey(storedKey);
    this.#isTimeChanged = true;
    if (beforeMs !== undefined) {
      operations.push({ type: 'delete', key: deadlineKey(beforeMs, key) });
      this.#time.keysWithDeadline--;
    }
    if (nowMs === undefined) return;
    this.#earliestNewMs = Math.min(this.#earliestNewMs, nowMs);
    operations.push({ type: 'put', key: deadlineKey(nowMs, key), value: NOTHING });
    this.#time.keysWithDeadline++;
  }

  #tellDeadlines(): void {
    if (this.#earliestNewMs === Number.POSITIVE_INFINITY) return;
    const earliestMs = this.#earliestNewMs;
    this.#earliestNewMs = Number.POSITIVE_INFINITY;
    this.onDeadlines(earliestMs);
  }

  #advance(term: number, stampMs: number): void {
    this.#time.advance(term, stampMs);
    this.#isTimeChanged = true;
  }

  /** Deletes the keys that still have that deadline, if it has passed: a write may have come in between. */
  #expire(
    { stampMs, keys: expired }: ExpiryCommand,
    { index, term }: { readonly index: number; readonly term: number },
    keys: BatchKeys,
  ): CommandResult {
    this.#advance(term, stampMs);
    let count = 0;
    for (const { key, deadlineMs } of expired) {
      const isIndexed = () => this.#engine.get(deadlineKey(deadlineMs, key)) !== undefined;
      const isOwned = this.#range?.owns(key) ?? true;
      if (isOwned && deadlineMs <= this.#time.nowMs && keys.expire(key, deadlineMs, index, isIndexed))
        count++;
    }
    this.#expiredKeys += count;
    this.#hasExpired ||= count > 0;
    return { type: 'expired', keys: count };
  }

  #applyCommand(command: Command | VoidEntry, index: number, term: number, keys: BatchKeys): CommandResult {
    if (command.type === 'void') {
      this.#voidEntries++;
      this.#onVoid(index, command.reason);
      return { type: 'void' };
    }
    // Its state is that of the entry that ended it, whatever comes: also its time.
    if (this.#hasEnded) return command.type === 'expiry' ? { type: 'expired', keys: 0 } : WRONG_TABLET;
    if (this.freeze) return command.type === 'expiry' ? { type: 'expired', keys: 0 } : TABLET_FROZEN;
    if (command.type === 'openSession') {
      const { id: sessionId = index } = command;
      const window = this.#sessions.open(sessionId, command.window, index);
      if (window === undefined) return { type: 'refused', code: 'SESSION_EXPIRED' };
      return { type: 'sessionOpened', sessionId, window };
    }
    if (command.type === 'expiry') return this.#expire(command, { index, term }, keys);
    return this.#write(command, index, term, keys);
  }

  #write(command: WriteCommand, index: number, term: number, keys: BatchKeys): CommandResult {
    const { session, operations, maxValueBytes, stampMs } = command;
    // Also if it is not applied: the stamp is good.
    if (stampMs !== undefined) this.#advance(term, stampMs);
    // Before the session: it keeps nothing of such a write, which follows its keys to another tablet.
    if (this.#range && !ownsAll(this.#range, operations)) return WRONG_TABLET;
    const place = { index, maxValueBytes };
    if (session === undefined) return { type: 'written', write: performWrite(operations, place, keys) };
    const { id, sequence, acknowledgedThrough, after } = session;
    const check = this.#sessions.check(id, sequence, acknowledgedThrough, after);
    if (check.state === 'refused') return { type: 'refused', code: check.reason };
    if (check.state === 'repeated') return { type: 'written', write: check.result };
    const write = performWrite(operations, place, keys);
    this.#sessions.record(id, sequence, acknowledgedThrough, write);
    return { type: 'written', write };
  }

  #appliedOperation(first: number, last: number, term: number): EngineOperation {
    const tablet = this.begunBy ? (this.#owner?.id ?? 0) : 0;
    return { type: 'put', key: APPLIED_KEY, value: encodeApplied({ first, last, term, tablet }) };
  }

  #read(stored: Buffer): StoredKey | undefined {
    const value = this.#engine.get(stored);
    return value && fromStoredValue(value);
  }
}

function boundsOf(by: PlacementKind, { start, end }: Tablet): KeyBounds {
  return { by, start, end, sections: USER_KEY_SECTIONS };
}

/** Whether all keys that a write reads or changes are of this range. */
export function ownsAll(range: TabletRange, operations: readonly WriteOperation[]): boolean {
  for (const { action, key, value } of operations) {
    if (!range.owns(key)) return false;
    if (action === 'modify' && !furtherKeys(value).every((further) => range.owns(further))) return false;
  }
  return true;
}

function valueBytes({ write }: Written): number {
  let sizeBytes = 0;
  for (const { value } of write.results) if (value) sizeBytes += value.length;
  return sizeBytes;
}
