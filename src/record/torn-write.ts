/**
 * Tells a torn write from later damage.
 *
 * A disk writes whole sectors. So after a crash each sector of an unsynced record is either as the write made it or as
 * it was before: zeros, or old records in a recycled file. Records are written one after the other. So a sector that
 * holds a record's header also holds all other bytes of the record that lie in this sector. Bytes of another form are
 * damage:
 *
 *     sectors         |               |               |               |         o  old: zeros, or other records
 *     a record          header body body body body body body body
 *     torn              header body ooooooooooooooo body body                   a sector is missing
 *     torn              ooooooooooooo body body body body body                  its first one is
 *     damage            header body body boXy body body body body               all are there
 *     unclear           header body 000000000000000 body bXdy                   zeros that may be part of the body
 *
 * If a recycled file may hold old bytes, every sector after the first may be old, whatever it contains. A header that
 * spans two sectors may be intact although the second sector is old: the old bytes there may be the same.
 */
import {
  decodeHeader,
  decodeRecord,
  looksLikeHeader,
  type Position,
  RECORD_ALIGNMENT_BYTES,
  RECORD_HEADER_BYTES,
} from './record.js';

/** The unit that a disk writes atomically. Larger sectors leave the same patterns. */
export const SECTOR_BYTES = 512;

/**
 * `nothing`: no record was started here. `torn`: one was started and never complete. `damaged`: no crash leaves such
 * bytes. `unclear`: torn or damaged.
 */
export type Remains = 'nothing' | 'torn' | 'unclear' | 'damaged';

/**
 * Classifies the bytes from `offset` on, where a record should start but none is intact. `durableThrough`: as the
 * record before says.
 */
export function remainsAt(
  bytes: Buffer,
  offset: number,
  fileNumber: number,
  mayHoldOldBytes: boolean,
  durableThrough: Position,
): Remains {
  const header = decodeHeader(bytes, offset, fileNumber);
  if (header) {
    if (header.bodyEnd > bytes.length) return 'torn';
    for (let at = sectorEnd(offset); at < header.bodyEnd; at += SECTOR_BYTES) {
      const end = Math.min(at + SECTOR_BYTES, header.bodyEnd);
      if (header.isOverOldBytes || isZero(bytes, at, end)) return 'unclear';
    }
    return 'damaged';
  }
  const headerEnd = offset + RECORD_HEADER_BYTES;
  if (headerEnd > bytes.length) return isZero(bytes, offset, bytes.length) ? 'nothing' : 'torn';
  const middle = sectorEnd(offset);
  const isSplit = middle < headerEnd;
  if (mayHoldOldBytes) {
    if (looksLikeHeader(bytes, offset, fileNumber, durableThrough)) return isSplit ? 'unclear' : 'damaged';
    return holdsRecord(bytes, offset, fileNumber) ? 'torn' : 'nothing';
  }
  if (isZero(bytes, offset, middle)) return isZero(bytes, middle, bytes.length) ? 'nothing' : 'torn';
  return isSplit && isZero(bytes, middle, middle + SECTOR_BYTES) ? 'unclear' : 'damaged';
}

/** The offset of the next sector. */
function sectorEnd(offset: number): number {
  return (Math.floor(offset / SECTOR_BYTES) + 1) * SECTOR_BYTES;
}

function isZero(bytes: Buffer, from: number, to: number): boolean {
  return bytes.subarray(from, to).every((byte) => byte === 0);
}

function holdsRecord(bytes: Buffer, from: number, fileNumber: number): boolean {
  for (let at = from; at < bytes.length; at += RECORD_ALIGNMENT_BYTES) {
    if (decodeRecord(bytes, at, fileNumber)) return true;
  }
  return false;
}
