/**
 * An abstract-level database over an LSM tree: what works on classic-level works on it, without a native addon.
 *
 *     const db = new RaftreeLevel<string, Person>('./people', { valueEncoding: 'json' });
 *     await db.put('ada', { born: 1815 }, { sync: true });
 *     for await (const [name, person] of db.iterator({ gte: 'a', lt: 'b' })) …
 *
 * It opens itself; operations called before wait until it is open. The public methods are abstract-level's; those
 * with an underscore are what it asks of an implementation, with keys and values already encoded.
 */
import {
  type AbstractBatchOperation,
  AbstractLevel,
  type AbstractSnapshot,
  type Transcoder,
} from 'abstract-level';
import { RaftreeError } from '../env/errors.js';
import { realEnv } from '../env/real/real-env.js';
import { LsmTree } from '../lsm/lsm-tree.js';
import type { LsmStats } from '../lsm/stats.js';
import { destroyTree } from '../lsm/tools/destroy.js';
import { type RepairReport, repairTree } from '../lsm/tools/repair.js';
import type { Operation } from '../lsm/wal/write-batch.js';
import { clear, type EncodedClearOptions } from './clear.js';
import { type Format, fromBytes, toBytes } from './formats.js';
import { levelError } from './level-errors.js';
import { type EncodedIteratorOptions, LevelIterator } from './level-iterator.js';
import {
  type BatchOptions,
  type ChainedBatch,
  type DatabaseOptions,
  type DelOptions,
  engineOptions,
  type OpenOptions,
  type PutOptions,
  type StartEndOptions,
  type WriteOptions,
} from './level-options.js';
import { LevelSnapshot, readOptions, type SnapshotOptions } from './level-snapshot.js';
import { property } from './properties.js';

/** abstract-level's public methods where they take more options here. */
interface LevelMethods<KDefault, VDefault> extends AbstractLevel<Format, KDefault, VDefault> {
  open(): Promise<void>;
  open(options: OpenOptions): Promise<void>;
  put(key: KDefault, value: VDefault): Promise<void>;
  put<K = KDefault, V = VDefault>(key: K, value: V, options: PutOptions<K, V>): Promise<void>;
  del(key: KDefault): Promise<void>;
  del<K = KDefault>(key: K, options: DelOptions<K>): Promise<void>;
  batch(operations: AbstractBatchOperation<this, KDefault, VDefault>[]): Promise<void>;
  batch<K = KDefault, V = VDefault>(
    operations: AbstractBatchOperation<this, K, V>[],
    options: BatchOptions<K, V>,
  ): Promise<void>;
  batch(): ChainedBatch<this, KDefault, VDefault>;
}

/** The published types of manifests lack `getSync`. */
type Manifest = ConstructorParameters<typeof AbstractLevel>[0] & { readonly getSync: boolean };

const LevelBase = AbstractLevel as unknown as new <K, V>(
  manifest: Manifest,
  options?: DatabaseOptions<K, V>,
) => LevelMethods<K, V>;

/** In the form that abstract-level gives to implementations. */
interface EncodedReadOptions {
  readonly valueEncoding?: string;
  readonly snapshot?: unknown;
}

interface EncodedOperation {
  readonly type: 'put' | 'del';
  readonly key: Format;
  readonly value?: Format;
}

export class RaftreeLevel<KDefault = string, VDefault = string> extends LevelBase<KDefault, VDefault> {
  /** The directory that was passed to the constructor. */
  readonly location: string;
  #tree: LsmTree | undefined;
  /** Running compactions. Closing waits for them. */
  readonly #compactions = new Set<Promise<void>>();

  /** `location` is a directory, which is created unless `createIfMissing` is false. */
  constructor(location: string, options?: DatabaseOptions<KDefault, VDefault>) {
    checkLocation(location);
    super(
      {
        encodings: { buffer: true, utf8: true, view: true },
        has: true,
        getSync: true,
        createIfMissing: true,
        errorIfExists: true,
        explicitSnapshots: true,
        additionalMethods: { approximateSize: true, compactRange: true },
        signals: { iterators: true },
      },
      options,
    );
    this.location = location;
  }

  /**
   * Estimates how many bytes the keys from `start` to `end` take. Unlike with classic-level, data in memory counts too,
   * so recent writes are included.
   */
  async approximateSize<K = KDefault>(start: K, end: K, options?: StartEndOptions<K>): Promise<number> {
    checkBothGiven(start, end);
    if (this.status === 'opening') return this.deferAsync(() => this.approximateSize(start, end, options));
    const tree = this.#openTree('approximateSize()');
    return tree.approximateSize(this.#rangeOf(start, end, options));
  }

  /** Brings the keys from `start` to `end` into the deepest level, dropping what was deleted or overwritten. */
  async compactRange<K = KDefault>(start: K, end: K, options?: StartEndOptions<K>): Promise<void> {
    checkBothGiven(start, end);
    if (this.status === 'opening') return this.deferAsync(() => this.compactRange(start, end, options));
    const compaction = asLevel(
      this.#openTree('compactRange()').compactRange(this.#rangeOf(start, end, options)),
    );
    this.#compactions.add(compaction);
    try {
      await compaction;
    } finally {
      this.#compactions.delete(compaction);
    }
  }

  /**
   * Removes a database that is closed: its files, and its directory if nothing else is in it. Rejects with
   * `LEVEL_LOCKED` if it is open.
   */
  static async destroy(location: string): Promise<void> {
    checkLocation(location);
    await asLevel(destroyTree(realEnv(), location));
  }

  /**
   * Makes the intact parts of a closed, damaged database usable again, and lists the losses (`raftree lsm repair`).
   * Rejects with `LEVEL_LOCKED` if it is open.
   */
  static async repair(location: string): Promise<RepairReport> {
    checkLocation(location);
    return asLevel(repairTree(realEnv(), location));
  }

  /** `leveldb.num-files-at-levelN`, `leveldb.stats`, `leveldb.sstables` or `leveldb.approximate-memory-usage`. */
  getProperty(name: string): string {
    if (typeof name !== 'string') throw new TypeError("The first argument 'property' must be a string");
    return property(this.#openTree('getProperty()'), name);
  }

  /** The state of the engine in numbers. */
  stats(): LsmStats {
    return this.#openTree('stats()').stats();
  }

  /** @internal */
  async _open(options: OpenOptions): Promise<void> {
    try {
      this.#tree = await LsmTree.open(this.location, engineOptions(options));
    } catch (error) {
      throw levelError(error);
    }
  }

  /** @internal */
  async _close(): Promise<void> {
    await Promise.allSettled(this.#compactions);
    const tree = this.#tree;
    // Set only once: `close` may reject, because writes may be lost, but the tree is closed then.
    this.#tree = undefined;
    if (tree) await asLevel(tree.close());
  }

  /** @internal */
  _getSync(key: Format, options: EncodedReadOptions): Format | undefined {
    try {
      const value = this.#openTree('get()').getSync(toBytes(key), readOptions(options));
      return value && fromBytes(value, options.valueEncoding);
    } catch (error) {
      throw levelError(error);
    }
  }

  /** @internal */
  async _get(key: Format, options: EncodedReadOptions): Promise<Format | undefined> {
    const value = await asLevel(this.#openTree('get()').get(toBytes(key), readOptions(options)));
    return value && fromBytes(value, options.valueEncoding);
  }

  /** @internal */
  async _getMany(keys: readonly Format[], options: EncodedReadOptions): Promise<(Format | undefined)[]> {
    const values = await asLevel(
      this.#openTree('getMany()').getMany(keys.map(toBytes), readOptions(options)),
    );
    return values.map((value) => value && fromBytes(value, options.valueEncoding));
  }

  /** @internal */
  _has(key: Format, options: EncodedReadOptions): Promise<boolean> {
    return asLevel(this.#openTree('has()').has(toBytes(key), readOptions(options)));
  }

  /** @internal */
  _hasMany(keys: readonly Format[], options: EncodedReadOptions): Promise<boolean[]> {
    return asLevel(this.#openTree('hasMany()').hasMany(keys.map(toBytes), readOptions(options)));
  }

  /** @internal */
  _put(key: Format, value: Format, options: WriteOptions): Promise<unknown> {
    return this.#write([{ type: 'put', key: toBytes(key), value: toBytes(value) }], options);
  }

  /** @internal */
  _del(key: Format, options: WriteOptions): Promise<unknown> {
    return this.#write([{ type: 'delete', key: toBytes(key) }], options);
  }

  /** @internal */
  _batch(operations: readonly EncodedOperation[], options: WriteOptions): Promise<unknown> {
    return this.#write(operations.map(toEngine), options);
  }

  /** @internal */
  async _clear(options: EncodedClearOptions): Promise<void> {
    await asLevel(clear(this.#openTree('clear()'), options));
  }

  /** @internal */
  _iterator(options: EncodedIteratorOptions): LevelIterator<this, KDefault, VDefault> {
    return new LevelIterator(this, this.#openTree('iterator()'), options);
  }

  /** @internal */
  _snapshot(options: SnapshotOptions): AbstractSnapshot {
    return new LevelSnapshot(this.#openTree('snapshot()').snapshot(), options);
  }

  #write(operations: readonly Operation[], { sync }: WriteOptions): Promise<unknown> {
    return asLevel(this.#openTree('write').write(operations, sync ? SYNC : BUFFERED));
  }

  #rangeOf<K>(start: K, end: K, options: StartEndOptions<K> | undefined) {
    const encoding =
      options?.keyEncoding === undefined
        ? this.keyEncoding()
        : this.keyEncoding(options.keyEncoding as Transcoder.MixedEncoding<K, unknown, K>);
    const encode = encoding.encode as (key: K) => Format;
    return { smallest: toBytes(encode(start)), largest: toBytes(encode(end)) };
  }

  #openTree(operation: string): LsmTree {
    if (this.status === 'closed' || !this.#tree) {
      throw new RaftreeError('LEVEL_DATABASE_NOT_OPEN', `Database is not open: cannot call ${operation}`);
    }
    return this.#tree;
  }
}

function checkLocation(location: unknown): void {
  if (typeof location === 'string' && location !== '') return;
  throw new TypeError("The first argument 'location' must be a non-empty string");
}

function checkBothGiven(start: unknown, end: unknown): void {
  if (start === undefined || end === undefined) {
    throw new TypeError("The arguments 'start' and 'end' are required");
  }
}

function toEngine({ type, key, value }: EncodedOperation): Operation {
  return type === 'put' && value !== undefined
    ? { type: 'put', key: toBytes(key), value: toBytes(value) }
    : { type: 'delete', key: toBytes(key) };
}

const SYNC = { durability: 'sync' } as const;
const BUFFERED = { durability: 'buffered' } as const;

function asLevel<T>(result: Promise<T>): Promise<T> {
  return result.catch((error: unknown) => {
    throw levelError(error);
  });
}
