/**
 * Recovery of a series of record files: every record up to the first that is not intact; and whether that one is the
 * tail of a crash, or damage.
 */
import { corruption, decodeRecord, isBefore, type Position, RECORD_ALIGNMENT_BYTES } from './record.js';
import { type Remains, remainsAt } from './torn-write.js';

export interface RecordFile {
  readonly number: number;
  readonly path: string;
  /** What may stand behind its records: zeros, or what the file held under another number as well; nothing. */
  readonly behind?: 'zeros' | 'old bytes';
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
  readonly discarded: Discarded | undefined;
}

/** What lay behind the `end` of a recovery and is not to be used. */
export interface Discarded {
  readonly bytes: number;
  readonly path: string;
  readonly at: Position;
  /**
   * It may be a synced record that was damaged, not only what a crash leaves of an unsynced one: that cannot be told.
   */
  readonly mayBeDamage: boolean;
}

/** For people: `the end of the log is …`. */
export function describeDiscarded({ mayBeDamage }: Discarded): string {
  return mayBeDamage
    ? 'torn by a crash, or was damaged after it had been acknowledged, which cannot be told apart'
    : 'torn by a crash';
}

/** What is known of a series of files from elsewhere. */
export interface KnownSeries {
  /**
   * Files from `oldest` to `newest` exist, and all but the newest are synced to their end; 0 and 0 if none is known.
   */
  readonly oldest: number;
  readonly newest: number;
  path(number: number): string;
}

/**
 * Reads the records of consecutive files in order, handing each payload to `visit`.
 *
 * At a bad record it looks on, in this file and the later ones, for an intact record whose `durable through` lies
 * past the bad one. If there is one, synced bytes were lost: throws `CORRUPTION` with file and offset. So it does if
 * the bad record is not such as a crash leaves one (`torn-write.ts`). Otherwise recovery ends there and says so.
 *
 * A file that no end record closes is the last one, though its successor was begun, unless that holds records.
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
    let mayHoldOldBytes = file.behind === 'old bytes';
    let isBad = false;
    let isClosed = false;
    while (offset < bytes.length && !isClosed) {
      const record = decodeRecord(bytes, offset, file.number);
      if (!record) {
        isBad = true;
        break;
      }
      if (offset === 0 && previous && isBefore(previousEnd, synced(record.durableThrough, previous.number))) {
        throw corruption(previous.path, previousEnd.offset, 'the synced end of the file is missing');
      }
      for (const payload of record.payloads)
        visit(payload.bytes, { file: file.number, offset: payload.offset });
      if (!record.endsFile) records++;
      isClosed = record.endsFile;
      mayHoldOldBytes = record.isOverOldBytes;
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
    if (!isBad && rest.length === 0) continue;
    if (!isBad && offset > 0) {
      const next = rest[0] as RecordFile;
      nextBytes = next.read();
      if (rest.length > 1 || remainsOf(next, nextBytes) !== 'nothing') continue;
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
    const remains = isBad ? remainsAt(bytes, offset, file.number, mayHoldOldBytes) : 'nothing';
    if (remains === 'damaged') {
      throw corruption(file.path, offset, 'the record there is damaged, and not as a crash damages one');
    }
    let discardedBytes = writtenBytes(file, remains, bytes.length - offset);
    for (const other of rest) {
      const content = other.read();
      discardedBytes += writtenBytes(other, remainsOf(other, content), content.length);
    }
    const mayBeDamage = remains === 'unclear';
    return {
      records,
      end,
      lastRecordEnd,
      durableThrough,
      discarded:
        discardedBytes > 0 ? { bytes: discardedBytes, path: file.path, at: end, mayBeDamage } : undefined,
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

/** What stands at the beginning of a file: an intact record is not `nothing`. */
function remainsOf(file: RecordFile, bytes: Buffer): Remains {
  return remainsAt(bytes, 0, file.number, file.behind === 'old bytes');
}

/** How many of the bytes behind the records of a file are to be reported. */
function writtenBytes(file: RecordFile, remains: Remains, bytes: number): number {
  return file.behind === undefined || remains !== 'nothing' ? Math.max(0, bytes) : 0;
}

/** The part of a durable-through position that speaks of the given file: all earlier files are synced to their end. */
function synced(durableThrough: Position, fileNumber: number): Position {
  return durableThrough.file === fileNumber ? durableThrough : { file: fileNumber, offset: 0 };
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
