/**
 * Any abstract-level database as an engine: `levelEngine('level:classic-level', (location) => new
 * ClassicLevel(location))`. The database must have `getSync` and explicit snapshots, and sync a batch that asks for it.
 *
 * Each batch is synced: some databases, LevelDB among them, do not sync an older log file when a newer one is, so a
 * sync now and then would leave gaps after a power cut. The keys, not the values, are also held in memory in order:
 * iterators of abstract-level are asynchronous, and a state machine reads without waiting.
 */
import { RaftreeError } from '../env/errors.js';
import { withSortedCheckpoints } from './sorted-checkpoints.js';
import { SortedMap } from './sorted-map.js';
import type { EngineKind, EngineOperation, EngineRange, PlainEngine } from './storage-engine.js';

const BYTES = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;

interface Snapshot {
  close(): Promise<void>;
}

/** The part of an abstract-level database, version 3.1 or newer, that the engine uses. */
export interface LevelDatabase {
  readonly supports?: object;
  open(): Promise<void>;
  close(): Promise<void>;
  keys(options: { readonly keyEncoding: 'buffer' }): AsyncIterable<unknown>;
  batch(
    operations: { type: 'put' | 'del'; key: unknown; value?: unknown }[],
    options: typeof BYTES & { readonly sync: boolean },
  ): Promise<void>;
  getSync?(key: unknown, options: typeof BYTES & { readonly snapshot?: unknown }): unknown;
  snapshot(): Snapshot;
}

/** `name` as in `EngineKind`. `create` makes a database at a location, a directory that exists. */
export function levelEngine(name: string, create: (location: string) => object): EngineKind {
  return withSortedCheckpoints({
    name,
    /** Rejects with `ENGINE_UNSUITABLE`, or with the error of the database. */
    async open(directory) {
      const database = create(directory) as LevelDatabase;
      const { getSync = false, explicitSnapshots = false } = (database.supports ?? {}) as Record<
        string,
        unknown
      >;
      if (!getSync || !explicitSnapshots || !database.getSync) {
        throw new RaftreeError(
          'ENGINE_UNSUITABLE',
          `the database of the storage engine "${name}" has no ${getSync ? 'explicit snapshots' : 'getSync'}, which an ` +
            'engine needs; take another one, or a newer version of it (abstract-level 3.1)',
        );
      }
      await database.open();
      const keys = new SortedMap<true>();
      try {
        for await (const key of database.keys({ keyEncoding: 'buffer' })) keys.set(asBuffer(key), true);
      } catch (error) {
        await database.close();
        throw error;
      }
      return new LevelEngine(database, keys);
    },
  });
}

/** The state after a batch. It is kept while it is the last one or an iterator uses it. */
interface State {
  readonly snapshot: Snapshot;
  users: number;
}

class LevelEngine implements PlainEngine {
  readonly #database: LevelDatabase;
  /** The keys after the completed batches. */
  readonly #keys: SortedMap<true>;
  #state: State;
  #given = 0;
  #durableSequence = 0;
  /** Batches go to the database one after another. After a failed batch none does. */
  #writing: Promise<number> = Promise.resolve(0);

  constructor(database: LevelDatabase, keys: SortedMap<true>) {
    this.#database = database;
    this.#keys = keys;
    this.#state = this.#currentState();
  }

  get durableSequence(): number {
    return this.#durableSequence;
  }

  /** Running batches are not visible: a batch becomes visible as a whole when it is done. */
  get(key: Uint8Array): Buffer | undefined {
    return this.#valueIn(this.#state, Buffer.from(key));
  }

  *entries(range: EngineRange): Generator<readonly [Buffer, Buffer]> {
    const state = this.#state;
    const keys = this.#keys.entries(range);
    state.users++;
    try {
      for (const [key] of keys) {
        const value = this.#valueIn(state, key);
        if (!value)
          throw new RaftreeError('CORRUPTION', 'the database does not find a key that it has listed');
        yield [Buffer.from(key), value];
      }
    } finally {
      this.#release(state);
    }
  }

  write(operations: readonly EngineOperation[]): Promise<number> {
    const batch = operations.map((operation) =>
      operation.type === 'put'
        ? { type: 'put' as const, key: Buffer.from(operation.key), value: Buffer.from(operation.value) }
        : { type: 'del' as const, key: Buffer.from(operation.key) },
    );
    this.#given++;
    const sequence = this.#given;
    this.#writing = this.#writing.then(() => this.#write(batch, sequence));
    return this.#writing;
  }

  /** Every batch that is done is durable. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  approximateKeys(): number {
    return this.#keys.size;
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {});
    // This closes its snapshots too.
    await this.#database.close();
  }

  async #write(
    batch: { type: 'put' | 'del'; key: Buffer; value?: Buffer }[],
    sequence: number,
  ): Promise<number> {
    await this.#database.batch(batch, { ...BYTES, sync: true });
    for (const { type, key } of batch) {
      if (type === 'put') this.#keys.set(key, true);
      else this.#keys.delete(key);
    }
    const before = this.#state;
    this.#state = this.#currentState();
    this.#release(before);
    this.#durableSequence = sequence;
    return sequence;
  }

  #valueIn(state: State, key: Buffer): Buffer | undefined {
    const value = this.#database.getSync?.(key, { ...BYTES, snapshot: state.snapshot });
    return value === undefined ? undefined : asBuffer(value);
  }

  #currentState(): State {
    return { snapshot: this.#database.snapshot(), users: 1 };
  }

  #release(state: State): void {
    state.users--;
    // An error here is ignored: closing the database fails with it too.
    if (state.users === 0) state.snapshot.close().catch(() => {});
  }
}

function asBuffer(value: unknown): Buffer {
  if (!(value instanceof Uint8Array))
    throw new RaftreeError('ENGINE_UNSUITABLE', 'the database gives no bytes where it was asked for bytes');
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.length);
}
