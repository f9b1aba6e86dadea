/**
 * A change of the tree, one payload of the MANIFEST: fields, each a tag and its content, in any order.
 *
 *     1  oldest WAL file needed u64
 *     2  flushed sequence u64: everything up to it is in tables
 *     3  next file number u64
 *     4  table added:    level u8 | number u64 | bytes u64 | smallest sequence u64 | largest sequence u64 |
 *                        entries u64 | tombstones u64 | smallest key bytes u32 | key | largest key bytes u32 | key
 *     5  table removed:  level u8 | number u64
 *     6  table added, its blocks stored by a codec other than none:  codec u8 | as 4
 *     7  newest WAL file known u64: those from the oldest needed up to it exist
 *     8  end of the WAL, synced when the tree was closed:  file u64 | offset u64
 *     9  tables with a lower number u64 came from another tree, and may hold keys that are not this tree's own
 *
 * A tag is one byte; integers are little-endian. The first payload of a MANIFEST is an edit of the empty version.
 */
import { corruption, type Position, readUint53, writeUint53 } from '../../record/record.js';
import { codecNumber, codecOfNumber } from '../base/block-codec.js';
import type { TableMetadata } from '../table/table-file.js';
import { LEVELS } from './version.js';

export interface AddedTable extends TableMetadata {
  readonly level: number;
}

export interface RemovedTable {
  readonly level: number;
  readonly number: number;
}

export interface VersionEdit {
  readonly oldestWal?: number;
  readonly newestWal?: number;
  readonly walEnd?: Position;
  readonly inheritedBelow?: number;
  readonly flushedSequence?: number;
  readonly nextFileNumber?: number;
  readonly added: readonly AddedTable[];
  readonly removed: readonly RemovedTable[];
}

/** The contents of the MANIFEST other than the list of tables. */
export interface TreeState {
  /** The oldest WAL file that recovery would need. */
  readonly oldestWal: number;
  /** Every WAL file from the oldest needed up to this one durably exists. */
  readonly newestWal: number;
  /**
   * Where the WAL ended, synced, when the tree was last closed. Records are only added behind that place, so the WAL
   * ends there or later while the file is needed. Undefined if it is not known.
   */
  readonly walEnd: Position | undefined;
  /** Everything up to this sequence is in durable tables. */
  readonly flushedSequence: number;
  /** Tables with a lower number came from another tree: they may hold keys outside of this tree's bounds. */
  readonly inheritedBelow: number;
}

export const FIRST_STATE: TreeState = {
  ...{ oldestWal: 1, newestWal: 0, walEnd: undefined, flushedSequence: 0 },
  inheritedBelow: 0,
};

export function stateAfter(state: TreeState, edit: VersionEdit): TreeState {
  const oldestWal = edit.oldestWal ?? state.oldestWal;
  const walEnd = edit.walEnd ?? state.walEnd;
  return {
    oldestWal,
    newestWal: edit.newestWal ?? state.newestWal,
    walEnd: walEnd && walEnd.file >= oldestWal ? walEnd : undefined,
    flushedSequence: edit.flushedSequence ?? state.flushedSequence,
    inheritedBelow: edit.inheritedBelow ?? state.inheritedBelow,
  };
}

/** The state as fields of an edit of the empty version. */
export function editOf({
  walEnd,
  inheritedBelow,
  ...state
}: TreeState): Omit<VersionEdit, 'added' | 'removed'> {
  return { ...state, ...(walEnd && { walEnd }), ...inheritanceOf(inheritedBelow) };
}

/** Of a tree with tables of its own only, nothing: versions before this one do not know the field. */
export function inheritanceOf(inheritedBelow: number): Pick<VersionEdit, 'inheritedBelow'> {
  return inheritedBelow > 0 ? { inheritedBelow } : {};
}

const OLDEST_WAL = 1;
const FLUSHED_SEQUENCE = 2;
const NEXT_FILE_NUMBER = 3;
const ADDED = 4;
const REMOVED = 5;
const ADDED_WITH_CODEC = 6;
const NEWEST_WAL = 7;
const WAL_END = 8;
const INHERITED_BELOW = 9;
const ADDED_FIXED_BYTES = 1 + 6 * 8 + 4 + 4;

export function encodeEdit(edit: VersionEdit): Buffer {
  const parts: Buffer[] = [];
  const addNumber = (tag: number, value: number | undefined) => {
    if (value === undefined) return;
    const bytes = Buffer.alloc(9);
    bytes[0] = tag;
    writeUint53(bytes, value, 1);
    parts.push(bytes);
  };
  addNumber(OLDEST_WAL, edit.oldestWal);
  addNumber(NEWEST_WAL, edit.newestWal);
  if (edit.walEnd) {
    const bytes = Buffer.alloc(17);
    bytes[0] = WAL_END;
    writeUint53(bytes, edit.walEnd.file, 1);
    writeUint53(bytes, edit.walEnd.offset, 9);
    parts.push(bytes);
  }
  addNumber(FLUSHED_SEQUENCE, edit.flushedSequence);
  addNumber(NEXT_FILE_NUMBER, edit.nextFileNumber);
  addNumber(INHERITED_BELOW, edit.inheritedBelow);
  for (const table of edit.added) {
    if (table.codec === 'none') parts.push(Buffer.of(ADDED), encodeAdded(table));
    else parts.push(Buffer.of(ADDED_WITH_CODEC, codecNumber(table.codec)), encodeAdded(table));
  }
  for (const table of edit.removed) {
    const bytes = Buffer.alloc(10);
    bytes[0] = REMOVED;
    bytes[1] = table.level;
    writeUint53(bytes, table.number, 2);
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}

function encodeAdded(table: AddedTable): Buffer {
  const bytes = Buffer.alloc(ADDED_FIXED_BYTES + table.smallest.length + table.largest.length);
  bytes[0] = table.level;
  writeUint53(bytes, table.number, 1);
  writeUint53(bytes, table.sizeBytes, 9);
  writeUint53(bytes, table.smallestSequence, 17);
  writeUint53(bytes, table.largestSequence, 25);
  writeUint53(bytes, table.entries, 33);
  writeUint53(bytes, table.tombstones, 41);
  let at = bytes.writeUInt32LE(table.smallest.length, 49);
  at += table.smallest.copy(bytes, at);
  at = bytes.writeUInt32LE(table.largest.length, at);
  table.largest.copy(bytes, at);
  return bytes;
}

/** Throws `CORRUPTION` if the payload, although intact, is not an edit. */
export function decodeEdit(bytes: Buffer, path: string, offset: number): VersionEdit {
  const malformed = () => corruption(path, offset, 'the record there is intact but is not a version edit');
  let at = 0;
  const take = (count: number): Buffer => {
    if (at + count > bytes.length) throw malformed();
    at += count;
    return bytes.subarray(at - count, at);
  };
  const takeNumber = (): number => {
    const value = readUint53(take(8), 0);
    if (Number.isNaN(value)) throw malformed();
    return value;
  };
  const takeLevel = (): number => {
    const level = take(1)[0] as number;
    if (level >= LEVELS) throw malformed();
    return level;
  };
  const takeKey = (): Buffer => Buffer.from(take(take(4).readUInt32LE(0)));
  const edit: { -readonly [Field in keyof VersionEdit]: VersionEdit[Field] } = { added: [], removed: [] };
  const added: AddedTable[] = [];
  const removed: RemovedTable[] = [];
  while (at < bytes.length) {
    const tag = take(1)[0];
    if (tag === OLDEST_WAL) edit.oldestWal = takeNumber();
    else if (tag === NEWEST_WAL) edit.newestWal = takeNumber();
    else if (tag === WAL_END) edit.walEnd = { file: takeNumber(), offset: takeNumber() };
    else if (tag === FLUSHED_SEQUENCE) edit.flushedSequence = takeNumber();
    else if (tag === NEXT_FILE_NUMBER) edit.nextFileNumber = takeNumber();
    else if (tag === INHERITED_BELOW) edit.inheritedBelow = takeNumber();
    else if (tag === ADDED || tag === ADDED_WITH_CODEC) {
      const codec = tag === ADDED ? 'none' : codecOfNumber(take(1)[0] as number);
      if (codec === undefined) throw malformed();
      added.push({
        codec,
        level: takeLevel(),
        number: takeNumber(),
        sizeBytes: takeNumber(),
        smallestSequence: takeNumber(),
        largestSequence: takeNumber(),
        entries: takeNumber(),
        tombstones: takeNumber(),
        smallest: takeKey(),
        largest: takeKey(),
      });
    } else if (tag === REMOVED) removed.push({ level: takeLevel(), number: takeNumber() });
    else throw malformed();
  }
  return { ...edit, added, removed };
}
