/** Checks of what the callers of a tree give. They throw `LSM_INVALID`. */
import { checkBytes } from './base/errors.js';
import type { RangeBounds } from './compaction/droppable-tables.js';
import type { KeyRange } from './version/version.js';

export function checkKeys(keys: readonly Uint8Array[]): void {
  for (const key of keys) checkBytes(key, 'a key');
}

export function checkRange({ smallest, largest }: Partial<KeyRange>): void {
  if (smallest !== undefined) checkBytes(smallest, 'smallest');
  if (largest !== undefined) checkBytes(largest, 'largest');
}

/** Checks and copies the bounds: the caller may change its bytes while the tree waits. */
export function copyBounds({ gt, gte, lt, lte }: RangeBounds): RangeBounds {
  for (const [name, bound] of Object.entries({ gt, gte, lt, lte })) {
    if (bound !== undefined) checkBytes(bound, name);
  }
  const copy = (bound: Uint8Array | undefined) => bound && Buffer.from(bound);
  return { gt: copy(gt), gte: copy(gte), lt: copy(lt), lte: copy(lte) };
}
