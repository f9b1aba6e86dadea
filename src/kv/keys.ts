/**
 * The keys and values that hold the state of one group in its engine. Integers in keys are big-endian, so that keys
 * sort by them. Integers in values are little-endian.
 *
 *     0                             ->  first index u53 | last index u53 | term u53   of the batch written last
 *     1 | user key                  ->  version u53 | value                           version: index of the last change
 *     2 | session u53               ->  window u32
 *     2 | session u53 | slot u16    ->  sequence u53 | floor u53 | index u53 | result see sessions.ts
 */
import { RaftreeError } from '../env/errors.js';
import { readUint53, writeUint53 } from '../record/record.js';

export const APPLIED_KEY = Buffer.of(0);
const USER = 1;
const SESSION = 2;
export const VERSION_BYTES = 8;

export function userKey(key: Uint8Array): Buffer {
  const stored = Buffer.allocUnsafe(key.length + 1);
  stored[0] = USER;
  stored.set(key, 1);
  return stored;
}

/** The first key after all user keys. */
export const AFTER_USER_KEYS = Buffer.of(USER + 1);

export function fromUserKey(stored: Buffer): Buffer {
  return stored.subarray(1);
}

/** `allocate` gives the memory for it. */
export function storedValue(
  version: number,
  value: Uint8Array,
  allocate: (sizeBytes: number) => Buffer = Buffer.allocUnsafe,
): Buffer {
  const stored = allocate(VERSION_BYTES + value.length);
  writeUint53(stored, version, 0);
  stored.set(value, VERSION_BYTES);
  return stored;
}

export interface VersionedValue {
  readonly version: number;
  readonly value: Buffer;
}

export function fromStoredValue(stored: Buffer): VersionedValue {
  return { version: readUint53(stored, 0), value: stored.subarray(VERSION_BYTES) };
}

export const SESSION_RANGE = { gte: Buffer.of(SESSION), lt: Buffer.of(SESSION + 1) };

export function sessionKey(session: number, slot?: number): Buffer {
  const key = Buffer.allocUnsafe(slot === undefined ? 9 : 11);
  key[0] = SESSION;
  key.writeUInt32BE(Math.floor(session / 2 ** 32), 1);
  key.writeUInt32BE(session % 2 ** 32, 5);
  if (slot !== undefined) key.writeUInt16BE(slot, 9);
  return key;
}

export function fromSessionKey(key: Buffer): { session: number; slot: number | undefined } {
  return {
    session: key.readUInt32BE(1) * 2 ** 32 + key.readUInt32BE(5),
    slot: key.length > 9 ? key.readUInt16BE(9) : undefined,
  };
}

/** The entries that the last written batch has applied. */
export interface Applied {
  readonly first: number;
  readonly last: number;
  readonly term: number;
}

export function encodeApplied({ first, last, term }: Applied): Buffer {
  const record = Buffer.allocUnsafe(24);
  writeUint53(record, first, 0);
  writeUint53(record, last, 8);
  writeUint53(record, term, 16);
  return record;
}

/** Throws `CORRUPTION` for bytes that `encodeApplied` does not write. */
export function decodeApplied(record: Uint8Array): Applied {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
  if (bytes.length === 24) {
    const [first, last, term] = [readUint53(bytes, 0), readUint53(bytes, 8), readUint53(bytes, 16)];
    if (first <= last && term >= 0) return { first, last, term };
  }
  throw new RaftreeError('CORRUPTION', 'the record of the applied index cannot be read');
}
