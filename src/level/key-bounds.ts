/** The range of an iterator or of `clear`, in bytes. */
import { compareBytes } from '../lsm/base/bytes.js';
import type { IteratorOptions } from '../lsm/read/iterator.js';
import { type Format, toBytes } from './formats.js';

/** In the form that abstract-level gives to implementations: encoded. */
export interface EncodedRange {
  readonly gt?: Format;
  readonly gte?: Format;
  readonly lt?: Format;
  readonly lte?: Format;
  readonly reverse?: boolean;
}

export type KeyBounds = Pick<IteratorOptions, 'gt' | 'gte' | 'lt' | 'lte' | 'reverse'>;

/** `gte` and `lte` take precedence over `gt` and `lt`. */
export function keyBounds({ gt, gte, lt, lte, reverse }: EncodedRange): KeyBounds {
  return {
    ...(gte !== undefined ? { gte: toBytes(gte) } : gt !== undefined ? { gt: toBytes(gt) } : {}),
    ...(lte !== undefined ? { lte: toBytes(lte) } : lt !== undefined ? { lt: toBytes(lt) } : {}),
    reverse: reverse === true,
  };
}

export function isWithin(key: Uint8Array, { gt, gte, lt, lte }: KeyBounds): boolean {
  if (gte ? compareBytes(key, gte) < 0 : gt ? compareBytes(key, gt) <= 0 : false) return false;
  return !(lte ? compareBytes(key, lte) > 0 : lt ? compareBytes(key, lt) >= 0 : false);
}
