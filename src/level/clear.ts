/** Deletes a range: what was there when it began, or at a snapshot, in batches of a turn of the event loop. */
import { PAUSED } from '../lsm/iterator.js';
import type { LsmTree } from '../lsm/lsm-tree.js';
import type { DeleteOperation } from '../lsm/write-batch.js';
import { type EncodedRange, keyBounds } from './key-bounds.js';
import { readOptions } from './level-snapshot.js';

export interface EncodedClearOptions extends EncodedRange {
  /** -1 for all. */
  readonly limit: number;
  readonly snapshot?: unknown;
}

export async function clear(tree: LsmTree, options: EncodedClearOptions): Promise<void> {
  const entries = tree.iterator({
    ...keyBounds(options),
    ...readOptions(options),
    ...(options.limit >= 0 ? { limit: options.limit } : {}),
    values: false,
  });
  try {
    let deletions: DeleteOperation[] = [];
    let writing: Promise<unknown> | undefined;
    for (;;) {
      const entry = entries.nextInTurn();
      if (entry && entry !== PAUSED) {
        deletions.push({ type: 'delete', key: entry.key });
        continue;
      }
      // One batch is written while the keys of the next are read.
      await writing;
      writing = deletions.length > 0 ? tree.write(deletions, { durability: 'buffered' }) : undefined;
      if (!entry) {
        await writing;
        return;
      }
      writing?.catch(() => {});
      deletions = [];
      await entries.giveWay();
    }
  } finally {
    entries.close();
  }
}
