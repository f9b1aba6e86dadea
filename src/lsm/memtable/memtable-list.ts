/** The memtables of a tree: the active one, which takes the writes, and the frozen ones, which wait for their flush. */
import { Memtable } from './memtable.js';
import type { MemtablePool } from './memtable-memory.js';

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

  /** The memtables that hold entries, newest first. */
  get filled(): Memtable[] {
    return [...this.#frozen, this.#active].filter((memtable) => memtable.count > 0).reverse();
  }

  get activeIsFull(): boolean {
    return this.#active.sizeBytes >= this.#writeBufferBytes;
  }

  get canFreeze(): boolean {
    return this.#frozen.length < this.#maxFrozen;
  }

  /** How full the active memtable would be with this many more bytes; 1 is full. */
  fillWith(comingBytes: number): number {
    return (this.#active.sizeBytes + comingBytes) / this.#writeBufferBytes;
  }

  freeze(): void {
    this.#frozen = [...this.#frozen, this.#active];
    this.#active = new Memtable(this.#pool);
  }

  /** Removes the oldest frozen memtable, which is in tables now. */
  dropOldest(): void {
    const oldest = this.#frozen[0];
    this.#frozen = this.#frozen.slice(1);
    oldest?.drop();
  }

  /** Estimates the bytes of the keys in a range. Both ends are included; an undefined end is open. */
  approximateSize({
    smallest,
    largest,
  }: {
    smallest?: Uint8Array | undefined;
    largest?: Uint8Array | undefined;
  }): number {
    let bytes = 0;
    for (const memtable of this.filled) {
      const start = smallest ? memtable.shareBefore(memtable.seek(smallest, Number.MAX_SAFE_INTEGER)) : 0;
      const end = largest ? memtable.shareBefore(memtable.seek(largest, -1)) : 1;
      bytes += Math.round(Math.max(0, end - start) * memtable.sizeBytes);
    }
    return bytes;
  }

  /** The oldest WAL file that is needed after the flush of the oldest frozen memtable; at most `current`. */
  oldestWalAfterFlush(current: number): number {
    return [...this.#frozen.slice(1), this.#active].reduce(
      (oldest, memtable) => Math.min(oldest, memtable.oldestWal ?? oldest),
      current,
    );
  }
}
