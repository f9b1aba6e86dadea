/** Deletes a range: what was there when it began, or at a snapshot, in batches of a turn of the event loop. */
import { NO_BYTES } from '../lsm/base/bytes.js';
import type { Cursor } from '../lsm/base/cursor.js';
import type { LsmTree } from '../lsm/lsm-tree.js';
import { copyKeyOnly, type Entry, PAUSED } from '../lsm/read/iterator.js';
import { DeletionBatch } from '../lsm/wal/write-batch.js';
import { type EncodedRange, keyBounds } from './key-bounds.js';
import { readOptions } from './level-snapshot.js';

export interface EncodedClearOptions extends EncodedRange {
  /** -1 for all. */
  readonly limit: number;
  readonly snapshot?: unknown;
}

/** Its key is in the batch already. */
const ADDED: Entry = { key: NO_BYTES, value: NO_BYTES };

export async function clear(tree: LsmTree, options: EncodedClearOptions): Promise<void> {
  let deletions = new DeletionBatch();
  const addKey = ({ keyBytes, keyStart, keyEnd }: Cursor) => {
    deletions.add(keyBytes, keyStart, keyEnd);
    return ADDED;
  };
  // In reverse an entry is made of hidden versions, too, whose key may be deleted.
  const entries = tree.iteratorOf(options.reverse ? copyKeyOnly : addKey, {
    ...keyBounds(options),
    ...readOptions(options),
    ...(options.limit >= 0 ? { limit: options.limit } : {}),
    values: false,
  });
  try {
    let writing: Promise<unknown> | undefined;
    for (;;) {
      const entry = entries.nextInTurn();
      if (entry && entry !== PAUSED) {
        if (entry !== ADDED) deletions.add(entry.key, 0, entry.key.length);
        continue;
      }
      // One batch is written while the keys of the next are read.
      await writing;
      writing = deletions.count > 0 ? tree.writeDeletions(deletions, { durability: 'buffered' }) : undefined;
      if (!entry) {
        await writing;
        return;
      }
      writing?.catch(() => {});
      deletions = new DeletionBatch();
      await entries.giveWay();
    }
  } finally {
    entries.close();
  }
}
