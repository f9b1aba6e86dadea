/**
 * Flush and compaction in the background, as two loops: one flushes frozen memtables, oldest first, the other compacts.
 * A worker thread, or this thread in steps, writes the tables. A flush can interrupt a compaction there. Only this
 * thread changes the version.
 *
 * After a full disk, or when file descriptors are lacking, a loop tries again after a delay that doubles. The other one
 * goes on: a flush may find space where a compaction found none. Any other failure stops both until the tree is opened
 * again.
 */
import { DiskSpace } from '../../env/disk-space.js';
import type { Timer } from '../../env/env.js';
import { isDiskFull, isOutOfDescriptors } from '../../env/errors.js';
import { NO_BYTES } from '../base/bytes.js';
import { closedError, noSpaceError, readOnlyError } from '../base/errors.js';
import type { Memtable } from '../memtable/memtable.js';
import type { ResolvedOptions, StallReason } from '../options.js';
import type { SnapshotList } from '../read/snapshot-list.js';
import type { TableBuilderOptions } from '../table/table-builder.js';
import type { TableCache } from '../table/table-cache.js';
import type { TableFile } from '../table/table-file.js';
import { type KeyRange, sortedRuns, totalBytes, type Version } from '../version/version.js';
import type { VersionSet } from '../version/version-set.js';
import { inputBytes, jobOf } from './compaction.js';
import { type CompactionPlan, codecAt, pickCompaction, planRange, planRewrite } from './compaction-picker.js';
import { droppableTables, type RangeBounds } from './droppable-tables.js';
import { ABANDONED, InlineJobRunner, type InlineOptions, type JobRunner } from './job-runner.js';
import { TableWorker, WorkerJobRunner } from './table-worker.js';

/** The tree, as its maintenance sees it. */
export interface MaintenanceHost {
  readonly options: ResolvedOptions;
  readonly directory: string;
  readonly versions: VersionSet;
  readonly tables: TableCache;
  readonly snapshots: SnapshotList;
  /** Oldest first. */
  frozen(): readonly Memtable[];
  /** The oldest WAL file that recovery needs once the oldest frozen memtable is flushed. */
  oldestWalAfterFlush(): number;
  /** The newest WAL file that durably exists; undefined without a WAL. */
  newestWal(): number | undefined;
  /** The oldest frozen memtable is in durable tables. */
  flushed(event: { readonly tableBytes: number; readonly threadId: number | undefined }): void;
  /** A flush found no space or no descriptor; it is tried again. */
  flushDelayed(error: unknown): void;
  /** Files have changed levels, or the disk has become full or has space again. */
  changed(): void;
  failed(error: unknown): void;
  /** Throws if the directory is missing: tables would be written into another directory. */
  checkDirectory(): void;
}

export interface MaintenanceStats {
  readonly flushes: number;
  readonly compactions: number;
  readonly moves: number;
  readonly flushedBytes: number;
  readonly compactedBytes: number;
}

const MAX_DELAY_FACTOR = 64;

type Loop = 'flush' | 'compaction';

const NO_FILES: ReadonlySet<TableFile> = new Set();

interface ManualCompaction {
  readonly range: KeyRange;
  /** Files from this number on were made after the call began. */
  readonly firstNumber: number;
  level: number;
  /** The part of the range in this level that is not compacted yet. */
  left: KeyRange;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Maintenance {
  readonly #host: MaintenanceHost;
  readonly #runner: JobRunner;
  readonly #manual: ManualCompaction[] = [];
  #flushing: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  /** The input files of the running compaction. */
  #inputs: ReadonlySet<TableFile> = NO_FILES;
  /** Removals of tables in progress. No compaction begins meanwhile. */
  #drops = 0;
  #stopped = false;
  #stopReason: unknown;
  readonly #diskSpace: DiskSpace;
  /** The loops that wait until they try again. */
  readonly #waiting = new Map<Loop, Timer>();
  /** Bytes of recent flushes; older flushes count less. */
  #flushBytes = 0;
  #flushMs = 0;
  readonly #counters = { flushes: 0, compactions: 0, moves: 0, flushedBytes: 0, compactedBytes: 0 };

  constructor(host: MaintenanceHost) {
    this.#host = host;
    const { logger, env, retryDelayMs } = host.options;
    this.#diskSpace = new DiskSpace(logger, env, {
      retryMs: retryDelayMs,
      maxRetryMs: retryDelayMs * MAX_DELAY_FACTOR,
      began: 'writing tables is tried again',
      ended: 'tables are written again',
    });
    this.#runner = this.#newRunner();
  }

  get stats(): MaintenanceStats {
    return { ...this.#counters };
  }

  /** Whether the last flush or the last compaction found no space. */
  get diskIsFull(): boolean {
    return this.#isOutOfSpace('flush') || this.#isOutOfSpace('compaction');
  }

  /** Whether what ends this stall, a flush or a compaction, found no space at its last attempt. */
  cannotEnd(stall: StallReason): boolean {
    return this.#isOutOfSpace(stall === 'memtables' ? 'flush' : 'compaction');
  }

  /** Bytes of memtables flushed per millisecond in recent flushes; infinite if they took no time. */
  get flushBytesPerMs(): number {
    return this.#flushMs > 0 ? this.#flushBytes / this.#flushMs : Number.POSITIVE_INFINITY;
  }

  /** Starts a loop that has work and is not running. */
  kick(): void {
    if (this.#stopped) return;
    if (!this.#flushing && !this.#waiting.has('flush') && this.#hasFlush()) {
      this.#flushing = this.#run('flush', () => this.#flushAll()).finally(() => {
        this.#flushing = undefined;
        this.kick();
      });
    }
    if (this.#compacting || this.#waiting.has('compaction') || this.#drops > 0) return;
    if (!this.#hasCompaction()) {
      // The compaction that failed is not wanted any more.
      this.#resumed('compaction');
    } else {
      this.#compacting = this.#run('compaction', () => this.#compactAll()).finally(() => {
        this.#compacting = undefined;
        this.kick();
      });
    }
  }

  /** Compacts a range down to the deepest level that holds any of it, and rewrites what is there already. */
  compactRange(range: KeyRange): Promise<void> {
    if (this.#stopped) return Promise.reject(this.#stopReason);
    return new Promise((resolve, reject) => {
      const firstNumber = this.#host.versions.nextFileNumber;
      this.#manual.push({ range, firstNumber, level: 0, left: range, resolve, reject });
      this.kick();
    });
  }

  /**
   * Removes the tables of a range that `droppableTables` allows; resolves to their number, 0 if a snapshot is listed.
   * What was written up to `lastSequence` must be in durable tables. Rejects with `LSM_READ_ONLY`.
   */
  async dropTables(bounds: RangeBounds, lastSequence: number): Promise<number> {
    const { versions, snapshots } = this.#host;
    this.#drops++;
    try {
      await this.#abandonUseless(bounds, lastSequence);
      if (this.#stopped) throw this.#stopReason;
      const removed = droppableTables(versions.current, bounds, lastSequence, this.#inputs);
      if (removed.length === 0) return 0;
      const isDone = await versions.remove(removed, () => snapshots.size > 0);
      if (isDone) this.#host.changed();
      return isDone ? removed.length : 0;
    } catch (error) {
      if (isDiskFull(error) || isOutOfDescriptors(error)) {
        this.#retryLater('compaction', error);
        throw isDiskFull(error) ? noSpaceError(error) : error;
      }
      if (!this.#stopped) this.#fail(error);
      throw error;
    } finally {
      this.#drops--;
      this.kick();
    }
  }

  /**
   * Abandons the running compaction if at least half of its input bytes can be removed instead. So the lost work is at
   * most twice the bytes that are removed.
   */
  async #abandonUseless(bounds: RangeBounds, lastSequence: number): Promise<void> {
    if (this.#inputs.size === 0 || this.#manual.length > 0) return;
    const { versions } = this.#host;
    const removable = new Set(
      droppableTables(versions.current, bounds, lastSequence, NO_FILES).map(({ number }) => number),
    );
    const inputs = [...this.#inputs];
    const useless = inputs.filter((file) => removable.has(file.number));
    if (2 * totalBytes(useless) < totalBytes(inputs)) return;
    this.#runner.abandonCompaction();
    await this.#compacting;
  }

  /**
   * Abandons a running compaction between two blocks, completes a running flush, and resolves when nothing runs.
   * Waiting calls of `compactRange` reject with the first reason.
   */
  async stop(reason: unknown = closedError()): Promise<void> {
    if (!this.#stopped) this.#stopReason = reason;
    this.#stopped = true;
    this.#runner.abandonCompaction();
    await Promise.all([this.#flushing, this.#compacting]);
    for (const timer of this.#waiting.values()) timer.cancel();
    this.#runner.close();
    for (const manual of this.#manual.splice(0)) manual.reject(this.#stopReason);
  }

  #newRunner(): JobRunner {
    const { options, directory, tables, versions } = this.#host;
    const { env, logger, stepBudgetMs } = options;
    const inline: InlineOptions = {
      env,
      directory,
      tables,
      stepBudgetMs,
      newFileNumber: () => versions.newFileNumber(),
      flushWaits: () => this.#hasFlush() && !this.#waiting.has('flush'),
    };
    if (!options.worker || env.threads?.fs !== env.fs) return new InlineJobRunner(inline);
    return new WorkerJobRunner(TableWorker.of(env.threads), {
      ...inline,
      logger,
      takeFileNumbers: (count) => versions.takeFileNumbers(count),
    });
  }

  #hasFlush(): boolean {
    return this.#host.frozen().length > 0;
  }

  #hasCompaction(): boolean {
    return this.#manual.length > 0 || this.#pick() !== undefined;
  }

  #pick(): CompactionPlan | undefined {
    const { versions, options, snapshots } = this.#host;
    const isForeign = versions.owned && ((file: TableFile) => versions.isForeign(file));
    return pickCompaction(versions.current, options, snapshots.oldest, isForeign);
  }

  async #run(loop: Loop, work: () => Promise<void>): Promise<void> {
    // A job never starts in the turn of the write that caused it.
    await new Promise<void>((resolve) => this.#host.options.env.timers.endOfTurn(resolve));
    try {
      await work();
    } catch (error) {
      if (error === ABANDONED) return;
      if (isDiskFull(error) || isOutOfDescriptors(error)) this.#retryLater(loop, error);
      else this.#fail(error);
    }
  }

  async #flushAll(): Promise<void> {
    for (;;) {
      const memtable = this.#host.frozen()[0];
      if (this.#stopped || !memtable) return;
      await this.#flush(memtable);
    }
  }

  async #compactAll(): Promise<void> {
    for (;;) {
      const plan = this.#stopped || this.#drops > 0 ? undefined : this.#nextPlan();
      if (!plan) return;
      const manual = this.#manual[0];
      try {
        await this.#compact(plan);
      } catch (error) {
        // Otherwise this part of its range would not be tried again.
        const mayPass = isDiskFull(error) || isOutOfDescriptors(error);
        if (manual && mayPass && this.#manual[0] === manual) {
          this.#manual.shift();
          manual.reject(isDiskFull(error) ? noSpaceError(error) : error);
        }
        throw error;
      }
    }
  }

  #nextPlan(): CompactionPlan | undefined {
    for (let manual = this.#manual[0]; manual; manual = this.#manual[0]) {
      const plan = this.#nextOf(manual);
      if (plan) return plan;
      this.#manual.shift();
      manual.resolve();
    }
    return this.#pick();
  }

  #nextOf(manual: ManualCompaction): CompactionPlan | undefined {
    const { versions, options } = this.#host;
    const version = versions.current;
    const deepest = deepestLevel(version);
    for (; manual.level <= deepest; manual.level++, manual.left = manual.range) {
      const plan =
        manual.level < deepest
          ? planRange(version, manual.level, manual.left, options)
          : planRewrite(version, manual.level, manual.left, manual.firstNumber);
      if (!plan) continue;
      // Files that are flushed from now on are not part of it: level 0 is compacted once.
      if (manual.level === 0) manual.level = 1;
      else manual.left = { smallest: successor(plan.upper), largest: manual.range.largest };
      return plan;
    }
    return undefined;
  }

  async #flush(memtable: Memtable): Promise<void> {
    const { versions, snapshots, options } = this.#host;
    const startMs = options.env.clock.nowMs();
    this.#host.checkDirectory();
    const { tables, threadId } = await this.#runner.flush({
      memtable,
      // A compaction that runs meanwhile only makes these ranges smaller, or closes gaps that hold no keys.
      older: memtable.tombstones > 0 ? sortedRuns(versions.current) : [],
      snapshots: snapshots.sequences(),
      table: this.#tableOptions(0),
    });
    const newestWal = this.#host.newestWal();
    await versions.commit({
      ...(newestWal === undefined ? {} : { newestWal }),
      added: tables.map((table) => ({ ...table, level: 0 })),
      removed: [],
      flushedSequence: memtable.lastSequence,
      oldestWal: this.#host.oldestWalAfterFlush(),
    });
    const tableBytes = tables.reduce((sum, table) => sum + table.sizeBytes, 0);
    this.#flushBytes = this.#flushBytes / 2 + memtable.sizeBytes;
    this.#flushMs = this.#flushMs / 2 + options.env.clock.nowMs() - startMs;
    this.#counters.flushes++;
    this.#counters.flushedBytes += tableBytes;
    this.#resumed('flush');
    this.#host.flushed({ tableBytes, threadId });
    this.kick();
  }

  async #compact(plan: CompactionPlan): Promise<void> {
    const { versions, snapshots, options } = this.#host;
    this.#host.checkDirectory();
    const version = versions.pin();
    this.#inputs = new Set([...plan.upper, ...plan.lower]);
    try {
      const bounds = versions.owned?.bounds;
      const isInherited = versions.state.inheritedBelow > 0;
      const made = plan.isMove
        ? { tables: plan.upper.map((file) => file.metadata), threadId: undefined }
        : await this.#runner.compact(
            jobOf(plan, version, {
              maxFileBytes: options.maxFileBytes,
              snapshots: snapshots.sequences(),
              table: this.#tableOptions(plan.outputLevel),
              bounds,
            }),
          );
      await versions.commit({
        removed: [
          ...plan.upper.map((file) => ({ level: plan.level, number: file.number })),
          ...plan.lower.map((file) => ({ level: plan.outputLevel, number: file.number })),
        ],
        added: made.tables.map((table) => ({ ...table, level: plan.outputLevel })),
        // It may have begun before the tree had bounds.
        ...(isInherited && !bounds ? { inheritedBelow: versions.nextFileNumber } : {}),
      });
      const writtenBytes = plan.isMove ? 0 : made.tables.reduce((sum, table) => sum + table.sizeBytes, 0);
      if (plan.isMove) this.#counters.moves++;
      else this.#counters.compactions++;
      this.#counters.compactedBytes += writtenBytes;
      options.listener?.compacted?.({
        level: plan.level,
        outputLevel: plan.outputLevel,
        inputFiles: plan.upper.length + plan.lower.length,
        outputFiles: made.tables.length,
        readBytes: plan.isMove ? 0 : inputBytes(plan),
        writtenBytes,
        threadId: made.threadId,
      });
    } finally {
      this.#inputs = NO_FILES;
      versions.unpin(version);
    }
    this.#resumed('compaction');
    this.#host.changed();
  }

  #tableOptions(level: number): TableBuilderOptions {
    const { options } = this.#host;
    const { blockBytes, restartInterval, bloomBitsPerKey } = options;
    return { blockBytes, restartInterval, bloomBitsPerKey, codec: codecAt(level, options) };
  }

  #isOutOfSpace(loop: Loop): boolean {
    return this.#diskSpace.isOutOfSpace(loop);
  }

  /** The loop has written its tables. */
  #resumed(loop: Loop): void {
    if (this.#diskSpace.available(loop)) this.#host.changed();
  }

  #retryLater(loop: Loop, error: unknown): void {
    if (this.#waiting.has(loop)) return;
    if (isOutOfDescriptors(error)) this.#host.tables.shed();
    const timer = this.#diskSpace.retryAfter(loop, error, () => {
      this.#waiting.delete(loop);
      this.kick();
    });
    this.#waiting.set(loop, timer);
    if (loop === 'flush') this.#host.flushDelayed(error);
    this.#host.changed();
  }

  #fail(error: unknown): void {
    if (!this.#stopped) this.#stopReason = readOnlyError(error, 'notCommitted');
    this.#stopped = true;
    this.#runner.abandonCompaction();
    for (const manual of this.#manual.splice(0)) manual.reject(error);
    this.#host.failed(error);
  }
}

/** The first key after the last file. The files are in order. */
function successor(files: readonly TableFile[]): Buffer {
  return Buffer.concat([files.at(-1)?.largest ?? NO_BYTES, Buffer.of(0)]);
}

/** At least 1, so that data that is only in level 0 is compacted too. */
function deepestLevel(version: Version): number {
  return Math.max(
    1,
    version.levels.findLastIndex((files) => files.length > 0),
  );
}
