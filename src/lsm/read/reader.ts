/**
 * Point reads: memtables from new to old, level 0 from new to old, then one file per level. The first version found
 * at or below the sequence is the answer, because newer versions of a key never lie below older ones. A filter rules
 * out most memtables. Key range and bloom filter rule out most tables before a block is touched. A key is hashed at
 * most once.
 */

import { copyRange } from '../base/bytes.js';
import { hashKey, type KeyHash } from '../base/key-hash.js';
import { type Memtable, MOST_FILTERED_BYTES } from '../memtable/memtable.js';
import { BlockCursor } from '../table/block-cursor.js';
import { SingleEntryBlock } from '../table/single-entry-block.js';
import { KEY_ONLY_START_BYTES, NotCached } from '../table/table.js';
import type { TableCache } from '../table/table-cache.js';
import type { TableFile } from '../table/table-file.js';
import type { VersionSet } from '../version/version-set.js';
import type { ReadState } from './read-state.js';

/** More blocks than a read of one key needs. */
const MOST_FETCHES = 32;

export class Reader {
  readonly #tables: TableCache;
  readonly #versions: Pick<VersionSet, 'owned'>;
  readonly #cursor = new BlockCursor();
  readonly #hash: KeyHash = { first: 0, second: 0 };
  #isHashed = false;
  #cachedOnly = false;
  /** Buffer for the keys of large values; undefined if the value is needed. */
  #keyOnly: SingleEntryBlock | undefined;
  readonly #key = new SingleEntryBlock(KEY_ONLY_START_BYTES);

  constructor(tables: TableCache, versions: Pick<VersionSet, 'owned'>) {
    this.#tables = tables;
    this.#versions = versions;
  }

  /** Whether reads are so slow that other events should run meanwhile. */
  get isSlow(): boolean {
    return this.#tables.speed.isSlow;
  }

  /** As `get`, but other events run meanwhile. The state must be pinned until it resolves. */
  async getLater(key: Uint8Array, state: ReadState): Promise<Buffer | undefined> {
    for (let fetches = 0; fetches < MOST_FETCHES && this.isSlow; fetches++) {
      try {
        return this.get(key, state, true);
      } catch (missing) {
        if (!(missing instanceof NotCached)) throw missing;
        await missing.table.fetchBlock(missing.block);
      }
    }
    // Reads are fast, or the fetched blocks do not fit into the cache.
    return this.get(key, state);
  }

  /** A copy of the value of a key. With `cachedOnly`, throws `NotCached` if a block would have to be read. */
  get(key: Uint8Array, state: ReadState, cachedOnly = false): Buffer | undefined {
    const { sequence, active, frozen } = state;
    this.#cachedOnly = cachedOnly;
    this.#keyOnly = undefined;
    this.#isHashed = false;
    const hash = key.length <= MOST_FILTERED_BYTES ? this.#hashOf(key) : undefined;
    let node = active.find(key, sequence, hash);
    if (node !== 0) return valueAt(active, node);
    for (let i = frozen.length - 1; i >= 0; i--) {
      const memtable = frozen[i] as Memtable;
      node = memtable.find(key, sequence, hash);
      if (node !== 0) return valueAt(memtable, node);
    }
    return this.#findInTables(key, state) ? this.#take() : undefined;
  }

  /** Whether the key has a value. As `get`, but a large value is not read. */
  has(key: Uint8Array, state: ReadState): boolean {
    const { sequence, active, frozen } = state;
    this.#cachedOnly = false;
    this.#keyOnly = this.#key;
    this.#isHashed = false;
    const hash = key.length <= MOST_FILTERED_BYTES ? this.#hashOf(key) : undefined;
    let node = active.find(key, sequence, hash);
    if (node !== 0) return !active.isDeleted(node);
    for (let i = frozen.length - 1; i >= 0; i--) {
      const memtable = frozen[i] as Memtable;
      node = memtable.find(key, sequence, hash);
      if (node !== 0) return !memtable.isDeleted(node);
    }
    return this.#findInTables(key, state) && !this.#cursor.deleted;
  }

  #hashOf(key: Uint8Array): KeyHash {
    if (!this.#isHashed) hashKey(key, 0, key.length, this.#hash);
    this.#isHashed = true;
    return this.#hash;
  }

  /** Leaves the cursor at the entry found. */
  #findInTables(key: Uint8Array, { sequence, version }: ReadState): boolean {
    if (this.#versions.owned?.owns(key) === false) return false;
    const { levels } = version;
    const newest = levels[0] as readonly TableFile[];
    for (let i = 0; i < newest.length; i++) {
      const file = newest[i] as TableFile;
      if (file.covers(key) && this.#find(file, key, sequence)) return true;
    }
    for (let level = 1; level < levels.length; level++) {
      const files = levels[level] as readonly TableFile[];
      if (files.length === 0) continue;
      const file = version.fileCovering(level, key);
      if (file !== undefined && this.#find(file, key, sequence)) return true;
    }
    return false;
  }

  #find(file: TableFile, key: Uint8Array, sequence: number): boolean {
    const table = this.#tables.use(file);
    return (
      table.mayContain(this.#hashOf(key)) &&
      table.find(key, sequence, this.#cursor, this.#cachedOnly, this.#keyOnly)
    );
  }

  #take(): Buffer | undefined {
    const cursor = this.#cursor;
    return cursor.deleted ? undefined : copyRange(cursor.valueBytes, cursor.valueStart, cursor.valueEnd);
  }
}

function valueAt(memtable: Memtable, node: number): Buffer | undefined {
  return memtable.isDeleted(node) ? undefined : memtable.value(node);
}
