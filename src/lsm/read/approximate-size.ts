/**
 * About how many bytes of its tables a version has in a range. Only tables that the range's ends cut are looked into.
 */
import { compareBytes } from '../base/bytes.js';
import type { TableCache } from '../table/table-cache.js';
import type { KeyRange, Version } from '../version/version.js';

/** Both ends included, open where undefined. Throws `CORRUPTION` if a table that must be opened is damaged. */
export function approximateTableBytes(
  version: Version,
  tables: TableCache,
  { smallest, largest }: Partial<KeyRange>,
): number {
  let bytes = 0;
  for (const file of version.files()) {
    if (smallest && compareBytes(file.largest, smallest) < 0) continue;
    if (largest && compareBytes(file.smallest, largest) > 0) continue;
    const cutsStart = smallest !== undefined && compareBytes(file.smallest, smallest) < 0;
    const cutsEnd = largest !== undefined && compareBytes(file.largest, largest) > 0;
    const start = cutsStart ? tables.use(file).offsetOf(smallest) : 0;
    const end = cutsEnd ? tables.use(file).offsetOf(largest) : file.sizeBytes;
    bytes += Math.max(0, end - start);
  }
  return bytes;
}
