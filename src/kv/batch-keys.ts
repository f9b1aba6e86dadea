/**
 * The keys that the writes of one engine batch touch, and what they hold at the moment: first what the engine has, then
 * what the writes of the batch have left. Each key is found once per operation, by its bytes.
 *
 *     engine   <-   writes of the batch that are done   <-   the write at hand
 *                   `accept` adds the write at hand to them, `refuse` forgets it
 */
import { KeyTable } from './key-table.js';
import { type StoredKey, userKey } from './keys.js';
import type { ReplicatedTime } from './replicated-time.js';
import { type ChangeHistory, DELETE, EXPIRE, PUT } from './watch/change-history.js';

export class BatchKey {
  /** As the engine stores it. */
  readonly stored: Buffer;
  /** What the writes that are done have left; null: the key is deleted; undefined: they did not change it. */
  left: StoredKey | null | undefined;
  /** The same of the write at hand. */
  staged: StoredKey | null | undefined;
  /** What the engine has, while the write at hand keeps it; null: nothing. */
  read: StoredKey | null | undefined;
  /** Of a key that was changed: the deadline that the engine has. */
  storedDeadlineMs: number | undefined;

  constructor(key: Uint8Array) {
    this.stored = userKey(key);
  }
}

const NOTHING = Buffer.alloc(0);
/** Values that one write keeps of those that it has read. What it needs of others again is read again. */
const MAX_KEPT_VALUE_BYTES = 16 * 1024 * 1024;

export class BatchKeys {
  readonly #readStored: (stored: Buffer) => StoredKey | undefined;
  readonly #time: ReplicatedTime;
  /** The engine may have deadlines: that of a key is looked up before the key changes. */
  readonly #hasDeadlines: boolean;
  readonly #table = new KeyTable((key) => new BatchKey(key));
  readonly #changed: BatchKey[] = [];
  #changedBytes = 0;
  #staged: BatchKey[] = [];
  #read: BatchKey[] = [];
  #keptValueBytes = 0;
  readonly #history: ChangeHistory | undefined;

  /**
   * `readStored`: what the engine has under a stored key. A key whose deadline has passed by `time` is not there.
   * `history` is told each change that is made.
   */
  constructor(
    readStored: (stored: Buffer) => StoredKey | undefined,
    time: ReplicatedTime,
    history?: ChangeHistory,
  ) {
    this.#readStored = readStored;
    this.#time = time;
    this.#history = history;
    this.#hasDeadlines = time.keysWithDeadline > 0;
  }

  /** Keys that the writes which are done have changed: `left` is what they hold now. */
  get changed(): readonly BatchKey[] {
    return this.#changed;
  }

  /** Keys and values of all changes, a key that was changed twice counted twice. */
  get changedBytes(): number {
    return this.#changedBytes;
  }

  of(key: Uint8Array): BatchKey {
    return this.#table.of(key);
  }

  get nowMs(): number {
    return this.#time.nowMs;
  }

  /** What the key held before the write at hand. */
  before(key: BatchKey): StoredKey | undefined {
    return living(this.kept(key), this.nowMs);
  }

  /** The same, also if its deadline has passed. */
  kept(key: BatchKey): StoredKey | undefined {
    if (key.left !== undefined) return key.left ?? undefined;
    if (key.read !== undefined) return key.read ?? undefined;
    const read = this.#readStored(key.stored);
    this.#keptValueBytes += read?.value.length ?? 0;
    if (this.#keptValueBytes <= MAX_KEPT_VALUE_BYTES) {
      key.read = read ?? null;
      this.#read.push(key);
    }
    return read;
  }

  /** What the key holds now, with the changes of the write at hand. */
  present(key: BatchKey): StoredKey | undefined {
    return key.staged === undefined ? this.before(key) : (key.staged ?? undefined);
  }

  /** The write at hand changes the key; null deletes it. */
  stage(key: BatchKey, change: StoredKey | null): void {
    if (key.staged === undefined) this.#staged.push(key);
    key.staged = change;
  }

  /** The write at hand, which is the entry `index`, takes effect. */
  accept(index: number): void {
    for (const key of this.#staged) this.#leave(key, key.staged ?? null, index);
    this.#end();
  }

  /**
   * The entry `index` deletes a key that has exactly this deadline. Returns whether it has. `isIndexed`: whether the
   * engine has it in its index of deadlines. So neither value nor version of the key is read.
   */
  expire(name: Uint8Array, deadlineMs: number, index: number, isIndexed: () => boolean): boolean {
    const key = this.of(name);
    if (key.left !== undefined) {
      if (key.left?.deadlineMs !== deadlineMs) return false;
    } else {
      if (!isIndexed()) return false;
      key.storedDeadlineMs = deadlineMs;
      this.#changed.push(key);
    }
    key.left = null;
    this.#changedBytes += key.stored.length;
    this.#history?.add(EXPIRE, index, key.stored, NOTHING);
    return true;
  }

  /** A write that takes effect whatever the key holds, and changes no other. */
  put(key: Uint8Array, change: StoredKey): void {
    this.#leave(this.of(key), change, change.version);
  }

  /** The write at hand changes nothing. */
  refuse(): void {
    this.#end();
  }

  #leave(key: BatchKey, change: StoredKey | null, index: number): void {
    if (key.left === undefined) {
      this.#changed.push(key);
      if (this.#hasDeadlines) {
        const stored = key.read === undefined ? this.#readStored(key.stored) : key.read;
        key.storedDeadlineMs = stored?.deadlineMs;
      }
    }
    key.left = change;
    this.#changedBytes += key.stored.length + (change?.value.length ?? 0);
    if (!change) this.#history?.add(DELETE, index, key.stored, NOTHING);
    // Another deadline leaves the version as it is, and is no change of the key.
    else if (change.version === index) this.#history?.add(PUT, index, key.stored, change.value);
  }

  #end(): void {
    for (const key of this.#staged) key.staged = undefined;
    for (const key of this.#read) key.read = undefined;
    if (this.#staged.length > 0) this.#staged = [];
    if (this.#read.length > 0) this.#read = [];
    this.#keptValueBytes = 0;
  }
}

/** Undefined if its deadline has passed. */
export function living(key: StoredKey | undefined, nowMs: number): StoredKey | undefined {
  return key?.deadlineMs !== undefined && key.deadlineMs <= nowMs ? undefined : key;
}
