/** The keys of a scan: from (inclusive) to (exclusive), ordered by their bytes. */
import type { Tablet } from '../placement/placement.js';
import { type Bytes, toBytes } from './operations.js';

export interface ScanRange {
  readonly from: Buffer;
  /** Undefined: no upper bound. */
  readonly to: Buffer | undefined;
}

/** The intersection of all given bounds. */
export function scanRange(given: {
  readonly from?: Bytes;
  readonly to?: Bytes;
  readonly prefix?: Bytes;
}): ScanRange {
  const prefix = asBuffer(given.prefix ?? '');
  const from = asBuffer(given.from ?? '');
  const to = given.to === undefined ? undefined : asBuffer(given.to);
  const afterPrefix = firstAfterPrefix(prefix);
  return {
    from: Buffer.compare(from, prefix) > 0 ? from : prefix,
    to:
      to === undefined
        ? afterPrefix
        : afterPrefix === undefined || Buffer.compare(to, afterPrefix) < 0
          ? to
          : afterPrefix,
  };
}

export function isEmptyRange(range: ScanRange): boolean {
  return range.to !== undefined && Buffer.compare(range.from, range.to) >= 0;
}

export function isOneKey({ from, to }: ScanRange): boolean {
  return to !== undefined && to.at(-1) === 0 && to.subarray(0, -1).equals(from);
}

/** The rest of the range after a key, in the direction of the scan. */
export function rangeAfter(range: ScanRange, key: Buffer, reverse: boolean): ScanRange {
  if (reverse) return { from: range.from, to: key };
  return { from: Buffer.concat([key, Buffer.from([0])]), to: range.to };
}

/** The part of a range that a tablet has, by range. */
export function within({ from, to }: ScanRange, { start, end }: Pick<Tablet, 'start' | 'end'>): ScanRange {
  const [first, after] = [Buffer.from(start), end && Buffer.from(end)];
  return {
    from: Buffer.compare(from, first) > 0 ? from : first,
    to: !after || (to && Buffer.compare(to, after) < 0) ? to : after,
  };
}

/** The first key after all keys with the prefix; undefined if there is none. */
function firstAfterPrefix(prefix: Buffer): Buffer | undefined {
  for (let last = prefix.length - 1; last >= 0; last--) {
    const byte = prefix[last];
    if (byte === undefined || byte === 0xff) continue;
    const after = Buffer.from(prefix.subarray(0, last + 1));
    after[last] = byte + 1;
    return after;
  }
  return undefined;
}

function asBuffer(value: Bytes): Buffer {
  return Buffer.from(toBytes(value));
}
