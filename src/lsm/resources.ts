/**
 * Memory and file descriptors that trees share: the block cache, the open tables, the memory of memtables and its
 * limit. A process with many trees makes one of these and gives it to each tree. A tree that is given none makes its
 * own. There is one worker thread per process in any case.
 */

import { BoundedMemtablePool } from './memtable/memtable-memory.js';
import { WriteBufferBudget } from './memtable/write-buffer-budget.js';
import { BlockCache } from './table/block-cache.js';
import { OpenTables } from './table/open-tables.js';
import { BLOCK_TRAILER_BYTES } from './table/table-format.js';

export interface LsmResourcesOptions {
  /** Memory for data blocks; 32 MiB. */
  readonly blockCacheBytes?: number;
  /** What most blocks hold: the `blockBytes` of the trees; 4 KiB. */
  readonly blockBytes?: number;
  /** Tables kept open, each with a file descriptor and its index and filter in memory; 512. */
  readonly maxOpenTables?: number;
  /** When the active memtables of all trees together reach this, the largest is flushed; 64 MiB. */
  readonly writeBufferBytes?: number;
}

const MIB = 1024 * 1024;

export class LsmResources {
  /** @internal */
  readonly blocks: BlockCache;
  /** @internal */
  readonly openTables: OpenTables;
  /** @internal */
  readonly memtablePool: BoundedMemtablePool;
  /** @internal */
  readonly writeBuffers: WriteBufferBudget;
  #isClosed = false;

  constructor(options: LsmResourcesOptions = {}) {
    const slotBytes = (options.blockBytes ?? 4096) + BLOCK_TRAILER_BYTES;
    const writeBufferBytes = options.writeBufferBytes ?? 64 * MIB;
    this.blocks = new BlockCache(options.blockCacheBytes ?? 32 * MIB, slotBytes);
    this.openTables = new OpenTables(options.maxOpenTables ?? 512);
    this.memtablePool = new BoundedMemtablePool(writeBufferBytes);
    this.writeBuffers = new WriteBufferBudget(writeBufferBytes);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Releases all memory, after the last tree is closed. Opening a tree with this then fails. */
  close(): void {
    this.#isClosed = true;
    this.memtablePool.close();
  }
}
