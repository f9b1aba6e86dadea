/**
 * A durable ordered key-value store in one directory (after O'Neil et al., The Log-Structured Merge-Tree, 1996, in
 * the leveled form of LevelDB).
 *
 *     write  ─► WAL ─► active memtable ─► frozen memtables ─► level 0 ─► level 1 ─► …
 *     read   ◄─ active memtable, frozen memtables, level 0 from new to old, one table of each further level
 *
 *     LOCK.…            who has it open                           env/directory-lock.ts
 *     CURRENT           keeps LevelDB away                        other-engines.ts
 *     MANIFEST-n        which tables make it up                   manifest.ts
 *     wal-n.log         batches that are not yet in tables        write-batch.ts
 *     n.sst             tables                                    table-format.ts
 */
import type { DirectoryLock } from '../env/directory-lock.js';
import { errorCode, errorMessage, isDiskFull, type RaftreeError } from '../env/errors.js';
import { ownedFiles } from '../env/owned-files.js';
import type { RecordLog } from '../record/record-log.js';
import { BackgroundWork } from './base/background-work.js';
import {
  busyError,
  checkBytes,
  closedError,
  invalid,
  noSpaceError,
  notDurableError,
  openingError,
  readOnlyError,
} from './base/errors.js';
import { writeCheckpoint } from './checkpoint.js';
import { droppableTables, type RangeBounds } from './compaction/droppable-tables.js';
import { Maintenance, type MaintenanceHost } from './compaction/maintenance.js';
import { takeDirectory } from './directory/tree-directory.js';
import type { WriteBuffer } from './memtable/write-buffer-budget.js';
import {
  type FlushEvent,
  type LsmOptions,
  type ResolvedOptions,
  resolveOptions,
  type StallReason,
} from './options.js';
import { approximateTableBytes } from './read/approximate-size.js';
import {
  checkIteratorOptions,
  copyEntry,
  copyKeyOnly,
  type IteratorOptions,
  type LsmIterator,
  type MakeEntry,
} from './read/iterator.js';
import { MemtableList } from './read/memtable-list.js';
import { PinnedReads } from './read/pinned-reads.js';
import { ReadStates } from './read/read-state.js';
import { Reader } from './read/reader.js';
import { type Snapshot, SnapshotList } from './read/snapshot-list.js';
import { markWalEnd, nameWal, replayWal } from './recovery.js';
import { contentStats, type LsmStats } from './stats.js';
import { TableCache } from './table/table-cache.js';
import type { TableFile, TableMetadata } from './table/table-file.js';
import { type VerifyReport, verifyTree } from './tools/verify.js';
import type { KeyRange } from './version/version.js';
import { VersionSet } from './version/version-set.js';
import { isLogFull } from './wal/wal.js';
import {
  batchBytes,
  type DeletionBatch,
  encodeBatch,
  insertEncoded,
  insertOperations,
  type Operation,
  setFirstSequence,
} from './wal/write-batch.js';
import { FlushWaiters } from './write/flush-waiters.js';
import { WriteGate } from './write/write-gate.js';

export interface WriteOptions {
  /** What this write waits for; the tree's `durability` by default. Without effect in a tree that has no WAL. */
  readonly durability?: 'sync' | 'buffered';
}

export interface ReadOptions {
  readonly snapshot?: Snapshot;
}

/** So many deleted or hidden entries, passed over since the last time, are worth a flush … */
const PASSED_TO_FLUSH = 65_536;
/** … if this share of the memtable is tombstones. */
const TOMBSTONES_TO_FLUSH = 0.25;

const NEWEST: number = Number.MAX_SAFE_INTEGER;
const NO_TABLES: ReadonlySet<TableFile> = new Set();

function checkRange({ smallest, largest }: Partial<KeyRange>): void {
  if (smallest !== undefined) checkBytes(smallest, 'smallest');
  if (largest !== undefined) checkBytes(largest, 'largest');
}

/** The caller's may change while the tree waits. */
function copyBounds({ gt, gte, lt, lte }: RangeBounds): RangeBounds {
  for (const [name, bound] of Object.entries({ gt, gte, lt, lte })) {
    if (bound !== undefined) checkBytes(bound, name);
  }
  const copy = (bound: Uint8Array | undefined) => bound && Buffer.from(bound);
  return { gt: copy(gt), gte: copy(gte), lt: copy(lt), lte: copy(lte) };
}

export class LsmTree {
  /** With the defaults filled in. */
  readonly options: ResolvedOptions;
  /** Absolute, without symbolic links. */
  readonly directory: string;
  readonly #versions: VersionSet;
  readonly #tables: TableCache;
  readonly #snapshots: SnapshotList = new SnapshotList(() => {
    if (this.#state === 'open') this.#maintenance.kick();
  });
  readonly #lock: DirectoryLock;
  readonly #maintenance: Maintenance;
  readonly #states: ReadStates;
  readonly #reader: Reader;
  readonly #reads: PinnedReads;
  readonly #gate: WriteGate;
  readonly #background = new BackgroundWork();
  #removesWalFiles = false;
  readonly #writeBuffer: WriteBuffer;
  #wal: RecordLog | undefined;
  readonly #memtables: MemtableList;
  readonly #flushWaiters = new FlushWaiters();
  /** Given to batches, in the order in which they came. */
  #lastGiven = 0;
  /** In a memtable or table: what a reader of now sees. */
  #lastVisible = 0;
  #durable = 0;
  #passedEntries = 0;
  #failure: unknown;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #closing: Promise<void> | undefined;

  /**
   * Opens the tree in a directory, which is created if it does not exist, and recovers what is there.
   *
   * Throws `LSM_LOCKED` if it is open elsewhere, `LSM_INVALID` for an option that is not known or out of its limits,
   * `LSM_MISSING` or `LSM_EXISTS` if the options say so, `LSM_FOREIGN` if another kind of database is there,
   * `CORRUPTION` (with path and offset in `info`) if what must be there is damaged, or the system's error.
   */
  static async open(directory: string, options: LsmOptions = {}): Promise<LsmTree> {
    const resolved = resolveOptions(options);
    const { env } = resolved;
    const { path, lock } = await takeDirectory(env, directory, resolved);
    const { openTables, blocks } = resolved.resources;
    const owned = { ...env, fs: ownedFiles(env.fs, lock) };
    const tables = new TableCache(owned, path, openTables, blocks);
    try {
      const versions = await VersionSet.open({ ...resolved, env: owned }, path, tables);
      const tree = new LsmTree(resolved, path, lock, tables, versions);
      try {
        await tree.#recover();
      } catch (error) {
        resolved.resources.writeBuffers.leave(tree.#writeBuffer);
        await tree.#wal?.close().catch(() => {});
        await tree.#maintenance.stop();
        await tree.#background.settled();
        await versions.close();
        throw error;
      }
      return tree;
    } catch (error) {
      tables.closeAll();
      lock.release();
      throw openingError(error, path);
    }
  }

  private constructor(
    options: ResolvedOptions,
    directory: string,
    lock: DirectoryLock,
    tables: TableCache,
    versions: VersionSet,
  ) {
    this.options = options;
    this.directory = directory;
    this.#lock = lock;
    this.#tables = tables;
    this.#versions = versions;
    this.#memtables = new MemtableList(
      options.writeBufferBytes,
      options.maxFrozenMemtables,
      options.resources.memtablePool,
    );
    const activeBytes = () => this.#memtables.active.sizeBytes;
    this.#writeBuffer = {
      get activeBytes() {
        return activeBytes();
      },
      freeze: () => this.#freezeEarly(),
    };
    this.#states = new ReadStates(this.#memtables, versions);
    this.#reader = new Reader(tables);
    this.#maintenance = new Maintenance(this.#host());
    this.#reads = new PinnedReads({
      env: options.env,
      states: this.#states,
      tables,
      reader: this.#reader,
      background: this.#background,
      check: () => {
        if (this.#state === 'closed') throw closedError();
      },
      passed: (entries) => this.#passed(entries),
    });
    this.#gate = new WriteGate({
      options,
      versions,
      memtables: this.#memtables,
      maintenance: this.#maintenance,
      queuedBytes: () => this.#wal?.queuedBytes ?? 0,
    });
  }

  /**
   * Applies operations together or not at all. Resolves to the sequence of the last one when they are visible and,
   * as `durability` asks, safe. Batches take effect in the order of the calls. Keys and values are copied before
   * the call returns. Waits while flush and compaction are behind.
   *
   * Rejects with `LSM_INVALID`, `LSM_BUSY`, `LSM_NO_SPACE` or `LSM_CLOSED` (not committed) or `LSM_READ_ONLY`, whose
   * `info.outcome` is `unknown` for the writes during which the failure happened.
   */
  write(operations: readonly Operation[], options: WriteOptions = {}): Promise<number> {
    try {
      this.#checkWritable();
      const payload = encodeBatch(operations, batchBytes(operations));
      return this.#write(payload, operations.length, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * As `write`. The batch must not be used again.
   * @internal
   */
  writeDeletions(batch: DeletionBatch, options: WriteOptions = {}): Promise<number> {
    try {
      this.#checkWritable();
      return this.#write(batch.finish(), batch.count, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }
  /**
   * As `write`, at once, for a tree of durability `none`. Never waits: a caller that writes much awaits `room()`
   * first if there is a `stallReason`. Throws as `write` rejects.
   */
  writeSync(operations: readonly Operation[]): number {
    this.#checkWritable();
    if (this.#wal) throw invalid('writeSync needs a tree with durability none');
    // Takes its share of a slower pace, and need not wait for it.
    this.#gate.take(batchBytes(operations));
    const first = this.#lastGiven + 1;
    this.#lastGiven += operations.length;
    insertOperations(operations, first, this.#memtables.active);
    this.#inserted(this.#lastGiven);
    return this.#lastGiven;
  }

  /** Why a write would have to wait now; undefined if it need not. */
  get stallReason(): StallReason | undefined {
    return this.#gate.stallReason;
  }

  /** Resolves when a write would not have to wait. Rejects as `write` does. */
  room(): Promise<void> {
    try {
      // A tree that has stopped writing will never have room.
      this.#checkWritable();
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#gate.enterNow(0)) return Promise.resolve();
    if (this.#maintenance.diskIsFull) return Promise.reject(noSpaceError());
    return this.#gate.enter(0, () => {});
  }

  /**
   * The value of a key, now or at a snapshot; the caller's own, but for the ArrayBuffer behind it, which several may
   * share, as with all small Buffers.
   * Throws `LSM_CLOSED`, `LSM_INVALID` for a released snapshot, `CORRUPTION` if a block that it needs is damaged, or
   * the system's error.
   */
  getSync(key: Uint8Array, options?: ReadOptions): Buffer | undefined {
    if (this.#state === 'closed') throw closedError();
    checkBytes(key, 'a key');
    const sequence = options?.snapshot ? this.#sequenceOf(options.snapshot) : NEWEST;
    return this.#reader.get(key, this.#states.at(sequence));
  }

  /** Whether a key has a value: as `getSync`, without a copy of it. A large one is not read. */
  hasSync(key: Uint8Array, options?: ReadOptions): boolean {
    if (this.#state === 'closed') throw closedError();
    checkBytes(key, 'a key');
    const sequence = options?.snapshot ? this.#sequenceOf(options.snapshot) : NEWEST;
    return this.#reader.has(key, this.#states.at(sequence));
  }

  /** As `getSync`, of the moment of the call; other events run now and then, and while reads are slow. */
  get(key: Uint8Array, options?: ReadOptions): Promise<Buffer | undefined> {
    try {
      if (!this.#reader.isSlow) return this.#reads.handOn(this.getSync(key, options));
      this.#checkOpen();
      checkBytes(key, 'a key');
      return this.#reads.get(key, this.#sequenceFor(options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As `hasSync`; other events run now and then. */
  has(key: Uint8Array, options?: ReadOptions): Promise<boolean> {
    try {
      return this.#reads.handOn(this.hasSync(key, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The values of several keys, all of the moment of the call, in the order of the keys. */
  getMany(keys: readonly Uint8Array[], options?: ReadOptions): Promise<(Buffer | undefined)[]> {
    try {
      this.#checkOpen();
      for (const key of keys) checkBytes(key, 'a key');
      return this.#reads.getMany(keys, this.#sequenceFor(options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Whether several keys have values, all of the moment of the call. Large values are not read. */
  hasMany(keys: readonly Uint8Array[], options?: ReadOptions): Promise<boolean[]> {
    try {
      this.#checkOpen();
      for (const key of keys) checkBytes(key, 'a key');
      return this.#reads.hasMany(keys, this.#sequenceFor(options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Remembers the state of now, to be read by `get` and `iterator`, until it is released. */
  snapshot(): Snapshot {
    this.#checkOpen();
    return this.#snapshots.take(this.#lastVisible);
  }

  /**
   * Walks over keys in order. Throws `LSM_CLOSED`, or `LSM_INVALID` for a released snapshot or a bound that is none.
   */
  iterator(options: IteratorOptions = {}): LsmIterator {
    return this.iteratorOf(options.values === false ? copyKeyOnly : copyEntry, options);
  }

  /**
   * As `iterator`, of what a function makes of the entries.
   * @internal
   */
  iteratorOf<E extends object>(make: MakeEntry<E>, options: IteratorOptions = {}): LsmIterator<E> {
    this.#checkOpen();
    checkIteratorOptions(options);
    return this.#reads.iterator(options, this.#sequenceFor(options), make);
  }

  /** The sequence of the newest write that readers see. */
  get lastSequence(): number {
    return this.#lastVisible;
  }

  /** Every write up to this sequence survives a power cut: it is in durable tables, or synced in the WAL. */
  get durableSequence(): number {
    return Math.max(this.#durable, this.#versions.flushedSequence);
  }

  /** Every write up to this sequence is in durable tables. */
  get flushedSequence(): number {
    return this.#versions.flushedSequence;
  }

  /**
   * Brings everything written so far into durable tables; resolves to `durableSequence`.
   * Rejects with `LSM_NO_SPACE`, `LSM_READ_ONLY` or `LSM_CLOSED`.
   */
  async flush(): Promise<number> {
    this.#checkWritable();
    await this.#flushAll();
    return this.durableSequence;
  }

  /**
   * Flushes, then makes `directory` (which must not exist) a tree of its own with everything written before the call
   * and perhaps some of what came since; resolves to the sequence up to which it holds everything. It shares the
   * tables' files where it is on the same device. A crash leaves nothing that counts, at most `directory` + `.tmp`.
   *
   * Rejects with `LSM_INVALID` if the directory exists, lies within the tree's own, or another checkpoint is being
   * made there, `LSM_NO_SPACE`, `LSM_READ_ONLY`, `LSM_CLOSED`, or the
   * system's error; the tree goes on.
   */
  async checkpoint(directory: string): Promise<number> {
    this.#checkWritable();
    await this.#flushAll();
    this.#checkOpen();
    const version = this.#versions.pin();
    const { flushedSequence, nextFileNumber } = this.#versions;
    const source = {
      env: this.options.env,
      directory: this.directory,
      version,
      flushedSequence,
      nextFileNumber,
    };
    const written = writeCheckpoint(source, directory).finally(() => this.#versions.unpin(version));
    await this.#background.add(written).catch((error: unknown) => {
      throw isDiskFull(error) ? noSpaceError(error) : error;
    });
    return flushedSequence;
  }

  /**
   * Rewrites a range (both ends included, everything by default) into the deepest level, dropping what is hidden.
   * Rejects with `LSM_NO_SPACE`, `LSM_READ_ONLY`, `LSM_CLOSED`, or the system's error where files cannot be opened;
   * part of the range may be done then.
   */
  async compactRange(range: Partial<KeyRange> = {}): Promise<void> {
    checkRange(range);
    await this.flush();
    await this.#maintenance.compactRange({ smallest: range.smallest, largest: range.largest });
  }

  /**
   * Deletes part of what a range held at the call, or nothing: the tables that hold nothing else are removed whole,
   * by one write of the MANIFEST. The caller deletes the rest key by key. No older value appears in between. Readers
   * see all of the removal or nothing of it. If it took effect before a crash, what was written before the call is
   * there too. Resolves to the number of tables: 0 while snapshots are listed.
   *
   * Rejects as `flush`, or with `LSM_INVALID` for a bound that is none.
   */
  async dropTables(range: RangeBounds): Promise<number> {
    this.#checkWritable();
    const bounds = copyBounds(range);
    const sequence = this.#lastVisible;
    if (this.#snapshots.size > 0) return 0;
    if (droppableTables(this.#versions.current, bounds, sequence, NO_TABLES).length === 0) return 0;
    // So all that was written before the removal is durable before it, and in tables that can be removed.
    await this.#flushAll();
    this.#checkWritable();
    return this.#background.add(this.#maintenance.dropTables(bounds, sequence));
  }

  /**
   * About how many bytes a range (both ends included, open by default) takes, in tables and in memtables. What was
   * overwritten or deleted counts until compaction drops it.
   */
  approximateSize(range: Partial<KeyRange> = {}): number {
    this.#checkOpen();
    checkRange(range);
    const inTables = approximateTableBytes(this.#versions.current, this.#tables, range);
    return inTables + this.#memtables.approximateSize(range);
  }

  /** Reads every byte of every table and checks every rule; damage is reported, not thrown. */
  async verify(): Promise<VerifyReport> {
    this.#checkOpen();
    const version = this.#versions.pin();
    const verified = verifyTree(this.options.env, this.directory, version);
    return this.#background.add(verified.finally(() => this.#versions.unpin(version)));
  }

  /** The tables by level; in level 0 the newest first. */
  tables(): readonly (readonly TableMetadata[])[] {
    return this.#versions.current.levels.map((files) => files.map(({ metadata }) => metadata));
  }

  /** The state in numbers. Touches no file and never throws. */
  stats(): LsmStats {
    const { lastSequence, durableSequence, flushedSequence } = this;
    return {
      lastSequence,
      durableSequence,
      flushedSequence,
      ...contentStats(this.#versions.current, this.#memtables, this.options),
      walBytes: this.#wal?.sizeBytes() ?? 0,
      ...this.#gate.stats,
      ...this.#maintenance.stats,
      diskIsFull: this.#maintenance.diskIsFull,
      isReadOnly: this.#failure !== undefined,
      snapshots: this.#snapshots.size,
      openTables: this.#tables.openCount,
      blockCache: {
        bytes: this.#tables.blocks.sizeBytes,
        hits: this.#tables.blocks.hits,
        misses: this.#tables.blocks.misses,
      },
    };
  }

  /**
   * Finishes the writes under way, makes the WAL durable (or, without one, flushes), and releases the directory.
   * Iterators that are still open then throw `LSM_CLOSED`. May be called twice.
   *
   * Rejects with `LSM_NOT_DURABLE` if writes that were acknowledged are not durable, because the disk is full or has
   * failed: what lies behind `info.durableSequence` may be lost. Otherwise only with the system's error, if something
   * could not be released. Everything else is released in both cases.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #host(): MaintenanceHost {
    return {
      options: this.options,
      directory: this.directory,
      versions: this.#versions,
      tables: this.#tables,
      snapshots: this.#snapshots,
      frozen: () => this.#memtables.frozen,
      oldestWalAfterFlush: () => this.#oldestWalAfterFlush(),
      newestWal: () => this.#wal?.currentFile,
      flushed: (event) => this.#flushed(event),
      flushDelayed: (error) => this.#flushDelayed(error),
      changed: () => this.#changed(),
      failed: (error) => this.#failed(error),
      checkDirectory: () => this.#lock.check(),
    };
  }

  #oldestWalAfterFlush(): number {
    const { oldestWal } = this.#versions.state;
    return this.#wal
      ? Math.max(oldestWal, this.#memtables.oldestWalAfterFlush(this.#wal.currentFile))
      : oldestWal;
  }

  #flushed(event: Omit<FlushEvent, 'flushedSequence'>): void {
    this.#memtables.dropOldest();
    this.#removeWalFiles();
    const { flushedSequence } = this;
    this.#flushWaiters.reached(flushedSequence);
    this.options.listener?.flushed?.({ flushedSequence, ...event });
    this.#freezeIfFull();
    this.#changed();
  }

  #removeWalFiles(): void {
    const wal = this.#wal;
    if (!wal || this.#removesWalFiles) return;
    this.#removesWalFiles = true;
    const { oldestWal } = this.#versions.state;
    const removed = wal.removeBeforeLater(oldestWal).then(
      () => {
        this.#removesWalFiles = false;
        if (this.#versions.state.oldestWal > oldestWal && this.#state === 'open') this.#removeWalFiles();
      },
      (error: unknown) => {
        this.#removesWalFiles = false;
        this.options.logger.warn({ error: errorMessage(error) }, 'an obsolete WAL file could not be removed');
      },
    );
    void this.#background.add(removed);
  }

  #changed(): void {
    if (this.#maintenance.diskIsFull) this.#gate.refuseAll(noSpaceError());
    this.#gate.changed();
  }

  /** A tree that is closing does not wait for descriptors either. */
  #flushDelayed(error: unknown): void {
    if (isDiskFull(error)) this.#flushWaiters.refuseAll(noSpaceError(error));
    else if (this.#state !== 'open') this.#flushWaiters.refuseAll(error);
  }

  #failed(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.options.logger.error({ error: errorMessage(error) }, 'the tree is read-only until it is reopened');
    this.options.listener?.failed?.(error);
    this.#gate.refuseAll(readOnlyError(error, 'notCommitted'));
    this.#flushWaiters.refuseAll(readOnlyError(error, 'unknown'));
  }

  #write(payload: Buffer, count: number, options: WriteOptions): Promise<number> {
    const wal = this.#wal;
    const sizeBytes = payload.length;
    const durability = options.durability ?? this.options.durability;
    if (wal && durability !== 'sync' && durability !== 'buffered') {
      throw invalid(`durability is ${String(durability)}; sync or buffered is accepted`);
    }
    const durable = wal !== undefined && durability === 'sync';
    const pendingBytes = this.#gate.waitingBytes + (wal?.queuedBytes ?? 0);
    if (pendingBytes > 0 && pendingBytes + sizeBytes > this.options.maxWaitingBytes) {
      throw busyError(pendingBytes);
    }
    if (this.#gate.enterNow(sizeBytes)) return this.#append(payload, count, durable);
    if (this.#maintenance.diskIsFull) throw noSpaceError();
    return this.#gate.enter(sizeBytes, () => this.#append(payload, count, durable));
  }

  #append(payload: Buffer, count: number, durable: boolean): Promise<number> {
    const wal = this.#wal;
    const first = this.#lastGiven + 1;
    const last = this.#lastGiven + count;
    this.#lastGiven = last;
    setFirstSequence(payload, first);
    if (!wal) {
      this.#insert(payload, first, last, undefined);
      return Promise.resolve(last);
    }
    return wal.append([payload], durable).then(
      (position) => {
        this.#insert(payload, first, last, position.file);
        if (durable && last > this.#durable) this.#durable = last;
        return last;
      },
      (error: unknown) => {
        const failure = this.#afterFailedAppend(error);
        this.#changed();
        throw failure;
      },
    );
  }

  #insert(payload: Buffer, first: number, last: number, walFile: number | undefined): void {
    const { active } = this.#memtables;
    active.oldestWal ??= walFile;
    insertEncoded(payload, first, active);
    this.#inserted(last);
  }

  #inserted(last: number): void {
    this.#lastVisible = last;
    this.options.resources.writeBuffers.changed(this.#writeBuffer);
    if (this.#memtables.activeIsFull) {
      this.#freezeIfFull();
      this.#gate.note();
    }
  }

  async #flushAll(): Promise<void> {
    const sequence = this.#lastVisible;
    if (sequence <= this.flushedSequence) return;
    const done = this.#flushWaiters.wait(sequence);
    this.#freezeIfFull();
    this.#maintenance.kick();
    await done;
  }

  /** Full, or waited for by a flush. */
  #freezeIfFull(): void {
    const { active, activeIsFull, canFreeze } = this.#memtables;
    const isWanted = active.count > 0 && this.#flushWaiters.wants(active.firstSequence);
    if (!canFreeze || !(activeIsFull || isWanted)) return;
    this.#freeze();
  }

  #freeze(): void {
    this.#memtables.freeze();
    this.#wal?.rotate();
    this.#maintenance.kick();
    this.options.resources.writeBuffers.changed(this.#writeBuffer);
  }

  /** Although the memtable is not full: whether that was possible. */
  #freezeEarly(): boolean {
    const { active, canFreeze } = this.#memtables;
    if (this.#state !== 'open' || this.#failure !== undefined || !canFreeze || active.count === 0)
      return false;
    this.#memtables.freeze();
    this.#wal?.rotate();
    this.#maintenance.kick();
    return true;
  }

  /**
   * Iterators pass over deleted entries one by one. A flush frees the memtable of them, then compaction the tables
   * (RocksDB's memtable_avg_op_scan_flush_trigger).
   */
  #passed(entries: number): void {
    this.#passedEntries += entries;
    if (this.#passedEntries < PASSED_TO_FLUSH) return;
    this.#passedEntries = 0;
    const { count, tombstones } = this.#memtables.active;
    if (tombstones >= count * TOMBSTONES_TO_FLUSH && this.#freezeEarly()) {
      this.options.resources.writeBuffers.changed(this.#writeBuffer);
    }
  }

  #afterFailedAppend(error: unknown): RaftreeError {
    if (isLogFull(error)) return noSpaceError(error);
    if (errorCode(error) === 'LOG_CLOSED') return closedError();
    if (errorCode(error) === 'LOG_FAILED') this.#stopWriting(error);
    return readOnlyError(error, 'unknown');
  }

  #stopWriting(error: unknown): void {
    this.#failed(error);
    void this.#maintenance.stop(readOnlyError(error, 'notCommitted'));
  }

  /** What a read sees that is not over before the next write: the state of now, or of a snapshot. */
  #sequenceFor(options: ReadOptions | undefined): number {
    return options?.snapshot ? this.#sequenceOf(options.snapshot) : this.#lastVisible;
  }

  #sequenceOf(snapshot: Snapshot): number {
    if (!this.#snapshots.has(snapshot))
      throw invalid('the snapshot was released, or is that of another tree');
    return snapshot.sequence;
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw closedError();
  }

  #checkWritable(): void {
    this.#checkOpen();
    if (this.#failure !== undefined) throw readOnlyError(this.#failure, 'notCommitted');
  }

  async #recover(): Promise<void> {
    const { env } = this.options;
    const owned = { ...this.options, env: { ...env, fs: ownedFiles(env.fs, this.#lock) } };
    const { wal, lastSequence } = replayWal(owned, this.directory, this.#versions, this.#memtables);
    this.#wal = wal;
    this.#lastGiven = lastSequence;
    this.#lastVisible = lastSequence;
    this.#durable = lastSequence;
    this.options.resources.writeBuffers.join(this.#writeBuffer);
    if (wal && this.options.durability === 'none') await this.#retireWal(wal);
    else if (wal) await nameWal(wal, this.#versions);
    this.#maintenance.kick();
  }

  /** A tree that had a WAL is opened without one: its content is flushed into tables first. */
  async #retireWal(wal: RecordLog): Promise<void> {
    await this.#flushAll();
    this.#wal = undefined;
    await this.#versions.commit({ added: [], removed: [], oldestWal: wal.currentFile + 1 });
    await wal.close();
  }

  async #close(): Promise<void> {
    /** Why writes may not be durable. It counts only if some are not. */
    let doubt: unknown;
    const failures: unknown[] = [];
    const attempt = async (step: () => unknown) => {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    };
    this.#state = 'closing';
    this.options.resources.writeBuffers.leave(this.#writeBuffer);
    // First of all: a flush would let them in, and without a WAL they would be lost behind it.
    this.#gate.refuseAll(closedError());
    try {
      if (!this.#wal && this.#failure === undefined) await this.#flushAll();
      await this.#closeWal();
    } catch (error) {
      doubt = error;
    }
    await attempt(() => this.#maintenance.stop());
    await this.#background.settled();
    this.#flushWaiters.refuseAll(closedError());
    this.#state = 'closed';
    await attempt(() => this.#tables.closeAll());
    if (this.#wal && this.#failure === undefined && !this.#maintenance.diskIsFull) {
      await markWalEnd(this.#wal, this.#versions, this.options.logger);
    }
    await attempt(() => this.#versions.close());
    await attempt(() => this.#lock.release());
    const { lastSequence, durableSequence } = this;
    if (lastSequence > durableSequence) {
      throw notDurableError(this.#failure ?? doubt ?? failures[0], durableSequence, lastSequence);
    }
    if (doubt !== undefined)
      this.options.logger.warn({ error: errorMessage(doubt) }, 'closing met a failure; no write is lost');
    if (failures.length > 0) throw failures[0];
  }

  async #closeWal(): Promise<void> {
    const wal = this.#wal;
    if (!wal) return;
    await wal.close();
    // A log that has failed is closed without a sync.
    if (!wal.failure) this.#durable = this.#lastVisible;
  }
}
