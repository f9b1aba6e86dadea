/** Carries out a compaction plan: merges its files into new tables of the level below. */
import { compareRanges } from './bytes.js';
import { type CompactionPlan, MAX_GRANDPARENT_OVERLAP } from './compaction-picker.js';
import type { Cursor } from './cursor.js';
import { MergeCursor } from './merge-cursor.js';
import { RunCursor } from './run-cursor.js';
import type { TableCache } from './table-cache.js';
import type { TableFile, TableMetadata } from './table-file.js';
import { type TableWriterContext, writeTables } from './table-writer.js';
import type { Version } from './version.js';
import type { VersionEdit } from './version-edit.js';
import { VersionFilter } from './version-filter.js';

const READ_AHEAD_BYTES = 256 * 1024;

export interface CompactionContext extends TableWriterContext {
  readonly tables: TableCache;
  readonly maxFileBytes: number;
  /** Listed snapshots, ascending. */
  readonly snapshots: readonly number[];
}

/**
 * Writes the outputs and returns the edit that puts them in place of the inputs. `version` is the one that was
 * planned for; its levels below level 0 must not have changed since.
 */
export async function compact(
  plan: CompactionPlan,
  version: Version,
  context: CompactionContext,
): Promise<VersionEdit> {
  const removed = [
    ...plan.upper.map((file) => ({ level: plan.level, number: file.number })),
    ...plan.lower.map((file) => ({ level: plan.outputLevel, number: file.number })),
  ];
  if (plan.isMove) {
    return { removed, added: plan.upper.map((file) => ({ ...file.metadata, level: plan.outputLevel })) };
  }
  const outputs = await merge(plan, version, context);
  return { removed, added: outputs.map((table) => ({ ...table, level: plan.outputLevel })) };
}

async function merge(
  plan: CompactionPlan,
  version: Version,
  context: CompactionContext,
): Promise<TableMetadata[]> {
  const options = { readAheadBytes: READ_AHEAD_BYTES, scan: true };
  const runs: (readonly TableFile[])[] = plan.level === 0 ? plan.upper.map((file) => [file]) : [plan.upper];
  const source = new MergeCursor(
    [...runs, plan.lower].map((run) => new RunCursor(context.tables, run, options)),
  );
  try {
    source.seekToStart();
    const filter = new VersionFilter(context.snapshots, baseLevelCheck(version, plan.outputLevel));
    return await writeTables(source, filter, outputCut(plan, context.maxFileBytes), context);
  } finally {
    source.close();
  }
}

/** Whether no level below the output may hold an entry's key. Entries must come in order. */
function baseLevelCheck(version: Version, outputLevel: number): (entry: Cursor) => boolean {
  const deeper = version.levels.slice(outputLevel + 1).filter((files) => files.length > 0);
  const positions = deeper.map(() => 0);
  return ({ keyBytes, keyStart, keyEnd }) => {
    for (let i = 0; i < deeper.length; i++) {
      const files = deeper[i] as readonly TableFile[];
      let at = positions[i] as number;
      while (at < files.length && isBehind(keyBytes, keyStart, keyEnd, (files[at] as TableFile).largest))
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
function outputCut(plan: CompactionPlan, maxFileBytes: number): (entry: Cursor, bytes: number) => boolean {
  const { grandparents } = plan;
  let at = 0;
  let overlapBytes = 0;
  return (entry, tableBytes) => {
    const { keyBytes, keyStart, keyEnd } = entry;
    for (; at < grandparents.length; at++) {
      const file = grandparents[at] as TableFile;
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
