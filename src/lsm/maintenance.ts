/**
 * The work behind the writes: one loop that flushes frozen memtables, oldest first, and compacts when nothing waits
 * to be flushed. It works in short steps between which other events run; a memtable that is frozen meanwhile
 * interrupts a compaction between two blocks.
 *
 * A full disk stops it for a while, with a delay that doubles; any other failure for good.
 */
import { errorMessage } from '../env/errors.js';
import { compact, inputBytes } from './compaction.js';
import { type CompactionPlan, pickCompaction, planRange } from './compaction-picker.js';
import { closedError, isDiskFull, readOnlyError } from './errors.js';
import type { Memtable } from './memtable.js';
import { MergeCursor } from './merge-cursor.js';
import type { ResolvedOptions } from './options.js';
import type { SnapshotList } from './snapshot-list.js';
import type { TableCache } from './table-cache.js';
import { type TableWriterContext, writeTables } from './table-writer.js';
import type { KeyRange, Version } from './version.js';
import { VersionFilter } from './version-filter.js';
import type { VersionSet } from './version-set.js';

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
  /** The oldest frozen memtable is in durable tables. */
  flushed(tableBytes: number): void;
  /** Files have changed levels, or a full disk has come or gone. */
  changed(): void;
  failed(error: unknown): void;
}

export interface MaintenanceStats {
  readonly flushes: number;
  readonly compactions: number;
  readonly moves: number;
  readonly flushedBytes: number;
  readonly compactedBytes: number;
}

const MOST_DOUBLINGS = 6;

interface ManualCompaction {
  readonly range: KeyRange;
  level: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Maintenance {
  readonly #host: MaintenanceHost;
  readonly #manual: ManualCompaction[] = [];
  #running: Promise<void> | undefined;
  #stopped = false;
  #stopReason: unknown;
  #retries = 0;
  #waitsForSpace = false;
  #stepStartMs = 0;
  #flushing = false;
  readonly #counters = { flushes: 0, compactions: 0, moves: 0, flushedBytes: 0, compactedBytes: 0 };

  constructor(host: MaintenanceHost) {
    this.#host = host;
  }

  get stats(): MaintenanceStats {
    return { ...this.#counters };
  }

  /** Whether the disk was full when last something was written. */
  get diskIsFull(): boolean {
    return this.#retries > 0;
  }

  /** Looks for work. */
  kick(): void {
    if (this.#running || this.#waitsForSpace || this.#stopped) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#hasWork()) this.kick();
    });
  }

  /** Compacts a range down to the deepest level that holds any of it. */
  compactRange(range: KeyRange): Promise<void> {
    if (this.#stopped) return Promise.reject(this.#stopReason);
    return new Promise((resolve, reject) => {
      this.#manual.push({ range, level: 0, resolve, reject });
      this.kick();
    });
  }

  /**
   * Gives up a compaction between two blocks; a flush is completed. Resolves when nothing runs. Whoever waits for a
   * range to be compacted is told the first reason that there was to stop.
   */
  async stop(reason: unknown = closedError()): Promise<void> {
    if (!this.#stopped) this.#stopReason = reason;
    this.#stopped = true;
    await this.#running;
    for (const manual of this.#manual.splice(0)) manual.reject(this.#stopReason);
  }

  #hasWork(): boolean {
    if (this.#stopped || this.#waitsForSpace) return false;
    return this.#host.frozen().length > 0 || this.#manual.length > 0 || this.#pick() !== undefined;
  }

  #pick(): CompactionPlan | undefined {
    return pickCompaction(this.#host.versions.current, this.#host.options);
  }

  async #run(): Promise<void> {
    // Never in the turn of the write that asked for it.
    await this.#endOfTurn();
    try {
      while (!this.#stopped) {
        if (this.#host.frozen().length > 0) await this.#flush();
        else {
          const plan = this.#nextPlan();
          if (!plan) break;
          await this.#compact(plan);
        }
        if (this.#retries > 0) {
          this.#retries = 0;
          this.#host.changed();
        }
      }
    } catch (error) {
      if (error === STOPPED) return;
      if (isDiskFull(error)) this.#retryLater(error);
      else this.#fail(error);
    }
  }

  #nextPlan(): CompactionPlan | undefined {
    const { versions, options } = this.#host;
    for (let manual = this.#manual[0]; manual; manual = this.#manual[0]) {
      for (; manual.level < deepestLevel(versions.current); manual.level++) {
        const plan = planRange(versions.current, manual.level, manual.range, options);
        if (plan) return plan;
      }
      this.#manual.shift();
      manual.resolve();
    }
    return this.#pick();
  }

  async #flush(): Promise<void> {
    const memtable = this.#host.frozen()[0];
    if (!memtable) return;
    const { versions, snapshots } = this.#host;
    this.#flushing = true;
    try {
      const source = new MergeCursor([memtable.cursor()]);
      source.seekToStart();
      const filter = new VersionFilter(snapshots.sequences(), () => false);
      const tables = await writeTables(source, filter, () => false, this.#writerContext());
      await versions.commit({
        added: tables.map((table) => ({ ...table, level: 0 })),
        removed: [],
        flushedSequence: memtable.lastSequence,
        oldestWal: this.#host.oldestWalAfterFlush(),
      });
      const bytes = tables.reduce((sum, table) => sum + table.sizeBytes, 0);
      this.#counters.flushes++;
      this.#counters.flushedBytes += bytes;
      this.#host.flushed(bytes);
    } finally {
      this.#flushing = false;
    }
  }

  async #compact(plan: CompactionPlan): Promise<void> {
    const { versions, tables, snapshots, options } = this.#host;
    const version = versions.pin();
    try {
      const edit = await compact(plan, version, {
        ...this.#writerContext(),
        tables,
        maxFileBytes: options.maxFileBytes,
        snapshots: snapshots.sequences(),
      });
      await versions.commit(edit);
      const writtenBytes = plan.isMove ? 0 : edit.added.reduce((sum, table) => sum + table.sizeBytes, 0);
      if (plan.isMove) this.#counters.moves++;
      else this.#counters.compactions++;
      this.#counters.compactedBytes += writtenBytes;
      options.listener?.compacted?.({
        level: plan.level,
        outputLevel: plan.outputLevel,
        inputFiles: plan.upper.length + plan.lower.length,
        outputFiles: edit.added.length,
        readBytes: plan.isMove ? 0 : inputBytes(plan),
        writtenBytes,
      });
    } finally {
      versions.unpin(version);
    }
    this.#host.changed();
  }

  #writerContext(): TableWriterContext {
    const { options, directory, versions } = this.#host;
    this.#stepStartMs = options.env.clock.nowMs();
    return {
      env: options.env,
      directory,
      table: options,
      newFileNumber: () => versions.newFileNumber(),
      breathe: () => this.#breathe(),
    };
  }

  #breathe(): Promise<void> | undefined {
    if (this.#stopped && !this.#flushing) throw STOPPED;
    if (this.#host.frozen().length > 0 && !this.#flushing) return this.#flush();
    const { clock } = this.#host.options.env;
    if (clock.nowMs() - this.#stepStartMs < this.#host.options.stepBudgetMs) return undefined;
    return this.#endOfTurn().then(() => {
      this.#stepStartMs = clock.nowMs();
    });
  }

  #endOfTurn(): Promise<void> {
    return new Promise((resolve) => this.#host.options.env.timers.endOfTurn(resolve));
  }

  #retryLater(error: unknown): void {
    const { options } = this.#host;
    const delayMs = options.retryDelayMs * 2 ** Math.min(this.#retries, MOST_DOUBLINGS);
    this.#retries++;
    this.#waitsForSpace = true;
    options.logger.warn(
      { error: errorMessage(error), delayMs },
      'the disk is full; writing tables is tried again',
    );
    options.env.timers.after(delayMs, () => {
      this.#waitsForSpace = false;
      this.kick();
    });
    this.#host.changed();
  }

  #fail(error: unknown): void {
    if (!this.#stopped) this.#stopReason = readOnlyError(error, 'not committed');
    this.#stopped = true;
    for (const manual of this.#manual.splice(0)) manual.reject(error);
    this.#host.failed(error);
  }
}

const STOPPED = new Error('maintenance was stopped');

/** At least 1: what is only in level 0 is compacted too. */
function deepestLevel(version: Version): number {
  return Math.max(
    1,
    version.levels.findLastIndex((files) => files.length > 0),
  );
}
