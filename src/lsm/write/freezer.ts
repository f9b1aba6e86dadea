/**
 * Decides when the active memtable is frozen, so that it is flushed: when it is full, when a call waits for a flush,
 * when all trees together use too much memory, and when iterators pass over many deleted entries.
 */
import { readOnlyError } from '../base/errors.js';
import type { LifeCycle } from '../base/life-cycle.js';
import type { MemtableList } from '../memtable/memtable-list.js';
import type { WriteBuffer, WriteBufferBudget } from '../memtable/write-buffer-budget.js';
import type { VersionSet } from '../version/version-set.js';
import type { CommitLog } from './commit-log.js';
import { FlushWaiters } from './flush-waiters.js';

export interface FreezerHost {
  readonly life: LifeCycle;
  readonly versions: VersionSet;
  readonly memtables: MemtableList;
  readonly log: CommitLog;
  /** The memory limit that trees share. */
  readonly budget: WriteBufferBudget;
  /** Starts the flush if none is running. */
  startFlush(): void;
  /** The tree is read-only from now on. */
  failed(error: unknown): void;
}

/** A flush removes deleted entries from the memtable once iterators have passed over so many of them … */
const PASSED_TO_FLUSH = 65_536;
/** … if this share of the memtable is tombstones. */
const TOMBSTONES_TO_FLUSH = 0.25;

export class Freezer implements WriteBuffer {
  readonly #host: FreezerHost;
  readonly #waiters = new FlushWaiters();
  #passedEntries = 0;

  constructor(host: FreezerHost) {
    this.#host = host;
  }

  get activeBytes(): number {
    return this.#host.memtables.active.sizeBytes;
  }

  /** The active memtable has grown. */
  grown(): void {
    this.#host.budget.changed(this);
  }

  /** Resolves when everything visible now is in durable tables. Rejects with the error given to `refuseAll`. */
  async flushAll(): Promise<void> {
    const { log, versions, life } = this.#host;
    if (log.lastSequence <= versions.flushedSequence) return;
    if (!this.#insertDeferred()) throw readOnlyError(life.failure, 'notCommitted');
    const done = this.#waiters.wait(log.lastSequence);
    this.freezeIfWanted();
    this.#host.startFlush();
    await done;
  }

  /** Everything up to this sequence is in durable tables. */
  flushed(flushedSequence: number): void {
    this.#waiters.reached(flushedSequence);
  }

  /** The calls of `flushAll` reject. */
  refuseAll(error: unknown): void {
    this.#waiters.refuseAll(error);
  }

  /** Freezes the active memtable if it is full, or if a call waits for its flush. */
  freezeIfWanted(): void {
    const { memtables, budget } = this.#host;
    const { active, activeIsFull, canFreeze } = memtables;
    const isWaitedFor = active.count > 0 && this.#waiters.wants(active.firstSequence);
    if (!canFreeze || !(activeIsFull || isWaitedFor)) return;
    if (this.#freezeNow()) budget.changed(this);
  }

  /**
   * Freezes the active memtable although it is not full; returns false if that is not possible. The budget calls this,
   * so this must not call the budget.
   */
  freeze(): boolean {
    const { life, memtables } = this.#host;
    const isWritable = life.isOpen && life.failure === undefined;
    if (!isWritable || !memtables.canFreeze || memtables.active.count === 0) return false;
    return this.#freezeNow();
  }

  /**
   * Iterators pass over deleted entries one by one. A flush frees the memtable of them, and compaction the tables
   * (RocksDB's memtable_avg_op_scan_flush_trigger).
   */
  passed(entries: number): void {
    this.#passedEntries += entries;
    if (this.#passedEntries < PASSED_TO_FLUSH) return;
    this.#passedEntries = 0;
    const { count, tombstones } = this.#host.memtables.active;
    if (tombstones >= count * TOMBSTONES_TO_FLUSH && this.freeze()) this.#host.budget.changed(this);
  }

  /** Whether that was possible. If not, the tree is read-only. */
  #freezeNow(): boolean {
    if (!this.#insertDeferred()) return false;
    this.#host.memtables.freeze();
    this.#host.log.rotate();
    this.#host.startFlush();
    return true;
  }

  #insertDeferred(): boolean {
    try {
      this.#host.log.insertDeferred();
      return true;
    } catch (error) {
      this.#host.failed(error);
      return false;
    }
  }
}
