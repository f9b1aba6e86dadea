/**
 * Finds the intact blocks of a damaged table. A readable index gives the place of each block and the keys that a bad
 * block held. Without it, blocks are found one after another by their checksums, up to the first bad one.
 */
import { errorCode, errorMessage } from '../../env/errors.js';
import { crc32 } from '../../record/checksum.js';
import { corruption } from '../../record/record.js';
import { plainBlock } from '../base/block-codec.js';
import { compareBytes, copyRange } from '../base/bytes.js';
import { BlockCursor } from '../table/block-cursor.js';
import { SparseIndex } from '../table/sparse-index.js';
import type { TableMetadata } from '../table/table-file.js';
import {
  BLOCK_TRAILER_BYTES,
  decodeHeader,
  HEADER_BYTES,
  openSection,
  type TableHeader,
} from '../table/table-format.js';

/** A lost part of a file, and the range of the keys that it held. Both ends are included; an undefined end is open. */
export interface LostPart {
  readonly offset: number;
  readonly bytes: number;
  readonly message: string;
  readonly smallest: Buffer | undefined;
  readonly largest: Buffer | undefined;
}

export interface SalvagedTable {
  /** Where the intact blocks are in the file, in order, without codec and checksum. */
  readonly blocks: readonly { readonly offset: number; readonly bytes: number }[];
  readonly lost: readonly LostPart[];
}

/** `known` is what the MANIFEST says about the table. */
export function salvageTable(content: Buffer, path: string, known?: TableMetadata): SalvagedTable {
  const index = readIndex(content, path);
  return index ? byIndex(content, path, index, known) : byChecksums(content, path, known);
}

function readIndex(content: Buffer, path: string): SparseIndex | undefined {
  try {
    const header = decodeHeader(content.subarray(0, HEADER_BYTES), path, content.length);
    return indexOf(content, path, header);
  } catch (error) {
    if (errorCode(error) !== 'CORRUPTION') throw error;
    return undefined;
  }
}

function indexOf(content: Buffer, path: string, header: TableHeader): SparseIndex {
  const { indexOffset, indexBytes, blocks } = header;
  const section = content.subarray(indexOffset, indexOffset + indexBytes);
  return new SparseIndex(openSection(section, path, indexOffset, 'index'), blocks, {
    path,
    offset: indexOffset,
    dataStart: HEADER_BYTES,
    dataEnd: indexOffset,
    trailerBytes: BLOCK_TRAILER_BYTES,
  });
}

function byIndex(
  content: Buffer,
  path: string,
  index: SparseIndex,
  known: TableMetadata | undefined,
): SalvagedTable {
  const blocks: { offset: number; bytes: number }[] = [];
  const lost: LostPart[] = [];
  for (let block = 0; block < index.count; block++) {
    const offset = index.offsets[block] as number;
    const bytes = index.sizes[block] as number;
    try {
      checkBlock(content, offset, bytes, path);
      blocks.push({ offset, bytes });
    } catch (error) {
      if (errorCode(error) !== 'CORRUPTION') throw error;
      const smallest = block > 0 ? successor(index.separator(block - 1)) : known?.smallest;
      const largest = Buffer.from(index.separator(block));
      const range = { smallest, largest };
      lost.push({ offset, bytes: bytes + BLOCK_TRAILER_BYTES, message: errorMessage(error), ...range });
    }
  }
  return { blocks, lost };
}

function byChecksums(content: Buffer, path: string, known: TableMetadata | undefined): SalvagedTable {
  const blocks: { offset: number; bytes: number }[] = [];
  let offset = HEADER_BYTES;
  let last: Buffer | undefined;
  for (;;) {
    const bytes = blockBytesAt(content, offset);
    if (bytes === undefined) break;
    let lastOfBlock: Buffer;
    try {
      lastOfBlock = checkBlock(content, offset, bytes, path, last);
    } catch {
      // The checksum of the index is found like a block's, but the index cannot be read as a block.
      break;
    }
    last = lastOfBlock;
    blocks.push({ offset, bytes });
    offset += bytes + BLOCK_TRAILER_BYTES;
  }
  const isWhole = known !== undefined && last !== undefined && compareBytes(last, known.largest) === 0;
  if (isWhole) return { blocks, lost: [] };
  const message = 'header or index are damaged, and no intact block follows';
  const largest = known?.largest;
  const smallest = last ? successor(last) : known?.smallest;
  const lost = { offset, bytes: Math.max(0, content.length - offset), message, smallest, largest };
  return { blocks, lost: [lost] };
}

/** The first key after a key. */
function successor(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.alloc(1)]);
}

/** Throws `CORRUPTION` unless a block is intact, well-formed and after `previous`; returns its last key. */
function checkBlock(
  content: Buffer,
  offset: number,
  bytes: number,
  path: string,
  previous: Buffer | undefined = undefined,
): Buffer {
  const end = offset + bytes;
  if (end + BLOCK_TRAILER_BYTES > content.length)
    throw corruption(path, offset, 'the block there is cut off');
  if (crc32(content.subarray(offset, end + 1)) !== content.readUInt32LE(end + 1)) {
    throw corruption(path, offset, 'the block there does not match its checksum');
  }
  const plain = plainBlock(content, offset, end);
  if (plain === undefined) throw corruption(path, offset, 'the block there cannot be decompressed');
  const cursor = new BlockCursor();
  cursor.setBlock(plain, 0, plain.length, path, offset);
  let last = previous;
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
    const key = copyRange(cursor.keyBytes, cursor.keyStart, cursor.keyEnd);
    if (last && compareBytes(last, key) > 0)
      throw corruption(path, offset, 'the block there is out of order');
    last = key;
  }
  if (!last) throw corruption(path, offset, 'the block there is empty');
  return last;
}

/**
 * The bytes of the block at an offset, up to its checksum, whatever its codec is; undefined if no block begins there.
 */
function blockBytesAt(content: Buffer, offset: number): number | undefined {
  let state = 0xffffffff;
  for (let at = offset; at + 4 < content.length; at++) {
    state = step(state, content[at] as number);
    if (at > offset && (state ^ 0xffffffff) >>> 0 === content.readUInt32LE(at + 1)) return at - offset;
  }
  return undefined;
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** Adds one byte to a CRC-32, so that the CRC of every prefix is known. */
function step(state: number, byte: number): number {
  return (CRC_TABLE[(state ^ byte) & 255] as number) ^ (state >>> 8);
}
