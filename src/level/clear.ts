/**
 * Deletes a range as it was at the beginning of the call, or at a snapshot. Tables with no other keys are removed
 * whole, if that is allowed and is worth a flush. The other keys are deleted in batches, one batch per turn of the
 * event loop.
 */
import { NO_BYTES } from '../lsm/base/bytes.js';
import type { Cursor } from '../lsm/base/cursor.js';
import type { LsmTree } from '../lsm/lsm-tree.js';
import { copyKeyOnly, type Entry, PAUSED } from '../lsm/read/iterator.js';
import { DeletionBatch } from '../lsm/wal/write-batch.js';
import { type EncodedRange, type KeyBounds, keyBounds } from './key-bounds.js';
import { readOptions } from './level-snapshot.js';

export interface EncodedClearOptions extends EncodedRange {
  /** -1: no limit. */
  readonly limit: number;
  readonly snapshot?: unknown;
}

/** The result for an entry whose key is in the batch already. */
const ADDED: Entry = { key: NO_BYTES, value: NO_BYTES };

/** Below this size, deleting key by key takes less time than a flush. */
const MUCH_BYTES = 256 * 1024;

function holdsMuch(tree: LsmTree, { gt, gte = gt, lt, lte = lt }: KeyBounds): boolean {
  const range = { ...(gte && { smallest: gte }), ...(lte && { largest: lte }) };
  return tree.approximateSize(range) >= MUCH_BYTES;
}

export async function clear(tree: LsmTree, options: EncodedClearOptions): Promise<void> {
  const { lastSequence } = tree;
  const bounds = keyBounds(options);
  const isWhole = options.limit < 0 && !options.reverse && options.snapshot === undefined;
  if (isWhole && holdsMuch(tree, bounds)) await tree.dropTables(bounds);
  let deletions = new DeletionBatch();
  const addKey = ({ keyBytes, keyStart, keyEnd, sequence }: Cursor) => {
    // Entries written after the beginning stay.
    if (sequence <= lastSequence) deletions.add(keyBytes, keyStart, keyEnd);
    return ADDED;
  };
  // In reverse, an entry is also made for hidden versions, and their key may have been deleted.
  const entries = tree.iteratorOf(options.reverse ? copyKeyOnly : addKey, {
    ...bounds,
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
