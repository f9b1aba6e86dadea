/**
 * Looks at every record of a damaged file, also behind the damage. Recovery must not do this, because what follows a
 * bad record may be stale; tools for people do, and say so.
 */
import { type DecodedRecord, decodeRecord, RECORD_ALIGNMENT_BYTES } from '../../record/record.js';

export interface ScannedRecord {
  readonly offset: number;
  /** Where the next one begins. */
  readonly endOffset: number;
  /** Undefined for a stretch of bytes in which no intact record begins. */
  readonly record: DecodedRecord | undefined;
}

/** The records of the file `number`, in order, and the stretches between them that are none. */
export function* scanRecords(bytes: Buffer, number: number): Generator<ScannedRecord> {
  let offset = 0;
  let badFrom = -1;
  while (offset < bytes.length) {
    const record = decodeRecord(bytes, offset, number);
    if (!record) {
      if (badFrom < 0) badFrom = offset;
      offset += RECORD_ALIGNMENT_BYTES;
      continue;
    }
    if (badFrom >= 0) yield { offset: badFrom, endOffset: offset, record: undefined };
    badFrom = -1;
    yield { offset, endOffset: record.endOffset, record };
    // What a file that is used again held before stands behind its end.
    if (record.endsFile) return;
    offset = record.endOffset;
  }
  if (badFrom >= 0) yield { offset: badFrom, endOffset: bytes.length, record: undefined };
}
