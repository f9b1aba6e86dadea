/**
 * The options of a RaftreeLevel besides abstract-level's own. An option of classic-level with the same meaning has the
 * same name here, so that one database can replace the other.
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
 * An undefined option has the engine's default (`lsm/options.ts`). A number that the engine does not accept becomes the
 * nearest accepted one, as in LevelDB. Values that are no numbers and unknown options are ignored.
 */
export interface OpenOptions extends AbstractOpenOptions {
  /** Whether blocks are compressed; true, where the engine's optional package for it is installed. */
  readonly compression?: boolean | undefined;
  /** Bytes of the cache of data blocks. */
  readonly cacheSize?: number | undefined;
  /** Size of a memtable in bytes, at which it is flushed to level 0. */
  readonly writeBufferSize?: number | undefined;
  /** Size of a data block in bytes, before compression. */
  readonly blockSize?: number | undefined;
  /** Entries between two keys that a block stores whole. */
  readonly blockRestartInterval?: number | undefined;
  /** Compaction starts a new file at this size in bytes. */
  readonly maxFileSize?: number | undefined;
  /** Table files kept open. */
  readonly maxOpenFiles?: number | undefined;
  /** Accepted, but has no effect: unlike with classic-level, a database is open in one thread at a time. */
  readonly multithreading?: boolean | undefined;
  /** All other options of the engine. They override the options above. */
  readonly engine?: LsmOptions | undefined;
}

export interface DatabaseOptions<K, V> extends AbstractDatabaseOptions<K, V>, Omit<OpenOptions, 'passive'> {}

export interface WriteOptions {
  /**
   * If true, the promise waits until the write is on the disk and survives a power cut. If false (the default), it
   * waits until the operating system has the write: it then survives the end of the process.
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

/** The options of `approximateSize` and `compactRange`. */
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
    // As in the rest of the ecosystem, writes are not refused because many are waiting.
    maxWaitingBytes: Number.POSITIVE_INFINITY,
    ...Object.fromEntries(given),
    ...options.engine,
    createIfMissing: options.createIfMissing !== false,
    errorIfExists: options.errorIfExists === true,
  };
}
