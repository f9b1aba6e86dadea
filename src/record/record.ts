/**
 * The record format of WAL, MANIFEST and Raft log. A record is one commit group: the payloads that were written and
 * synced together. Integers are little-endian. A record starts at a multiple of 8.
 *
 *     0        4        8        12       16       24                32                 40
 *     +--------+--------+--------+--------+--------+-----------------+------------------+------- - -+---------+
 *     | header | body   | body   | type   | file   | durable through | durable through  | body      | 0 to 7  |
 *     | CRC    | CRC    | bytes  | u32    | number | file number u64 | offset u64       |           | zeros   |
 *     | u32    | u32    | u32    |        | u64    |                 |                  |           |         |
 *     +--------+--------+--------+--------+--------+-----------------+------------------+------- - -+---------+
 *     header CRC covers bytes 4 to 40; body CRC covers the body.
 *
 *     body:  ( payload bytes u32 | payload ) ...
 *
 * Type 1 is a group. Type 3 is a group at a place where a recycled file may hold older records. Type 2, without a body,
 * ends a file and says that its successor exists. Type 0 is invalid, so zeros are never a record. The header contains
 * the file number, so an old record of a recycled file is never taken for a new one.
 *
 * `durable through` is a position that was synced before this record was written. If a record before that position is
 * bad, the log is corrupt. For a bad record without such a proof see `recovery.ts` and `torn-write.ts`.
 */
import { RaftreeError } from '../env/errors.js';
import { crc32, crc32Chunks } from './checksum.js';

export const RECORD_HEADER_BYTES = 40;
export const RECORD_ALIGNMENT_BYTES = 8;
const TYPE_GROUP = 1;
const TYPE_END = 2;
const TYPE_GROUP_OVER_OLD = 3;
const TYPES: readonly number[] = [TYPE_GROUP, TYPE_END, TYPE_GROUP_OVER_OLD];
/** Far above the size of any group. A length field above it is invalid. */
export const MAX_RECORD_BYTES = 1024 * 1024 * 1024;
/** A body up to this size is copied into one buffer: one checksum and one buffer cost less than many. */
const COPIED_BODY_BYTES = 128 * 1024;

/** A position in a numbered series of files. */
export interface Position {
  readonly file: number;
  readonly offset: number;
}

export function isBefore(a: Position, b: Position): boolean {
  return a.file < b.file || (a.file === b.file && a.offset < b.offset);
}

export interface EncodedRecord {
  /** Write them unchanged, in this order. */
  readonly chunks: readonly Uint8Array[];
  readonly sizeBytes: number;
  /** Where each payload starts, relative to the record. */
  readonly payloadOffsets: readonly number[];
}

/** A payload is one or more chunks, stored as their concatenation. */
export type Payload = readonly Uint8Array[];

/**
 * `isOverOldBytes`: from this record on, the recycled file may still hold old records. `allocate` gives the memory for
 * a copied body. Throws `RECORD_TOO_LARGE` above MAX_RECORD_BYTES.
 */
export function encodeRecord(
  fileNumber: number,
  durableThrough: Position,
  payloads: readonly Payload[],
  isOverOldBytes = false,
  allocate: (sizeBytes: number) => Buffer = Buffer.allocUnsafe,
): EncodedRecord {
  const payloadOffsets: number[] = [];
  let bodyBytes = 0;
  for (const payload of payloads) {
    payloadOffsets.push(RECORD_HEADER_BYTES + bodyBytes + 4);
    bodyBytes += 4 + sizeOf(payload);
  }
  const paddingBytes = -bodyBytes & (RECORD_ALIGNMENT_BYTES - 1);
  const sizeBytes = RECORD_HEADER_BYTES + bodyBytes + paddingBytes;
  if (sizeBytes > MAX_RECORD_BYTES) {
    throw new RaftreeError('RECORD_TOO_LARGE', `a group of ${sizeBytes} bytes exceeds ${MAX_RECORD_BYTES}`);
  }
  const body =
    bodyBytes <= COPIED_BODY_BYTES ? [copyBody(payloads, allocate(bodyBytes))] : chainBody(payloads);
  const type = isOverOldBytes ? TYPE_GROUP_OVER_OLD : TYPE_GROUP;
  const header = encodeHeader(type, fileNumber, durableThrough, crc32Chunks(body), bodyBytes);
  const chunks = [header, ...body];
  if (paddingBytes > 0) chunks.push(Buffer.alloc(paddingBytes));
  return { chunks, sizeBytes, payloadOffsets };
}

/** The last record of a file whose successor exists durably. */
export function encodeEnd(fileNumber: number, durableThrough: Position): Buffer {
  return encodeHeader(TYPE_END, fileNumber, durableThrough, 0, 0);
}

function encodeHeader(
  type: number,
  fileNumber: number,
  durableThrough: Position,
  bodyCrc: number,
  bodyBytes: number,
): Buffer {
  const header = Buffer.allocUnsafe(RECORD_HEADER_BYTES);
  header.writeUInt32LE(bodyCrc, 4);
  header.writeUInt32LE(bodyBytes, 8);
  header.writeUInt32LE(type, 12);
  writeUint53(header, fileNumber, 16);
  writeUint53(header, durableThrough.file, 24);
  writeUint53(header, durableThrough.offset, 32);
  header.writeUInt32LE(crc32(header.subarray(4)), 0);
  return header;
}

function copyBody(payloads: readonly Payload[], body: Buffer): Buffer {
  let at = 0;
  for (const payload of payloads) {
    at = body.writeUInt32LE(sizeOf(payload), at);
    for (const chunk of payload) {
      body.set(chunk, at);
      at += chunk.length;
    }
  }
  return body;
}

function chainBody(payloads: readonly Payload[]): Uint8Array[] {
  const lengths = Buffer.allocUnsafe(payloads.length * 4);
  return payloads.flatMap((payload, i) => {
    lengths.writeUInt32LE(sizeOf(payload), i * 4);
    return [lengths.subarray(i * 4, i * 4 + 4), ...payload];
  });
}

export function sizeOf(payload: Payload): number {
  let bytes = 0;
  for (const chunk of payload) bytes += chunk.length;
  return bytes;
}

export interface DecodedRecord extends RecordHeader {
  /** Views of the bytes given, with their offset in them. */
  readonly payloads: readonly { readonly bytes: Buffer; readonly offset: number }[];
  /** Includes the padding. */
  readonly endOffset: number;
}

export interface RecordHeader {
  readonly bodyStart: number;
  readonly bodyEnd: number;
  readonly bodyCrc: number;
  readonly durableThrough: Position;
  /** The record ends its file; the next file exists. */
  readonly endsFile: boolean;
  /** From here on the recycled file may hold old records. */
  readonly isOverOldBytes: boolean;
}

/** The header at `offset`, or undefined if no complete, intact record header of this file is there. */
export function decodeHeader(bytes: Buffer, offset: number, fileNumber: number): RecordHeader | undefined {
  const bodyStart = offset + RECORD_HEADER_BYTES;
  if (bodyStart > bytes.length) return undefined;
  // Behind a bad record the search comes here for every eighth byte: the byte that tells most often is looked at first.
  const type = bytes[offset + 12] as number;
  if (type < TYPE_GROUP || type > TYPE_GROUP_OVER_OLD) return undefined;
  if (bytes.readUInt32LE(offset + 12) !== type) return undefined;
  if (readUint53(bytes, offset + 16) !== fileNumber) return undefined;
  if (crc32(bytes.subarray(offset + 4, bodyStart)) !== bytes.readUInt32LE(offset)) return undefined;
  return {
    bodyStart,
    bodyEnd: bodyStart + bytes.readUInt32LE(offset + 8),
    bodyCrc: bytes.readUInt32LE(offset + 4),
    durableThrough: { file: readUint53(bytes, offset + 24), offset: readUint53(bytes, offset + 32) },
    endsFile: type === TYPE_END,
    isOverOldBytes: type === TYPE_GROUP_OVER_OLD,
  };
}

/**
 * Whether a header of this file is there, damaged in one of its fields. Old bytes may be anything, numbers that are a
 * type and the number of the file too. So what is not damaged has to say more: the checksum of the header, without the
 * damaged type or number; the checksum of the body; or a position between `durableThrough`, as the record before says,
 * and this place.
 */
export function looksLikeHeader(
  bytes: Buffer,
  offset: number,
  fileNumber: number,
  durableThrough: Position,
): boolean {
  const header = Buffer.from(bytes.subarray(offset, offset + RECORD_HEADER_BYTES));
  if (header.length < RECORD_HEADER_BYTES) return false;
  if (TYPES.includes(header.readUInt32LE(12)) && readUint53(header, 16) === fileNumber) {
    const said = { file: readUint53(header, 24), offset: readUint53(header, 32) };
    const here = { file: fileNumber, offset };
    const isPosition = said.offset % RECORD_ALIGNMENT_BYTES === 0 && said.file >= 0;
    if (isPosition && !isBefore(said, durableThrough) && !isBefore(here, said)) return true;
    const bodyStart = offset + RECORD_HEADER_BYTES;
    const bodyEnd = bodyStart + header.readUInt32LE(8);
    if (bodyEnd <= bytes.length && crc32(bytes.subarray(bodyStart, bodyEnd)) === header.readUInt32LE(4))
      return true;
  }
  writeUint53(header, fileNumber, 16);
  return TYPES.some((type) => {
    header.writeUInt32LE(type, 12);
    return crc32(header.subarray(4)) === header.readUInt32LE(0);
  });
}

/** The record at `offset`, or undefined if no complete, intact record of this file is there. */
export function decodeRecord(bytes: Buffer, offset: number, fileNumber: number): DecodedRecord | undefined {
  const header = decodeHeader(bytes, offset, fileNumber);
  if (!header) return undefined;
  const { bodyStart, bodyEnd, bodyCrc } = header;
  if (bodyEnd > bytes.length) return undefined;
  if (crc32(bytes.subarray(bodyStart, bodyEnd)) !== bodyCrc) return undefined;
  const payloads: { bytes: Buffer; offset: number }[] = [];
  for (let at = bodyStart; at < bodyEnd; ) {
    if (at + 4 > bodyEnd) return undefined;
    const start = at + 4;
    const end = start + bytes.readUInt32LE(at);
    if (end > bodyEnd) return undefined;
    payloads.push({ bytes: bytes.subarray(start, end), offset: start });
    at = end;
  }
  // A crash may cut off the padding without harm: it holds no data.
  return { ...header, payloads, endOffset: alignUp(bodyEnd) };
}

export function alignUp(offset: number): number {
  return Math.ceil(offset / RECORD_ALIGNMENT_BYTES) * RECORD_ALIGNMENT_BYTES;
}

export function corruption(path: string, offset: number, what: string): RaftreeError {
  return new RaftreeError('CORRUPTION', `${path} is damaged at offset ${offset}: ${what}`, {
    info: { path, offset },
  });
}

export function writeUint53(target: Buffer, value: number, offset: number): void {
  target.writeUInt32LE(value % 2 ** 32, offset);
  target.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
}

/** NaN for a number above 2^53 - 1: no valid file holds one, and NaN equals nothing. */
export function readUint53(source: Buffer, offset: number): number {
  const high = source.readUInt32LE(offset + 4);
  return high < 2 ** 21 ? high * 2 ** 32 + source.readUInt32LE(offset) : Number.NaN;
}
