/**
 * The payloads that the Raft log writes into its records. Integers are little-endian; a `u53` is a u64 below 2^53.
 *
 *     batch:   1 u8 | group u32 | term u53 | vote u32 | commit u53 | first index u53 | entries u32 | entry ...
 *              Entries, with the hard state known when they were written.
 *     entry:   term u53 | kind u8 (1 noop, 2 command, 3 configuration) | body bytes u32 | body
 *
 *     base:    4 u8 | group u32 | index u53 | term u53 | restarts u8 | directory bytes u32 | incarnation 16 bytes
 *              | directory | configuration
 *              The group's log starts after this entry, and this was its configuration there (raft's
 *              configuration-codec.ts). `restarts`: a snapshot replaced the log; earlier records are void. `directory`
 *              is the state machine's; no other directory counts. `incarnation` identifies the group among all groups
 *              of the same name. (Version 0.1 wrote 2 instead of 4, and no incarnation.)
 *
 *     retired: 5 u8 | group u32
 *              The groups that follow from this one exist: it takes no part in anything new, and its log is kept only
 *              for members that lack it.
 *
 *     gone:    6 u8 | group u32
 *              Earlier records of the group are void: it is not here any more.
 *
 *     groups:  3 u8 | payload bytes u32 | payload (a base, a batch, a retirement) ...
 *              Several payloads in one. Every file starts with base and hard state of every group, so that earlier
 *              files can be deleted. A snapshot's base and its batch are written together: both count or neither. So
 *              are the retirement of a group, and bases and hard states of the groups that follow from it.
 */
import { RaftreeError } from '../env/errors.js';
import type { ConfigurationChange } from '../raft/configuration.js';
import { decodeChange, decodeConfiguration, encodeConfiguration } from '../raft/configuration-codec.js';
import {
  type AppendBatch,
  ENTRY_KIND_NUMBERS,
  type Entry,
  entryKindOf,
  type HardState,
  type SnapshotBase,
} from '../raft/types.js';
import { crc32 } from '../record/checksum.js';
import { type Payload, readUint53, sizeOf, writeUint53 } from '../record/record.js';

const BATCH = 1;
const BASE_WITHOUT_INCARNATION = 2;
const GROUPS = 3;
const BASE = 4;
const RETIRED = 5;
const GONE = 6;
const BATCH_HEADER_BYTES = 37;
const BASE_HEADER_BYTES = 26;
const INCARNATION_BYTES = 16;
export const ENTRY_HEADER_BYTES = 13;
/** A body up to this size is copied beside its header: that costs less than a chunk of its own. */
const COPIED_BODY_BYTES = 1024;

/** The incarnation of a group that was created before groups had one. Incarnations have 32 hexadecimal digits. */
export const NO_INCARNATION = '0'.repeat(2 * INCARNATION_BYTES);

export interface LogBase extends SnapshotBase {
  /** A random number, drawn once when the group is created. */
  readonly incarnation: string;
  /** Name of the directory of the group's state machine. */
  readonly directory: string;
}

export type LogRecord =
  | {
      readonly type: 'batch';
      readonly group: number;
      readonly hardState: HardState;
      readonly first: number;
      /**
       * For each entry: where its header starts in the payload; its size with the header; its term; its CRC, which
       * includes the header.
       */
      readonly entries: readonly {
        readonly offset: number;
        readonly sizeBytes: number;
        readonly term: number;
        readonly checksum: number;
        /** Only for a configuration entry. */
        readonly change: ConfigurationChange | undefined;
      }[];
    }
  | { readonly type: 'base'; readonly group: number; readonly base: LogBase; readonly restarts: boolean }
  | { readonly type: 'retired' | 'gone'; readonly group: number }
  | { readonly type: 'groups'; readonly records: readonly LogRecord[] };

/** Returns the payload, where each entry starts in it, and the CRC of each entry with its header. */
export function encodeBatch(
  group: number,
  batch: Pick<AppendBatch, 'hardState' | 'first' | 'entries'>,
): { payload: Payload; entryOffsets: Float64Array; checksums: Uint32Array } {
  const { hardState, first, entries } = batch;
  let blockBytes = BATCH_HEADER_BYTES + entries.length * ENTRY_HEADER_BYTES;
  for (const { body } of entries) if (body.length <= COPIED_BODY_BYTES) blockBytes += body.length;
  const block = Buffer.allocUnsafe(blockBytes);
  block.writeUInt8(BATCH, 0);
  block.writeUInt32LE(group, 1);
  writeUint53(block, hardState.term, 5);
  block.writeUInt32LE(hardState.vote, 13);
  writeUint53(block, hardState.commit, 17);
  writeUint53(block, entries.length > 0 ? first : 0, 25);
  block.writeUInt32LE(entries.length, 33);
  const payload: Uint8Array[] = [];
  const entryOffsets = new Float64Array(entries.length);
  const checksums = new Uint32Array(entries.length);
  let offset = BATCH_HEADER_BYTES;
  let at = BATCH_HEADER_BYTES;
  let chunkStart = 0;
  for (let i = 0; i < entries.length; i++) {
    const { term, kind, body } = entries[i] as Entry;
    const start = at;
    writeUint53(block, term, at);
    block[at + 8] = ENTRY_KIND_NUMBERS[kind];
    at = block.writeUInt32LE(body.length, at + 9);
    if (body.length <= COPIED_BODY_BYTES) {
      block.set(body, at);
      at += body.length;
      checksums[i] = crc32(block.subarray(start, at));
    } else {
      payload.push(block.subarray(chunkStart, at), body);
      chunkStart = at;
      checksums[i] = crc32(body, crc32(block.subarray(start, at)));
    }
    entryOffsets[i] = offset;
    offset += ENTRY_HEADER_BYTES + body.length;
  }
  if (at > chunkStart) payload.push(block.subarray(chunkStart, at));
  return { payload, entryOffsets, checksums };
}

export function encodeBase(group: number, base: LogBase, restarts: boolean): Payload {
  const directory = Buffer.from(base.directory, 'utf8');
  const head = Buffer.allocUnsafe(BASE_HEADER_BYTES);
  head.writeUInt8(BASE, 0);
  head.writeUInt32LE(group, 1);
  writeUint53(head, base.index, 5);
  writeUint53(head, base.term, 13);
  head.writeUInt8(restarts ? 1 : 0, 21);
  head.writeUInt32LE(directory.length, 22);
  const incarnation = Buffer.from(base.incarnation, 'hex');
  return [head, incarnation, directory, encodeConfiguration(base.configuration)];
}

export function encodeRetired(group: number): Payload {
  return [groupMark(RETIRED, group)];
}

export function encodeGone(group: number): Payload {
  return [groupMark(GONE, group)];
}

function groupMark(type: number, group: number): Buffer {
  const bytes = Buffer.allocUnsafe(5);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32LE(group, 1);
  return bytes;
}

/** Returns the payload, and where each of the given payloads starts in it. */
export function encodeGroups(payloads: readonly Payload[]): { payload: Payload; offsets: readonly number[] } {
  const chunks: Uint8Array[] = [Uint8Array.of(GROUPS)];
  const offsets: number[] = [];
  let at = 1;
  for (const payload of payloads) {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(sizeOf(payload), 0);
    chunks.push(length);
    for (const chunk of payload) chunks.push(chunk);
    offsets.push(at + 4);
    at += 4 + sizeOf(payload);
  }
  return { payload: chunks, offsets };
}

/** Throws `CORRUPTION` for intact bytes of an unknown form. */
export function decodePayload(payload: Buffer): LogRecord {
  try {
    switch (payload.readUInt8(0)) {
      case BATCH:
        return decodeBatch(payload);
      case BASE:
        return decodeBase(payload, INCARNATION_BYTES);
      case BASE_WITHOUT_INCARNATION:
        return decodeBase(payload, 0);
      case RETIRED:
      case GONE:
        if (payload.length !== 5) throw malformed();
        return { type: payload[0] === GONE ? 'gone' : 'retired', group: payload.readUInt32LE(1) };
      case GROUPS:
        return decodeGroups(payload);
    }
  } catch (error) {
    if (error instanceof RaftreeError) throw error;
    throw malformed();
  }
  throw malformed();
}

function malformed(): RaftreeError {
  return new RaftreeError(
    'CORRUPTION',
    'the Raft log holds an intact record that cannot be read: it was written by another version',
  );
}

function decodeBatch(payload: Buffer): LogRecord {
  const hardState: HardState = {
    term: checked(readUint53(payload, 5)),
    vote: payload.readUInt32LE(13),
    commit: checked(readUint53(payload, 17)),
  };
  const count = payload.readUInt32LE(33);
  const entries: Extract<LogRecord, { type: 'batch' }>['entries'][number][] = [];
  let at = BATCH_HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    const end = at + ENTRY_HEADER_BYTES + payload.readUInt32LE(at + 9);
    const isChange = payload.readUInt8(at + 8) === ENTRY_KIND_NUMBERS.configuration;
    entries.push({
      offset: at,
      sizeBytes: end - at,
      term: checked(readUint53(payload, at)),
      checksum: crc32(payload.subarray(at, end)),
      change: isChange ? decodeChange(payload.subarray(at + ENTRY_HEADER_BYTES, end)) : undefined,
    });
    at = end;
  }
  if (at !== payload.length) throw malformed();
  return {
    type: 'batch',
    group: payload.readUInt32LE(1),
    hardState,
    first: checked(readUint53(payload, 25)),
    entries,
  };
}

function decodeBase(payload: Buffer, incarnationBytes: number): LogRecord {
  const directoryStart = BASE_HEADER_BYTES + incarnationBytes;
  const directoryEnd = directoryStart + payload.readUInt32LE(22);
  if (directoryEnd > payload.length) throw malformed();
  return {
    type: 'base',
    group: payload.readUInt32LE(1),
    restarts: payload.readUInt8(21) === 1,
    base: {
      index: checked(readUint53(payload, 5)),
      term: checked(readUint53(payload, 13)),
      incarnation: payload.toString('hex', BASE_HEADER_BYTES, directoryStart) || NO_INCARNATION,
      directory: payload.toString('utf8', directoryStart, directoryEnd),
      configuration: decodeConfiguration(payload.subarray(directoryEnd)),
    },
  };
}

function decodeGroups(payload: Buffer): LogRecord {
  const records: LogRecord[] = [];
  for (let at = 1; at < payload.length; ) {
    const end = at + 4 + payload.readUInt32LE(at);
    if (end > payload.length || payload[at + 4] === GROUPS) throw malformed();
    records.push(movedBy(decodePayload(payload.subarray(at + 4, end)), at + 4));
    at = end;
  }
  return { type: 'groups', records };
}

/** Makes the offsets of a nested record relative to the whole payload. */
function movedBy(record: LogRecord, bytes: number): LogRecord {
  if (record.type !== 'batch') return record;
  return { ...record, entries: record.entries.map((entry) => ({ ...entry, offset: entry.offset + bytes })) };
}

/** Decodes an entry with its header. Undefined if the checksum differs. The body is a view of `bytes`. */
export function decodeEntry(bytes: Buffer, checksum: number): Entry | undefined {
  if (crc32(bytes) !== checksum) return undefined;
  const kind = entryKindOf(bytes.readUInt8(8));
  if (!kind) throw malformed();
  return { term: checked(readUint53(bytes, 0)), kind, body: bytes.subarray(ENTRY_HEADER_BYTES) };
}

function checked(value: number): number {
  if (Number.isNaN(value)) throw malformed();
  return value;
}
