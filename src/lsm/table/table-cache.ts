/** Opens the tables of a tree when they are first read; how many stay open is limited by `OpenTables`. */
import type { Env } from '../../env/env.js';
import { isOutOfDescriptors } from '../../env/errors.js';
import { unreadable } from '../../record/read-whole.js';
import { corruption } from '../../record/record.js';
import type { BlockCache } from './block-cache.js';
import { OpenTables } from './open-tables.js';
import { ReadSpeed } from './read-speed.js';
import { Table } from './table.js';
import { type TableFile, tableName } from './table-file.js';

export class TableCache {
  readonly blocks: BlockCache;
  readonly speed: ReadSpeed;
  readonly #env: Env;
  readonly #directory: string;
  readonly #shared: OpenTables;
  readonly #open = new Set<TableFile>();

  /** `open` is shared with other trees, or is the number of tables of this tree that may be open. */
  constructor(env: Env, directory: string, open: OpenTables | number, blocks: BlockCache) {
    this.#env = env;
    this.speed = new ReadSpeed(env.clock);
    this.#directory = directory;
    this.#shared = typeof open === 'number' ? new OpenTables(open) : open;
    this.#shared.limitTo(env.host.maxDescriptors());
    this.blocks = blocks;
  }

  /** The open tables of this tree. */
  get openCount(): number {
    return this.#open.size;
  }

  /**
   * The reader of a file; valid until the next call, or while its `pins` is above zero. Throws `CORRUPTION` (also if
   * the file is missing), or the system's error.
   */
  use(file: TableFile): Table {
    let table = file.table;
    if (table === undefined) {
      this.#shared.makeRoom();
      const path = `${this.#directory}/${tableName(file.number)}`;
      table = this.#openTable(path);
      if (table.header.fileBytes !== file.sizeBytes) {
        table.close();
        throw corruption(path, 0, 'it is not the table that the MANIFEST names: its size differs');
      }
      file.table = table;
      this.#shared.add(file, this.#open);
    }
    table.lastUse = this.#shared.nextUse();
    return table;
  }

  close(file: TableFile): void {
    this.#shared.close(file);
  }

  closeAll(): void {
    for (const file of [...this.#open]) this.#shared.close(file);
  }

  /** Closes tables that are not in use, because descriptors are lacking; returns how many. */
  shed(): number {
    return this.#shared.shed();
  }

  #openTable(path: string): Table {
    for (;;) {
      try {
        return Table.open(this.#env, path, this.blocks, this.speed);
      } catch (error) {
        if (!isOutOfDescriptors(error) || this.shed() === 0) throw unreadable(error, path);
      }
    }
  }
}
