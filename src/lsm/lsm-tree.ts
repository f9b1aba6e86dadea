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
import { isDiskFull } from '../env/errors.js';
import { checkBytes, invalid, noSpaceError } from './base/errors.js';
import { type KeyBounds, OwnedKeys } from './base/key-bounds.js';
import { checkKeys, checkRange, copyBounds } from './check-arguments.js';
import { writeCheckpoint } from './checkpoint.js';
import { closeTree } from './close-tree.js';
import { droppableTables, type RangeBounds } from './compaction/droppable-tables.js';
import { openTree, type TreeParts } from './open-tree.js';
import type { LsmOptions, ResolvedOptions, StallReason } from './options.js';
import { approximateTableBytes } from './read/approximate-size.js';
import {
  checkIteratorOptions,
  copyEntry,
  copyKeyOnly,
  type IteratorOptions,
  type LsmIterator,
  type MakeEntry,
} from './read/iterator.js';
import type { Snapshot } from './read/snapshot-list.js';
import { type Survey, surveyTables } from './read/survey.js';
import { type LsmStats, treeStats } from './stats.js';
import type { TableFile, TableMetadata } from './table/table-file.js';
import { type VerifyReport, verifyTree } from './tools/verify.js';
import type { KeyRange } from './version/version.js';
import {
  batchBytes,
  type DeletionBatch,
  encodeBatch,
  isReusable,
  type Operation,
  reuse,
} from './wal/write-batch.js';
import type { WriteOptions } from './write/write-path.js';

export interface ReadOptions {
  readonly snapshot?: Snapshot;
}

const NEWEST: number = Number.MAX_SAFE_INTEGER;
const NO_TABLES: ReadonlySet<TableFile> = new Set();

export class LsmTree {
  /** With the defaults filled in. */
  readonly options: ResolvedOptions;
  /** Absolute, without symbolic links. */
  readonly directory: string;
  readonly #parts: TreeParts;
  #closing: Promise<void> | undefined;

  /**
   * Opens the tree in a directory, which is created if it does not exist, and recovers what is there.
   *
   * Throws `LSM_LOCKED` if it is open elsewhere, `LSM_INVALID` for an option that is not known or out of its limits,
   * `LSM_MISSING` or `LSM_EXISTS` if the options say so, `LSM_FOREIGN` if another kind of database is there,
   * `CORRUPTION` (with path and offset in `info`) if what must be there is damaged, or the system's error.
   */
  static async open(directory: string, options: LsmOptions = {}): Promise<LsmTree> {
    return new LsmTree(await openTree(directory, options));
  }

  private constructor(parts: TreeParts) {
    this.options = parts.options;
    this.directory = parts.directory;
    this.#parts = parts;
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
      this.#parts.life.checkWritable();
      const payload = encodeBatch(operations, batchBytes(operations));
      const written = this.#parts.writes.write(payload, operations.length, options);
      if (!isReusable(payload.length)) return written;
      return written.then((sequence) => {
        reuse(payload);
        return sequence;
      });
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
      this.#parts.life.checkWritable();
      return this.#parts.writes.write(batch.finish(), batch.count, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * As `write`, at once, for a tree of durability `none`. Never waits: a caller that writes much awaits `room()`
   * first if there is a `stallReason`. Throws as `write` rejects.
   */
  writeSync(operations: readonly Operation[]): number {
    this.#parts.life.checkWritable();
    return this.#parts.writes.writeNow(operations);
  }

  /**
   * Of a tree of durability `none`: asks for more operations directly before a memtable is frozen, between two calls of
   * `writeSync`. They become durable together with all that is in the memtable. Batches may be empty then.
   * @internal
   */
  beforeFreeze(operations: () => readonly Operation[]): void {
    this.#parts.writes.log.defer(operations);
  }

  /** Why a write would have to wait now; undefined if it need not. */
  get stallReason(): StallReason | undefined {
    return this.#parts.writes.gate.stallReason;
  }

  /**
   * Tables cannot be written because the disk is full, and the memtables fill up: writes will soon have to wait, or do
   * so already.
   */
  get isOutOfSpace(): boolean {
    return this.#parts.writes.isPressedByFullDisk;
  }

  /** Resolves when a write would not have to wait. Rejects as `write` does. */
  room(): Promise<void> {
    try {
      // A tree that has stopped writing will never have room.
      this.#parts.life.checkWritable();
      return this.#parts.writes.room();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * The value of a key, now or at a snapshot; the caller's own, but for the ArrayBuffer behind it, which several may
   * share, as with all small Buffers.
   * Throws `LSM_CLOSED`, `LSM_INVALID` for a released snapshot, `CORRUPTION` if a block that it needs is damaged, or
   * the system's error.
   */
  getSync(key: Uint8Array, options?: ReadOptions): Buffer | undefined {
    const { life, reader, states } = this.#parts;
    life.checkNotClosed();
    checkBytes(key, 'a key');
    const sequence = options?.snapshot ? this.#sequenceOf(options.snapshot) : NEWEST;
    return reader.get(key, states.at(sequence));
  }

  /** Whether a key has a value: as `getSync`, without a copy of it. A large one is not read. */
  hasSync(key: Uint8Array, options?: ReadOptions): boolean {
    const { life, reader, states } = this.#parts;
    life.checkNotClosed();
    checkBytes(key, 'a key');
    const sequence = options?.snapshot ? this.#sequenceOf(options.snapshot) : NEWEST;
    return reader.has(key, states.at(sequence));
  }

  /** As `getSync`, of the moment of the call; other events run now and then, and while reads are slow. */
  get(key: Uint8Array, options?: ReadOptions): Promise<Buffer | undefined> {
    try {
      if (!this.#parts.reader.isSlow) return this.#parts.reads.handOn(this.getSync(key, options));
      this.#parts.life.checkOpen();
      checkBytes(key, 'a key');
      return this.#parts.reads.get(key, this.#sequenceFor(options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As `hasSync`; other events run now and then. */
  has(key: Uint8Array, options?: ReadOptions): Promise<boolean> {
    try {
      return this.#parts.reads.handOn(this.hasSync(key, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The values of several keys, all of the moment of the call, in the order of the keys. */
  getMany(keys: readonly Uint8Array[], options?: ReadOptions): Promise<(Buffer | undefined)[]> {
    try {
      this.#parts.life.checkOpen();
      checkKeys(keys);
      return this.#parts.reads.getMany(keys, this.#sequenceFor(options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Whether several keys have values, all of the moment of the call. Large values are not read. */
  hasMany(keys: readonly Uint8Array[], options?: ReadOptions): Promise<boolean[]> {
    try {
      this.#parts.life.checkOpen();
      checkKeys(keys);
      return this.#parts.reads.hasMany(keys, this.#sequenceFor(options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Remembers the state of now, to be read by `get` and `iterator`, until it is released. */
  snapshot(): Snapshot {
    this.#parts.life.checkOpen();
    return this.#parts.snapshots.take(this.lastSequence);
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
    this.#parts.life.checkOpen();
    checkIteratorOptions(options);
    return this.#parts.reads.iterator(options, this.#sequenceFor(options), make);
  }

  /** The sequence of the newest write that readers see. */
  get lastSequence(): number {
    return this.#parts.writes.log.lastSequence;
  }

  /** Every write up to this sequence survives a power cut: it is in durable tables, or synced in the WAL. */
  get durableSequence(): number {
    return this.#parts.writes.log.durableSequence;
  }

  /** Every write up to this sequence is in durable tables. */
  get flushedSequence(): number {
    return this.#parts.versions.flushedSequence;
  }

  /**
   * Brings everything written so far into durable tables; resolves to `durableSequence`.
   * Rejects with `LSM_NO_SPACE`, `LSM_READ_ONLY` or `LSM_CLOSED`.
   */
  async flush(): Promise<number> {
    this.#parts.life.checkWritable();
    await this.#parts.writes.freezer.flushAll();
    return this.durableSequence;
  }

  /**
   * Flushes, then makes `directory` (which must not exist) a tree of its own with everything written before the call
   * and perhaps some of what came since; resolves to the sequence up to which it holds everything. It shares the
   * tables' files where it is on the same device. A crash leaves nothing that counts, at most `directory` + `.tmp`.
   *
   * With bounds, it holds what lies within them: the tree there is to be given the same bounds (`restrict`) at each
   * opening.
   *
   * Rejects with `LSM_INVALID` if the directory exists, lies within the tree's own, or another checkpoint is being
   * made there, `LSM_NO_SPACE`, `LSM_READ_ONLY`, `LSM_CLOSED`, or the
   * system's error; the tree goes on.
   */
  async checkpoint(directory: string, bounds?: KeyBounds): Promise<number> {
    this.#parts.life.checkWritable();
    await this.#parts.writes.freezer.flushAll();
    this.#parts.life.checkOpen();
    const { versions, background } = this.#parts;
    const version = versions.pin();
    const { flushedSequence, nextFileNumber, state } = versions;
    const source = {
      env: this.options.env,
      directory: this.directory,
      version,
      flushedSequence,
      nextFileNumber,
      inheritedBelow: bounds ? nextFileNumber : state.inheritedBelow,
      owned: bounds && new OwnedKeys(bounds),
    };
    const written = writeCheckpoint(source, directory).finally(() => versions.unpin(version));
    await background.add(written).catch((error: unknown) => {
      throw isDiskFull(error) ? noSpaceError(error) : error;
    });
    return flushedSequence;
  }

  /**
   * Only keys within these bounds are the tree's own, until it is closed: others are not there, whatever its tables
   * hold, and compactions drop them. To be called directly after the opening. Others must not be written.
   */
  restrict(bounds: KeyBounds): void {
    const { life, versions, writes } = this.#parts;
    life.checkOpen();
    versions.owned = new OwnedKeys(bounds);
    if (life.failure === undefined) writes.maintenance.kick();
  }

  /**
   * Rewrites a range (both ends included, everything by default) into the deepest level, dropping what is hidden.
   * Rejects with `LSM_NO_SPACE`, `LSM_READ_ONLY`, `LSM_CLOSED`, or the system's error where files cannot be opened;
   * part of the range may be done then.
   */
  async compactRange(range: Partial<KeyRange> = {}): Promise<void> {
    checkRange(range);
    await this.flush();
    await this.#parts.writes.maintenance.compactRange({ smallest: range.smallest, largest: range.largest });
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
    const { life, snapshots, versions, background, writes } = this.#parts;
    life.checkWritable();
    const bounds = copyBounds(range);
    const sequence = this.lastSequence;
    if (snapshots.size > 0) return 0;
    if (droppableTables(versions.current, bounds, sequence, NO_TABLES).length === 0) return 0;
    // So all that was written before the removal is durable before it, and in tables that can be removed.
    await writes.freezer.flushAll();
    life.checkWritable();
    return background.add(writes.maintenance.dropTables(bounds, sequence));
  }

  /**
   * About how many bytes a range (both ends included, open by default) takes, in tables and in memtables. What was
   * overwritten or deleted counts until compaction drops it.
   */
  approximateSize(range: Partial<KeyRange> = {}): number {
    this.#parts.life.checkOpen();
    checkRange(range);
    const { versions, tables, memtables } = this.#parts;
    return approximateTableBytes(versions.current, tables, range) + memtables.approximateSize(range);
  }

  /**
   * Flushes, and gives about how many bytes a range takes (both ends included, open by default), and keys at even
   * distances of these bytes. Only keys within the bounds of the tree count. Rejects as `flush`, or with `CORRUPTION`.
   */
  async survey(range: Partial<KeyRange>, samples: number): Promise<Survey> {
    checkRange(range);
    await this.flush();
    const { life, versions, tables } = this.#parts;
    life.checkOpen();
    const { owned } = versions;
    return surveyTables(versions.current, tables, range, samples, (key) => owned?.owns(key) ?? true);
  }

  /** Reads every byte of every table and checks every rule; damage is reported, not thrown. */
  async verify(): Promise<VerifyReport> {
    this.#parts.life.checkOpen();
    const { versions, background } = this.#parts;
    const version = versions.pin();
    const verified = verifyTree(this.options.env, this.directory, version);
    return background.add(verified.finally(() => versions.unpin(version)));
  }

  /** The tables by level; in level 0 the newest first. */
  tables(): readonly (readonly TableMetadata[])[] {
    return this.#parts.versions.current.levels.map((files) => files.map(({ metadata }) => metadata));
  }

  /** The state in numbers. Touches no file and never throws. */
  stats(): LsmStats {
    return treeStats(this.#parts);
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
    this.#closing ??= closeTree(this.#parts);
    return this.#closing;
  }

  /** The state that a read sees if it ends after the next write: that of now, or of a snapshot. */
  #sequenceFor(options: ReadOptions | undefined): number {
    return options?.snapshot ? this.#sequenceOf(options.snapshot) : this.lastSequence;
  }

  #sequenceOf(snapshot: Snapshot): number {
    if (!this.#parts.snapshots.has(snapshot))
      throw invalid('the snapshot was released, or is that of another tree');
    return snapshot.sequence;
  }
}
