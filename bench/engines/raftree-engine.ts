/** `raftree/lsm`, used directly. */
import { LsmTree } from '../../src/lsm/index.js';
import type { Engine, EngineOptions, Pair } from './engine.js';

export class RaftreeEngine implements Engine {
  readonly #options: EngineOptions;
  #tree: LsmTree | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { directory, writeBufferBytes, blockCacheBytes } = this.#options;
    this.#tree = await LsmTree.open(directory, { writeBufferBytes, blockCacheBytes });
  }

  async close(): Promise<void> {
    await this.#open.close();
    this.#tree = undefined;
  }

  put(key: Buffer, value: Buffer): Promise<unknown> {
    return this.#open.write([{ type: 'put', key, value }], { durability: 'buffered' });
  }

  putDurably(key: Buffer, value: Buffer): Promise<unknown> {
    return this.#open.write([{ type: 'put', key, value }], { durability: 'sync' });
  }

  putMany(pairs: readonly Pair[]): Promise<unknown> {
    return this.#open.write(
      pairs.map(({ key, value }) => ({ type: 'put', key, value })),
      { durability: 'buffered' },
    );
  }

  remove(key: Buffer): Promise<unknown> {
    return this.#open.write([{ type: 'delete', key }], { durability: 'buffered' });
  }

  get(key: Buffer): Uint8Array | undefined {
    return this.#open.getSync(key);
  }

  async readAll(): Promise<{ entries: number; bytes: number }> {
    let entries = 0;
    let bytes = 0;
    for (const { key, value } of this.#open.iterator()) {
      entries++;
      bytes += key.length + value.length;
    }
    return { entries, bytes };
  }

  async readFrom(key: Buffer, count: number): Promise<number> {
    const iterator = this.#open.iterator({ gte: key });
    const entries = iterator.nextMany(count);
    iterator.close();
    return entries.length;
  }

  isDrained(): boolean {
    return (this.#open.stats().levels[0]?.files ?? 0) < this.#open.options.level0Trigger;
  }

  progress(): string {
    const { levels, frozenMemtables, flushedBytes, compactedBytes, moves } = this.#open.stats();
    return JSON.stringify([levels, frozenMemtables, flushedBytes, compactedBytes, moves]);
  }

  get #open(): LsmTree {
    if (!this.#tree) throw new Error('the tree is not open');
    return this.#tree;
  }
}
