/**
 * `memory`: all keys and values in the memory of the process. A flush writes all of them to one sorted file, and so
 * does closing. Later writes are replayed from the Raft log, as with a tree that has no log of its own. A flush happens
 * for each `storage.maxRaftLogBytes` of the log, and its cost grows with the state. Memory limits the size of the
 * state. So this engine is for small states.
 */
import type { DiskSpace } from '../env/disk-space.js';
import type { Env } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { checkCheckpoint, makeCheckpoint, replaceSortedFile } from './engine-files.js';
import { readSortedFile } from './sorted-file.js';
import { SortedMap } from './sorted-map.js';
import {
  type EngineKind,
  type EngineOperation,
  type EngineRange,
  STORAGE_ENGINE,
  type StorageEngine,
} from './storage-engine.js';

const STATE_FILE = 'state.sorted';

export const memoryEngine: EngineKind = {
  name: 'memory',
  /** Rejects with `CORRUPTION`, or the system's error. */
  async open(directory, context) {
    const path = `${directory}/${STATE_FILE}`;
    const entries = new SortedMap<Buffer>();
    if (context.env.fs.exists(path)) {
      for await (const block of readSortedFile(context.env, path))
        for (const [key, value] of block) entries.set(Buffer.from(key), Buffer.from(value));
    }
    return new MemoryEngine(entries, directory, context);
  },
};

class MemoryEngine implements StorageEngine {
  readonly #entries: SortedMap<Buffer>;
  readonly #directory: string;
  readonly #context: { readonly env: Env; readonly diskSpace: DiskSpace };
  /** The sequence of the last batch; 0: none since it was opened. */
  #sequence = 0;
  #durableSequence = 0;
  /** One flush at a time writes the file. Never rejects. */
  #writing: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(
    entries: SortedMap<Buffer>,
    directory: string,
    context: { readonly env: Env; readonly diskSpace: DiskSpace },
  ) {
    this.#entries = entries;
    this.#directory = directory;
    this.#context = context;
  }

  get durableSequence(): number {
    return this.#durableSequence;
  }

  get(key: Uint8Array): Buffer | undefined {
    this.#checkOpen();
    const value = this.#entries.get(key);
    return value && Buffer.from(value);
  }

  *entries(range: EngineRange): Generator<readonly [Buffer, Buffer]> {
    this.#checkOpen();
    for (const [key, value] of this.#entries.entries(range)) yield [Buffer.from(key), Buffer.from(value)];
  }

  write(operations: readonly EngineOperation[]): number {
    this.#checkOpen();
    for (const operation of operations) {
      if (operation.type === 'put')
        this.#entries.set(Buffer.from(operation.key), Buffer.from(operation.value));
      else this.#entries.delete(operation.key);
    }
    this.#sequence++;
    return this.#sequence;
  }

  flush(): Promise<void> {
    this.#checkOpen();
    return this.#inTurn(() =>
      this.#context.diskSpace.untilWritten(STORAGE_ENGINE, async () => {
        this.#checkOpen();
        await this.#writeFile();
      }),
    );
  }

  checkpoint(directory: string): Promise<void> {
    this.#checkOpen();
    return makeCheckpoint(this.#context.env, directory, STATE_FILE, this.#entries.entries({}));
  }

  check(directory: string): Promise<void> {
    return checkCheckpoint(this.#context.env, directory, STATE_FILE);
  }

  approximateKeys(): number {
    return this.#entries.size;
  }

  /** Writes the file if possible. The Raft log replays missing writes. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#inTurn(() => this.#writeFile()).catch(() => {});
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#writing.then(work);
    this.#writing = done.catch(() => {});
    return done;
  }

  async #writeFile(): Promise<void> {
    const sequence = this.#sequence;
    if (sequence === this.#durableSequence) return;
    await replaceSortedFile(this.#context.env, this.#directory, STATE_FILE, this.#entries.entries({}));
    this.#durableSequence = sequence;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new RaftreeError('ENGINE_CLOSED', 'the storage engine is closed');
  }
}
