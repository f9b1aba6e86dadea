/**
 * The state of a tree that a read uses. A read that takes longer than a turn of the event loop pins its state.
 * Memtables and tables then stay as they are during writes, flushes and compactions.
 */
import type { Memtable } from '../memtable/memtable.js';
import type { MemtableList } from '../memtable/memtable-list.js';
import type { Version } from '../version/version.js';
import type { VersionSet } from '../version/version-set.js';

export interface ReadState {
  /** Entries with a higher sequence are not visible. */
  readonly sequence: number;
  readonly active: Memtable;
  /** Oldest first. */
  readonly frozen: readonly Memtable[];
  readonly version: Version;
}

export interface PinnedState extends ReadState {
  /** Must be called once. */
  release(): void;
}

export class ReadStates {
  readonly #memtables: MemtableList;
  readonly #versions: VersionSet;

  constructor(memtables: MemtableList, versions: VersionSet) {
    this.#memtables = memtables;
    this.#versions = versions;
  }

  /** The current memtables and tables. Must not be used after this turn of the event loop. */
  at(sequence: number): ReadState {
    const { active, frozen } = this.#memtables;
    return { sequence, active, frozen, version: this.#versions.current };
  }

  /** The same, valid until it is released. */
  pin(sequence: number): PinnedState {
    const { active, frozen } = this.#memtables;
    const memtables = [...frozen, active];
    const version = this.#versions.pin();
    for (const memtable of memtables) memtable.pin();
    const release = () => {
      this.#versions.unpin(version);
      for (const memtable of memtables) memtable.unpin();
    };
    return { sequence, active, frozen, version, release };
  }
}
