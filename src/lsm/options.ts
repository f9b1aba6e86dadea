/** Options of a tree: what they mean, their units, their limits. */
import { type Env, type Logger, silentLogger } from '../env/env.js';
import { realEnv } from '../env/real/real-env.js';
import { availableCodec, CODECS, type Codec } from './base/block-codec.js';
import { invalid } from './base/errors.js';
import { LsmResources } from './resources.js';
import type { Operation } from './wal/write-batch.js';

export type Durability = 'sync' | 'buffered' | 'none';

/** Called synchronously on events of the tree. The methods must be quick and must not throw. */
export interface LsmListener {
  /** Everything up to `flushedSequence` is in tables that are durable. */
  flushed?(event: FlushEvent): void;
  compacted?(event: CompactionEvent): void;
  /** Writes wait from now on, for this reason; undefined: they wait no longer. */
  stalled?(reason: StallReason | undefined): void;
  /** Writes are slowed down from now on, for this reason, so that they need not stop; undefined: no longer. */
  slowed?(reason: StallReason | undefined): void;
  /** The tree has become read-only. */
  failed?(error: unknown): void;
}

export interface FlushEvent {
  readonly flushedSequence: number;
  readonly tableBytes: number;
  /** The worker thread that wrote the tables; undefined if the tree's own thread did. */
  readonly threadId: number | undefined;
}

export interface CompactionEvent {
  readonly level: number;
  readonly outputLevel: number;
  readonly inputFiles: number;
  readonly outputFiles: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /**
   * The worker thread that wrote the outputs; undefined if the tree's own thread did, or if a file only changed its
   * level.
   */
  readonly threadId: number | undefined;
}

export type StallReason = 'memtables' | 'level-0 files' | 'pending bytes';

export interface LsmOptions {
  /** Clock, timers, randomness and files; the operating system's if not given. */
  readonly env?: Env;
  readonly logger?: Logger;
  readonly listener?: LsmListener;
  /**
   * What a write() without its own `durability` waits for: `sync`, the bytes are on the disk (default); `buffered`,
   * the bytes are in the system's memory, so that kill -9 loses nothing and a power cut loses a suffix; `none`,
   * there is no WAL, for the whole tree: only what is flushed survives.
   */
  readonly durability?: Durability;
  /** A memtable that has reached this size is frozen and flushed; 8 MiB. */
  readonly writeBufferBytes?: number;
  /** Writes wait when more memtables than this are frozen and not yet flushed; 2. */
  readonly maxFrozenMemtables?: number;
  /**
   * Bytes of writes that may wait in a stall before further ones fail with `LSM_BUSY`; 64 MiB. With `Infinity` none
   * fails: they all wait, each with a copy of its bytes.
   */
  readonly maxWaitingBytes?: number;
  /** The size of a data block before compression; 4 KiB. */
  readonly blockBytes?: number;
  /**
   * How blocks are stored, by level from 0 on; the last one holds for all deeper levels. For blocks above 64 KiB `lz4`
   * needs the optional package lz4-napi: without it these are written as they are, and compressed ones only read.
   */
  readonly codecs?: readonly Codec[];
  /** A block stores one key in this many as a whole; 8. */
  readonly restartInterval?: number;
  /** Bits per key of the bloom filter; 0: no filter. The default, 10, lets 1 % of missing keys through. */
  readonly bloomBitsPerKey?: number;
  /** Level 0 is compacted when it has this many files; 4. */
  readonly level0Trigger?: number;
  /** Writes are slowed down when level 0 has this many files, more with each further file; twice `level0Trigger`. */
  readonly level0SlowdownTrigger?: number;
  /** Writes wait when level 0 has this many files; five times `level0Trigger`. */
  readonly level0StopTrigger?: number;
  /** Writes are slowed down when the levels exceed their targets by this many bytes; 8 GiB. */
  readonly slowdownPendingBytes?: number;
  /** Writes wait when the levels exceed their targets by this many bytes; 32 GiB. */
  readonly stopPendingBytes?: number;
  /** Compaction starts a new output file at this size; 4 MiB. */
  readonly maxFileBytes?: number;
  /**
   * Level 1 is compacted above this size; `level0Trigger` times `writeBufferBytes`, at least 10 MiB. Above 10 MiB it
   * follows the size of level 0 if that is smaller.
   */
  readonly levelBaseBytes?: number;
  /** Each further level may be this many times larger than the level above it; 10. */
  readonly levelMultiplier?: number;
  /**
   * Caches and limits that this tree shares with others. They replace `blockCacheBytes` and `maxOpenTables`. By default
   * the tree has its own.
   */
  readonly resources?: LsmResources;
  /** Memory for data blocks; 32 MiB. */
  readonly blockCacheBytes?: number;
  /**
   * Tables kept open, each with a file descriptor and its index and filter in memory; 512, and at most half of the
   * descriptors that the process may have.
   */
  readonly maxOpenTables?: number;
  /**
   * Whether flush and compaction run in the process's worker thread; true. They run in the tree's own thread in any
   * case if `env` has no threads, or if its files are not those of the operating system.
   */
  readonly worker?: boolean;
  /** Without a worker, flush and compaction let other events run after this many milliseconds; 2. */
  readonly stepBudgetMs?: number;
  /**
   * After a full disk, a flush or compaction is tried again after this many milliseconds; 100. The delay doubles with
   * each failure in a row, up to 64 times.
   */
  readonly retryDelayMs?: number;
  /** A MANIFEST larger than this is replaced by a new one; 1 MiB. */
  readonly maxManifestBytes?: number;
  /** Whether a tree is created in a directory that has none; true. If false, opening fails with `LSM_MISSING`. */
  readonly createIfMissing?: boolean;
  /** Whether opening a directory that holds a tree fails, with `LSM_EXISTS`; false. */
  readonly errorIfExists?: boolean;
  /**
   * Called with each batch that recovery reads from the WAL, in order. The operations are views, valid during the call.
   */
  readonly replayed?: (operations: readonly Operation[], lastSequence: number) => void;
}

type OptionalHooks = 'listener' | 'replayed';
export type ResolvedOptions = Required<Omit<LsmOptions, OptionalHooks>> & Pick<LsmOptions, OptionalHooks>;

const KIB = 1024;
const MIB = 1024 * KIB;

const DEFAULT_CODECS: readonly Codec[] = ['lz4'];

/** Name, default, minimum, maximum. */
const NUMBERS = [
  ['writeBufferBytes', 8 * MIB, 1 * KIB, 1024 * MIB],
  ['maxFrozenMemtables', 2, 1, 64],
  ['maxWaitingBytes', 64 * MIB, 0, Number.POSITIVE_INFINITY],
  ['blockBytes', 4 * KIB, 64, 1 * MIB],
  ['restartInterval', 8, 1, 1024],
  ['bloomBitsPerKey', 10, 0, 64],
  ['level0Trigger', 4, 1, 1024],
  ['level0SlowdownTrigger', 8, 1, 4096],
  ['level0StopTrigger', 20, 1, 4096],
  ['slowdownPendingBytes', 8192 * MIB, 1, 1024 * 1024 * MIB],
  ['stopPendingBytes', 32_768 * MIB, 1, 1024 * 1024 * MIB],
  ['maxFileBytes', 4 * MIB, 1 * KIB, 1024 * MIB],
  ['levelBaseBytes', 10 * MIB, 1 * KIB, 1024 * 1024 * MIB],
  ['levelMultiplier', 10, 2, 100],
  ['blockCacheBytes', 32 * MIB, 0, 64 * 1024 * MIB],
  ['maxOpenTables', 512, 16, 1_000_000],
  ['stepBudgetMs', 2, 0, 1000],
  ['retryDelayMs', 100, 1, 60_000],
  ['maxManifestBytes', 1 * MIB, 256, 1024 * MIB],
] as const;

type NumberOptions = Record<(typeof NUMBERS)[number][0], number>;

/** A single tree has no more memory for writes than its memtables may take. */
function ownResources(numbers: NumberOptions): LsmResources {
  const { blockCacheBytes, blockBytes, maxOpenTables, writeBufferBytes } = numbers;
  return new LsmResources({
    blockCacheBytes,
    blockBytes,
    maxOpenTables,
    writeBufferBytes: 2 * writeBufferBytes,
  });
}

const BOOLEANS = ['worker', 'createIfMissing', 'errorIfExists'] as const;
const OTHERS = ['env', 'logger', 'listener', 'durability', 'codecs', 'resources', 'replayed'] as const;
const NAMES: ReadonlySet<string> = new Set([...NUMBERS.map(([name]) => name), ...BOOLEANS, ...OTHERS]);

/** The default of an option that depends on others, which are checked before it. */
function derived(
  name: keyof NumberOptions,
  { level0StopTrigger }: LsmOptions,
  { level0Trigger = 1, writeBufferBytes = 0 }: Partial<NumberOptions>,
): number | undefined {
  const stop = Math.min(4096, 5 * level0Trigger);
  if (name === 'level0StopTrigger') return stop;
  if (name === 'level0SlowdownTrigger') return Math.min(2 * level0Trigger, level0StopTrigger ?? stop);
  if (name === 'levelBaseBytes') return Math.max(10 * MIB, level0Trigger * writeBufferBytes);
  return undefined;
}

/** The nearest value that an option accepts; undefined if the given one is no number. */
export function nearestAccepted(name: keyof NumberOptions, value: unknown): number | undefined {
  if (typeof value !== 'number' || Number.isNaN(value)) return undefined;
  const [, , least, most] = NUMBERS.find(([known]) => known === name) as (typeof NUMBERS)[number];
  return Math.min(most, Math.max(least, Math.round(value)));
}

/** Throws `LSM_INVALID` with the option's name, the given value and the accepted ones. */
export function resolveOptions(options: LsmOptions): ResolvedOptions {
  for (const name of Object.keys(options)) {
    if (!NAMES.has(name)) throw invalid(`option ${name} is not known; there are ${[...NAMES].join(', ')}`);
  }
  for (const name of BOOLEANS) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== 'boolean') {
      throw invalid(`option ${name} is ${String(value)}; true or false is accepted`);
    }
  }
  const numbers: Partial<Record<(typeof NUMBERS)[number][0], number>> = {};
  for (const [name, fixed, least, most] of NUMBERS) {
    const value: unknown = options[name] ?? derived(name, options, numbers) ?? fixed;
    const whole = name === 'stepBudgetMs' || value === Number.POSITIVE_INFINITY || Number.isInteger(value);
    if (typeof value !== 'number' || !whole || !(value >= least && value <= most)) {
      throw invalid(
        `option ${name} is ${String(value)}; a whole number from ${least} to ${most} is accepted`,
      );
    }
    numbers[name] = value;
  }
  const resolved = {
    ...(numbers as NumberOptions),
    env: options.env ?? realEnv(),
    logger: options.logger ?? silentLogger,
    durability: options.durability ?? 'sync',
    createIfMissing: options.createIfMissing ?? true,
    errorIfExists: options.errorIfExists ?? false,
    worker: options.worker ?? true,
    resources: options.resources ?? ownResources(numbers as NumberOptions),
    codecs: checkedCodecs(options.codecs ?? DEFAULT_CODECS).map(availableCodec),
    ...(options.listener ? { listener: options.listener } : {}),
    ...(options.replayed ? { replayed: options.replayed } : {}),
  };
  if (resolved.resources.isClosed) throw invalid('option resources is closed already');
  if (!['sync', 'buffered', 'none'].includes(resolved.durability)) {
    throw invalid(`option durability is ${String(options.durability)}; sync, buffered or none is accepted`);
  }
  if (resolved.level0StopTrigger < resolved.level0Trigger) {
    throw invalid(
      `option level0StopTrigger is ${resolved.level0StopTrigger}; at least level0Trigger, ${resolved.level0Trigger}, is accepted`,
    );
  }
  return resolved;
}

function checkedCodecs(codecs: unknown): readonly Codec[] {
  if (Array.isArray(codecs) && codecs.length > 0 && codecs.every((codec) => CODECS.includes(codec))) {
    return codecs;
  }
  throw invalid(`option codecs is ${String(codecs)}; a list of ${CODECS.join(' and ')} is accepted`);
}
