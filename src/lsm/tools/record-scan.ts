/**
 * Finds every record of a damaged file, also after the damage. Recovery must not do this, because records after a bad
 * one may be stale. Tools for people do it, and say so.
 */
import { type DecodedRecord, decodeRecord, RECORD_ALIGNMENT_BYTES } from '../../record/record.js';

export interface ScannedRecord {
  readonly offset: number;
  /** The offset of the next record. */
  readonly endOffset: number;
  /** Undefined for a range of bytes in which no intact record begins. */
  readonly record: DecodedRecord | undefined;
}

/** The records of the file `number`, in order, and the ranges of bytes between them that are no records. */
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
    // After the end of a reused file, there may be records of the file's earlier use.
    if (record.endsFile) return;
    offset = record.endOffset;
  }
  if (badFrom >= 0) yield { offset: badFrom, endOffset: bytes.length, record: undefined };
}
