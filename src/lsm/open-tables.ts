/** The tables that are open, of all trees that share this: at most so many, the one unused for longest goes first. */
import type { TableFile } from './table-file.js';

export class OpenTables {
  readonly #maxOpen: number;
  /** Each with the set of its tree. */
  readonly #open = new Map<TableFile, Set<TableFile>>();
  #uses = 0;

  constructor(maxOpen: number) {
    this.#maxOpen = maxOpen;
  }

  get size(): number {
    return this.#open.size;
  }

  /** The number of a use: the higher, the later. */
  nextUse(): number {
    return ++this.#uses;
  }

  /** Makes room for one more. More than the limit are open only while all of them are pinned. */
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
