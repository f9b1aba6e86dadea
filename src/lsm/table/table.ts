/**
 * An open SSTable (format: `table-format.ts`): header, index, filter and properties are in memory, data blocks are
 * read when they are needed. Every block is checked against its CRC when it comes from the file.
 */
import type { Env, File } from '../../env/env.js';
import { crc32 } from '../../record/checksum.js';
import { corruption } from '../../record/record.js';
import {
  CODEC_LZ4,
  CODEC_NONE,
  decompressBlock,
  plainBlock,
  plainBytes,
  startOfStored,
} from '../base/block-codec.js';
import { compareBytes, compareRanges } from '../base/bytes.js';
import { hashKey, type KeyHash } from '../base/key-hash.js';
import { packedScratch } from '../base/lz4.js';
import { type BlockCache, type BlockOwner, NO_SLOT } from './block-cache.js';
import type { BlockCursor } from './block-cursor.js';
import { ReadSpeed } from './read-speed.js';
import type { SingleEntryBlock } from './single-entry-block.js';
import { SparseIndex } from './sparse-index.js';
import { TableFilter } from './table-filter.js';
import {
  BLOCK_TRAILER_BYTES,
  decodeHeader,
  decodeProperties,
  HEADER_BYTES,
  openSection,
  type TableHeader,
  type TableProperties,
} from './table-format.js';

/** If a block has at least this size, the key can be read without the value. */
const LARGE_BLOCK_BYTES = 16 * 1024;
/** Lengths, sequence and key must lie within this many bytes of the block's start. */
export const KEY_ONLY_START_BYTES = 1024;

/** Thrown when a block would have to be read. */
export class NotCached {
  readonly table: Table;
  readonly block: number;

  constructor(table: Table, block: number) {
    this.table = table;
    this.block = block;
  }
}

export class Table implements BlockOwner {
  readonly path: string;
  readonly file: File;
  readonly header: TableHeader;
  readonly properties: TableProperties;
  readonly index: SparseIndex;
  readonly slots: Int32Array;
  readonly #filter: TableFilter | undefined;
  readonly #cache: BlockCache;
  readonly #speed: ReadSpeed;
  /** The number of cursors in it. While it is above zero, the table must not be closed. */
  pins = 0;
  lastUse = 0;

  /** Throws `CORRUPTION`, or the system's error. */
  static open(env: Env, path: string, cache: BlockCache, speed: ReadSpeed = new ReadSpeed(env.clock)): Table {
    const file = env.fs.open(path, 'read');
    try {
      return new Table(file, path, cache, speed);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  private constructor(file: File, path: string, cache: BlockCache, speed: ReadSpeed) {
    this.file = file;
    this.path = path;
    this.#cache = cache;
    this.#speed = speed;
    const start = Buffer.alloc(HEADER_BYTES);
    const count = file.readSync(start, 0);
    const header = decodeHeader(start.subarray(0, count), path, file.sizeBytes());
    this.header = header;
    const tail = Buffer.allocUnsafeSlow(header.fileBytes - header.indexOffset);
    if (file.readSync(tail, header.indexOffset) < tail.length) {
      throw corruption(path, header.indexOffset, 'the end of the file is missing');
    }
    const section = (offset: number, bytes: number, name: string): Buffer => {
      const at = offset - header.indexOffset;
      return openSection(tail.subarray(at, at + bytes), path, offset, name);
    };
    this.index = new SparseIndex(section(header.indexOffset, header.indexBytes, 'index'), header.blocks, {
      path,
      offset: header.indexOffset,
      dataStart: HEADER_BYTES,
      dataEnd: header.indexOffset,
      trailerBytes: BLOCK_TRAILER_BYTES,
    });
    const bits = section(header.filterOffset, header.filterBytes, 'filter');
    this.#filter = bits.length > 0 ? new TableFilter(bits, header.filterHashes) : undefined;
    this.properties = decodeProperties(
      section(header.propertiesOffset, header.propertiesBytes, 'properties'),
      path,
      header.propertiesOffset,
    );
    this.slots = new Int32Array(header.blocks).fill(NO_SLOT);
  }

  mayContain(hash: KeyHash): boolean {
    return this.#filter === undefined || this.#filter.mayContain(hash);
  }

  /**
   * Moves `cursor` to the newest version of a key at or below a sequence; false if there is none. The cursor is valid
   * until the next read through the cache. With `cachedOnly`, throws `NotCached` if it would have to read. With
   * `keyOnly`, a buffer to read to, the cursor may show only whether the key is deleted.
   */
  find(
    key: Uint8Array,
    sequence: number,
    cursor: BlockCursor,
    cachedOnly = false,
    keyOnly?: SingleEntryBlock,
  ): boolean {
    // The versions of one key may continue in the next block.
    for (let block = this.index.find(key); block < this.index.count; block++) {
      if (keyOnly && this.readKeyOnly(block, keyOnly)) {
        const order = compareBytes(keyOnly.key, key);
        if (order < 0 || (order === 0 && keyOnly.sequence > sequence)) continue;
        cursor.deleted = false;
        return order === 0;
      }
      if (cachedOnly && this.slots[block] === NO_SLOT) throw new NotCached(this, block);
      this.#load(block, cursor);
      cursor.seek(key, sequence);
      if (cursor.valid) {
        return compareRanges(cursor.keyBytes, cursor.keyStart, cursor.keyEnd, key, 0, key.length) === 0;
      }
    }
    return false;
  }

  /** The slot of an uncompressed block, which is read if necessary; NO_SLOT if it cannot be cached. */
  cacheBlock(block: number): number {
    const known = this.slots[block] as number;
    if (known !== NO_SLOT) {
      this.#cache.use(known);
      return known;
    }
    return this.header.codec === 'none' ? this.#cacheInPlace(block) : this.#cachePacked(block);
  }

  /** Reads a block as it is stored, with its trailer, to the start of `target`, and checks it. */
  readStored(block: number, target: Buffer): void {
    const offset = this.index.offsets[block] as number;
    const bytes = (this.index.sizes[block] as number) + BLOCK_TRAILER_BYTES;
    const startMs = this.#speed.nowMs();
    const count = this.file.readSync(target.subarray(0, bytes), offset);
    this.#speed.note(startMs);
    if (count < bytes) throw corruption(this.path, offset, 'the end of the block is missing');
    this.checkStored(block, target, 0);
  }

  /**
   * Whether a block is not cached, large, and holds exactly one entry that is no tombstone. `single` then shows
   * everything of the entry except its value. Only the beginning of the block and its codec are read. That is not
   * enough to check the CRC, so the key is checked against the index and the filter. In doubt the answer is false, and
   * the whole block must be read.
   */
  readKeyOnly(block: number, single: SingleEntryBlock): boolean {
    const size = this.index.sizes[block] as number;
    if (size < LARGE_BLOCK_BYTES || this.slots[block] !== NO_SLOT) return false;
    const offset = this.index.offsets[block] as number;
    // In a compressed block, the lengths alone may take one byte for each 255 bytes of value.
    const bytes = Math.min(size, 2 * single.start.length + Math.ceil(size / 128));
    const start = scratch(bytes).subarray(0, bytes);
    if (this.file.readSync(start, offset) < start.length) return false;
    let codec = CODEC_NONE;
    if (this.header.codec !== 'none') {
      const trailer = Buffer.alloc(1);
      if (this.file.readSync(trailer, offset + size) < 1) return false;
      codec = trailer[0] as number;
    }
    const blockBytes = startOfStored(start, 0, size, codec, single.start);
    return blockBytes > 0 && single.read(blockBytes) && !single.deleted && this.#mayHold(block, single);
  }

  #mayHold(block: number, { key, sequence }: SingleEntryBlock): boolean {
    if (sequence < this.header.smallestSequence || sequence > this.header.largestSequence) return false;
    const first = block > 0 ? this.index.separator(block - 1) : this.properties.smallest;
    if (compareBytes(key, first) < 0 || compareBytes(key, this.index.separator(block)) > 0) return false;
    const hash = { first: 0, second: 0 };
    hashKey(key, 0, key.length, hash);
    return this.mayContain(hash);
  }

  /** Reads a block into the cache, if it can be cached, while other events run. */
  async fetchBlock(block: number): Promise<void> {
    const offset = this.index.offsets[block] as number;
    const stored = Buffer.allocUnsafe((this.index.sizes[block] as number) + BLOCK_TRAILER_BYTES);
    this.pins++;
    try {
      const startMs = this.#speed.nowMs();
      const count = await this.file.read(stored, offset);
      this.#speed.note(startMs);
      if (count < stored.length) throw corruption(this.path, offset, 'the end of the block is missing');
    } finally {
      this.pins--;
    }
    if (this.slots[block] !== NO_SLOT) return;
    this.checkStored(block, stored, 0);
    this.#cacheStored(block, stored);
  }

  /** Throws `CORRUPTION` unless the stored block at `start` of `bytes` matches its CRC. */
  checkStored(block: number, bytes: Buffer, start: number): void {
    const offset = this.index.offsets[block] as number;
    const end = start + (this.index.sizes[block] as number);
    if (crc32(bytes.subarray(start, end + 1)) !== bytes.readUInt32LE(end + 1)) {
      throw corruption(this.path, offset, 'the block there does not match its checksum');
    }
    const codec = bytes[end];
    const isAllowed = codec === CODEC_NONE || (codec === CODEC_LZ4 && this.header.codec === 'lz4');
    if (!isAllowed) throw corruption(this.path, offset, `codec ${codec} is not that of the table`);
  }

  /** The uncompressed size of a checked block; -1 if it is stored uncompressed. */
  packedFrom(block: number, bytes: Buffer, start: number): number {
    const end = start + (this.index.sizes[block] as number);
    if (bytes[end] === CODEC_NONE) return -1;
    const plain = plainBytes(bytes, start, end);
    if (!(plain > 0)) throw this.#damagedPacking(block);
    return plain;
  }

  /** Decompresses a checked block to the start of `target`. */
  unpack(block: number, bytes: Buffer, start: number, target: Buffer): void {
    const end = start + (this.index.sizes[block] as number);
    if (!decompressBlock(bytes, start, end, target)) throw this.#damagedPacking(block);
  }

  /** An uncompressed block in new memory. */
  readBlock(block: number): Buffer {
    const size = this.index.sizes[block] as number;
    const stored = Buffer.allocUnsafe(size + BLOCK_TRAILER_BYTES);
    this.readStored(block, stored);
    const plain = plainBlock(stored, 0, size);
    if (plain === undefined) throw this.#damagedPacking(block);
    return plain;
  }

  /** Estimates how many bytes of the file are before a key. */
  offsetOf(key: Uint8Array): number {
    const block = this.index.find(key);
    return block < this.index.count ? (this.index.offsets[block] as number) : this.header.fileBytes;
  }

  close(): void {
    for (const slot of this.slots) if (slot !== NO_SLOT) this.#cache.discard(slot);
    this.file.close();
  }

  #load(block: number, cursor: BlockCursor): void {
    const slot = this.cacheBlock(block);
    const offset = this.index.offsets[block] as number;
    if (slot === NO_SLOT) {
      const bytes = this.readBlock(block);
      cursor.setBlock(bytes, 0, bytes.length, this.path, offset);
    } else cursor.setBlock(this.#cache.bytes(slot), 0, this.blockBytes(block, slot), this.path, offset);
  }

  /** The uncompressed size of a block in a slot. */
  blockBytes(block: number, slot: number): number {
    return this.header.codec === 'none' ? (this.index.sizes[block] as number) : this.#cache.blockBytes(slot);
  }

  #cacheInPlace(block: number): number {
    const slot = this.#cache.claim(this, block, (this.index.sizes[block] as number) + BLOCK_TRAILER_BYTES);
    if (slot === NO_SLOT) return NO_SLOT;
    try {
      this.readStored(block, this.#cache.bytes(slot));
    } catch (error) {
      this.#cache.discard(slot);
      throw error;
    }
    return slot;
  }

  #cachePacked(block: number): number {
    const size = this.index.sizes[block] as number;
    const stored = scratch(size + BLOCK_TRAILER_BYTES);
    this.readStored(block, stored);
    return this.#cacheStored(block, stored);
  }

  /** Puts a checked block, which has no slot yet, into the cache. */
  #cacheStored(block: number, stored: Buffer): number {
    const size = this.index.sizes[block] as number;
    const plain = this.packedFrom(block, stored, 0);
    const slot = this.#cache.claim(this, block, plain < 0 ? size : plain);
    if (slot === NO_SLOT) return NO_SLOT;
    const target = this.#cache.bytes(slot);
    try {
      if (plain < 0) stored.copy(target, 0, 0, size);
      else this.unpack(block, stored, 0, target);
    } catch (error) {
      this.#cache.discard(slot);
      throw error;
    }
    return slot;
  }

  #damagedPacking(block: number): Error {
    return corruption(
      this.path,
      this.index.offsets[block] as number,
      'the block there cannot be decompressed',
    );
  }
}

/** A buffer for a stored block, valid until the next call. */
function scratch(bytes: number): Buffer {
  return bytes <= packedScratch.length ? packedScratch : Buffer.allocUnsafe(bytes);
}
