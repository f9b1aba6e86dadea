/**
 * A cursor over a sorted run: tables whose key ranges follow one another (a level from 1 on, or a single table).
 * The block that a search finds goes through the block cache. Blocks that are read in sequence come from a private
 * window that is read ahead, so that a scan does not replace the blocks in the cache.
 */
import { corruption } from '../../record/record.js';
import { type Codec, startOfBlock } from '../base/block-codec.js';
import { compareBytes, compareRanges, NO_BYTES } from '../base/bytes.js';
import { NO_SLOT } from '../table/block-cache.js';
import { BlockCursor } from '../table/block-cursor.js';
import { SingleEntryBlock } from '../table/single-entry-block.js';
import { KEY_ONLY_START_BYTES, type Table } from '../table/table.js';
import type { TableCache } from '../table/table-cache.js';
import type { TableFile } from '../table/table-file.js';
import { BLOCK_TRAILER_BYTES, HEADER_BYTES } from '../table/table-format.js';

const FIRST_READ_AHEAD_BYTES = 16 * 1024;

export interface RunCursorOptions {
  /** The most bytes that are read at once. */
  readonly readAheadBytes: number;
  /** A scan of all entries: does not use the block cache, and reads ahead from the start. */
  readonly scan?: boolean;
  /**
   * For a forward scan whose entries are written to a table with these options. An entry that fills such a block alone
   * is given as it is stored (`storedEnd`), so that it is not decompressed and compressed again.
   */
  readonly writesTo?: { readonly codec: Codec; readonly blockBytes: number };
  /** Values are not needed: only the key of a large entry is read, and its value is given as empty. */
  readonly keysOnly?: boolean;
}

/**
 * Limit for lengths, sequence and key of an entry that is copied as it is stored. Above it, copying would not be
 * faster.
 */
const STORED_START_BYTES = 128;

export class RunCursor extends BlockCursor {
  readonly #tables: TableCache;
  readonly #files: readonly TableFile[];
  readonly #options: RunCursorOptions;
  #file = -1;
  #table: Table | undefined;
  #block = -1;
  #pinnedSlot = NO_SLOT;
  #window: Buffer = NO_BYTES;
  /** The decompressed block, if the window holds it compressed. */
  #unpacked: Buffer = NO_BYTES;
  /** The start of the window in the file. */
  #windowStart = 0;
  #windowEnd = 0;
  #readAhead = 0;
  readonly #single: SingleEntryBlock | undefined;
  /** For large blocks of which only the key is read. */
  readonly #keyOnly: SingleEntryBlock | undefined;
  #isKeyOnly = false;

  constructor(tables: TableCache, files: readonly TableFile[], options: RunCursorOptions) {
    super();
    this.#tables = tables;
    this.#files = files;
    this.#options = options;
    this.#single = options.writesTo ? new SingleEntryBlock(STORED_START_BYTES) : undefined;
    this.#keyOnly = options.keysOnly ? new SingleEntryBlock(KEY_ONLY_START_BYTES) : undefined;
  }

  override seekToFirst(): void {
    this.valid = false;
    if (this.#files.length === 0) return;
    this.#openFile(0);
    this.#loadBlock(0, 0);
    this.#enterBlock();
  }

  override seekToLast(): void {
    this.valid = false;
    const last = this.#files.length - 1;
    if (last < 0) return;
    this.#openFile(last);
    this.#loadBlock(this.#openTable.index.count - 1, 0);
    this.#enterBlockAtEnd();
  }

  override seek(key: Uint8Array, sequence: number): void {
    this.valid = false;
    const file = this.#fileFor(key);
    if (file === this.#files.length) return;
    this.#openFile(file);
    const block = this.#openTable.index.find(key);
    if (block === this.#openTable.index.count) {
      throw corruption(
        this.#openTable.path,
        0,
        'its index ends before the largest key that the MANIFEST names',
      );
    }
    this.#loadBlock(block, 0);
    this.#seekInBlock(key, sequence);
    // The versions of one key may continue in the next block.
    while (!this.valid && this.#loadNextBlock()) this.#seekInBlock(key, sequence);
  }

  override seekBefore(key: Uint8Array, sequence: number): void {
    this.seek(key, sequence);
    if (this.valid) this.previous();
    else this.seekToLast();
  }

  override next(): void {
    super.next();
    if (!this.valid && this.#loadNextBlock()) this.#enterBlock();
  }

  override previous(): void {
    if (this.#isKeyOnly) this.valid = false;
    else super.previous();
    if (!this.valid) this.#enterPreviousBlock();
  }

  override close(): void {
    super.close();
    this.#releaseSlot();
    this.#closeFile();
    this.#window = NO_BYTES;
    this.#unpacked = NO_BYTES;
  }

  #enterBlock(): void {
    if (this.storedEnd === 0 && !this.#isKeyOnly) super.seekToFirst();
    else this.valid = true;
  }

  #enterBlockAtEnd(): void {
    if (this.#isKeyOnly) this.valid = true;
    else super.seekToLast();
  }

  #seekInBlock(key: Uint8Array, sequence: number): void {
    if (this.#isKeyOnly) {
      const order = compareRanges(this.keyBytes, this.keyStart, this.keyEnd, key, 0, key.length);
      this.valid = order > 0 || (order === 0 && this.sequence <= sequence);
    } else super.seek(key, sequence);
  }

  get #openTable(): Table {
    return this.#table as Table;
  }

  /** The first file whose last key is at or after a key. */
  #fileFor(key: Uint8Array): number {
    let low = 0;
    let high = this.#files.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareBytes((this.#files[middle] as TableFile).largest, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #loadNextBlock(): boolean {
    if (this.#block + 1 < this.#openTable.index.count) {
      this.#loadBlock(this.#block + 1, 1);
      return true;
    }
    if (this.#file + 1 >= this.#files.length) return false;
    this.#openFile(this.#file + 1);
    this.#loadBlock(0, 1);
    return true;
  }

  #enterPreviousBlock(): void {
    if (this.#block > 0) {
      this.#loadBlock(this.#block - 1, -1);
    } else {
      if (this.#file <= 0) return;
      this.#openFile(this.#file - 1);
      this.#loadBlock(this.#openTable.index.count - 1, -1);
    }
    this.#enterBlockAtEnd();
  }

  #openFile(index: number): void {
    if (index === this.#file && this.#table) return;
    this.#releaseSlot();
    this.#closeFile();
    this.#table = this.#tables.use(this.#files[index] as TableFile);
    this.#table.pins++;
    this.#file = index;
    this.#windowStart = 0;
    this.#windowEnd = 0;
  }

  #closeFile(): void {
    if (this.#table) this.#table.pins--;
    this.#table = undefined;
    this.#file = -1;
    this.#block = -1;
  }

  /** `direction` is 1 for the next block, -1 for the previous block, 0 after a search. */
  #loadBlock(block: number, direction: number): void {
    const table = this.#openTable;
    this.#releaseSlot();
    this.#block = block;
    const offset = table.index.offsets[block] as number;
    const size = table.index.sizes[block] as number;
    const scan = this.#options.scan === true;
    this.#isKeyOnly = this.#keyOnly !== undefined && table.readKeyOnly(block, this.#keyOnly);
    if (this.#keyOnly && this.#isKeyOnly) {
      this.#show(this.#keyOnly);
      return;
    }
    if (direction === 0) this.#readAhead = scan ? this.#options.readAheadBytes : 0;
    if (!scan && (direction === 0 || table.slots[block] !== NO_SLOT)) {
      const slot = table.cacheBlock(block);
      if (slot !== NO_SLOT) {
        this.#tables.blocks.pin(slot);
        this.#pinnedSlot = slot;
        this.setBlock(this.#tables.blocks.bytes(slot), 0, table.blockBytes(block, slot), table.path, offset);
        return;
      }
    }
    const end = offset + size + BLOCK_TRAILER_BYTES;
    if (offset < this.#windowStart || end > this.#windowEnd) this.#readWindow(offset, end, direction);
    const start = offset - this.#windowStart;
    table.checkStored(block, this.#window, start);
    if (this.#single && this.#showStored(this.#single, start, start + size)) return;
    const plain = table.packedFrom(block, this.#window, start);
    if (plain < 0) {
      this.setBlock(this.#window, start, start + size, table.path, offset);
      return;
    }
    if (this.#unpacked.length < plain)
      this.#unpacked = Buffer.allocUnsafeSlow(Math.max(plain, FIRST_READ_AHEAD_BYTES));
    table.unpack(block, this.#window, start, this.#unpacked);
    this.setBlock(this.#unpacked, 0, plain, table.path, offset);
  }

  /**
   * Shows an entry that is alone in the block at `start` to `end` of the window, if the block can be copied as it is
   * stored.
   */
  #showStored(single: SingleEntryBlock, start: number, end: number): boolean {
    const { writesTo } = this.#options;
    this.storedEnd = 0;
    if (writesTo?.codec !== this.#openTable.header.codec) return false;
    const blockBytes = startOfBlock(this.#window, start, end, single.start);
    if (blockBytes < writesTo.blockBytes || !single.read(blockBytes)) return false;
    this.#show(single);
    this.valueEnd = single.valueBytes;
    this.storedBytes = this.#window;
    this.storedStart = start;
    this.storedEnd = end + BLOCK_TRAILER_BYTES;
    return true;
  }

  /** Shows everything except the value. */
  #show(single: SingleEntryBlock): void {
    this.clearBlock();
    if (this.keyBytes.length < single.keyBytes) this.keyBytes = Buffer.allocUnsafe(2 * single.keyBytes);
    single.start.copy(this.keyBytes, 0, single.keyStart, single.keyStart + single.keyBytes);
    this.keyEnd = single.keyBytes;
    this.sequence = single.sequence;
    this.deleted = single.deleted;
    this.valueStart = 0;
    this.valueEnd = 0;
  }

  #readWindow(offset: number, end: number, direction: number): void {
    const table = this.#openTable;
    const limit = this.#options.readAheadBytes;
    this.#readAhead = Math.min(limit, Math.max(FIRST_READ_AHEAD_BYTES, 2 * this.#readAhead));
    const bytes = Math.max(direction === 0 && !this.#options.scan ? 0 : this.#readAhead, end - offset);
    const from = direction < 0 ? Math.max(HEADER_BYTES, end - bytes) : offset;
    const to = direction < 0 ? end : Math.min(table.header.indexOffset, offset + bytes);
    if (this.#window.length < to - from) this.#window = Buffer.allocUnsafeSlow(Math.max(to - from, bytes));
    this.#windowStart = 0;
    this.#windowEnd = 0;
    if (table.file.readSync(this.#window.subarray(0, to - from), from) < to - from) {
      throw corruption(table.path, from, 'the end of the blocks is missing');
    }
    this.#windowStart = from;
    this.#windowEnd = to;
  }

  #releaseSlot(): void {
    if (this.#pinnedSlot === NO_SLOT) return;
    this.#tables.blocks.unpin(this.#pinnedSlot);
    this.#pinnedSlot = NO_SLOT;
  }
}
