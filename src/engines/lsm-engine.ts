/** `lsm`, the default engine: an LSM tree. */
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import type { KeyBounds } from '../lsm/base/key-bounds.js';
import { LsmTree } from '../lsm/lsm-tree.js';
import type { LsmResources } from '../lsm/resources.js';
import { verifyDirectory } from '../lsm/tools/verify-directory.js';
import {
  type EngineContext,
  type EngineKind,
  type EngineOperation,
  type EngineRange,
  type EngineStats,
  type EngineSurvey,
  STORAGE_ENGINE,
  type StorageEngine,
} from './storage-engine.js';

export interface LsmEngineOptions {
  /** `none`: unflushed writes are replayed from the Raft log. `buffered`: that is necessary only after a power cut. */
  readonly treeLog: 'none' | 'buffered';
  readonly writeBufferBytes: number;
  readonly blockCacheBytes: number;
}

/**
 * A level 0 of more files is written more rarely, with the level below it: with 4 KB values over 400 MB of keys, each
 * byte is written 2.5 times, with 4 files of 16 MiB 5.7 times.
 */
const LEVEL0_TRIGGER = 8;

/** Writes and flushes wait while the disk is full. All trees of a node share `resources`. */
export function lsmEngine(options: LsmEngineOptions, resources?: LsmResources): EngineKind {
  return {
    name: 'lsm',
    /** Rejects with `CORRUPTION`, `LOCKED`, or the system's error. */
    async open(directory, context) {
      const { env, logger, replayed } = context;
      const tree = await LsmTree.open(directory, {
        env,
        logger,
        ...(replayed ? { replayed } : {}),
        durability: options.treeLog,
        writeBufferBytes: options.writeBufferBytes,
        level0Trigger: LEVEL0_TRIGGER,
        blockCacheBytes: options.blockCacheBytes,
        ...(resources ? { resources } : {}),
      });
      return new LsmEngine(tree, context, options.treeLog !== 'none');
    },
  };
}

class LsmEngine implements StorageEngine {
  readonly #tree: LsmTree;
  readonly #context: EngineContext;
  readonly #hasLog: boolean;
  /** With a log of its own, a tree keeps each batch. */
  readonly defer: StorageEngine['defer'];
  /** The caller defers: it asks for room before it writes. */
  #isAsked = false;

  constructor(tree: LsmTree, context: EngineContext, hasLog: boolean) {
    this.#tree = tree;
    this.#context = context;
    this.#hasLog = hasLog;
    if (hasLog) return;
    this.defer = (operations) => {
      this.#isAsked = true;
      tree.beforeFreeze(operations);
    };
  }

  get isOutOfSpace(): boolean {
    return this.#tree.isOutOfSpace;
  }

  get durableSequence(): number {
    return this.#tree.durableSequence;
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#tree.getSync(key);
  }

  *entries(range: EngineRange): Generator<readonly [Buffer, Buffer]> {
    for (const { key, value } of this.#tree.iterator(range)) yield [key, value];
  }

  write(operations: readonly EngineOperation[]): number | Promise<number> {
    if (!this.#hasLog) {
      const room = this.#isAsked ? undefined : this.room();
      return room ? room.then(() => this.#tree.writeSync(operations)) : this.#tree.writeSync(operations);
    }
    return this.#context.diskSpace.untilWritten(STORAGE_ENGINE, () =>
      this.#tree.write(operations, { durability: 'buffered' }),
    );
  }

  /** Waits while the tree is behind with its flushes. */
  room(): Promise<void> | undefined {
    if (this.#hasLog || !this.#tree.stallReason) return undefined;
    return this.#context.diskSpace.untilWritten(STORAGE_ENGINE, () => this.#tree.room());
  }

  async flush(): Promise<void> {
    await this.#context.diskSpace.untilWritten(STORAGE_ENGINE, () => this.#tree.flush());
  }

  async checkpoint(directory: string): Promise<void> {
    await this.#tree.checkpoint(directory);
  }

  async checkpointWithin(directory: string, bounds: KeyBounds): Promise<void> {
    await this.#tree.checkpoint(directory, bounds);
  }

  /** As both ends of a range of the tree are included, one key too many may count. */
  survey({ gte, lt }: { gte: Uint8Array; lt: Uint8Array }, samples: number): Promise<EngineSurvey> {
    return this.#context.diskSpace.untilWritten(STORAGE_ENGINE, () =>
      this.#tree.survey({ smallest: gte, largest: lt }, samples),
    );
  }

  restrict(bounds: KeyBounds): void {
    this.#tree.restrict(bounds);
  }

  async check(directory: string): Promise<void> {
    const { problems } = await verifyDirectory(this.#context.env, directory);
    const [first] = problems;
    if (first) throw new RaftreeError('CORRUPTION', first.message, { info: { problems: problems.length } });
  }

  stats(): EngineStats {
    return this.#tree.stats();
  }

  approximateKeys(): number {
    const { entries, tombstones } = this.#tree.stats();
    return Math.max(0, entries - 2 * tombstones);
  }

  async close(): Promise<void> {
    try {
      await this.#tree.close();
    } catch (error) {
      // The Raft log replays the writes that the tree has not made durable.
      if (errorCode(error) !== 'LSM_NOT_DURABLE') throw error;
      this.#context.logger.warn(
        { error: errorMessage(error) },
        'the engine is closed after a failure; what it lacks is applied again from the Raft log at the next start',
      );
    }
  }
}
