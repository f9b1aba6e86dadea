/**
 * Recovery of a series of record files. Reads all records up to the first one that is not intact, and decides whether
 * that one is the torn end of a crash or corruption.
 */
import { corruption, decodeRecord, isBefore, type Position, RECORD_ALIGNMENT_BYTES } from './record.js';
import { type Remains, remainsAt } from './torn-write.js';

export interface RecordFile {
  readonly number: number;
  readonly path: string;
  /** What may follow the file's records: zeros, or also old records of a recycled file. Default: nothing. */
  readonly behind?: 'zeros' | 'old bytes';
  read(): Buffer;
}

export interface Recovery {
  readonly records: number;
  /** Where the intact records end: appends continue here. */
  readonly end: Position;
  /** Where the last intact record ends. This is `end`, unless the last file holds no record. */
  readonly lastRecordEnd: Position;
  /** The last intact record's `durable through`. Bytes between it and `end` are not proven durable. */
  readonly durableThrough: Position;
  readonly discarded: Discarded | undefined;
}

/** Bytes behind the `end` of a recovery that are not used. */
export interface Discarded {
  readonly bytes: number;
  readonly path: string;
  readonly at: Position;
  /** Whether it may also be a synced record that was damaged later. The bytes do not tell that from a torn write. */
  readonly mayBeDamage: boolean;
}

/** For people; completes the sentence `the end of the log is …`. */
export function describeDiscarded({ mayBeDamage }: Discarded): string {
  return mayBeDamage
    ? 'torn by a crash, or was damaged after it had been acknowledged, which cannot be told apart'
    : 'torn by a crash';
}

/** What the log's owner knows about the files from elsewhere. */
export interface KnownSeries {
  /**
   * The files from `oldest` to `newest` exist, and all but the newest are synced to their end. 0 and 0: nothing known.
   */
  readonly oldest: number;
  readonly newest: number;
  /** The records were synced up to here: they end here or later. */
  readonly syncedThrough?: Position;
  path(number: number): string;
}

/**
 * Reads the records of consecutive files in order and passes each payload to `visit`.
 *
 * At a bad record it searches the rest of this file and the later files for an intact record whose `durable through`
 * lies behind the bad record. Such a record proves that synced bytes were lost: throws `CORRUPTION` with file and
 * offset. It also throws if a crash cannot leave such bytes (`torn-write.ts`). Otherwise recovery ends at the bad
 * record and reports what it discarded.
 *
 * A file without an end record is the last one. The next file may already exist, but then holds no record.
 *
 * Also throws `CORRUPTION` if file numbers have a gap, if the synced end of a file is missing, or if records or a file
 * are missing that an end record or `known` names.
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
        `the record there is damaged, and the one at ${witness.path} offset ${witness.offset} proves that it was synced`,
      );
    }
    if (file.number < expected) {
      throw corruption(
        file.path,
        offset,
        `the synced end of the file is missing: file ${expected} follows it`,
      );
    }
    checkSynced(end, file.path, known);
    const remains = isBad
      ? remainsAt(bytes, offset, file.number, mayHoldOldBytes, durableThrough)
      : 'nothing';
    if (remains === 'damaged') {
      throw corruption(
        file.path,
        offset,
        'the record there is damaged, and a crash does not leave such bytes',
      );
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
    throw corruption(path, 0, 'the file is missing, but an end record or the owner of the log refers to it');
  }
  if (last) checkSynced(end, last.path, known);
  return { records, end, lastRecordEnd, durableThrough, discarded: undefined };
}

const NOTHING_SYNCED: Position = { file: 0, offset: 0 };

/** Throws `CORRUPTION` if the intact records end before what is known to be synced. */
function checkSynced(end: Position, path: string, known: KnownSeries | undefined): void {
  const syncedThrough = known?.syncedThrough;
  if (!syncedThrough || !isBefore(end, syncedThrough)) return;
  throw corruption(
    path,
    end.offset,
    `records that were synced are missing or damaged: they went on to offset ${syncedThrough.offset} of file ${syncedThrough.file}`,
  );
}

/** What is at the start of the file. An intact record also counts: the result is then not `nothing`. */
function remainsOf(file: RecordFile, bytes: Buffer): Remains {
  return remainsAt(bytes, 0, file.number, file.behind === 'old bytes', NOTHING_SYNCED);
}

/** How many of the bytes behind a file's records are reported as discarded. */
function writtenBytes(file: RecordFile, remains: Remains, bytes: number): number {
  return file.behind === undefined || remains !== 'nothing' ? Math.max(0, bytes) : 0;
}

/** Up to where `durableThrough` proves this file synced; offset 0 if that position lies in another file. */
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
