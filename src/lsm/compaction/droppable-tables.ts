/**
 * Which tables a deletion of a key range may remove whole: a pure function. In the spirit of RocksDB's
 * DeleteFilesInRange, but no older version of a key comes back. A table is removed only if
 *
 *   - all its keys lie in the range, and all its entries were written before the deletion began;
 *   - no compaction reads it: its output would bring the entries back;
 *   - no table that stays and may hold older versions of its keys overlaps it. Older versions lie in deeper levels, and
 *     in older tables of level 0. Newer versions hide nothing that is removed: memtables and newer tables may stay.
 *
 *     level 0   [ b    d ]                      stays, newer: in use, or partly outside
 *     level 1   [a b][c   e][f   i]             [c e] would bring back what [d g] holds: it stays
 *     level 2        [d     g]                  in use: it stays
 *
 * A compaction that runs meanwhile does not change that. It takes tables that stay to a deeper level, and its outputs
 * hold only keys of theirs. A flush adds tables that are newer than all others.
 */
import { compareBytes } from '../base/bytes.js';
import type { TableFile } from '../table/table-file.js';
import { overlapping, overlappingInOrder, type Version } from '../version/version.js';
import type { RemovedTable } from '../version/version-edit.js';

/** All given bounds apply. On a side without a bound the range is open. */
export interface RangeBounds {
  readonly gt?: Uint8Array | undefined;
  readonly gte?: Uint8Array | undefined;
  readonly lt?: Uint8Array | undefined;
  readonly lte?: Uint8Array | undefined;
}

/** `lastSequence` is that of the last write before the deletion; `inUse` are the inputs of the running compaction. */
export function droppableTables(
  version: Version,
  bounds: RangeBounds,
  lastSequence: number,
  inUse: ReadonlySet<TableFile>,
): RemovedTable[] {
  const dropped: RemovedTable[] = [];
  /** The tables that stay, of each deeper level. */
  const staying: (readonly TableFile[])[] = [];
  for (let level = version.levels.length - 1; level >= 0; level--) {
    const files = version.levels[level] ?? [];
    const kept: TableFile[] = [];
    // In level 0 the oldest first.
    for (const file of level === 0 ? files.toReversed() : files) {
      const isDropped =
        isWithin(file, bounds) &&
        file.metadata.largestSequence <= lastSequence &&
        !inUse.has(file) &&
        !staying.some((older) => overlappingInOrder(older, file).length > 0) &&
        (level > 0 || overlapping(kept, file).length === 0);
      if (isDropped) dropped.push({ level, number: file.number });
      else kept.push(file);
    }
    staying.push(kept);
  }
  return dropped;
}

function isWithin({ smallest, largest }: TableFile, { gt, gte, lt, lte }: RangeBounds): boolean {
  return (
    (gt === undefined || compareBytes(smallest, gt) > 0) &&
    (gte === undefined || compareBytes(smallest, gte) >= 0) &&
    (lt === undefined || compareBytes(largest, lt) < 0) &&
    (lte === undefined || compareBytes(largest, lte) <= 0)
  );
}
