/** Runs flushes and compactions, which write tables: in the process's worker thread, or here in short steps. */
import type { Env } from '../../env/env.js';
import type { Memtable } from '../memtable/memtable.js';
import { MergeCursor } from '../read/merge-cursor.js';
import type { TableBuilderOptions } from '../table/table-builder.js';
import type { TableCache } from '../table/table-cache.js';
import type { TableMetadata } from '../table/table-file.js';
import { baseLevelCheck, type CompactionJob, compact, type TableExtent } from './compaction.js';
import { type OutputContext, writeTables } from './output-tables.js';
import { VersionFilter } from './version-filter.js';

export interface FlushJob {
  /** Frozen. */
  readonly memtable: Memtable;
  /** All tables, as runs in key order; empty if the memtable has no tombstones. */
  readonly older: readonly (readonly TableExtent[])[];
  /** Listed snapshots, ascending. */
  readonly snapshots: readonly number[];
  readonly table: TableBuilderOptions;
}

export interface MadeTables {
  /** Durable, and so are their names. */
  readonly tables: readonly TableMetadata[];
  /** The thread that wrote them; undefined for the tree's own. */
  readonly threadId: number | undefined;
}

/**
 * At most one flush and one compaction run at a time; the compaction pauses while the flush runs. A job that fails
 * removes its files, if the disk allows it.
 */
export interface JobRunner {
  flush(job: FlushJob): Promise<MadeTables>;
  /** Rejects with `ABANDONED` if the compaction was abandoned. */
  compact(job: CompactionJob): Promise<MadeTables>;
  /** Abandons the running compaction, if it is not done yet. */
  abandonCompaction(): void;
  /** No more jobs are given to the runner afterwards. */
  close(): void;
}

export const ABANDONED: Error = new Error('the compaction was given up');

/** A tombstone that hides nothing in a table is not written, so the flush may write no table at all. */
export function flushMemtable(
  { memtable, older, snapshots }: Pick<FlushJob, 'memtable' | 'older' | 'snapshots'>,
  context: OutputContext,
): Promise<TableMetadata[]> {
  const source = new MergeCursor([memtable.cursor()]);
  source.seekToStart();
  return writeTables(source, new VersionFilter(snapshots, baseLevelCheck(older)), () => false, context);
}

export interface InlineOptions {
  readonly env: Env;
  readonly directory: string;
  readonly tables: TableCache;
  readonly stepBudgetMs: number;
  newFileNumber(): number;
  /** Whether a memtable waits for its flush. */
  flushWaits(): boolean;
}

/** Runs jobs in the tree's own thread, in steps. Other events run between the steps. */
export class InlineJobRunner implements JobRunner {
  readonly #options: InlineOptions;
  #flushing: Promise<unknown> | undefined;
  #compaction: { isAbandoned: boolean } | undefined;
  #stepStartMs = 0;

  constructor(options: InlineOptions) {
    this.#options = options;
  }

  async flush(job: FlushJob): Promise<MadeTables> {
    const flushing = flushMemtable(
      job,
      this.#context(job.table, () => this.#pause()),
    );
    this.#flushing = flushing.catch(() => {});
    try {
      return { tables: await flushing, threadId: undefined };
    } finally {
      this.#flushing = undefined;
    }
  }

  async compact(job: CompactionJob): Promise<MadeTables> {
    const compaction = { isAbandoned: false };
    this.#compaction = compaction;
    const breathe = () => {
      if (compaction.isAbandoned) throw ABANDONED;
      if (this.#flushing) return this.#flushing.then(() => {});
      return this.#options.flushWaits() ? this.#endOfTurn() : this.#pause();
    };
    const tables = await compact(job, this.#options.tables, this.#context(job.table, breathe));
    return { tables, threadId: undefined };
  }

  abandonCompaction(): void {
    if (this.#compaction) this.#compaction.isAbandoned = true;
  }

  close(): void {}

  #context(table: TableBuilderOptions, breathe: () => Promise<void> | undefined): OutputContext {
    const { env, directory, newFileNumber } = this.#options;
    this.#stepStartMs = env.clock.nowMs();
    return { env, directory, table, newFileNumber, breathe };
  }

  #pause(): Promise<void> | undefined {
    const { env, stepBudgetMs } = this.#options;
    return env.clock.nowMs() - this.#stepStartMs < stepBudgetMs ? undefined : this.#endOfTurn();
  }

  #endOfTurn(): Promise<void> {
    const { timers, clock } = this.#options.env;
    return new Promise((resolve) =>
      timers.endOfTurn(() => {
        this.#stepStartMs = clock.nowMs();
        resolve();
      }),
    );
  }
}
