/**
 * The one record format of WAL, MANIFEST and Raft log. A record is one commit group: what was written and synced
 * together. All integers are little-endian; a record starts at a multiple of 8.
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
 * Type 0 is invalid, so zeros are no record; the file number is in the header, so a stale record of a recycled file
 * is none either. Type 1 is a group; type 2, without a body, is the end of a file and says that its successor exists.
 * `durable through` is the position known to be synced when the record was written: a record that is bad although a
 * later one says that it had been synced is corruption; without such a witness it is the torn tail of a crash
 * (`recoverRecords`).
 */
import { RaftreeError } from '../env/errors.js';
import { crc32, crc32Chunks } from './checksum.js';

export const RECORD_HEADER_BYTES = 40;
export const RECORD_ALIGNMENT_BYTES = 8;
const TYPE_GROUP = 1;
const TYPE_END = 2;
/** Far above any group that is written; a length above it is not believed. */
export const MAX_RECORD_BYTES = 1024 * 1024 * 1024;
/** A small body is copied together: one checksum and one buffer to write cost less than many. */
const COPIED_BODY_BYTES = 128 * 1024;

/** A place in a numbered series of files. */
export interface Position {
  readonly file: number;
  readonly offset: number;
}

export function isBefore(a: Position, b: Position): boolean {
  return a.file < b.file || (a.file === b.file && a.offset < b.offset);
}

export interface EncodedRecord {
  /** To be written as they are, in this order. */
  readonly chunks: readonly Uint8Array[];
  readonly sizeBytes: number;
  /** Where each payload starts, relative to the record. */
  readonly payloadOffsets: readonly number[];
}

/** One payload is one or several chunks, stored as if they were one. */
export type Payload = readonly Uint8Array[];

/** Throws `RECORD_TOO_LARGE` above MAX_RECORD_BYTES. */
export function encodeRecord(
  fileNumber: number,
  durableThrough: Position,
  payloads: readonly Payload[],
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
  const body = bodyBytes <= COPIED_BODY_BYTES ? [copyBody(payloads, bodyBytes)] : chainBody(payloads);
  const header = encodeHeader(TYPE_GROUP, fileNumber, durableThrough, crc32Chunks(body), bodyBytes);
  const chunks = [header, ...body];
  if (paddingBytes > 0) chunks.push(Buffer.alloc(paddingBytes));
  return { chunks, sizeBytes, payloadOffsets };
}

/** The last record of a file whose successor durably exists. */
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

function copyBody(payloads: readonly Payload[], bodyBytes: number): Buffer {
  const body = Buffer.allocUnsafe(bodyBytes);
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

export interface DecodedRecord {
  readonly durableThrough: Position;
  /** Views of the bytes given, with their offset in them. */
  readonly payloads: readonly { readonly bytes: Buffer; readonly offset: number }[];
  readonly endOffset: number;
  /** Nothing follows in this file, and its successor exists. */
  readonly endsFile: boolean;
}

/** The record at `offset`, or undefined if there is no whole, intact record of this file. */
export function decodeRecord(bytes: Buffer, offset: number, fileNumber: number): DecodedRecord | undefined {
  const bodyStart = offset + RECORD_HEADER_BYTES;
  if (bodyStart > bytes.length) return undefined;
  const type = bytes.readUInt32LE(offset + 12);
  if (type !== TYPE_GROUP && type !== TYPE_END) return undefined;
  if (readUint53(bytes, offset + 16) !== fileNumber) return undefined;
  if (crc32(bytes.subarray(offset + 4, bodyStart)) !== bytes.readUInt32LE(offset)) return undefined;
  const bodyEnd = bodyStart + bytes.readUInt32LE(offset + 8);
  if (bodyEnd > bytes.length) return undefined;
  if (crc32(bytes.subarray(bodyStart, bodyEnd)) !== bytes.readUInt32LE(offset + 4)) return undefined;
  const durableThrough = { file: readUint53(bytes, offset + 24), offset: readUint53(bytes, offset + 32) };
  const payloads: { bytes: Buffer; offset: number }[] = [];
  for (let at = bodyStart; at < bodyEnd; ) {
    if (at + 4 > bodyEnd) return undefined;
    const start = at + 4;
    const end = start + bytes.readUInt32LE(at);
    if (end > bodyEnd) return undefined;
    payloads.push({ bytes: bytes.subarray(start, end), offset: start });
    at = end;
  }
  // The padding may be cut off by a crash without harm: it carries nothing.
  return { durableThrough, payloads, endOffset: alignUp(bodyEnd), endsFile: type === TYPE_END };
}

export function alignUp(offset: number): number {
  return Math.ceil(offset / RECORD_ALIGNMENT_BYTES) * RECORD_ALIGNMENT_BYTES;
}

export interface RecordFile {
  readonly number: number;
  readonly path: string;
  /** Behind its records there may be zeros, and what the file held under another number. */
  readonly mayHoldStaleBytes?: boolean;
  read(): Buffer;
}

export interface Recovery {
  readonly records: number;
  /** Where intact records end: the place to go on writing. */
  readonly end: Position;
  /** Where the last intact record ends: `end`, unless the last file holds none. */
  readonly lastRecordEnd: Position;
  /** What the last intact record says was synced; what lies between it and `end` need not be. */
  readonly durableThrough: Position;
  /** What lay behind `end` and is not to be used. */
  readonly discarded: { readonly bytes: number; readonly path: string; readonly at: Position } | undefined;
}

/** What is known of a series of files from elsewhere. */
export interface KnownSeries {
  /** Files from `oldest` to `newest` exist, and all but the newest are synced to their end; 0 and 0 if none is known. */
  readonly oldest: number;
  readonly newest: number;
  path(number: number): string;
}

/**
 * Reads the records of consecutive files in order, handing each payload to `visit`.
 *
 * At a bad record it looks on, in this file and the later ones, for an intact record whose `durable through` lies
 * past the bad one. If there is one, synced bytes were lost: throws `CORRUPTION` with file and offset. Otherwise the
 * bad record and what follows were never acknowledged as durable: recovery ends there and says so.
 *
 * A file that no end record closes is the last one, though its successor was begun, unless that holds records. What a recycled or preallocated file holds behind its last record is no damage:
 * there, nothing is reported as discarded unless it is recognized as a record of this file.
 *
 * Throws `CORRUPTION` too if file numbers have a gap, a file lost its synced end, or one is missing that an end record
 * or `known` names.
 */
export function recoverRecords(
  files: readonly RecordFile[],
  visit: (payload: Buffer, position: Position) => void,
  known?: KnownSeries,
): Recovery {
  let records = 0;
  let end: Position = { file: files[0]?.number ?? 0, offset: 0 };
  let lastRecordEnd = end;
  let durableThrough = end;
  let expected = known?.newest ?? 0;
  let nextBytes: Buffer | undefined;
  for (let i = 0; i < files.length; i++) {
    const file = files[i] as RecordFile;
    const previous = files[i - 1];
    if (previous && file.number !== previous.number + 1) {
      throw corruption(file.path, 0, `the file before it, number ${file.number - 1}, is missing`);
    }
    const bytes = nextBytes ?? file.read();
    nextBytes = undefined;
    const previousEnd = end;
    let offset = 0;
    let damaged = false;
    let isClosed = false;
    while (offset < bytes.length && !isClosed) {
      const record = decodeRecord(bytes, offset, file.number);
      if (!record) {
        damaged = true;
        break;
      }
      if (offset === 0 && previous && isBefore(previousEnd, synced(record.durableThrough, previous.number))) {
        throw corruption(previous.path, previousEnd.offset, 'the synced end of the file is missing');
      }
      for (const payload of record.payloads)
        visit(payload.bytes, { file: file.number, offset: payload.offset });
      if (!record.endsFile) records++;
      isClosed = record.endsFile;
      offset = record.endOffset;
      lastRecordEnd = { file: file.number, offset };
      durableThrough = record.durableThrough;
    }
    end = { file: file.number, offset };
    if (isClosed) {
      expected = Math.max(expected, file.number + 1);
      continue;
    }
    const rest = files.slice(i + 1);
    if (!damaged && rest.length === 0) continue;
    if (!damaged && offset > 0) {
      const next = rest[0] as RecordFile;
      nextBytes = next.read();
      if (rest.length > 1 || holdsOwnRemains(nextBytes, { file: next.number, offset: 0 })) continue;
    }
    const witness = findWitness(bytes, end, file, rest);
    if (witness) {
      throw corruption(
        file.path,
        offset,
        `the record there is damaged, and the one at ${witness.path} offset ${witness.offset} says that it was synced`,
      );
    }
    if (file.number < expected) {
      throw corruption(
        file.path,
        offset,
        `the synced end of the file is missing: file ${expected} follows it`,
      );
    }
    const discardedBytes =
      remains(file, bytes, offset) + sum(rest.map((other) => remains(other, other.read(), 0)));
    return {
      records,
      end,
      lastRecordEnd,
      durableThrough,
      discarded: discardedBytes > 0 ? { bytes: discardedBytes, path: file.path, at: end } : undefined,
    };
  }
  const last = files.at(-1);
  if (expected > (last?.number ?? 0)) {
    const number = last ? last.number + 1 : (known?.oldest ?? 1);
    const path = known?.path(number) ?? `the file after ${last?.path}`;
    throw corruption(path, 0, 'the file is missing, and what is written elsewhere says that it was there');
  }
  return { records, end, lastRecordEnd, durableThrough, discarded: undefined };
}

/** Bytes from `offset` on that were written as part of this file. */
function remains(file: RecordFile, bytes: Buffer, offset: number): number {
  const isDamage = !file.mayHoldStaleBytes || holdsOwnRemains(bytes, { file: file.number, offset });
  return isDamage ? Math.max(0, bytes.length - offset) : 0;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** The part of a durable-through position that speaks of the given file: all earlier files are synced to their end. */
function synced(durableThrough: Position, fileNumber: number): Position {
  return durableThrough.file === fileNumber ? durableThrough : { file: fileNumber, offset: 0 };
}

/**
 * Whether what stands at `end` of a file, or behind it, was written as a record of this file: a header that is one
 * but for damage to its type, file number, length or checksum, or a later record that is intact.
 */
function holdsOwnRemains(bytes: Buffer, end: Position): boolean {
  if (looksLikeHeader(bytes, end.offset, end.file)) return true;
  for (
    let offset = end.offset + RECORD_ALIGNMENT_BYTES;
    offset < bytes.length;
    offset += RECORD_ALIGNMENT_BYTES
  ) {
    if (decodeRecord(bytes, offset, end.file)) return true;
  }
  return false;
}

function looksLikeHeader(bytes: Buffer, offset: number, fileNumber: number): boolean {
  const header = Buffer.from(bytes.subarray(offset, offset + RECORD_HEADER_BYTES));
  // The file ends within it: a torn append, unless nothing was written.
  if (header.length < RECORD_HEADER_BYTES) return header.some((byte) => byte !== 0);
  const types = [TYPE_GROUP, TYPE_END];
  if (types.includes(header.readUInt32LE(12)) && readUint53(header, 16) === fileNumber) return true;
  writeUint53(header, fileNumber, 16);
  return types.some((type) => {
    header.writeUInt32LE(type, 12);
    return crc32(header.subarray(4)) === header.readUInt32LE(0);
  });
}

function findWitness(
  bytes: Buffer,
  bad: Position,
  file: RecordFile,
  rest: readonly RecordFile[],
): { path: string; offset: number } | undefined {
  for (const next of [file, ...rest]) {
    const content = next === file ? bytes : next.read();
    const from = next === file ? bad.offset + RECORD_ALIGNMENT_BYTES : 0;
    for (let offset = from; offset < content.length; offset += RECORD_ALIGNMENT_BYTES) {
      const record = decodeRecord(content, offset, next.number);
      if (record && isBefore(bad, record.durableThrough)) return { path: next.path, offset };
    }
  }
  return undefined;
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
