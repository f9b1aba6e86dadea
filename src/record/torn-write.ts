/**
 * Tells what a crash left of a record from what was damaged afterwards.
 *
 * A disk writes whole sectors. So after a crash each sector of an unsynced record is as the record's write made it, or
 * as it was before: zeros, or in a recycled file whatever it held. Records are written one behind the other, so a
 * sector that holds a record's header holds all of the record that belongs into it. What has no such form is damage:
 *
 *     sectors         |               |               |               |         o  old: zeros, or other records
 *     a record          header body body body body body body body
 *     torn              header body ooooooooooooooo body body                   a sector is missing
 *     torn              ooooooooooooo body body body body body                  its first one is
 *     damage            header body body boXy body body body body               all are there
 *     unclear           header body 000000000000000 body bXdy                   zeros that may be part of the body
 *
 * Where a recycled file may hold old bytes, every sector behind the first may be old, whatever it holds. A header that
 * lies in two sectors may be whole although the second is old: its last bytes may be the same.
 */
import {
  decodeHeader,
  decodeRecord,
  looksLikeHeader,
  RECORD_ALIGNMENT_BYTES,
  RECORD_HEADER_BYTES,
} from './record.js';

/** The unit that a disk writes whole. Where it is larger, what a crash leaves looks the same. */
export const SECTOR_BYTES = 512;

/**
 * `nothing`: no record was begun there. `torn`: one was, and was never whole. `damaged`: a crash leaves no such bytes.
 * `unclear`: torn or damaged.
 */
export type Remains = 'nothing' | 'torn' | 'unclear' | 'damaged';

/** What stands at `offset` of a file, where a record would be and no intact one is, and behind it. */
export function remainsAt(
  bytes: Buffer,
  offset: number,
  fileNumber: number,
  mayHoldOldBytes: boolean,
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
    if (looksLikeHeader(bytes, offset, fileNumber)) return isSplit ? 'unclear' : 'damaged';
    return holdsRecord(bytes, offset, fileNumber) ? 'torn' : 'nothing';
  }
  if (isZero(bytes, offset, middle)) return isZero(bytes, middle, bytes.length) ? 'nothing' : 'torn';
  return isSplit && isZero(bytes, middle, middle + SECTOR_BYTES) ? 'unclear' : 'damaged';
}

/** The first byte behind the sector of the given one. */
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
