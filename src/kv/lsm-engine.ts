/** The LSM tree as the engine of a group. */
import { DiskSpace } from '../env/disk-space.js';
import type { Env, Logger } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { LsmTree } from '../lsm/lsm-tree.js';
import type { LsmResources } from '../lsm/resources.js';
import { verifyDirectory } from '../lsm/tools/verify-directory.js';
import type { Engine, EngineOperation, EngineRange } from './engine.js';
import { APPLIED_KEY, decodeApplied } from './keys.js';

export interface LsmEngineOptions {
  /** `none`: what was not flushed is replayed from the Raft log. `buffered`: only a power cut makes that necessary. */
  readonly treeLog: 'none' | 'buffered';
  readonly writeBufferBytes: number;
  readonly blockCacheBytes: number;
}

const DISK_FULL_RETRY_MS = 500;
const WRITER = 'storage engine';

/**
 * Opens the tree in a directory; writes and flushes wait while the disk is full. Rejects with `CORRUPTION`, `LOCKED`,
 * or the system's error.
 */
export async function openLsmEngine(
  env: Env,
  directory: string,
  { storage }: { readonly storage: LsmEngineOptions },
  logger: Logger,
  resources?: LsmResources,
  diskSpace = new DiskSpace(logger),
): Promise<Engine> {
  const tree = await LsmTree.open(directory, {
    env,
    logger,
    replayed: joinChecker(),
    durability: storage.treeLog,
    writeBufferBytes: storage.writeBufferBytes,
    blockCacheBytes: storage.blockCacheBytes,
    ...(resources ? { resources } : {}),
  });
  return new LsmEngine(env, tree, logger, diskSpace, storage.treeLog !== 'none');
}

/**
 * Looks at the batches that the tree replays from its own log: each carries the first and last index that it applied,
 * and they must join. Throws `CORRUPTION` if one is missing between two others.
 */
export function joinChecker(): (operations: readonly EngineOperation[]) => void {
  let lastIndex: number | undefined;
  return (operations) => {
    for (const operation of operations) {
      if (operation.type !== 'put' || Buffer.compare(operation.key, APPLIED_KEY) !== 0) continue;
      const { first, last } = decodeApplied(operation.value);
      if (lastIndex !== undefined && first !== lastIndex + 1) {
        throw new RaftreeError(
          'CORRUPTION',
          `the log of the tree goes on with entry ${first} after entry ${lastIndex}: a batch between them is missing`,
        );
      }
      lastIndex = last;
    }
  };
}

class LsmEngine implements Engine {
  readonly #env: Env;
  readonly #tree: LsmTree;
  readonly #logger: Logger;
  readonly #diskSpace: DiskSpace;
  readonly #hasLog: boolean;

  constructor(env: Env, tree: LsmTree, logger: Logger, diskSpace: DiskSpace, hasLog: boolean) {
    this.#diskSpace = diskSpace;
    this.#env = env;
    this.#tree = tree;
    this.#logger = logger;
    this.#hasLog = hasLog;
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
    if (!this.#hasLog && !this.#tree.isStalled) return this.#tree.writeSync(operations);
    return this.#whenThereIsSpace(() => this.#writeInTurn(operations));
  }

  async flush(): Promise<void> {
    await this.#whenThereIsSpace(() => this.#tree.flush());
  }

  async checkpoint(directory: string): Promise<void> {
    await this.#tree.checkpoint(directory);
  }

  async check(directory: string): Promise<void> {
    const { problems } = await verifyDirectory(this.#env, directory);
    const [first] = problems;
    if (first) throw new RaftreeError('CORRUPTION', first.message, { info: { problems: problems.length } });
  }

  approximateKeys(): number {
    const { entries, tombstones } = this.#tree.stats();
    return Math.max(0, entries - 2 * tombstones);
  }

  async close(): Promise<void> {
    try {
      await this.#tree.close();
    } catch (error) {
      // What the tree has not made durable the Raft log replays.
      if (errorCode(error) !== 'LSM_NOT_DURABLE') throw error;
      this.#logger.warn({ error: errorMessage(error) }, 'the engine is closed after a failure');
    }
  }

  /** Waits while the tree is behind with its flushes. */
  async #writeInTurn(operations: readonly EngineOperation[]): Promise<number> {
    if (this.#hasLog) return this.#tree.write(operations, { durability: 'buffered' });
    await this.#tree.room();
    return this.#tree.writeSync(operations);
  }

  /** Tries again while the disk is full: what is committed must be applied. */
  async #whenThereIsSpace<T>(attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        const done = await attempt();
        this.#diskSpace.available(WRITER);
        return done;
      } catch (error) {
        if (errorCode(error) !== 'LSM_NO_SPACE') throw error;
        this.#diskSpace.full(WRITER, error);
        await new Promise<void>((resolve) => this.#env.timers.after(DISK_FULL_RETRY_MS, resolve));
      }
    }
  }
}
