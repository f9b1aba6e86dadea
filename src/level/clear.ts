/** Deletes a range: what was there when it began, or at a snapshot, so many keys at a time. */
import type { LsmTree } from '../lsm/lsm-tree.js';
import type { DeleteOperation } from '../lsm/write-batch.js';
import { type EncodedRange, keyBounds } from './key-bounds.js';
import { readOptions } from './level-snapshot.js';

export interface EncodedClearOptions extends EncodedRange {
  /** -1 for all. */
  readonly limit: number;
  readonly snapshot?: unknown;
}

const KEYS_IN_A_BATCH = 512;

export async function clear(tree: LsmTree, options: EncodedClearOptions): Promise<void> {
  const entries = tree.iterator({
    ...keyBounds(options),
    ...readOptions(options),
    ...(options.limit >= 0 ? { limit: options.limit } : {}),
  });
  try {
    for (;;) {
      const deletions: DeleteOperation[] = entries
        .nextMany(KEYS_IN_A_BATCH)
        .map(({ key }) => ({ type: 'delete', key }));
      if (deletions.length > 0) await tree.write(deletions, { durability: 'buffered' });
      if (deletions.length < KEYS_IN_A_BATCH) return;
    }
  } finally {
    entries.close();
  }
}
