/** Limits the open tables of all trees that share it. The least recently used one is closed first. */
import type { TableFile } from './table-file.js';

/**
 * Tables may use only this share of a process's descriptors: logs, files being written, and sockets need the others.
 */
const SHARE_OF_DESCRIPTORS = 0.5;
/** The share of all unpinned tables that is closed when the system has no descriptor left. */
const SHED_SHARE = 0.25;
const LEAST_OPEN = 16;

export class OpenTables {
  #maxOpen: number;
  /** Each open table, with the set of its tree. */
  readonly #open = new Map<TableFile, Set<TableFile>>();
  #uses = 0;

  constructor(maxOpen: number) {
    this.#maxOpen = maxOpen;
  }

  get size(): number {
    return this.#open.size;
  }

  get maxOpen(): number {
    return this.#maxOpen;
  }

  /** Adapts the limit to a process that may have this many descriptors. */
  limitTo(maxDescriptors: number): void {
    const most = Math.max(LEAST_OPEN, Math.floor(maxDescriptors * SHARE_OF_DESCRIPTORS));
    this.#maxOpen = Math.min(this.#maxOpen, most);
  }

  /** The number of a use; later uses have higher numbers. */
  nextUse(): number {
    return ++this.#uses;
  }

  /** Makes room for one more table. More tables than the limit are open only while all of them are pinned. */
  makeRoom(): void {
    while (this.#open.size >= this.#maxOpen) {
      let oldest: TableFile | undefined;
      for (const file of this.#open.keys()) {
        if (file.table === undefined || file.table.pins > 0) continue;
        if (oldest?.table === undefined || file.table.lastUse < oldest.table.lastUse) oldest = file;
      }
      if (!oldest) return;
      this.close(oldest);
    }
  }

  /** Closes the least recently used tables, so that another file can be opened; returns how many. */
  shed(): number {
    const unpinned = [...this.#open.keys()].filter(({ table }) => table !== undefined && table.pins === 0);
    unpinned.sort((a, b) => (a.table?.lastUse ?? 0) - (b.table?.lastUse ?? 0));
    const oldest = unpinned.slice(0, Math.ceil(unpinned.length * SHED_SHARE));
    for (const file of oldest) this.close(file);
    return oldest.length;
  }

  add(file: TableFile, ofTree: Set<TableFile>): void {
    this.#open.set(file, ofTree);
    ofTree.add(file);
  }

  close(file: TableFile): void {
    file.table?.close();
    file.table = undefined;
    this.#open.get(file)?.delete(file);
    this.#open.delete(file);
  }
}
