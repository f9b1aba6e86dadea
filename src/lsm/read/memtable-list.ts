/** The memtables of a tree: the active one, which is written to, and the frozen ones that wait to be flushed. */
import { Memtable } from '../memtable/memtable.js';
import type { MemtablePool } from '../memtable/memtable-memory.js';
import type { KeyRange } from '../version/version.js';

export class MemtableList {
  readonly #writeBufferBytes: number;
  readonly #maxFrozen: number;
  readonly #pool: MemtablePool;
  #active: Memtable;
  #frozen: readonly Memtable[] = [];

  constructor(writeBufferBytes: number, maxFrozen: number, pool: MemtablePool) {
    this.#writeBufferBytes = writeBufferBytes;
    this.#maxFrozen = maxFrozen;
    this.#pool = pool;
    this.#active = new Memtable(pool);
  }

  get active(): Memtable {
    return this.#active;
  }

  /** Oldest first. */
  get frozen(): readonly Memtable[] {
    return this.#frozen;
  }

  /** Those that hold anything, newest first. */
  get filled(): Memtable[] {
    return [...this.#frozen, this.#active].filter((memtable) => memtable.count > 0).reverse();
  }

  get activeIsFull(): boolean {
    return this.#active.sizeBytes >= this.#writeBufferBytes;
  }

  get canFreeze(): boolean {
    return this.#frozen.length < this.#maxFrozen;
  }

  /** How full the active one would be with so many more bytes; 1 is full. */
  fillWith(comingBytes: number): number {
    return (this.#active.sizeBytes + comingBytes) / this.#writeBufferBytes;
  }

  freeze(): void {
    this.#frozen = [...this.#frozen, this.#active];
    this.#active = new Memtable(this.#pool);
  }

  /** The oldest frozen one is in tables. */
  dropOldest(): void {
    const oldest = this.#frozen[0];
    this.#frozen = this.#frozen.slice(1);
    oldest?.drop();
  }

  /** About how many bytes the keys of a range (both ends included, open where undefined) take. */
  approximateSize({ smallest, largest }: Partial<KeyRange>): number {
    let bytes = 0;
    for (const memtable of this.filled) {
      const start = smallest ? memtable.shareBefore(memtable.seek(smallest, Number.MAX_SAFE_INTEGER)) : 0;
      const end = largest ? memtable.shareBefore(memtable.seek(largest, -1)) : 1;
      bytes += Math.round(Math.max(0, end - start) * memtable.sizeBytes);
    }
    return bytes;
  }

  /** The oldest WAL file that is needed when the oldest frozen one is flushed, and not above `current`. */
  oldestWalAfterFlush(current: number): number {
    return [...this.#frozen.slice(1), this.#active].reduce(
      (oldest, memtable) => Math.min(oldest, memtable.oldestWal ?? oldest),
      current,
    );
  }
}
