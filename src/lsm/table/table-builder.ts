/**
 * Writes an SSTable (format: `table-format.ts`) from entries given in internal order. Blocks are collected and
 * written in larger pieces by `drain`; `finish` writes the sections and, last, the header, and syncs the file. The
 * file's name is not durable before its directory is synced, and the table does not count before the MANIFEST says so.
 */
import type { Env, File } from '../../env/env.js';
import { crc32 } from '../../record/checksum.js';
import { CODEC_NONE, type Codec, codecNumber, compressBlock } from '../base/block-codec.js';
import { compareRanges, copyBytes, copyRange, NO_BYTES } from '../base/bytes.js';
import type { Cursor } from '../base/cursor.js';
import { hashKey, type KeyHash } from '../base/key-hash.js';
import { BlockBuilder } from './block-builder.js';
import { SparseIndexBuilder, separatorBetween } from './sparse-index.js';
import type { TableMetadata } from './table-file.js';
import { TableFilter } from './table-filter.js';
import {
  BLOCK_TRAILER_BYTES,
  encodeHeader,
  encodeProperties,
  HEADER_BYTES,
  sealSection,
} from './table-format.js';

export interface TableBuilderOptions {
  readonly blockBytes: number;
  readonly restartInterval: number;
  /** 0 for no filter. */
  readonly bloomBitsPerKey: number;
  readonly codec: Codec;
}

export interface CompleteTable {
  readonly metadata: TableMetadata;
  /** Rejects with the error of the sync. */
  readonly durable: Promise<void>;
}

/** Blocks are written when this many bytes are collected. */
const WRITE_BYTES = 256 * 1024;
/** When this many blocks in a row did not shrink, the next ones are not tried: twice as many after each new try. */
const TRIED_IN_A_ROW = 4;
const MOST_UNTRIED_BLOCKS = 32;
/** `breathe` is called after this many keys are added to the filter. */
const STEP_KEYS = 2048;

export class TableBuilder {
  readonly number: number;
  readonly path: string;
  readonly #options: TableBuilderOptions;
  readonly #file: File;
  readonly #block: BlockBuilder;
  readonly #index = new SparseIndexBuilder();
  readonly #hash: KeyHash = { first: 0, second: 0 };
  #hashes = new Uint32Array(2048);
  #keys = 0;
  /** Blocks that are not written yet, one after another. */
  #fullChunks: Buffer[] = [];
  #chunk: Buffer = NO_BYTES;
  #chunkUsed = 0;
  #pendingBytes = 0;
  /** The file offset at which they will be written. */
  #written = HEADER_BYTES;
  /** Blocks that were tried one after the other and did not shrink. */
  #unshrunkBlocks = 0;
  /** So many blocks are stored as they are before one is tried again. */
  #untriedBlocks = 0;
  /** The last block. Its offset is known; its separator is known only with the next key. */
  #lastBlockOffset = -1;
  #lastBlockBytes = 0;
  #lastBlockKey: Buffer = NO_BYTES;
  #smallest: Buffer = NO_BYTES;
  #smallestSequence = Number.POSITIVE_INFINITY;
  #largestSequence = 0;
  #entries = 0;
  #tombstones = 0;
  #keyBytes = 0;
  #valueBytes = 0;

  /** Creates the file. Throws the system's error. */
  constructor(env: Env, path: string, number: number, options: TableBuilderOptions) {
    this.#options = options;
    this.number = number;
    this.path = path;
    this.#block = new BlockBuilder(options.blockBytes, options.restartInterval);
    this.#file = env.fs.open(path, 'create');
  }

  get entries(): number {
    return this.#entries;
  }

  /** The size of the file if it ended here, without index, filter and properties. */
  get sizeBytes(): number {
    return this.#written + this.#pendingBytes + this.#block.sizeBytes;
  }

  /** Whether `drain` should be called. */
  get shouldDrain(): boolean {
    return this.#pendingBytes >= WRITE_BYTES;
  }

  /** Adds an entry; returns whether it began a new block. */
  add(entry: Cursor): boolean {
    const block = this.#block;
    const { keyBytes, keyStart, keyEnd } = entry;
    let began = false;
    const isStored = entry.storedEnd !== 0;
    const shared = block.sharedWith(entry);
    const isLastKey = this.#entries > 0 && this.#isLastKey(entry, shared);
    if (
      !block.isEmpty &&
      (isStored || block.sizeBytes + block.growthBytes(entry, shared) > this.#options.blockBytes)
    ) {
      this.#finishBlock();
      began = true;
    }
    if (block.isEmpty && this.#entries > 0) this.#indexLastBlock(keyBytes.subarray(keyStart, keyEnd));
    if (this.#entries === 0) this.#smallest = copyRange(keyBytes, keyStart, keyEnd);
    if (!isLastKey) this.#addHash(keyBytes, keyStart, keyEnd);
    if (isStored) {
      this.#addStored(entry);
      began = true;
    } else block.add(entry, shared);
    this.#entries++;
    if (entry.deleted) this.#tombstones++;
    if (entry.sequence < this.#smallestSequence) this.#smallestSequence = entry.sequence;
    if (entry.sequence > this.#largestSequence) this.#largestSequence = entry.sequence;
    this.#keyBytes += keyEnd - keyStart;
    this.#valueBytes += entry.valueEnd - entry.valueStart;
    return began;
  }

  /** Writes the collected blocks. Nothing may be added until it resolves. */
  async drain(): Promise<void> {
    if (this.#pendingBytes === 0) return;
    const position = this.#written;
    const chunks = [...this.#fullChunks, this.#chunk.subarray(0, this.#chunkUsed)];
    this.#written += this.#pendingBytes;
    this.#pendingBytes = 0;
    this.#fullChunks = [];
    await this.#file.write(chunks, position);
    this.#chunkUsed = 0;
  }

  /**
   * Completes the file and begins to sync it; after the sync the file is closed. The table needs at least one entry.
   * `breathe` is called between steps.
   */
  async complete(breathe: () => Promise<void> | undefined): Promise<CompleteTable> {
    if (!this.#block.isEmpty) this.#finishBlock();
    const largest = this.#lastBlockKey;
    this.#index.add(largest, this.#lastBlockOffset, this.#lastBlockBytes);
    await this.drain();
    const filter = await this.#buildFilter(breathe);
    const index = sealSection(this.#index.finish());
    const bits = sealSection(filter?.bits ?? NO_BYTES);
    const properties = sealSection(
      encodeProperties({
        smallest: this.#smallest,
        largest,
        keyBytes: this.#keyBytes,
        valueBytes: this.#valueBytes,
      }),
    );
    const indexOffset = this.#written;
    const filterOffset = indexOffset + index.length;
    const propertiesOffset = filterOffset + bits.length;
    const fileBytes = propertiesOffset + properties.length;
    await this.#file.write([index, bits, properties], indexOffset);
    const header = encodeHeader({
      filterHashes: filter?.hashes ?? 0,
      fileBytes,
      indexOffset,
      indexBytes: index.length,
      filterOffset,
      filterBytes: bits.length,
      propertiesOffset,
      propertiesBytes: properties.length,
      smallestSequence: this.#smallestSequence,
      largestSequence: this.#largestSequence,
      entries: this.#entries,
      tombstones: this.#tombstones,
      blocks: this.#index.blocks,
      codec: this.#options.codec,
    });
    await this.#file.write([header], 0);
    const durable = this.#file.sync().finally(() => this.#file.close());
    // `finish` rejects with the error; the sync may have failed before it is awaited.
    durable.catch(() => {});
    const metadata = {
      number: this.number,
      sizeBytes: fileBytes,
      smallest: this.#smallest,
      largest,
      smallestSequence: this.#smallestSequence,
      largestSequence: this.#largestSequence,
      entries: this.#entries,
      tombstones: this.#tombstones,
      codec: this.#options.codec,
    };
    return { metadata, durable };
  }

  /** As `complete`; resolves when the file is durable. */
  async finish(breathe: () => Promise<void> | undefined): Promise<TableMetadata> {
    const { metadata, durable } = await this.complete(breathe);
    await durable;
    return metadata;
  }

  /** Closes the file unfinished. */
  abandon(): void {
    this.#file.close();
  }

  /**
   * Whether the last entry has the same key as this one. `shared`: the bytes that this key shares with the block's last
   * key.
   */
  #isLastKey({ keyBytes, keyStart, keyEnd }: Cursor, shared: number): boolean {
    if (this.#block.isEmpty) {
      const last = this.#lastBlockKey;
      return compareRanges(last, 0, last.length, keyBytes, keyStart, keyEnd) === 0;
    }
    return shared === keyEnd - keyStart && shared === this.#block.lastKeyBytes;
  }

  #finishBlock(): void {
    const key = Buffer.from(this.#block.lastKey);
    const plain = this.#block.finish();
    const packed = this.#pack(plain);
    const block = packed ?? plain;
    this.#lastBlockOffset = this.#written + this.#pendingBytes;
    this.#lastBlockBytes = block.length;
    this.#lastBlockKey = key;
    const bytes = this.#take(block.length + BLOCK_TRAILER_BYTES);
    block.copy(bytes);
    bytes[block.length] = packed ? codecNumber(this.#options.codec) : CODEC_NONE;
    bytes.writeUInt32LE(crc32(bytes.subarray(0, block.length + 1)), block.length + 1);
  }

  /** As `compressBlock`. Where blocks do not shrink one after the other, most are not tried. */
  #pack(plain: Buffer): Buffer | undefined {
    if (this.#untriedBlocks > 0) {
      this.#untriedBlocks--;
      return undefined;
    }
    const packed = compressBlock(plain, this.#options.codec);
    this.#unshrunkBlocks = packed ? 0 : this.#unshrunkBlocks + 1;
    if (this.#unshrunkBlocks >= TRIED_IN_A_ROW)
      this.#untriedBlocks = Math.min(MOST_UNTRIED_BLOCKS, 2 ** (this.#unshrunkBlocks - TRIED_IN_A_ROW + 2));
    return packed;
  }

  /** Adds a block that holds only this entry, as it was read. */
  #addStored({ keyBytes, keyStart, keyEnd, storedBytes, storedStart, storedEnd }: Cursor): void {
    const bytes = storedEnd - storedStart;
    this.#lastBlockOffset = this.#written + this.#pendingBytes;
    this.#lastBlockBytes = bytes - BLOCK_TRAILER_BYTES;
    this.#lastBlockKey = copyRange(keyBytes, keyStart, keyEnd);
    copyBytes(this.#take(bytes), 0, storedBytes, storedStart, storedEnd);
  }

  /** Room for a block after the blocks that are not written yet. */
  #take(bytes: number): Buffer {
    if (this.#chunkUsed + bytes > this.#chunk.length) {
      if (this.#chunkUsed > 0) this.#fullChunks.push(this.#chunk.subarray(0, this.#chunkUsed));
      this.#chunk = Buffer.allocUnsafeSlow(Math.max(WRITE_BYTES + 2 * this.#options.blockBytes, bytes));
      this.#chunkUsed = 0;
    }
    const start = this.#chunkUsed;
    this.#chunkUsed += bytes;
    this.#pendingBytes += bytes;
    return this.#chunk.subarray(start, this.#chunkUsed);
  }

  #indexLastBlock(nextKey: Uint8Array): void {
    if (this.#lastBlockOffset < 0) return;
    const separator = separatorBetween(this.#lastBlockKey, nextKey);
    this.#index.add(separator, this.#lastBlockOffset, this.#lastBlockBytes);
  }

  #addHash(bytes: Buffer, start: number, end: number): void {
    if (this.#options.bloomBitsPerKey === 0) return;
    if (2 * this.#keys === this.#hashes.length) {
      const larger = new Uint32Array(this.#hashes.length * 2);
      larger.set(this.#hashes);
      this.#hashes = larger;
    }
    hashKey(bytes, start, end, this.#hash);
    this.#hashes[2 * this.#keys] = this.#hash.first;
    this.#hashes[2 * this.#keys + 1] = this.#hash.second;
    this.#keys++;
  }

  async #buildFilter(breathe: () => Promise<void> | undefined): Promise<TableFilter | undefined> {
    if (this.#options.bloomBitsPerKey === 0) return undefined;
    const filter = TableFilter.sizedFor(this.#keys, this.#options.bloomBitsPerKey);
    for (let i = 0; i < this.#keys; i++) {
      this.#hash.first = this.#hashes[2 * i] as number;
      this.#hash.second = this.#hashes[2 * i + 1] as number;
      filter.addHash(this.#hash);
      if (i % STEP_KEYS !== 0) continue;
      const pause = breathe();
      if (pause) await pause;
    }
    return filter;
  }
}
