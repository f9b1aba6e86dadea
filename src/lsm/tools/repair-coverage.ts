/** The keys that a lost part of a table had hidden: the keys of its range that older tables hold. */
import type { Env } from '../../env/env.js';
import { compareBytes, copyRange, NO_BYTES } from '../base/bytes.js';
import { BEFORE_ALL_VERSIONS } from '../base/cursor.js';
import { MergeCursor } from '../read/merge-cursor.js';
import { RunCursor } from '../read/run-cursor.js';
import { BlockCache } from '../table/block-cache.js';
import { TableCache } from '../table/table-cache.js';
import type { TableFile } from '../table/table-file.js';
import { BLOCK_TRAILER_BYTES } from '../table/table-format.js';
import type { Version } from '../version/version.js';

type Run = readonly TableFile[];

const READ_AHEAD_BYTES = 64 * 1024;
const OPEN_TABLES = 64;
/** Counting stops at this number. */
export const MOST_COUNTED_KEYS = 1_000_000;

/**
 * The runs of the repaired version that are older than a table of the damaged version. If the lost data has no place in
 * the damaged version (the WAL, tables without a MANIFEST), all runs may be older.
 */
export function runsBelow(repaired: Version, damaged: Version, table: number | undefined): Run[] {
  const level = damaged.levels.findIndex((files) => files.some((file) => file.number === table));
  const all = repaired.levels.flatMap((files, at): (readonly [number, Run])[] =>
    at === 0 ? files.map((file) => [0, [file]] as const) : files.length > 0 ? [[at, files]] : [],
  );
  if (level < 0) return all.map(([, run]) => run);
  const own = damaged.levels[level]?.find((file) => file.number === table);
  const oldest = own?.metadata.smallestSequence ?? 0;
  return all
    .filter(([at, [first]]) => at > level || (at === 0 && level === 0 && isOlder(first, oldest)))
    .map(([, run]) => run);
}

function isOlder(file: TableFile | undefined, sequence: number): boolean {
  return file !== undefined && file.metadata.largestSequence < sequence;
}

/** Counts the distinct keys of a range. Both ends are included; an undefined end is open. */
export async function countKeys(
  env: Env,
  directory: string,
  runs: readonly Run[],
  range: { readonly smallest: Buffer | undefined; readonly largest: Buffer | undefined },
): Promise<number> {
  const tables = new TableCache(env, directory, OPEN_TABLES, new BlockCache(0, BLOCK_TRAILER_BYTES));
  const merge = new MergeCursor(
    runs.map((run) => new RunCursor(tables, run, { readAheadBytes: READ_AHEAD_BYTES })),
  );
  let count = 0;
  let previous: Buffer | undefined;
  try {
    merge.seek(range.smallest ?? NO_BYTES, BEFORE_ALL_VERSIONS);
    for (let top = merge.top; top && count < MOST_COUNTED_KEYS; top = merge.top) {
      const key = copyRange(top.keyBytes, top.keyStart, top.keyEnd);
      if (range.largest && compareBytes(key, range.largest) > 0) break;
      if (!previous || compareBytes(previous, key) !== 0) count++;
      previous = key;
      merge.advance();
    }
    return count;
  } finally {
    merge.close();
    tables.closeAll();
  }
}
