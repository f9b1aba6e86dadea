/**
 * Reads that take more than one turn of the event loop. They pin memtables and version meanwhile. So a flush or a
 * compaction does not change what they see.
 */
import type { Env } from '../../env/env.js';
import type { BackgroundWork } from '../base/background-work.js';
import type { TableCache } from '../table/table-cache.js';
import { sortedRuns } from '../version/version.js';
import type { VersionSet } from '../version/version-set.js';
import { type IteratorOptions, LsmIterator, type MakeEntry } from './iterator.js';
import { MergeCursor } from './merge-cursor.js';
import type { ReadState, ReadStates } from './read-state.js';
import type { Reader } from './reader.js';
import { RunCursor } from './run-cursor.js';
import { Turn } from './turn.js';

export interface ReadSources {
  readonly env: Env;
  readonly states: ReadStates;
  readonly tables: TableCache;
  readonly reader: Reader;
  readonly versions: Pick<VersionSet, 'owned'>;
  readonly background: BackgroundWork;
  /** Throws `LSM_CLOSED` when the tree is closed. */
  check(): void;
  /** An iterator has skipped this many deleted or hidden entries. */
  passed(entries: number): void;
}

/** The cost of a lookup in a turn, besides the bytes of the value. */
const LOOKUP_BYTES = 4096;
/** The keys that are read together while reads are slow. */
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
    return this.#read(sequence, (state) => this.#sources.reader.getLater(copy, state));
  }

  /** Resolves to the result of a read. After many of them in one turn, other events run first. */
  handOn<T extends Buffer | boolean | undefined>(result: T): Promise<T> {
    this.#turn.spend(LOOKUP_BYTES + (result instanceof Buffer ? result.length : 0));
    return this.#turn.isOver ? this.#turn.end().then(() => result) : Promise.resolve(result);
  }

  getMany(keys: readonly Uint8Array[], sequence: number): Promise<(Buffer | undefined)[]> {
    const copies = keys.map((key) => Buffer.from(key));
    return this.#read(sequence, (state) => this.#getInTurns(copies, state));
  }

  hasMany(keys: readonly Uint8Array[], sequence: number): Promise<boolean[]> {
    const copies = keys.map((key) => Buffer.from(key));
    return this.#read(sequence, (state) => this.#hasInTurns(copies, state));
  }

  iterator<E extends object>(options: IteratorOptions, sequence: number, make: MakeEntry<E>): LsmIterator<E> {
    const { states, tables, versions, check, passed } = this.#sources;
    const state = states.pin(sequence);
    const keysOnly = options.values === false;
    const filled = [...state.frozen, state.active].filter((memtable) => memtable.count > 0).reverse();
    const cursors = [
      ...filled.map((memtable) => memtable.cursor()),
      ...sortedRuns(state.version).map(
        (run) => new RunCursor(tables, run, { readAheadBytes: READ_AHEAD_BYTES, keysOnly }),
      ),
    ];
    return new LsmIterator(
      {
        merge: new MergeCursor(cursors, options.reverse ?? false),
        sequence,
        check,
        passed,
        release: state.release,
        owned: versions.owned,
        turn: this.#turn,
      },
      options,
      make,
    );
  }

  #read<T>(sequence: number, read: (state: ReadState) => Promise<T>): Promise<T> {
    const { states, background } = this.#sources;
    const state = states.pin(sequence);
    return background.add(read(state).finally(state.release));
  }

  async #getInTurns(keys: readonly Buffer[], state: ReadState): Promise<(Buffer | undefined)[]> {
    const { reader } = this.#sources;
    const values: (Buffer | undefined)[] = [];
    while (values.length < keys.length) {
      const next = keys.slice(values.length, values.length + MANY_KEYS);
      if (reader.isSlow) {
        values.push(...(await Promise.all(next.map((key) => reader.getLater(key, state)))));
      } else {
        for (const key of next) {
          const value = reader.get(key, state);
          values.push(value);
          this.#turn.spend(LOOKUP_BYTES + (value?.length ?? 0));
          if (this.#turn.isOver) break;
        }
      }
      if (this.#turn.isOver) await this.#turn.end();
    }
    return values;
  }

  async #hasInTurns(keys: readonly Buffer[], state: ReadState): Promise<boolean[]> {
    const found: boolean[] = [];
    for (const key of keys) {
      found.push(this.#sources.reader.has(key, state));
      this.#turn.spend(LOOKUP_BYTES);
      if (this.#turn.isOver) await this.#turn.end();
    }
    return found;
  }
}
