/**
 * Reads that go on across turns of the event loop. Memtables and version are pinned meanwhile, so that what is flushed
 * or compacted under them stays as it was when they began.
 */
import type { Env } from '../../env/env.js';
import type { BackgroundWork } from '../base/background-work.js';
import type { Memtable } from '../memtable/memtable.js';
import type { TableCache } from '../table/table-cache.js';
import { sortedRuns } from '../version/version.js';
import type { VersionSet } from '../version/version-set.js';
import { type IteratorOptions, LsmIterator, type MakeEntry } from './iterator.js';
import type { MemtableList } from './memtable-list.js';
import { MergeCursor } from './merge-cursor.js';
import type { Reader } from './reader.js';
import { RunCursor } from './run-cursor.js';
import { Turn } from './turn.js';

export interface ReadSources {
  readonly env: Env;
  readonly versions: VersionSet;
  readonly memtables: MemtableList;
  readonly tables: TableCache;
  readonly reader: Reader;
  readonly background: BackgroundWork;
  /** Throws `LSM_CLOSED` when the tree is closed. */
  check(): void;
  /** An iterator has passed over so many entries that are deleted or hidden. */
  passed(entries: number): void;
}

/** Reads of one state of the tree. */
interface PinnedState {
  get(key: Buffer): Buffer | undefined;
  /** While other events run, if reads are slow. */
  getLater(key: Buffer): Promise<Buffer | undefined>;
  has(key: Buffer): boolean;
}

/** What looking for a key costs of a turn beside the bytes of its value. */
const LOOKUP_BYTES = 4096;
/** Keys that are read together while reads are slow. */
const MANY_KEYS = 64;
const READ_AHEAD_BYTES = 64 * 1024;

export class PinnedReads {
  readonly #sources: ReadSources;
  readonly #turn: Turn;

  constructor(sources: ReadSources) {
    this.#sources = sources;
    this.#turn = new Turn(sources.env.timers);
  }

  get(key: Uint8Array, sequence: number): Promise<Buffer | undefined> {
    const copy = Buffer.from(key);
    return this.#read(sequence, ({ getLater }) => getLater(copy));
  }

  /** Hands on what was read; behind so much of it in a row, other events run first. */
  handOn<T extends Buffer | boolean | undefined>(result: T): Promise<T> {
    this.#turn.spend(LOOKUP_BYTES + (result instanceof Buffer ? result.length : 0));
    return this.#turn.isOver ? this.#turn.end().then(() => result) : Promise.resolve(result);
  }

  getMany(keys: readonly Uint8Array[], sequence: number): Promise<(Buffer | undefined)[]> {
    const copies = keys.map((key) => Buffer.from(key));
    return this.#read(sequence, (pinned) => this.#getInTurns(copies, pinned));
  }

  hasMany(keys: readonly Uint8Array[], sequence: number): Promise<boolean[]> {
    const copies = keys.map((key) => Buffer.from(key));
    return this.#read(sequence, ({ has }) => this.#hasInTurns(copies, has));
  }

  iterator<E extends object>(options: IteratorOptions, sequence: number, make: MakeEntry<E>): LsmIterator<E> {
    const { versions, memtables, tables, check, passed } = this.#sources;
    const version = versions.pin();
    const { filled } = memtables;
    const keysOnly = options.values === false;
    for (const memtable of filled) memtable.pin();
    const cursors = [
      ...filled.map((memtable) => memtable.cursor()),
      ...sortedRuns(version).map(
        (run) => new RunCursor(tables, run, { readAheadBytes: READ_AHEAD_BYTES, keysOnly }),
      ),
    ];
    return new LsmIterator(
      {
        merge: new MergeCursor(cursors, options.reverse ?? false),
        sequence,
        check,
        passed,
        release: () => {
          versions.unpin(version);
          for (const memtable of filled) memtable.unpin();
        },
        turn: this.#turn,
      },
      options,
      make,
    );
  }

  #read<T>(sequence: number, read: (pinned: PinnedState) => Promise<T>): Promise<T> {
    const { versions, memtables, reader, background } = this.#sources;
    const { active, frozen } = memtables;
    const pinned: readonly Memtable[] = [...frozen, active];
    const version = versions.pin();
    for (const memtable of pinned) memtable.pin();
    const done = read({
      get: (key) => reader.get(key, sequence, active, frozen, version),
      getLater: (key) => reader.getLater(key, sequence, active, frozen, version),
      has: (key) => reader.has(key, sequence, active, frozen, version),
    }).finally(() => {
      versions.unpin(version);
      for (const memtable of pinned) memtable.unpin();
    });
    return background.add(done);
  }

  async #getInTurns(keys: readonly Buffer[], pinned: PinnedState): Promise<(Buffer | undefined)[]> {
    const values: (Buffer | undefined)[] = [];
    while (values.length < keys.length) {
      const next = keys.slice(values.length, values.length + MANY_KEYS);
      if (this.#sources.reader.isSlow) values.push(...(await Promise.all(next.map(pinned.getLater))));
      else {
        for (const key of next) {
          const value = pinned.get(key);
          values.push(value);
          this.#turn.spend(LOOKUP_BYTES + (value?.length ?? 0));
          if (this.#turn.isOver) break;
        }
      }
      if (this.#turn.isOver) await this.#turn.end();
    }
    return values;
  }

  async #hasInTurns(keys: readonly Buffer[], has: (key: Buffer) => boolean): Promise<boolean[]> {
    const found: boolean[] = [];
    for (const key of keys) {
      found.push(has(key));
      this.#turn.spend(LOOKUP_BYTES);
      if (this.#turn.isOver) await this.#turn.end();
    }
    return found;
  }
}
