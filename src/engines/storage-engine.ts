/**
 * What a node asks of the ordered store that keeps the state of a group. Three ship: `lsm`, `memory`, and any
 * abstract-level database. Another one takes their place by keeping the promises below; `raftree/engine-test` checks
 * them.
 *
 * A committed change is in the Raft log until the engine says that it is durable. So an engine need not sync each
 * batch. But what it has called durable, or has flushed, must survive a power cut: the log lets go of that.
 */
import type { DiskSpace } from '../env/disk-space.js';
import type { Env, Logger } from '../env/env.js';
import type { KeyBounds } from '../lsm/base/key-bounds.js';

export type EngineOperation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: Uint8Array };

export interface EngineRange {
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly reverse?: boolean;
}

/** An engine without checkpoints: `withSortedCheckpoints` adds them. */
export interface PlainEngine {
  /** A copy of the value, which the caller may keep and change. Throws `CORRUPTION`, or the system's error. */
  get(key: Uint8Array): Buffer | undefined;
  /**
   * Ordered by unsigned bytes, a prefix before what it begins. The state is that of the moment when the first entry is
   * asked for; later batches do not change it. The buffers are the caller's.
   */
  entries(range: EngineRange): Iterable<readonly [key: Buffer, value: Buffer]>;
  /**
   * Applies a batch in its order, whole or not at all. It can be read when the call returns, or when its promise
   * resolves. Gives the sequence of the batch, which is larger than that of every batch before. The operations and
   * their bytes belong to the caller again afterwards. Batches survive in order: after a crash the state is that after
   * some batch, never a part of one. A rejection stops the node.
   */
  write(operations: readonly EngineOperation[]): number | Promise<number>;
  /**
   * An engine that makes batches durable only together with all before them, and at moments of its own choice, may have
   * this member. It then asks here directly before such a moment, between two batches, for operations that belong to
   * the batches so far, and makes them durable with these. So what changes with every batch need not be written with
   * every batch. A later function replaces the one before. Batches may be empty then.
   */
  readonly defer?: ((operations: () => readonly EngineOperation[]) => void) | undefined;
  /**
   * Of an engine that defers, whose `write` must not wait: undefined if a batch can be written now, or a promise to
   * wait for first. Rejects as `write` does.
   */
  room?(): Promise<void> | undefined;
  /** Batches up to this sequence survive a power cut. It never goes back. */
  readonly durableSequence: number;
  /** Makes durable what is written before the call. */
  flush(): Promise<void>;
  /** Roughly how many keys are stored. */
  approximateKeys(): number;
  /** Ends all that it has under way and gives all of it back: files, threads, locks. */
  close(): Promise<void>;
}

/** What an engine measures of itself, for the node's metrics. Counters count since it was opened. */
export interface EngineStats {
  /** By level. */
  readonly levels: readonly { readonly files: number; readonly bytes: number }[];
  readonly memtableBytes: number;
  readonly pendingBytes: number;
  readonly flushes: number;
  readonly flushedBytes: number;
  readonly compactions: number;
  readonly compactedBytes: number;
  /** Why writes wait, or are slowed down; undefined if they are not. */
  readonly stalled: string | undefined;
  readonly slowed: object | undefined;
  readonly waitingWrites: number;
  readonly openTables: number;
  readonly blockCache: { readonly bytes: number; readonly hits: number; readonly misses: number };
}

export interface EngineSurvey {
  readonly bytes: number;
  readonly keys: readonly Buffer[];
}

export interface StorageEngine extends PlainEngine {
  stats?(): EngineStats;
  /** The disk is full, and what is written would soon have to wait for space. The node then takes no writes. */
  readonly isOutOfSpace?: boolean;
  /**
   * Makes a new directory hold, durably, exactly what is written before the call, in files without subdirectories:
   * `open` takes it, here or on another node. Nothing is written meanwhile.
   */
  checkpoint(directory: string): Promise<void>;
  /**
   * As `checkpoint`, of the part of the keys that lies within bounds; others may be there too. The engine there is
   * restricted to these bounds. Without it, `checkpoint` is used.
   */
  checkpointWithin?(directory: string, bounds: KeyBounds): Promise<void>;
  /** From now on only keys within these bounds are there, at once. Without it, its user passes over the others. */
  restrict?(bounds: KeyBounds): void;
  /**
   * About how many bytes lie in a range, and keys at even distances of these bytes, sorted: without a look at all of
   * them. Makes what is written durable first. Without it, nobody knows how large a part of the keys is.
   */
  survey?(range: Required<Pick<EngineRange, 'gte' | 'lt'>>, samples: number): Promise<EngineSurvey>;
  /** Throws `CORRUPTION` if a directory that a checkpoint made, perhaps elsewhere, is damaged. Changes nothing. */
  check(directory: string): Promise<void>;
}

/** The name under which engines wait for space. */
export const STORAGE_ENGINE = 'storage engine';

/** What a node gives an engine that it opens. */
export interface EngineContext {
  readonly env: Env;
  readonly logger: Logger;
  /** An engine that waits for space reports it here. The node then refuses writes. */
  readonly diskSpace: DiskSpace;
  /**
   * Is given each batch that the engine replays from a log of its own, in order. Throws `CORRUPTION` if one between two
   * others is missing.
   */
  readonly replayed?: (operations: readonly EngineOperation[]) => void;
}

/** A kind of engine. All nodes of a cluster have the same one: snapshots pass between them as files. */
export interface EngineKind {
  /** Remembered by each data folder and compared between nodes: 1 to 100 of the characters `a-zA-Z0-9:@/._-`. */
  readonly name: string;
  /** Keys of users with this prefix have a meaning for the engine: only operators may write them. */
  readonly reservedPrefix?: Uint8Array;
  /** Opens the engine in a directory that exists: empty, of this kind, or made by `checkpoint`. */
  open(directory: string, context: EngineContext): Promise<StorageEngine>;
}

/** Opens, or makes, the engine in a directory. */
export type OpenEngine = (directory: string) => Promise<StorageEngine>;
