/**
 * Estimates how many bytes of a version's tables a range holds. Only tables that hold an end of the range are read.
 */
import { compareBytes } from '../base/bytes.js';
import type { TableCache } from '../table/table-cache.js';
import type { KeyRange, Version } from '../version/version.js';

/** Both ends are included; an undefined end is open. Throws `CORRUPTION` if a table that it must open is damaged. */
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
