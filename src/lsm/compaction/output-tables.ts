/**
 * The output of a flush or compaction: writes the entries of a merge that a filter keeps into as many tables as are
 * needed, in bounded steps. After each block it asks `breathe` whether other events should run. A table is synced while
 * the next ones are written. If writing fails, the tables are deleted. They are durable, with their names, when it
 * resolves.
 */
import type { Env } from '../../env/env.js';
import { errorMessage } from '../../env/errors.js';
import type { Cursor } from '../base/cursor.js';
import type { MergeCursor } from '../read/merge-cursor.js';
import { type CompleteTable, TableBuilder, type TableBuilderOptions } from '../table/table-builder.js';
import { type TableMetadata, tableName } from '../table/table-file.js';
import type { VersionFilter } from './version-filter.js';

export interface OutputContext {
  readonly env: Env;
  readonly directory: string;
  readonly table: TableBuilderOptions;
  /** Undefined: no further table may be started, so the open one takes all remaining entries. */
  newFileNumber(): number | undefined;
  /** Undefined: continue at once. A promise: wait for it. Throws to abandon the job. */
  breathe(): Promise<void> | undefined;
  /** Called when all is written and only syncs are still running. */
  written?(): void;
}

/** `breathe` is called after this many entries even if they fill no block, because they are dropped. */
const STEP_ENTRIES = 256;
/** The most tables that are synced while others are written. */
const MOST_SYNCS = 4;

/** `cutsBefore` is called for each entry that begins a new user key. If it returns true, a new table may start. */
export async function writeTables(
  source: MergeCursor,
  filter: VersionFilter,
  cutsBefore: (entry: Cursor, tableBytes: number) => boolean,
  context: OutputContext,
): Promise<TableMetadata[]> {
  const { env, directory } = context;
  const finished: CompleteTable[] = [];
  const finish = async (full: TableBuilder) => {
    await finished.at(-MOST_SYNCS)?.durable;
    finished.push(await full.complete(() => context.breathe()));
  };
  let builder: TableBuilder | undefined;
  let sinceBreath = 0;
  try {
    for (let entry = source.top; entry; entry = source.top) {
      let blockBegan = ++sinceBreath >= STEP_ENTRIES;
      if (filter.keeps(entry)) {
        const isCut: boolean = !filter.continuesKey && cutsBefore(entry, builder?.sizeBytes ?? 0);
        const number: number | undefined = isCut || !builder ? context.newFileNumber() : undefined;
        if (builder && number !== undefined) {
          await finish(builder);
          builder = undefined;
        }
        if (!builder) {
          if (number === undefined) throw new Error('there is no file number for a table');
          builder = new TableBuilder(env, `${directory}/${tableName(number)}`, number, context.table);
        }
        if (builder.add(entry)) {
          blockBegan = true;
          if (builder.shouldDrain) await builder.drain();
        }
      }
      source.advance();
      if (blockBegan) {
        sinceBreath = 0;
        const pause = context.breathe();
        if (pause) await pause;
      }
    }
    if (builder) await finish(builder);
    builder = undefined;
    context.written?.();
    for (const { durable } of finished) await durable;
    if (finished.length > 0) await env.fs.syncDirectoryLater(directory);
    return finished.map(({ metadata }) => metadata);
  } catch (error) {
    builder?.abandon();
    await Promise.allSettled(finished.map(({ durable }) => durable));
    const numbers = finished.map(({ metadata }) => metadata.number);
    if (builder) numbers.push(builder.number);
    for (const number of numbers) removePartial(context, number, error);
    throw error;
  }
}

/** Frees space on a full disk. A file that cannot be removed now is removed at the next opening. */
function removePartial(context: OutputContext, number: number, cause: unknown): void {
  try {
    context.env.fs.unlink(`${context.directory}/${tableName(number)}`);
  } catch (error) {
    if (cause instanceof Error && cause.cause === undefined) cause.cause = errorMessage(error);
  }
}
