/**
 * What may be asked of a RaftreeLevel beyond abstract-level's own options. Where classic-level has an option for the
 * same thing, it is accepted under the same name, so that one database can take the place of the other.
 */
import type {
  AbstractBatchOptions,
  AbstractChainedBatch,
  AbstractChainedBatchWriteOptions,
  AbstractDatabaseOptions,
  AbstractDelOptions,
  AbstractOpenOptions,
  AbstractPutOptions,
  Transcoder,
} from 'abstract-level';
import { type LsmOptions, nearestAccepted } from '../lsm/options.js';

/**
 * What stays undefined is left to the engine's defaults (`lsm/options.ts`). A number that the engine does not take
 * becomes the nearest that it does, as in LevelDB; what is no number, and options that are not known, are ignored.
 */
export interface OpenOptions extends AbstractOpenOptions {
  /** Whether blocks are compressed; true, where the engine's optional package for it is installed. */
  readonly compression?: boolean | undefined;
  /** Bytes of the cache of data blocks. */
  readonly cacheSize?: number | undefined;
  /** Bytes of a memtable, at which it is flushed to level 0. */
  readonly writeBufferSize?: number | undefined;
  /** Bytes of a data block before compression. */
  readonly blockSize?: number | undefined;
  /** Entries between two keys that a block stores whole. */
  readonly blockRestartInterval?: number | undefined;
  /** Bytes at which compaction goes on to another file. */
  readonly maxFileSize?: number | undefined;
  /** Table files kept open. */
  readonly maxOpenFiles?: number | undefined;
  /** Accepted, without effect: other than with classic-level, a database is open in one thread at a time. */
  readonly multithreading?: boolean | undefined;
  /** Everything else that the engine can be told; wins over the options above. */
  readonly engine?: LsmOptions | undefined;
}

export interface DatabaseOptions<K, V> extends AbstractDatabaseOptions<K, V>, Omit<OpenOptions, 'passive'> {}

export interface WriteOptions {
  /**
   * Whether the promise waits until the write is on the disk, safe from a power cut. By default (false) it waits
   * until the operating system has it, safe from the end of the process.
   */
  readonly sync?: boolean | undefined;
}

export interface PutOptions<K, V> extends AbstractPutOptions<K, V>, WriteOptions {}
export interface DelOptions<K> extends AbstractDelOptions<K>, WriteOptions {}
export interface BatchOptions<K, V> extends AbstractBatchOptions<K, V>, WriteOptions {}
export interface ChainedBatchWriteOptions extends AbstractChainedBatchWriteOptions, WriteOptions {}

export interface ChainedBatch<TDatabase, K, V> extends AbstractChainedBatch<TDatabase, K, V> {
  write(): Promise<void>;
  write(options: ChainedBatchWriteOptions): Promise<void>;
}

/** Of `approximateSize` and `compactRange`. */
export interface StartEndOptions<K> {
  /** How `start` and `end` are encoded; the database's key encoding by default. */
  readonly keyEncoding?: string | Transcoder.PartialEncoder<K> | undefined;
}

export function engineOptions(options: OpenOptions): LsmOptions {
  const given = Object.entries({
    blockCacheBytes: nearestAccepted('blockCacheBytes', options.cacheSize),
    writeBufferBytes: nearestAccepted('writeBufferBytes', options.writeBufferSize),
    blockBytes: nearestAccepted('blockBytes', options.blockSize),
    restartInterval: nearestAccepted('restartInterval', options.blockRestartInterval),
    maxFileBytes: nearestAccepted('maxFileBytes', options.maxFileSize),
    maxOpenTables: nearestAccepted('maxOpenTables', options.maxOpenFiles),
    codecs: options.compression === false ? ['none'] : undefined,
  }).filter(([, value]) => value !== undefined);
  return {
    // As everywhere in the ecosystem, writes are not refused because many are waiting.
    maxWaitingBytes: Number.POSITIVE_INFINITY,
    ...Object.fromEntries(given),
    ...options.engine,
    createIfMissing: options.createIfMissing !== false,
    errorIfExists: options.errorIfExists === true,
  };
}
