/** Databases of the abstract-level ecosystem: classic-level (LevelDB), and our own behind the same interface. */
import { ClassicLevel } from 'classic-level';
import { RaftreeLevel } from '../../src/level/index.js';
import type { Engine, EngineOptions, Pair } from './engine.js';

const ENCODINGS = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;
const BUFFERED = { ...ENCODINGS, sync: false } as const;
const SYNC = { ...ENCODINGS, sync: true } as const;
/** No read of large values is cut short. */
const UNCUT = { highWaterMarkBytes: 64 * 1024 * 1024 } as const;

/** What both databases have in common, as far as it is used. */
interface Database {
  open(): Promise<void>;
  close(): Promise<void>;
  put(key: Buffer, value: Buffer, options: typeof BUFFERED | typeof SYNC): Promise<void>;
  batch(operations: { type: 'put'; key: Buffer; value: Buffer }[], options: typeof BUFFERED): Promise<void>;
  del(key: Buffer, options: typeof BUFFERED): Promise<void>;
  getSync(key: Buffer): Buffer | undefined;
  iterator(options: typeof UNCUT & { gte?: Buffer; limit?: number }): {
    nextv(size: number): Promise<[Buffer, Buffer][]>;
    all(): Promise<[Buffer, Buffer][]>;
    close(): Promise<void>;
  };
}

abstract class LevelEngine<D extends Database> implements Engine {
  readonly database: D;

  constructor(database: D) {
    this.database = database;
  }

  open(): Promise<void> {
    return this.database.open();
  }

  close(): Promise<void> {
    return this.database.close();
  }

  put(key: Buffer, value: Buffer): Promise<unknown> {
    return this.database.put(key, value, BUFFERED);
  }

  putDurably(key: Buffer, value: Buffer): Promise<unknown> {
    return this.database.put(key, value, SYNC);
  }

  putMany(pairs: readonly Pair[]): Promise<unknown> {
    return this.database.batch(
      pairs.map(({ key, value }) => ({ type: 'put', key, value })),
      BUFFERED,
    );
  }

  remove(key: Buffer): Promise<unknown> {
    return this.database.del(key, BUFFERED);
  }

  get(key: Buffer): Uint8Array | undefined {
    return this.database.getSync(key);
  }

  async readAll(): Promise<{ entries: number; bytes: number }> {
    const iterator = this.database.iterator(UNCUT);
    let entries = 0;
    let bytes = 0;
    for (;;) {
      const chunk = await iterator.nextv(1000);
      if (chunk.length === 0) break;
      entries += chunk.length;
      for (const [key, value] of chunk) bytes += key.length + value.length;
    }
    await iterator.close();
    return { entries, bytes };
  }

  async readFrom(key: Buffer, count: number): Promise<number> {
    const entries = await this.database.iterator({ ...UNCUT, gte: key, limit: count }).all();
    return entries.length;
  }

  abstract isDrained(): boolean;
  abstract progress(): string;
}

/** LevelDB's `kL0_CompactionTrigger`. */
const LEVELDB_LEVEL_0_TRIGGER = 4;

export class ClassicLevelEngine extends LevelEngine<ClassicLevel<Buffer, Buffer>> {
  constructor({ directory, writeBufferBytes, blockCacheBytes }: EngineOptions) {
    super(
      new ClassicLevel(directory, {
        ...ENCODINGS,
        writeBufferSize: writeBufferBytes,
        cacheSize: blockCacheBytes,
      }),
    );
  }

  isDrained(): boolean {
    return Number(this.database.getProperty('leveldb.num-files-at-level0')) < LEVELDB_LEVEL_0_TRIGGER;
  }

  progress(): string {
    return this.database.getProperty('leveldb.stats');
  }
}

/** The default of `level0Trigger`. */
const RAFTREE_LEVEL_0_TRIGGER = 4;

export class RaftreeLevelEngine extends LevelEngine<RaftreeLevel<Buffer, Buffer>> {
  constructor({ directory, writeBufferBytes, blockCacheBytes }: EngineOptions) {
    super(
      new RaftreeLevel(directory, {
        ...ENCODINGS,
        writeBufferSize: writeBufferBytes,
        cacheSize: blockCacheBytes,
      }),
    );
  }

  isDrained(): boolean {
    return (this.database.stats().levels[0]?.files ?? 0) < RAFTREE_LEVEL_0_TRIGGER;
  }

  progress(): string {
    const { levels, frozenMemtables, flushedBytes, compactedBytes } = this.database.stats();
    return JSON.stringify([levels, frozenMemtables, flushedBytes, compactedBytes]);
  }
}
