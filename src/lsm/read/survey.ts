/**
 * Which keys lie at even distances of the bytes that a range takes in the tables of a version. For each one block is
 * read, so it costs the same however much the range holds. What was overwritten or deleted counts until a compaction
 * drops it.
 */
import { compareBytes, NO_BYTES } from '../base/bytes.js';
import { BlockCursor } from '../table/block-cursor.js';
import { SingleEntryBlock } from '../table/single-entry-block.js';
import type { SparseIndex } from '../table/sparse-index.js';
import { KEY_ONLY_START_BYTES, type Table } from '../table/table.js';
import type { TableCache } from '../table/table-cache.js';
import type { TableFile } from '../table/table-file.js';
import type { KeyRange, Version } from '../version/version.js';

export interface Survey {
  /** About how many bytes the range takes. */
  readonly bytes: number;
  /** Sorted; one key several times if much is stored under it, or near it. At most as many as were asked for. */
  readonly keys: readonly Buffer[];
}

/**
 * Both ends of the range are included; an undefined end is open. Keys that are not owned count for nothing. Throws
 * `CORRUPTION` if a table or block that it must read is damaged, or the system's error.
 */
export function surveyTables(
  version: Version,
  tables: TableCache,
  { smallest, largest }: Partial<KeyRange>,
  samples: number,
  owns: (key: Uint8Array) => boolean,
): Survey {
  const parts: { readonly file: TableFile; readonly start: number; readonly end: number }[] = [];
  let bytes = 0;
  for (const file of version.files()) {
    if (smallest && compareBytes(file.largest, smallest) < 0) continue;
    if (largest && compareBytes(file.smallest, largest) > 0) continue;
    const table = tables.use(file);
    const start = smallest ? table.offsetOf(smallest) : 0;
    const end = largest ? table.offsetOf(largest) : file.sizeBytes;
    if (end <= start) continue;
    parts.push({ file, start, end });
    bytes += end - start;
  }
  const found: Buffer[] = [];
  const distance = bytes / samples;
  let before = 0;
  for (const { file, start, end } of parts) {
    const table = tables.use(file);
    let [known, key] = [-1, NO_BYTES];
    for (;;) {
      const offset = start + (found.length + 0.5) * distance - before;
      if (offset >= end || found.length === samples) break;
      const block = blockAt(table.index, offset);
      if (block !== known) [known, key] = [block, firstKeyOf(table, block)];
      // The first block may begin before the range.
      found.push(smallest && compareBytes(key, smallest) < 0 ? Buffer.from(smallest) : key);
    }
    before += end - start;
  }
  const keys = found.filter(owns).sort(compareBytes);
  return { bytes: found.length === 0 ? bytes : Math.round((bytes * keys.length) / found.length), keys };
}

/** The block that holds an offset of the file; the first or the last one if none does. */
function blockAt({ offsets, count }: SparseIndex, offset: number): number {
  let [low, high] = [0, count - 1];
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((offsets[middle] as number) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

function firstKeyOf(table: Table, block: number): Buffer {
  const single = new SingleEntryBlock(KEY_ONLY_START_BYTES);
  // Of a large value only the key is read.
  if (table.readKeyOnly(block, single)) return Buffer.from(single.key);
  const cursor = new BlockCursor();
  const bytes = table.readBlock(block);
  cursor.setBlock(bytes, 0, bytes.length, table.path, table.index.offsets[block] as number);
  cursor.seekToFirst();
  return Buffer.from(cursor.keyBytes.subarray(cursor.keyStart, cursor.keyEnd));
}
