/**
 * lmdb-js: a memory-mapped B+ tree. Its puts resolve when they are committed; `flushed` says that they are on the disk.
 */
import { open, type RootDatabase } from 'lmdb';
import type { Engine, EngineOptions, Pair } from './engine.js';

export class LmdbEngine implements Engine {
  readonly #directory: string;
  #database: RootDatabase<Buffer, Buffer> | undefined;

  constructor({ directory }: EngineOptions) {
    this.#directory = directory;
  }

  async open(): Promise<void> {
    this.#database = open<Buffer, Buffer>({
      path: this.#directory,
      keyEncoding: 'binary',
      encoding: 'binary',
    });
  }

  async close(): Promise<void> {
    await this.#open.close();
    this.#database = undefined;
  }

  put(key: Buffer, value: Buffer): Promise<unknown> {
    return this.#open.put(key, value);
  }

  async putDurably(key: Buffer, value: Buffer): Promise<unknown> {
    await this.#open.put(key, value);
    return this.#open.flushed;
  }

  putMany(pairs: readonly Pair[]): Promise<unknown> {
    return this.#open.batch(() => {
      for (const { key, value } of pairs) void this.#open.put(key, value);
    });
  }

  remove(key: Buffer): Promise<unknown> {
    return this.#open.remove(key);
  }

  get(key: Buffer): Uint8Array | undefined {
    return this.#open.getBinary(key);
  }

  async readAll(): Promise<{ entries: number; bytes: number }> {
    let entries = 0;
    let bytes = 0;
    for (const { key, value } of this.#open.getRange()) {
      entries++;
      bytes += key.length + value.length;
    }
    return { entries, bytes };
  }

  async readFrom(key: Buffer, count: number): Promise<number> {
    let entries = 0;
    for (const { value } of this.#open.getRange({ start: key, limit: count })) {
      if (value.length > 0) entries++;
    }
    return entries;
  }

  isDrained(): boolean {
    return true;
  }

  progress(): string {
    return '';
  }

  get #open(): RootDatabase<Buffer, Buffer> {
    if (!this.#database) throw new Error('the database is not open');
    return this.#database;
  }
}
