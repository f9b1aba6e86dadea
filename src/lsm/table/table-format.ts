/**
 * An SSTable file. All integers are little-endian; checksums are CRC-32.
 *
 *     header       128 bytes, filled in last; it describes the file and commits nothing
 *     data blocks  ( stored block | codec u8 | CRC u32 of stored block and codec ) ...   block: `block-builder.ts`,
 *                                                                               stored by a codec: `codec.ts`
 *     index        entry per block ... | CRC u32                               entry: `sparse-index.ts`
 *     filter       bits | CRC u32                                              bits: `table-filter.ts`
 *     properties   smallest key bytes u32 | smallest key | largest key bytes u32 | largest key |
 *                  key bytes u64 | value bytes u64 | CRC u32
 *
 *     header:
 *        0  magic "raftsst" and a zero byte         64  smallest sequence u64
 *        8  format version u32, 1                   72  largest sequence u64
 *       12  hashes per key in the filter u32        80  entries u64
 *       16  file bytes u64                          88  tombstones u64
 *       24  index offset u64                        96  data blocks u32
 *       32  index bytes u32, with its CRC          100  codec u8 that blocks may have
 *       36  filter bytes u32, with its CRC         124  CRC u32 of bytes 0 to 124
 *       40  filter offset u64
 *       48  properties offset u64
 *       56  properties bytes u32, with its CRC
 *       60  zeros
 */
import { crc32 } from '../../record/checksum.js';
import { corruption, readUint53, writeUint53 } from '../../record/record.js';
import { type Codec, codecNumber, codecOfNumber } from '../base/block-codec.js';

export const HEADER_BYTES = 128;
/** Codec and CRC after a block. */
export const BLOCK_TRAILER_BYTES = 5;
const MAGIC = Buffer.from('raftsst\0', 'latin1');
const FORMAT_VERSION = 1;
const CRC_BYTES = 4;

export interface TableHeader {
  readonly filterHashes: number;
  readonly fileBytes: number;
  readonly indexOffset: number;
  readonly indexBytes: number;
  readonly filterOffset: number;
  readonly filterBytes: number;
  readonly propertiesOffset: number;
  readonly propertiesBytes: number;
  readonly smallestSequence: number;
  readonly largestSequence: number;
  readonly entries: number;
  readonly tombstones: number;
  readonly blocks: number;
  /** A block is stored with this codec, or uncompressed if compression saves too little. */
  readonly codec: Codec;
}

export function encodeHeader(header: TableHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(FORMAT_VERSION, 8);
  bytes.writeUInt32LE(header.filterHashes, 12);
  writeUint53(bytes, header.fileBytes, 16);
  writeUint53(bytes, header.indexOffset, 24);
  bytes.writeUInt32LE(header.indexBytes, 32);
  bytes.writeUInt32LE(header.filterBytes, 36);
  writeUint53(bytes, header.filterOffset, 40);
  writeUint53(bytes, header.propertiesOffset, 48);
  bytes.writeUInt32LE(header.propertiesBytes, 56);
  writeUint53(bytes, header.smallestSequence, 64);
  writeUint53(bytes, header.largestSequence, 72);
  writeUint53(bytes, header.entries, 80);
  writeUint53(bytes, header.tombstones, 88);
  bytes.writeUInt32LE(header.blocks, 96);
  bytes[100] = codecNumber(header.codec);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 124)), 124);
  return bytes;
}

/** Throws `CORRUPTION` for anything but a whole header of a file of this size. */
export function decodeHeader(bytes: Buffer, path: string, fileBytes: number): TableHeader {
  if (bytes.length < HEADER_BYTES) throw corruption(path, 0, 'it is shorter than a table header');
  if (!bytes.subarray(0, 8).equals(MAGIC)) throw corruption(path, 0, 'it does not begin as a table');
  if (crc32(bytes.subarray(0, 124)) !== bytes.readUInt32LE(124)) {
    throw corruption(path, 0, 'the header does not match its checksum');
  }
  const version = bytes.readUInt32LE(8);
  if (version !== FORMAT_VERSION) throw corruption(path, 8, `format version ${version} is not known`);
  const codec = codecOfNumber(bytes[100] as number);
  if (codec === undefined) throw corruption(path, 100, `codec ${bytes[100]} is not known`);
  const header: TableHeader = {
    filterHashes: bytes.readUInt32LE(12),
    fileBytes: readUint53(bytes, 16),
    indexOffset: readUint53(bytes, 24),
    indexBytes: bytes.readUInt32LE(32),
    filterBytes: bytes.readUInt32LE(36),
    filterOffset: readUint53(bytes, 40),
    propertiesOffset: readUint53(bytes, 48),
    propertiesBytes: bytes.readUInt32LE(56),
    smallestSequence: readUint53(bytes, 64),
    largestSequence: readUint53(bytes, 72),
    entries: readUint53(bytes, 80),
    tombstones: readUint53(bytes, 88),
    blocks: bytes.readUInt32LE(96),
    codec,
  };
  if (header.fileBytes !== fileBytes) {
    throw corruption(path, fileBytes, `the file has ${fileBytes} bytes, its header says ${header.fileBytes}`);
  }
  const joined =
    header.indexOffset >= HEADER_BYTES &&
    header.indexOffset + header.indexBytes === header.filterOffset &&
    header.filterOffset + header.filterBytes === header.propertiesOffset &&
    header.propertiesOffset + header.propertiesBytes === fileBytes;
  if (!joined) throw corruption(path, 24, 'the sections do not fill the file');
  return header;
}

/** A section followed by its CRC. */
export function sealSection(content: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(content.length + CRC_BYTES);
  bytes.set(content);
  bytes.writeUInt32LE(crc32(content), content.length);
  return bytes;
}

/** The content of a sealed section; throws `CORRUPTION` if it does not match its CRC. */
export function openSection(bytes: Buffer, path: string, offset: number, name: string): Buffer {
  const end = bytes.length - CRC_BYTES;
  if (end < 0 || crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) {
    throw corruption(path, offset, `the ${name} does not match its checksum`);
  }
  return bytes.subarray(0, end);
}

export interface TableProperties {
  readonly smallest: Buffer;
  readonly largest: Buffer;
  /** Sums over all entries, before compression. */
  readonly keyBytes: number;
  readonly valueBytes: number;
}

export function encodeProperties(properties: TableProperties): Buffer {
  const { smallest, largest } = properties;
  const bytes = Buffer.alloc(smallest.length + largest.length + 24);
  let at = bytes.writeUInt32LE(smallest.length, 0);
  at += smallest.copy(bytes, at);
  at = bytes.writeUInt32LE(largest.length, at);
  at += largest.copy(bytes, at);
  writeUint53(bytes, properties.keyBytes, at);
  writeUint53(bytes, properties.valueBytes, at + 8);
  return bytes;
}

export function decodeProperties(bytes: Buffer, path: string, offset: number): TableProperties {
  const malformed = () => corruption(path, offset, 'the properties are malformed');
  const readKey = (at: number): Buffer => {
    if (at + 4 > bytes.length) throw malformed();
    const end = at + 4 + bytes.readUInt32LE(at);
    if (end > bytes.length) throw malformed();
    return Buffer.from(bytes.subarray(at + 4, end));
  };
  const smallest = readKey(0);
  const largest = readKey(4 + smallest.length);
  const at = 8 + smallest.length + largest.length;
  if (at + 16 !== bytes.length) throw malformed();
  return { smallest, largest, keyBytes: readUint53(bytes, at), valueBytes: readUint53(bytes, at + 8) };
}
