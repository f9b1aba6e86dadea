/** A second tree in the process of the one that is tested, with the same resources: what it holds does not matter. */
import type { Env } from '../../src/env/env.js';
import { type LsmOptions, LsmResources, LsmTree } from '../../src/lsm/index.js';
import { put } from './tree-lab.js';

const DIRECTORY = '/data/neighbour';

export class Neighbour {
  readonly resources: LsmResources;
  readonly #env: Env;
  #tree: LsmTree | undefined;
  #writes = 0;

  constructor(env: Env, options: LsmOptions, budgetBytes: number) {
    const { blockCacheBytes = 0, blockBytes = 128 } = options;
    this.#env = env;
    this.resources = new LsmResources({
      blockCacheBytes,
      blockBytes,
      maxOpenTables: 16,
      writeBufferBytes: budgetBytes,
    });
  }

  /** The faults of a history may hit it too: then there is none. */
  async open(options: LsmOptions): Promise<void> {
    const { resources } = this;
    const shared = { ...options, env: this.#env, resources, durability: 'none' as const };
    this.#tree = await LsmTree.open(DIRECTORY, shared).catch(() => undefined);
  }

  write(writes: number, valueBytes: number): void {
    try {
      for (let i = 0; i < writes; i++) {
        this.#tree?.writeSync([put(`key${this.#writes++ % 50}`, 'n'.repeat(valueBytes))]);
      }
    } catch {
      // Read-only.
    }
  }

  async close(): Promise<void> {
    await this.#tree?.close().catch(() => {});
    this.#tree = undefined;
  }
}
