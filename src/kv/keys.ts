/**
 * The keys and values that hold the state of one group in its engine. Integers in keys are big-endian, so that keys
 * sort by them. Integers in values are little-endian.
 *
 *     0                             ->  first index u53 | last index u53 | term u53   of the batch written last; and,
 *                                       in a tablet that began as a part of another one, its own id u53
 *     1 | user key                  ->  version u53 | value                           version: index of the last change
 *     2 | session u53               ->  window u32, opened u53         see sessions.ts
 *     2 | session u53 | slot u16    ->  sequence u53 | floor u53 | index u53 | result see sessions.ts
 *     4                             ->  see replicated-time.ts
 *     5 | deadline u53 | user key   ->  nothing                       of each key that has a deadline
 *     6                             ->  see split.ts and merge.ts
 *     16                            ->  see map-birth.ts
 *     17                            ->  see merge.ts
 *     18                            ->  nothing, if sessions were dropped   see sessions.ts
 *
 * (3 is that of embed/machine-engine.ts.) Of a key with a deadline, the highest bit of the version is set, and the
 * deadline follows it:
 *
 *     1 | user key                  ->  2^63 + version | deadline u53 | value
 */
import { RaftreeError } from '../env/errors.js';
import { readUint53, writeUint53 } from '../record/record.js';

export const APPLIED_KEY = Buffer.of(0);
const USER = 1;
const SESSION = 2;
export const TIME_KEY = Buffer.of(4);
const DEADLINE = 5;
export const SPLIT_KEY = Buffer.of(6);
export const MAP_KEY = Buffer.of(16);
export const FREEZE_KEY = Buffer.of(17);
export const DROPPED_KEY = Buffer.of(18);
export const VERSION_BYTES = 8;
const DEADLINE_BYTES = 8;
/** Of the last byte of a version: a deadline follows. */
const HAS_DEADLINE = 0x80;

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
  deadlineMs?: number,
): Buffer {
  if (deadlineMs !== undefined) return storedMortal(version, value, allocate, deadlineMs);
  const stored = allocate(VERSION_BYTES + value.length);
  writeUint53(stored, version, 0);
  stored.set(value, VERSION_BYTES);
  return stored;
}

function storedMortal(
  version: number,
  value: Uint8Array,
  allocate: (sizeBytes: number) => Buffer,
  deadlineMs: number,
): Buffer {
  const stored = allocate(VERSION_BYTES + DEADLINE_BYTES + value.length);
  writeUint53(stored, version, 0);
  stored[VERSION_BYTES - 1] = HAS_DEADLINE;
  writeUint53(stored, deadlineMs, VERSION_BYTES);
  stored.set(value, VERSION_BYTES + DEADLINE_BYTES);
  return stored;
}

export interface VersionedValue {
  readonly version: number;
  readonly value: Buffer;
}

export interface StoredKey extends VersionedValue {
  /** The key is absent from this replicated time on. Undefined: it stays. */
  readonly deadlineMs?: number;
}

export function fromStoredValue(stored: Buffer): StoredKey {
  if (stored[VERSION_BYTES - 1] !== HAS_DEADLINE)
    return { version: readUint53(stored, 0), value: stored.subarray(VERSION_BYTES) };
  return {
    version: stored.readUInt32LE(0) + (stored.readUInt32LE(4) & 0x1f_ffff) * 2 ** 32,
    value: stored.subarray(VERSION_BYTES + DEADLINE_BYTES),
    deadlineMs: readUint53(stored, VERSION_BYTES),
  };
}

/** Where the key is in the index of deadlines. */
export function deadlineKey(deadlineMs: number, key: Uint8Array): Buffer {
  const stored = Buffer.allocUnsafe(9 + key.length);
  stored[0] = DEADLINE;
  stored.writeUInt32BE(Math.floor(deadlineMs / 2 ** 32), 1);
  stored.writeUInt32BE(deadlineMs % 2 ** 32, 5);
  stored.set(key, 9);
  return stored;
}

export function fromDeadlineKey(stored: Buffer): { readonly deadlineMs: number; readonly key: Buffer } {
  return {
    deadlineMs: stored.readUInt32BE(1) * 2 ** 32 + stored.readUInt32BE(5),
    key: stored.subarray(9),
  };
}

/** Where the keys of users lie, for the bounds of an engine: as they are, and in the index of deadlines. */
export const USER_KEY_SECTIONS = [
  { first: USER, skippedBytes: 1 },
  { first: DEADLINE, skippedBytes: 9 },
];

/** The first key behind the index of deadlines. */
export const AFTER_DEADLINES = Buffer.of(DEADLINE + 1);

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
  /** Of which tablet; undefined: it began with the cluster. */
  readonly tablet?: number;
}

export function encodeApplied({ first, last, term, tablet = 0 }: Applied): Buffer {
  const record = Buffer.allocUnsafe(tablet > 0 ? 32 : 24);
  writeUint53(record, first, 0);
  writeUint53(record, last, 8);
  writeUint53(record, term, 16);
  if (tablet > 0) writeUint53(record, tablet, 24);
  return record;
}

/** Throws `CORRUPTION` for bytes that `encodeApplied` does not write. */
export function decodeApplied(record: Uint8Array): Applied {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
  if (bytes.length === 24 || bytes.length === 32) {
    const [first, last, term] = [readUint53(bytes, 0), readUint53(bytes, 8), readUint53(bytes, 16)];
    const tablet = bytes.length > 24 ? readUint53(bytes, 24) : 0;
    if (first <= last && term >= 0 && tablet >= 0)
      return { first, last, term, ...(tablet > 0 ? { tablet } : {}) };
  }
  throw new RaftreeError('CORRUPTION', 'the record of the applied index cannot be read');
}
