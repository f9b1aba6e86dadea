/**
 * Keys and values in the form that abstract-level uses: strings or bytes. It asks for results in the format of an
 * encoding: `utf8` is a string, `buffer` and `view` are bytes.
 */
import { copyRange } from '../lsm/base/bytes.js';

export type Format = string | Buffer | Uint8Array;

export function toBytes(data: Format): Uint8Array {
  return typeof data === 'string' ? Buffer.from(data) : data;
}

export function fromBytes(bytes: Buffer, format: string | undefined): Format {
  return format === 'utf8' ? bytes.toString() : bytes;
}

/** From a range of bytes that may be reused later. */
export function fromRange(bytes: Buffer, start: number, end: number, format: string): Format {
  return format === 'utf8' ? bytes.toString('utf8', start, end) : copyRange(bytes, start, end);
}
