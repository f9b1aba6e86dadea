/** Carries out a compaction plan: merges its files into new tables of the level below. */
import { compareRanges } from '../base/bytes.js';
import type { Cursor } from '../base/cursor.js';
import { type KeyBounds, OwnedKeys } from '../base/key-bounds.js';
import { MergeCursor } from '../read/merge-cursor.js';
import { RunCursor } from '../read/run-cursor.js';
import type { TableBuilderOptions } from '../table/table-builder.js';
import type { TableCache } from '../table/table-cache.js';
import type { TableFile, TableMetadata } from '../table/table-file.js';
import { overlappingInOrder, type Version } from '../version/version.js';
import { type CompactionPlan, MAX_GRANDPARENT_OVERLAP } from './compaction-picker.js';
import { type OutputContext, writeTables } from './output-tables.js';
import { VersionFilter } from './version-filter.js';

const READ_AHEAD_BYTES = 256 * 1024;

/** The key range of a table, and its size. */
export interface TableExtent {
  readonly smallest: Uint8Array;
  readonly largest: Uint8Array;
  readonly sizeBytes: number;
}

/** Everything that a compaction needs, in whichever thread it runs. */
export interface CompactionJob {
  /** Each run is in key order. The runs are not ordered by age. */
  readonly runs: readonly (readonly TableFile[])[];
  /** For each level below the output, the tables that overlap the job's range, in order. */
  readonly deeper: readonly (readonly TableExtent[])[];
  /** Tables of the level below the output, in order. Outputs should not overlap too many of them. */
  readonly grandparents: readonly TableExtent[];
  readonly maxFileBytes: number;
  /** Listed snapshots, ascending. */
  readonly snapshots: readonly number[];
  /** Keys outside of them are dropped; undefined: none. */
  readonly bounds?: KeyBounds | undefined;
  /** For the output level. */
  readonly table: TableBuilderOptions;
}

/**
 * `version` is the version for which the plan was made. Its levels below level 0 must not change before the job is
 * done.
 */
export function jobOf(
  plan: CompactionPlan,
  version: Version,
  settings: Pick<CompactionJob, 'maxFileBytes' | 'snapshots' | 'table' | 'bounds'>,
): CompactionJob {
  const upper = plan.level === 0 ? plan.upper.map((file) => [file]) : [plan.upper];
  return {
    runs: [...upper, plan.lower].filter((run) => run.length > 0),
    deeper: version.levels
      .slice(plan.outputLevel + 1)
      .map((files) => overlappingInOrder(files, plan.range))
      .filter((files) => files.length > 0),
    grandparents: plan.grandparents,
    ...settings,
  };
}

/** Writes the tables that replace the inputs of the job. They are durable when it resolves. */
export async function compact(
  job: CompactionJob,
  tables: TableCache,
  context: OutputContext,
): Promise<TableMetadata[]> {
  const options = { readAheadBytes: READ_AHEAD_BYTES, scan: true, writesTo: job.table };
  const source = new MergeCursor(job.runs.map((run) => new RunCursor(tables, run, options)));
  try {
    source.seekToStart();
    const filter = new VersionFilter(
      job.snapshots,
      baseLevelCheck(job.deeper),
      job.bounds && new OwnedKeys(job.bounds),
    );
    return await writeTables(source, filter, outputCut(job), { ...context, table: job.table });
  } finally {
    source.close();
  }
}

/** The largest number of tables that a job writes. */
export function mostOutputs(job: CompactionJob): number {
  let bytes = 0;
  for (const run of job.runs) for (const file of run) bytes += file.sizeBytes;
  // Outputs are cut by size or by overlap. Blocks with another codec may be larger than before.
  return 16 + 4 * Math.ceil(bytes / job.maxFileBytes) + job.grandparents.length;
}

/** Returns a check: true if no table of the given runs may hold the entry's key. Entries must come in order. */
export function baseLevelCheck(deeper: readonly (readonly TableExtent[])[]): (entry: Cursor) => boolean {
  const positions = deeper.map(() => 0);
  return ({ keyBytes, keyStart, keyEnd }) => {
    for (let i = 0; i < deeper.length; i++) {
      const files = deeper[i] as readonly TableExtent[];
      let at = positions[i] as number;
      while (at < files.length && isBehind(keyBytes, keyStart, keyEnd, (files[at] as TableExtent).largest))
        at++;
      positions[i] = at;
      const file = files[at];
      if (file && !isBehind(file.smallest, 0, file.smallest.length, keyBytes.subarray(keyStart, keyEnd))) {
        return false;
      }
    }
    return true;
  };
}

/** Cuts by size, and by overlap with the grandparents. Entries must come in order. */
function outputCut({ grandparents, maxFileBytes }: CompactionJob): (entry: Cursor, bytes: number) => boolean {
  let at = 0;
  let overlapBytes = 0;
  return (entry, tableBytes) => {
    const { keyBytes, keyStart, keyEnd } = entry;
    for (; at < grandparents.length; at++) {
      const file = grandparents[at] as TableExtent;
      if (!isBehind(keyBytes, keyStart, keyEnd, file.largest)) break;
      if (tableBytes > 0) overlapBytes += file.sizeBytes;
    }
    const cuts = tableBytes >= maxFileBytes || overlapBytes > MAX_GRANDPARENT_OVERLAP * maxFileBytes;
    if (cuts || tableBytes === 0) overlapBytes = 0;
    return cuts;
  };
}

function isBehind(bytes: Uint8Array, start: number, end: number, key: Uint8Array): boolean {
  return compareRanges(bytes, start, end, key, 0, key.length) > 0;
}

/** The inputs' bytes, for statistics. */
export function inputBytes(plan: CompactionPlan): number {
  return [...plan.upper, ...plan.lower].reduce((sum, file) => sum + file.sizeBytes, 0);
}
