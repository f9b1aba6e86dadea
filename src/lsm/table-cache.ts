/** Opens tables when they are first read and keeps at most so many open, closing the one unused for longest. */
import type { Env } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import { corruption } from '../record/record.js';
import type { BlockCache } from './block-cache.js';
import { Table } from './table.js';
import { type TableFile, tableName } from './table-file.js';

export class TableCache {
  readonly blocks: BlockCache;
  readonly #env: Env;
  readonly #directory: string;
  readonly #maxOpen: number;
  readonly #open = new Set<TableFile>();
  #uses = 0;

  constructor(env: Env, directory: string, maxOpen: number, blocks: BlockCache) {
    this.#env = env;
    this.#directory = directory;
    this.#maxOpen = maxOpen;
    this.blocks = blocks;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /**
   * The reader of a file; good until the next call, or for as long as its `pins` is above zero.
   * Throws `CORRUPTION` (also if the file is missing), or the system's error.
   */
  use(file: TableFile): Table {
    let table = file.table;
    if (table === undefined) {
      if (this.#open.size >= this.#maxOpen) this.#closeOldest();
      const path = `${this.#directory}/${tableName(file.number)}`;
      table = this.#openTable(path);
      if (table.header.fileBytes !== file.sizeBytes) {
        table.close();
        throw corruption(path, 0, 'it is not the table that the MANIFEST names: its size differs');
      }
      file.table = table;
      this.#open.add(file);
    }
    table.lastUse = ++this.#uses;
    return table;
  }

  close(file: TableFile): void {
    file.table?.close();
    file.table = undefined;
    this.#open.delete(file);
  }

  closeAll(): void {
    for (const file of [...this.#open]) this.close(file);
  }

  #openTable(path: string): Table {
    try {
      return Table.open(this.#env, path, this.blocks);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') throw corruption(path, 0, 'the table is missing');
      throw error;
    }
  }

  #closeOldest(): void {
    let oldest: TableFile | undefined;
    for (const file of this.#open) {
      if (file.table === undefined || file.table.pins > 0) continue;
      if (oldest?.table === undefined || file.table.lastUse < oldest.table.lastUse) oldest = file;
    }
    if (oldest) this.close(oldest);
  }
}
