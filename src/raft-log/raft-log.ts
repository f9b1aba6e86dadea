/**
 * The log of all Raft groups of a node: segment files in the record format, with the entries and hard states of all
 * groups interleaved. So one write and one sync per turn commit for all groups. Bodies stay on disk. The newest ones
 * are also cached, within a limit, because followers and the state machine need them soon.
 *
 * A segment is deleted when no group needs an entry in it. Every segment starts with base and hard state of every
 * group. The entries of a group that is written rarely are copied forward: it would keep all later segments, too.
 */
import type { Env } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { type Configuration, type ConfigurationChange, configurationOf } from '../raft/configuration.js';
import { decodeChange } from '../raft/configuration-codec.js';
import { changedBy } from '../raft/membership.js';
import {
  type AppendBatch,
  EMPTY_HARD_STATE,
  type Entry,
  entrySizeBytes,
  type HardState,
  NOBODY,
} from '../raft/types.js';
import type { Payload, Position } from '../record/record.js';
import { RecordLog } from '../record/record-log.js';
import type { Recovery } from '../record/recovery.js';
import { type BodyCache, CachedBodies } from './cached-bodies.js';
import { EntryCache } from './entry-cache.js';
import { EntryIndex } from './entry-index.js';
import {
  decodeEntry,
  decodePayload,
  ENTRY_HEADER_BYTES,
  encodeBase,
  encodeBatch,
  encodeGone,
  encodeGroups,
  encodeRetired,
  type LogBase,
  type LogRecord,
  NO_INCARNATION,
} from './format.js';

export interface RaftLogOptions {
  readonly env: Env;
  readonly directory: string;
  readonly maxSegmentBytes: number;
  /** A group commit is closed at this size; the rest goes into the next one. */
  readonly maxGroupCommitBytes: number;
  /** Cached bodies of all groups together. */
  readonly maxCachedBytes: number;
  /**
   * How far a segment is extended with zeros in advance: a sync that does not change the file's size is much cheaper.
   */
  readonly preallocateBytes: number;
  /** Told how long each durable write took. */
  readonly madeDurable?: ((durationMs: number, sizeBytes: number) => void) | undefined;
}

/** Segments from the oldest needed one to the current one, before anything is copied forward. */
const LEAST_SEGMENTS_TO_COPY = 4;
/** What is copied is at most this share of the segments that become free. */
const MAX_COPIED_SHARE = 1 / 4;
/** The entries of a group are copied in one record, or a crash between two could cut off the later ones. */
const MAX_COPIED_BYTES = 32 * 1024 * 1024;

export class RaftLog {
  readonly #records: RecordLog;
  readonly #groups = new Map<number, GroupLog>();
  /** Groups that were here. */
  readonly #gone = new Set<number>();
  readonly #cachedBodies: CachedBodies;
  readonly #maxSegmentBytes: number;
  /** The current segment when it was last decided what is copied forward. */
  #reviewedFile = 0;

  /** Creates or recovers the log in an existing directory. Throws `CORRUPTION`, or the system's error. */
  static open(options: RaftLogOptions): RaftLog {
    return new RaftLog(options);
  }

  private constructor(options: RaftLogOptions) {
    this.#cachedBodies = new CachedBodies(options.maxCachedBytes);
    this.#maxSegmentBytes = options.maxSegmentBytes;
    this.#records = RecordLog.open({
      env: options.env,
      directory: options.directory,
      name: 'raft',
      maxFileBytes: options.maxSegmentBytes,
      maxGroupBytes: options.maxGroupCommitBytes,
      recycles: true,
      preallocateBytes: options.preallocateBytes,
      madeDurable: options.madeDurable,
      preamble: () =>
        encodeGroups([
          ...[...this.#groups.values()].flatMap((group) => group.preamble()),
          ...[...this.#gone].map(encodeGone),
        ]).payload,
      recovered: (payload, position) => this.#recover(decodePayload(payload), position),
    });
    for (const group of this.#groups.values()) group.finishRecovery();
  }

  get recovery(): Recovery {
    return this.#records.recovery;
  }

  /** Since it was opened. Each one commits what all groups had to write. */
  get syncs(): number {
    return this.#records.syncs;
  }

  get groupIds(): number[] {
    return [...this.#groups.keys()];
  }

  /** It was here. It never comes back. */
  isGone(id: number): boolean {
    return this.#gone.has(id);
  }

  group(id: number): GroupLog | undefined {
    return this.#groups.get(id);
  }

  /** Creates a group whose log is empty after `base`. Resolves when that is durable. */
  async createGroup(id: number, base: NewBase & { readonly incarnation?: string }): Promise<GroupLog> {
    const group = this.#addGroup(id);
    await group.setBase({ incarnation: NO_INCARNATION, ...base });
    return group;
  }

  /**
   * One record: a group is retired, and those that it absorbs, and these follow from them, with empty logs after their
   * bases. Resolves when that is durable; before, the new groups are not here. Does nothing if the group is retired
   * already. Rejects as `append`.
   */
  async succeed(
    id: number,
    successors: readonly Successor[],
    absorbed: readonly number[] = [],
  ): Promise<void> {
    const retired = this.#groups.get(id);
    if (retired?.isRetired) return;
    const others = absorbed.map((other) => this.#groups.get(other));
    const isKnown = successors.some(({ id: next }) => this.#groups.has(next) || this.isGone(next));
    const isLeaving = [retired, ...others].some((group) => group?.isLeaving);
    if (!retired || isLeaving || others.some((other) => !other || other.isRetired) || isKnown) {
      throw new RaftreeError(
        'CORRUPTION',
        `group ${id} cannot be followed by the groups ${successors.map((successor) => successor.id).join(', ')}: ` +
          'it is not here, or has been followed, or one of them is, or was, here',
      );
    }
    const { incarnation } = retired.base;
    const groups = successors.map((successor) => {
      const group = this.#newGroup(successor.id);
      return { id: successor.id, group, payloads: group.begin({ ...successor.base, incarnation }) };
    });
    const { payload } = encodeGroups([
      ...[id, ...absorbed].map(encodeRetired),
      ...groups.flatMap(({ payloads }) => payloads),
    ]);
    await this.#records.append(payload, true);
    for (const group of [retired, ...others]) if (group) group.isRetired = true;
    for (const { id: successor, group } of groups) this.#groups.set(successor, group);
  }

  /**
   * A group begins beside another one, with an empty log after its base. Resolves when that is durable; before, it is
   * not here. Rejects as `append`.
   */
  async accompany(id: number, { id: companion, base }: Successor): Promise<void> {
    const { incarnation = NO_INCARNATION } = this.#groups.get(id)?.base ?? {};
    const group = this.#newGroup(companion);
    await this.#records.append(encodeGroups(group.begin({ ...base, incarnation })).payload, true);
    this.#groups.set(companion, group);
  }

  /** The group, to which nothing is written any more, goes. Resolves when that is durable. Rejects as `append`. */
  async removeGroup(id: number): Promise<void> {
    const group = this.#groups.get(id);
    if (!group) return;
    group.isLeaving = true;
    await this.#records.append(encodeGone(id), true);
    this.#forget(id, group);
    this.#removeUnneeded();
  }

  /** Writes what is queued, syncs and closes. */
  close(): Promise<void> {
    return this.#records.close();
  }

  #addGroup(id: number): GroupLog {
    const group = this.#newGroup(id);
    this.#groups.set(id, group);
    this.#gone.delete(id);
    return group;
  }

  #forget(id: number, group: GroupLog): void {
    this.#groups.delete(id);
    this.#gone.add(id);
    this.#cachedBodies.remove(group);
  }

  #newGroup(id: number): GroupLog {
    return new GroupLog(
      id,
      // A function, because recovery creates groups before `RecordLog.open` has returned.
      () => this.#records,
      this.#cachedBodies,
      {
        written: () => this.#copyForward(),
        cut: () => this.#removeUnneeded(),
      },
    );
  }

  #recover(record: LogRecord, position: Position): void {
    if (record.type === 'groups') {
      for (const inner of record.records) this.#recover(inner, position);
      return;
    }
    const known = this.#groups.get(record.group);
    if (record.type === 'gone') {
      if (known) this.#forget(record.group, known);
      this.#gone.add(record.group);
      return;
    }
    // It was retired and went by two records that were written at the same time.
    if (record.type === 'retired' && !known) return;
    const group = known ?? this.#addGroup(record.group);
    group.recover(record, position);
  }

  #removeUnneeded(): void {
    this.#records.removeBefore(this.#oldestFile);
  }

  get #oldestFile(): number {
    let oldest = this.#records.currentFile;
    for (const group of this.#groups.values()) oldest = Math.min(oldest, group.oldestFile ?? oldest);
    return oldest;
  }

  /** Once per segment: frees the older half of the segments, if little is needed there. */
  #copyForward(): void {
    const { currentFile } = this.#records;
    if (currentFile === this.#reviewedFile) return;
    this.#reviewedFile = currentFile;
    const oldest = this.#oldestFile;
    if (currentFile - oldest + 1 < LEAST_SEGMENTS_TO_COPY) return;
    const newOldest = Math.ceil((oldest + currentFile) / 2);
    const groups = [...this.#groups.values()].filter(
      ({ oldestFile = currentFile }) => oldestFile < newOldest,
    );
    const bytes = groups.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (bytes > MAX_COPIED_SHARE * (newOldest - oldest) * this.#maxSegmentBytes) return;
    if (groups.some(({ sizeBytes }) => sizeBytes > MAX_COPIED_BYTES)) return;
    // A failure of the log is reported to whoever writes next. Damaged entries are reported to whoever needs them. What
    // cannot be removed now is removed with what becomes unneeded next.
    Promise.all(groups.map((group) => group.copyForward()))
      .then(() => this.#removeUnneeded())
      .catch(() => {});
  }
}

/** What a group's log tells the log of all groups. */
interface LogEvents {
  /** A write is durable. */
  written(): void;
  /** Segments may have become unneeded. */
  cut(): void;
}

/** Keeps segments from this file on until a write is durable. */
interface Pin {
  readonly file: number;
  /** The write has the new base. If a full disk refuses it, only another write with a base takes its place. */
  readonly isOfBase: boolean;
}

/** The base as a snapshot, or the creation of a group, gives it. */
type NewBase = Omit<LogBase, 'incarnation'>;

/** A group that follows from another one: all up to its base was done there. */
export interface Successor {
  readonly id: number;
  readonly base: NewBase;
}

/** One group's part of the log. */
export class GroupLog implements BodyCache {
  readonly #id: number;
  readonly #records: () => RecordLog;
  readonly #cachedBodies: CachedBodies;
  readonly #events: LogEvents;
  readonly #index = new EntryIndex();
  #base: LogBase = {
    ...{ index: 0, term: 0, configuration: configurationOf([]) },
    ...{ directory: '', incarnation: NO_INCARNATION },
  };
  /** Configuration changes after the base, ordered by index. */
  #changes: { readonly index: number; readonly change: ConfigurationChange }[] = [];
  /** As last written. The next segment starts with it. */
  #writtenBase: LogBase | undefined;
  #writtenHardState: HardState = EMPTY_HARD_STATE;
  /**
   * One for each new base and each replacement of entries that is not durable yet: a crash would lead back to the
   * segments before it.
   */
  #pins: Pin[] = [];
  readonly #cache = new EntryCache();
  #entryBytes = 0;
  /** The groups that follow from this one exist, durably. */
  isRetired = false;
  /** It will be gone. What is written now could come back after that. */
  isLeaving = false;
  /** Writes that are not durable yet. */
  #writing = 0;

  constructor(id: number, records: () => RecordLog, cachedBodies: CachedBodies, events: LogEvents) {
    this.#id = id;
    this.#records = records;
    this.#cachedBodies = cachedBodies;
    this.#events = events;
  }

  get base(): LogBase {
    return this.#base;
  }

  get lastIndex(): number {
    return Math.max(this.#base.index, this.#index.last);
  }

  /** As recovered or last written. */
  get hardState(): HardState {
    return this.#writtenHardState;
  }

  /** Bytes on disk of all entries after the base. */
  get sizeBytes(): number {
    return this.#entryBytes;
  }

  /** The oldest segment that this group needs, now or after a crash. Undefined if it needs none. */
  get oldestFile(): number | undefined {
    const [pin] = this.#pins;
    if (pin) return pin.file;
    return this.#index.last >= this.#index.first
      ? this.#index.positionOf(this.#index.first)?.file
      : undefined;
  }

  /** Term and size of every entry after the base, and the change of each configuration entry. */
  *entrySizes(): Generator<{ term: number; sizeBytes: number; change: ConfigurationChange | undefined }> {
    const changes = new Map(this.#changes.map(({ index, change }) => [index, change]));
    for (let index = this.#base.index + 1; index <= this.lastIndex; index++) {
      yield {
        term: this.#index.termOf(index),
        sizeBytes: this.#index.sizeOf(index) - ENTRY_HEADER_BYTES + entrySizeBytes(EMPTY_ENTRY),
        change: changes.get(index),
      };
    }
  }

  /**
   * Appends a batch; it replaces all entries from its first one on. Resolves when it is durable. Batches become durable
   * in order. The entries can be read at once. Rejects as `RecordLog.append` does.
   */
  async append(batch: AppendBatch): Promise<void> {
    this.hold(batch);
    const { payload, entryOffsets, checksums } = encodeBatch(this.#id, batch);
    const pin = this.#pins.at(-1);
    const single = batch.entries.length <= 1;
    await this.#write(
      payload,
      (position) => {
        this.#written(batch, position, entryOffsets, checksums);
        this.#unpin(pin, false);
      },
      single,
    );
    this.#events.written();
  }

  /** `durable` runs before the write counts as done. */
  async #write(payload: Payload, durable: (position: Position) => void, single = false): Promise<void> {
    this.#writing++;
    try {
      durable(await this.#records().append(payload, true, single));
    } finally {
      this.#writing--;
    }
  }

  #written(batch: AppendBatch, position: Position, entryOffsets: Float64Array, checksums: Uint32Array): void {
    this.#writtenHardState = batch.hardState;
    this.#place(batch, position, entryOffsets, checksums);
    this.#cachedBodies.written(this);
  }

  #place(
    { first, entries }: AppendBatch,
    { file, offset }: Position,
    entryOffsets: Float64Array,
    checksums: Uint32Array,
  ): void {
    for (let i = 0; i < entries.length; i++) {
      const { term } = entries[i] as Entry;
      this.#index.place(first + i, file, offset + (entryOffsets[i] ?? 0), term, checksums[i] ?? 0);
    }
  }

  /**
   * Makes a batch's entries readable without writing them, while the disk is full. Call `append` with the batch later.
   */
  hold({ first, entries }: AppendBatch): void {
    if (entries.length > 0) this.#remember(first, entries);
  }

  /** The entries from `first` to `last`. Throws `CORRUPTION` if the log lacks them or if they are damaged on disk. */
  entries(first: number, last: number): Entry[] {
    if (first <= this.#base.index || last > this.lastIndex) throw this.#lacks(first, last);
    const entries: Entry[] = [];
    let index = first;
    while (index <= last && index < this.#cache.first) {
      const run = this.#readRun(index, Math.min(last, this.#cache.first - 1));
      if (run.length === 0) throw this.#lacks(index, last);
      // Not all in one call: a copy makes long runs, and a call has a limit of arguments.
      for (const entry of run) entries.push(entry);
      index += run.length;
    }
    if (index > last) return entries;
    const cached = this.#cache.slice(index, last);
    return entries.length === 0 ? cached : entries.concat(cached);
  }

  /** Drops the entries up to and including `index`. Once that is durable, deletes the segments that no group needs. */
  async compact(index: number): Promise<void> {
    if (index <= this.#base.index) return;
    const term = this.#index.termOf(index);
    const configuration = this.configurationAt(index);
    await this.setBase({ ...this.#base, index, term, configuration });
    this.#events.cut();
  }

  /**
   * Writes base and all entries again, into the current segment: the older ones are not needed for this group then.
   * The base may be that of a cut which a full disk has refused. Does nothing while another write is under way, because
   * the copy would bring back an older hard state, or while entries or a snapshot wait for space on the disk. Rejects
   * as `append` does, and with `CORRUPTION`.
   */
  async copyForward(): Promise<void> {
    const base = this.#base;
    const first = base.index + 1;
    const waits = this.lastIndex >= first && !this.#index.positionOf(this.lastIndex);
    if (this.isLeaving || this.#writing > 0 || waits || base.directory !== this.#writtenBase?.directory)
      return;
    const entries = this.lastIndex < first ? [] : this.entries(first, this.lastIndex);
    const batch = { batch: 0, hardState: this.#writtenHardState, first, entries, snapshot: undefined };
    const { payload, entryOffsets, checksums } = encodeBatch(this.#id, batch);
    const pin = this.#pins.at(-1);
    const copy = encodeGroups([encodeBase(this.#id, base, false), payload]);
    await this.#write(copy.payload, ({ file, offset }) => {
      this.#writtenBase = base;
      this.#place(batch, { file, offset: offset + (copy.offsets[1] ?? 0) }, entryOffsets, checksums);
      this.#unpin(pin, true);
    });
  }

  /**
   * Replaces the log and the state machine by a snapshot. When the new base is durable, its directory is the state
   * machine's and no other is. Base and batch are one record: both become durable or neither does.
   */
  async install(snapshot: NewBase, batch: AppendBatch): Promise<void> {
    const pin = this.#pin(true);
    const base = { ...snapshot, incarnation: this.#base.incarnation };
    this.#restart(base);
    this.hold(batch);
    const { payload, entryOffsets, checksums } = encodeBatch(this.#id, batch);
    const both = encodeGroups([encodeBase(this.#id, base, true), payload]);
    await this.#write(both.payload, ({ file, offset }) => {
      this.#writtenBase = base;
      this.#written(batch, { file, offset: offset + (both.offsets[1] ?? 0) }, entryOffsets, checksums);
      this.#unpin(pin, true);
    });
    this.#events.cut();
  }

  async setBase(base: LogBase): Promise<void> {
    const pin = this.#pin(true);
    this.#moveBase(base);
    await this.#write(encodeBase(this.#id, base, false), () => {
      this.#writtenBase = base;
      this.#unpin(pin, true);
    });
  }

  /**
   * What makes a new group with an empty log after this base exist. Its terms go on from there, so it has the term of
   * its base, and has not voted in it.
   */
  begin(base: LogBase): Payload[] {
    this.#moveBase(base);
    this.#writtenBase = base;
    this.#writtenHardState = { term: base.term, vote: NOBODY, commit: base.index };
    return this.preamble();
  }

  #pin(isOfBase: boolean): Pin {
    const pin = { file: this.oldestFile ?? this.#records().currentFile, isOfBase };
    this.#pins.push(pin);
    return pin;
  }

  /** Writes become durable in order: earlier pins of replacements end too, and of bases if this write has one. */
  #unpin(pin: Pin | undefined, hasBase: boolean): void {
    const end = pin ? this.#pins.indexOf(pin) + 1 : 0;
    this.#pins = this.#pins.filter(({ isOfBase }, i) => i >= end || (isOfBase && !hasBase));
  }

  preamble(): Payload[] {
    if (!this.#writtenBase) return [];
    const { payload } = encodeBatch(this.#id, { hardState: this.#writtenHardState, first: 0, entries: [] });
    const payloads = [encodeBase(this.#id, this.#writtenBase, false), payload];
    return this.isRetired ? [...payloads, encodeRetired(this.#id)] : payloads;
  }

  recover(record: Exclude<LogRecord, { type: 'groups' | 'gone' }>, position: Position): void {
    if (record.type === 'base') {
      if (record.restarts) this.#restart(record.base);
      else this.#moveBase(record.base);
      this.#writtenBase = record.base;
      return;
    }
    if (record.type !== 'batch') {
      this.isRetired = true;
      return;
    }
    this.#writtenHardState = record.hardState;
    record.entries.forEach((entry, i) => {
      const index = record.first + i;
      if (index <= this.#base.index) return;
      // A later base record must cover the gap: the segments with those entries were deleted.
      if (index > this.#index.last + 1) this.#index.dropThrough(index - 1);
      this.#index.set(index, entry.sizeBytes, entry.term);
      this.#index.place(index, position.file, position.offset + entry.offset, entry.term, entry.checksum);
      this.#noteChange(index, entry.change);
    });
  }

  /** Throws `CORRUPTION` if entries between the base and the first recovered one are missing. */
  finishRecovery(): void {
    const isEmpty = this.#index.last < this.#index.first;
    const { index } = this.#base;
    const lost = !isEmpty && this.#index.first !== index + 1;
    const { commit } = this.#writtenHardState;
    if (lost || this.#base.directory === '' || commit > this.lastIndex) {
      throw new RaftreeError(
        'CORRUPTION',
        `the Raft log of group ${this.#id} is incomplete: it starts after entry ${index}, ` +
          `holds ${isEmpty ? 'none' : `${this.#index.first} to ${this.#index.last}`} but its commit index is ${commit}`,
      );
    }
    this.#cache.reset(this.lastIndex + 1);
    this.#entryBytes = 0;
    for (let at = index + 1; at <= this.lastIndex; at++) this.#entryBytes += this.#index.sizeOf(at);
  }

  #moveBase(base: LogBase): void {
    for (let index = this.#index.first; index <= Math.min(base.index, this.#index.last); index++) {
      this.#entryBytes -= this.#index.sizeOf(index);
    }
    this.#base = base;
    this.#changes = this.#changes.filter((change) => change.index > base.index);
    this.#index.dropThrough(base.index);
    while (this.#cache.length > 0 && this.#cache.first <= base.index) this.#cache.dropFirst();
    if (this.#cache.first <= base.index) this.#cache.reset(base.index + 1);
  }

  #restart(base: LogBase): void {
    this.#base = base;
    this.#changes = [];
    this.#index.reset(base.index + 1);
    this.#cache.reset(base.index + 1);
    this.#entryBytes = 0;
  }

  /** In force after this entry, which the log holds. */
  configurationAt(index: number): Configuration {
    let { configuration } = this.#base;
    for (const { index: at, change } of this.#changes) {
      if (at > index) break;
      configuration = changedBy(configuration, at, change);
    }
    return configuration;
  }

  #noteChange(index: number, change: ConfigurationChange | undefined): void {
    while ((this.#changes.at(-1)?.index ?? 0) >= index) this.#changes.pop();
    if (change) this.#changes.push({ index, change });
  }

  #remember(first: number, entries: readonly Entry[]): void {
    if (first > this.lastIndex + 1 || first <= this.#base.index) {
      throw new RaftreeError(
        'RAFT_INVARIANT',
        `entry ${first} cannot follow a log of ${this.#base.index} to ${this.lastIndex}`,
      );
    }
    if (first <= this.#index.last) this.#pin(false);
    for (let index = first; index <= this.#index.last; index++) this.#entryBytes -= this.#index.sizeOf(index);
    if (first < this.#cache.first) this.#cache.reset(first);
    this.#cache.dropFrom(first);
    let at = first;
    for (const entry of entries) {
      const sizeBytes = ENTRY_HEADER_BYTES + entry.body.length;
      this.#index.set(at, sizeBytes, entry.term);
      this.#noteChange(at, entry.kind === 'configuration' ? decodeChange(entry.body) : undefined);
      this.#cache.push(entry);
      this.#entryBytes += sizeBytes;
      at++;
    }
  }

  get cachedBytes(): number {
    return this.#cache.bytes;
  }

  trimCache(bytes: number): void {
    const leastBytes = this.#cache.bytes - bytes;
    while (this.#cache.bytes > leastBytes && this.#cache.length > 0) {
      if (!this.#index.isPlaced(this.#cache.first)) break;
      this.#cache.dropFirst();
    }
  }

  /** Reads entries that are adjacent on disk. None if the first is not there. */
  #readRun(first: number, last: number): Entry[] {
    const start = this.#index.positionOf(first);
    if (!start) return [];
    let end = start.offset + this.#index.sizeOf(first);
    let beyond = first + 1;
    for (; beyond <= last; beyond++) {
      const next = this.#index.positionOf(beyond);
      if (next?.file !== start.file || next.offset !== end) break;
      end += this.#index.sizeOf(beyond);
    }
    const bytes = this.#records().read(start, end - start.offset);
    const entries: Entry[] = [];
    for (let index = first, at = 0; index < beyond; index++) {
      const next = at + this.#index.sizeOf(index);
      const entry = decodeEntry(bytes.subarray(at, next), this.#index.checksumOf(index));
      if (!entry) throw this.#rotten(index);
      entries.push(entry);
      at = next;
    }
    return entries;
  }

  #lacks(first: number, last: number): RaftreeError {
    return new RaftreeError(
      'CORRUPTION',
      `the Raft log of group ${this.#id} lacks entries ${first} to ${last}`,
    );
  }

  #rotten(index: number): RaftreeError {
    const place = this.#index.positionOf(index);
    return new RaftreeError(
      'CORRUPTION',
      `entry ${index} of group ${this.#id} is damaged on disk: segment ${place?.file} of the Raft log, offset ${place?.offset}`,
      { info: { ...place } },
    );
  }
}

const EMPTY_ENTRY: Entry = { term: 0, kind: 'noop', body: new Uint8Array(0) };
