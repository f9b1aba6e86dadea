/**
 * What a Raft entry of this state machine holds: a command. Integers are big-endian, but for the two u32 behind the
 * kind.
 *
 *     write         1 u8 | value limit u32 | session u53 | sequence u53 | acknowledged through u53
 *                        | operations u32 | operation ...
 *     operation     action u8 | key | value | condition u8 | condition value | condition version u53
 *     openSession   2 u8 | window u32
 *
 *     key, value, condition value: length u32, then the bytes      u53: 8 bytes, at most 2^53-1
 *     session 0: none    action: put 1, append 2, delete 3, check 4
 *     condition: always 1, exists 2, absent 3, valueIs 4, versionIs 5
 *
 * The first byte is kind and version in one: the layout of a kind never changes, a new layout gets a new kind. A kind
 * is written only when every member of the cluster can read it (ARCHITECTURE.md, "Versions of commands").
 *
 * A write carries the value limit of the leader that accepted it: every replica must decide alike, whatever its own
 * configuration says. Above MAX_VALUE_BYTES no append takes effect: such a value could not be read any more.
 *
 * An entry that has none of these forms, or that no engine can hold, is **void**: it changes nothing, on every replica
 * alike, and stops none. A correct leader proposes none, and a follower refuses one that is not committed yet. All
 * replicas must find the same entries void.
 */
import { RaftreeError } from '../env/errors.js';
import { MAX_VALUE_BYTES } from './limits.js';
import type { OpenSession, SessionPosition, Write, WriteOperation } from './requests.js';

const WRITE = 1;
const OPEN_SESSION = 2;
const OPEN_SESSION_BYTES = 5;
/** Of a write without operations, and of an operation without key and values. */
const WRITE_BYTES = 33;
const OPERATION_BYTES = 22;

const ACTIONS = ['put', 'append', 'delete', 'check'] as const;
const CONDITIONS = ['always', 'exists', 'absent', 'valueIs', 'versionIs'] as const;

/** An operation as it lies in an entry: its byte strings are views of the entry's body. */
export type EntryOperation = WriteOperation<Buffer>;

export interface WriteCommand {
  readonly type: 'write';
  readonly maxValueBytes: number;
  readonly session: SessionPosition | undefined;
  readonly operations: readonly EntryOperation[];
}

export type Command = WriteCommand | OpenSession;

/** The size of `encodeWrite`'s result. */
export function writeCommandBytes({ operations }: Write): number {
  let sizeBytes = WRITE_BYTES;
  for (const { key, value, conditionValue } of operations)
    sizeBytes += OPERATION_BYTES + key.length + value.length + conditionValue.length;
  return sizeBytes;
}

/** The body of an entry. Throws `INVALID_REQUEST` for a write with a number or name that does not exist. */
export function encodeWrite(maxValueBytes: number, write: Write): Buffer {
  const { session, operations } = write;
  const body = Buffer.allocUnsafe(writeCommandBytes(write));
  body[0] = WRITE;
  body.writeUInt32LE(maxValueBytes, 1);
  if (session && !(session.id > 0)) throw invalid(`there is no session ${session.id}`);
  writeUint53(body, session?.id ?? 0, 5);
  writeUint53(body, session?.sequence ?? 0, 13);
  writeUint53(body, session?.acknowledgedThrough ?? 0, 21);
  let at = body.writeUInt32BE(operations.length, 29);
  for (const { action, key, value, condition, conditionValue, conditionVersion } of operations) {
    body[at] = numberOf(ACTIONS, action);
    at = writeBytes(body, key, at + 1);
    at = writeBytes(body, value, at);
    body[at] = numberOf(CONDITIONS, condition);
    at = writeBytes(body, conditionValue, at + 1);
    at = writeUint53(body, conditionVersion, at);
  }
  return body;
}

/** The body of an entry. Throws `INVALID_REQUEST` if the window is no u32. */
export function encodeOpenSession(window: number): Buffer {
  if (!(window >= 0 && window <= 0xffff_ffff && Number.isInteger(window)))
    throw invalid(`a window is a whole number from 0 to 2^32-1, not ${window}`);
  const body = Buffer.allocUnsafe(OPEN_SESSION_BYTES);
  body[0] = OPEN_SESSION;
  body.writeUInt32LE(window, 1);
  return body;
}

/**
 * What an engine can hold, and what a session can keep. Must be the same on all replicas, so they are never changed.
 */
const MAX_STORED_KEY_BYTES = 64 * 1024 - 1;
const MAX_KEPT_OPERATIONS = 0xffff;

export interface VoidEntry {
  readonly type: 'void';
  readonly reason: string;
}

/** Whether the body of an entry has the form of a command. Much cheaper than `commandOf`. */
export function isCommandEntry(body: Uint8Array): boolean {
  const kind = body[0];
  if (kind === OPEN_SESSION) return body.length >= OPEN_SESSION_BYTES;
  if (kind !== WRITE || body.length < WRITE_BYTES) return false;
  try {
    const reader = new BodyReader(body, 5);
    for (let i = 0; i < 3; i++) reader.u53();
    for (let left = reader.u32(); left > 0; left--) {
      reader.nameIn(ACTIONS);
      reader.skipBytes();
      reader.skipBytes();
      reader.nameIn(CONDITIONS);
      reader.skipBytes();
      reader.u53();
    }
    return reader.isAtEnd;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** What a committed entry does: nothing if it is void. */
export function commandOf(body: Uint8Array): Command | VoidEntry {
  let command: Command;
  try {
    command = decodeCommand(body);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { type: 'void', reason: error.message };
  }
  if (command.type === 'openSession') return command;
  const { operations } = command;
  if (operations.length > MAX_KEPT_OPERATIONS)
    return { type: 'void', reason: `it has ${operations.length} operations` };
  for (const { key, value } of operations) {
    if (key.length > MAX_STORED_KEY_BYTES)
      return { type: 'void', reason: `it has a key of ${key.length} bytes` };
    if (value.length > MAX_VALUE_BYTES)
      return { type: 'void', reason: `it has a value of ${value.length} bytes` };
  }
  return command;
}

/** Throws a RangeError for a body that has no form of a command. */
function decodeCommand(body: Uint8Array): Command {
  const reader = new BodyReader(body, 0);
  const kind = reader.u8();
  const first = reader.u32LE();
  if (kind === OPEN_SESSION) return { type: 'openSession', window: first };
  if (kind !== WRITE)
    throw new RangeError(`it has the unknown kind ${kind}: it is damaged, or of a newer version of Raftree`);
  const id = reader.u53();
  const sequence = reader.u53();
  const acknowledgedThrough = reader.u53();
  const operations: EntryOperation[] = [];
  for (let left = reader.u32(); left > 0; left--) {
    operations.push({
      action: reader.nameIn(ACTIONS),
      key: reader.bytes(),
      value: reader.bytes(),
      condition: reader.nameIn(CONDITIONS),
      conditionValue: reader.bytes(),
      conditionVersion: reader.u53(),
    });
  }
  if (!reader.isAtEnd) throw new RangeError('it has bytes behind its end');
  return {
    type: 'write',
    maxValueBytes: Math.min(first, MAX_VALUE_BYTES),
    session: id > 0 ? { id, sequence, acknowledgedThrough } : undefined,
    operations,
  };
}

/** Every read throws a RangeError if the bytes end before, or do not say what may stand there. */
class BodyReader {
  readonly #body: Buffer;
  #at: number;

  constructor(body: Uint8Array, from: number) {
    this.#body = Buffer.from(body.buffer, body.byteOffset, body.length);
    this.#at = from;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#body.length;
  }

  u8(): number {
    return this.#body.readUInt8(this.#advance(1));
  }

  u32(): number {
    return this.#body.readUInt32BE(this.#advance(4));
  }

  u32LE(): number {
    return this.#body.readUInt32LE(this.#advance(4));
  }

  u53(): number {
    const from = this.#advance(8);
    const high = this.#body.readUInt32BE(from);
    if (high > 0x1f_ffff) throw new RangeError('it has a number above 2^53-1');
    return high * 2 ** 32 + this.#body.readUInt32BE(from + 4);
  }

  /** A view. */
  bytes(): Buffer {
    const length = this.u32();
    const from = this.#advance(length);
    return this.#body.subarray(from, from + length);
  }

  skipBytes(): void {
    this.#advance(this.u32());
  }

  nameIn<Name>(names: readonly Name[]): Name {
    const number = this.u8();
    const name = names[number - 1];
    if (name === undefined) throw new RangeError(`it has ${number} where 1 to ${names.length} may be`);
    return name;
  }

  /** Moves past so many bytes; returns where they begin. */
  #advance(sizeBytes: number): number {
    const from = this.#at;
    if (this.#body.length - from < sizeBytes) throw new RangeError('it ends early');
    this.#at = from + sizeBytes;
    return from;
  }
}

/** Returns the place behind. */
function writeBytes(body: Buffer, bytes: Uint8Array, at: number): number {
  // `set` would take the characters of a text for bytes, most of them for zeros.
  if (!(bytes instanceof Uint8Array)) throw invalid('keys and values are bytes (Uint8Array)');
  const from = body.writeUInt32BE(bytes.length, at);
  if (bytes.length > 0) body.set(bytes, from);
  return from + bytes.length;
}

function writeUint53(body: Buffer, value: number, at: number): number {
  if (!(value >= 0 && Number.isSafeInteger(value)))
    throw invalid(`a whole number from 0 to 2^53-1 is needed, not ${value}`);
  body.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  return body.writeUInt32BE(value >>> 0, at + 4);
}

function numberOf(names: readonly string[], name: string): number {
  const at = names.indexOf(name);
  if (at < 0) throw invalid(`"${name}" is none of ${names.join(', ')}`);
  return at + 1;
}

function invalid(message: string): RaftreeError {
  return new RaftreeError('INVALID_REQUEST', message, { info: { outcome: 'notCommitted' } });
}
