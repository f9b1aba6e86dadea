/**
 * Checkpoints for engines that have none: a checkpoint is a sorted file of all entries, and an engine that is opened on
 * one is filled from it.
 *
 *     DIRECTORY/checkpoint.sorted   a checkpoint that is not taken over yet
 *     DIRECTORY/store/              the engine's own
 *
 * The file is removed when all of it is durable in the engine. After a crash before that, the engine is emptied and
 * filled again.
 */
import { checkCheckpoint, makeCheckpoint } from './engine-files.js';
import { readSortedFile } from './sorted-file.js';
import type {
  EngineContext,
  EngineKind,
  EngineOperation,
  EngineRange,
  PlainEngine,
  StorageEngine,
} from './storage-engine.js';

const CHECKPOINT_FILE = 'checkpoint.sorted';
const STORE = 'store';

/** An `EngineKind` for an engine without checkpoints. */
export interface PlainEngineKind extends Omit<EngineKind, 'open'> {
  /** Opens the engine in a directory that exists, empty or of this kind. */
  open(directory: string, context: EngineContext): Promise<PlainEngine>;
}

/** The kind of engine, with checkpoints. */
export function withSortedCheckpoints(kind: PlainEngineKind): EngineKind {
  return {
    name: kind.name,
    async open(directory, context) {
      const { fs } = context.env;
      const store = `${directory}/${STORE}`;
      const checkpoint = `${directory}/${CHECKPOINT_FILE}`;
      const isUntaken = fs.exists(checkpoint);
      if (isUntaken) fs.removeTree(store);
      fs.makeDirectory(store);
      const engine = await kind.open(store, context);
      if (isUntaken) {
        try {
          await fill(engine, checkpoint, context);
          fs.unlink(checkpoint);
          fs.syncDirectory(directory);
        } catch (error) {
          await engine.close();
          throw error;
        }
      }
      return new CheckpointedEngine(engine, context);
    },
  };
}

async function fill(engine: PlainEngine, checkpoint: string, { env }: EngineContext): Promise<void> {
  for await (const entries of readSortedFile(env, checkpoint))
    await engine.write(entries.map(([key, value]) => ({ type: 'put', key, value })));
  await engine.flush();
}

class CheckpointedEngine implements StorageEngine {
  readonly #engine: PlainEngine;
  readonly #context: EngineContext;

  constructor(engine: PlainEngine, context: EngineContext) {
    this.#engine = engine;
    this.#context = context;
  }

  get durableSequence(): number {
    return this.#engine.durableSequence;
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#engine.get(key);
  }

  entries(range: EngineRange): Iterable<readonly [Buffer, Buffer]> {
    return this.#engine.entries(range);
  }

  write(operations: readonly EngineOperation[]): number | Promise<number> {
    return this.#engine.write(operations);
  }

  flush(): Promise<void> {
    return this.#engine.flush();
  }

  checkpoint(directory: string): Promise<void> {
    return makeCheckpoint(this.#context.env, directory, CHECKPOINT_FILE, this.#engine.entries({}));
  }

  check(directory: string): Promise<void> {
    return checkCheckpoint(this.#context.env, directory, CHECKPOINT_FILE);
  }

  approximateKeys(): number {
    return this.#engine.approximateKeys();
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}
