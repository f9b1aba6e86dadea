/**
 * What a Raft entry of this state machine holds: a command. Integers are big-endian, but for the two u32 behind the
 * kind.
 *
 *     write         1 u8 | value limit u32 | session u53 | sequence u53 | acknowledged through u53
 *                        | operations u32 | operation ...
 *     operation     action u8 | key | value | condition u8 | condition value | condition version u53
 *     openSession   2 u8 | window u32
 *     timedWrite    3 u8 | value limit u32 | session u53 | sequence u53 | acknowledged through u53 | stamp u53
 *                        | operations u32 | timed operation ...
 *     timed operation    operation | life change u8 | life u53 | life condition u8
 *     expiry        4 u8 | keys u32 | stamp u53 | ( key | deadline u53 ) ...
 *     orderedWrite       5 u8 | as a write, behind `acknowledged through`: after u53
 *     orderedTimedWrite  6 u8 | as a timedWrite, behind `acknowledged through`: after u53
 *     openSessionAs      7 u8 | window u32 | session u53
 *
 *     key, value, condition value: length u32, then the bytes      u53: 8 bytes, at most 2^53-1
 *     session 0: none    action: put 1, append 2, delete 3, check 4
 *     condition: always 1, exists 2, absent 3, valueIs 4, versionIs 5
 *     of a timed operation also    action: expire 5, persist 6, increment 7, modify 8
 *     life change: none 0, set 1, keep 2, setIfNew 3
 *     life condition: always 1, ifNone 2, ifSome 3, ifLater 4, ifSooner 5
 *
 * A timedWrite is a write with an operation that needs the replicated time (replicated-time.ts). An ordered write
 * changes nothing before the write of its session that has the sequence `after` (sessions.ts). An openSessionAs names
 * the session, with a number that was drawn at random; openSession is that of earlier versions. The keys of an expiry
 * are deleted if they still have that deadline, and it has passed. An expiry without keys only brings the stamp.
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
import { parseInteger } from './integer.js';
import { MAX_REQUEST_BYTES, MAX_VALUE_BYTES } from './limits.js';
import { MAX_TTL_MS, stampOf } from './replicated-time.js';
import {
  ACTIONS,
  LIFE_CHANGES,
  LIFE_CONDITIONS,
  type Life,
  type OpenSession,
  PLAIN_ACTIONS,
  type SessionPosition,
  type Write,
  type WriteOperation,
} from './requests.js';
import { isDrawnId } from './session-id.js';

const WRITE = 1;
const OPEN_SESSION = 2;
const TIMED_WRITE = 3;
const EXPIRY = 4;
const ORDERED_WRITE = 5;
const ORDERED_TIMED_WRITE = 6;
const OPEN_SESSION_AS = 7;
const OPEN_SESSION_BYTES = 5;
const OPEN_SESSION_AS_BYTES = 13;
/** Of a write without operations, and of an operation without key and values. */
const WRITE_BYTES = 33;
const OPERATION_BYTES = 22;
const AFTER_BYTES = 8;
const STAMP_BYTES = 8;
/** What a timed operation has more. */
const LIFE_BYTES = 10;
const EXPIRY_BYTES = 13;
const EXPIRED_KEY_BYTES = 12;

const NOTHING = Buffer.alloc(0);

const PLAIN: ReadonlySet<WriteOperation['action']> = new Set(PLAIN_ACTIONS);
const CONDITIONS = ['always', 'exists', 'absent', 'valueIs', 'versionIs'] as const;

/** An operation as it lies in an entry: its byte strings are views of the entry's body. */
export type EntryOperation = WriteOperation<Buffer>;

export interface WriteCommand {
  readonly type: 'write';
  readonly maxValueBytes: number;
  readonly session: SessionPosition | undefined;
  /** Undefined: no operation needs the time. */
  readonly stampMs?: number;
  readonly operations: readonly EntryOperation[];
}

export interface ExpiredKey {
  readonly key: Uint8Array;
  readonly deadlineMs: number;
}

/** Deletes keys that have expired. */
export interface ExpiryCommand {
  readonly type: 'expiry';
  readonly stampMs: number;
  readonly keys: readonly ExpiredKey[];
}

/** Without an id the session has the index of the entry. */
export interface OpenSessionCommand extends Pick<OpenSession, 'type' | 'window'> {
  readonly id?: number;
}

export type Command = WriteCommand | OpenSessionCommand | ExpiryCommand;

/** The size of `encodeWrite`'s result. */
export function writeCommandBytes({ session, operations }: Write): number {
  let sizeBytes = session && session.after > 0 ? WRITE_BYTES + AFTER_BYTES : WRITE_BYTES;
  for (const { key, value, conditionValue } of operations)
    sizeBytes += OPERATION_BYTES + key.length + value.length + conditionValue.length;
  return needsTime(operations) ? sizeBytes + STAMP_BYTES + operations.length * LIFE_BYTES : sizeBytes;
}

function needsTime(operations: readonly WriteOperation[]): boolean {
  for (const { action, life } of operations) if (life !== undefined || !PLAIN.has(action)) return true;
  return false;
}

/**
 * The body of an entry, to be proposed at once: it may have a stamp of the clock. Throws `INVALID_REQUEST` for a write
 * with a number or name that does not exist.
 */
export function encodeWrite(maxValueBytes: number, write: Write, clock: { nowMs(): number }): Buffer {
  const { session, operations } = write;
  const isTimed = needsTime(operations);
  const body = Buffer.allocUnsafe(writeCommandBytes(write));
  const isOrdered = session !== undefined && session.after > 0;
  if (isOrdered) body[0] = isTimed ? ORDERED_TIMED_WRITE : ORDERED_WRITE;
  else body[0] = isTimed ? TIMED_WRITE : WRITE;
  body.writeUInt32LE(maxValueBytes, 1);
  if (session && !(session.id > 0)) throw invalid(`there is no session ${session.id}`);
  writeUint53(body, session?.id ?? 0, 5);
  writeUint53(body, session?.sequence ?? 0, 13);
  writeUint53(body, session?.acknowledgedThrough ?? 0, 21);
  let at = isOrdered ? writeUint53(body, session.after, 29) : 29;
  if (isTimed) at = writeUint53(body, stampOf(clock), at);
  at = body.writeUInt32BE(operations.length, at);
  for (const { action, key, value, condition, conditionValue, conditionVersion, life } of operations) {
    body[at] = numberOf(ACTIONS, action);
    at = writeBytes(body, key, at + 1);
    at = writeBytes(body, value, at);
    body[at] = numberOf(CONDITIONS, condition);
    at = writeBytes(body, conditionValue, at + 1);
    at = writeUint53(body, conditionVersion, at);
    if (isTimed) at = writeLife(body, life, at);
  }
  return body;
}

function writeLife(body: Buffer, life: Life | undefined, at: number): number {
  body[at] = life ? numberOf(LIFE_CHANGES, life.change) : 0;
  const { ttlMs = 0, when = 'always' } = life ?? {};
  if (ttlMs > MAX_TTL_MS) throw invalid(`a life has at most ${MAX_TTL_MS} ms, not ${ttlMs}`);
  body[writeUint53(body, ttlMs, at + 1)] = numberOf(LIFE_CONDITIONS, when);
  return at + LIFE_BYTES;
}

/** The body of an entry, to be proposed at once. */
export function encodeExpiry(keys: readonly ExpiredKey[], clock: { nowMs(): number }): Buffer {
  let sizeBytes = EXPIRY_BYTES;
  for (const { key } of keys) sizeBytes += EXPIRED_KEY_BYTES + key.length;
  const body = Buffer.allocUnsafe(sizeBytes);
  body[0] = EXPIRY;
  body.writeUInt32LE(keys.length, 1);
  let at = writeUint53(body, stampOf(clock), 5);
  for (const { key, deadlineMs } of keys) at = writeUint53(body, deadlineMs, writeBytes(body, key, at));
  return body;
}

/** The body of an entry. Throws `INVALID_REQUEST` if the window is no u32, or the id was not drawn (sessions.ts). */
export function encodeOpenSession(window: number, id?: number): Buffer {
  if (!(window >= 0 && window <= 0xffff_ffff && Number.isInteger(window)))
    throw invalid(`a window is a whole number from 0 to 2^32-1, not ${window}`);
  const body = Buffer.allocUnsafe(id === undefined ? OPEN_SESSION_BYTES : OPEN_SESSION_AS_BYTES);
  body[0] = id === undefined ? OPEN_SESSION : OPEN_SESSION_AS;
  body.writeUInt32LE(window, 1);
  if (id === undefined) return body;
  if (!isDrawnId(id)) throw invalid(`${id} is no id of a session`);
  writeUint53(body, id, 5);
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

/** Whether the body of an entry has the form of a command. Of a plain write much cheaper than `commandOf`. */
export function isCommandEntry(body: Uint8Array): boolean {
  const kind = body[0];
  if (kind === OPEN_SESSION) return body.length >= OPEN_SESSION_BYTES;
  if (kind === OPEN_SESSION_AS) return commandOf(body).type !== 'void';
  const isOrdered = kind === ORDERED_WRITE;
  if (kind !== WRITE && !isOrdered)
    return (
      (kind === TIMED_WRITE || kind === ORDERED_TIMED_WRITE || kind === EXPIRY) &&
      commandOf(body).type !== 'void'
    );
  const reader = readerOf(body, 5);
  try {
    for (let i = isOrdered ? 4 : 3; i > 0; i--) reader.u53();
    for (let left = reader.u32(); left > 0; left--) {
      reader.nameIn(PLAIN_ACTIONS);
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
  } finally {
    reader.end();
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
  if (command.type !== 'write') return command;
  const { operations } = command;
  if (operations.length > MAX_KEPT_OPERATIONS)
    return { type: 'void', reason: `it has ${operations.length} operations` };
  for (const { action, key, value } of operations) {
    if (action === 'increment' && parseInteger(value) === undefined)
      return { type: 'void', reason: 'it has an increment by no number of 64 bits' };
    if (key.length > MAX_STORED_KEY_BYTES)
      return { type: 'void', reason: `it has a key of ${key.length} bytes` };
    // A `modify` may hold several values; each is judged when it is carried out.
    if (value.length > (action === 'modify' ? MAX_REQUEST_BYTES : MAX_VALUE_BYTES))
      return { type: 'void', reason: `it has a value of ${value.length} bytes` };
  }
  return command;
}

/** Throws a RangeError for a body that has no form of a command. */
function decodeCommand(body: Uint8Array): Command {
  const reader = readerOf(body, 0);
  try {
    return reader.command();
  } finally {
    reader.end();
  }
}

/** Every read throws a RangeError if the bytes end before, or do not say what may stand there. */
class BodyReader {
  #body: Uint8Array = NOTHING;
  #at = 0;

  begin(body: Uint8Array, from: number): this {
    this.#body = body;
    this.#at = from;
    return this;
  }

  /** Lets the body go. */
  end(): void {
    this.#body = NOTHING;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#body.length;
  }

  command(): Command {
    const kind = this.u8();
    const first = this.u32LE();
    if (kind === OPEN_SESSION) return { type: 'openSession', window: first };
    if (kind === OPEN_SESSION_AS) return this.#openSessionAs(first);
    if (kind === EXPIRY) return this.#expiry(first);
    const isTimed = kind === TIMED_WRITE || kind === ORDERED_TIMED_WRITE;
    const isOrdered = kind === ORDERED_WRITE || kind === ORDERED_TIMED_WRITE;
    if (kind !== WRITE && !isTimed && !isOrdered)
      throw new RangeError(
        `it has the unknown kind ${kind}: it is damaged, or of a newer version of Raftree`,
      );
    const id = this.u53();
    const sequence = this.u53();
    const acknowledgedThrough = this.u53();
    const after = isOrdered ? this.u53() : 0;
    const stampMs = isTimed ? this.u53() : undefined;
    const operations: EntryOperation[] = [];
    for (let left = this.u32(); left > 0; left--) {
      const operation: EntryOperation = {
        action: this.nameIn(isTimed ? ACTIONS : PLAIN_ACTIONS),
        key: this.bytes(),
        value: this.bytes(),
        condition: this.nameIn(CONDITIONS),
        conditionValue: this.bytes(),
        conditionVersion: this.u53(),
      };
      const life = isTimed ? this.life() : undefined;
      operations.push(life ? { ...operation, life } : operation);
    }
    if (!this.isAtEnd) throw new RangeError('it has bytes behind its end');
    const write: WriteCommand = {
      type: 'write',
      maxValueBytes: Math.min(first, MAX_VALUE_BYTES),
      session: id > 0 ? { id, sequence, acknowledgedThrough, after } : undefined,
      operations,
    };
    return stampMs === undefined ? write : { ...write, stampMs };
  }

  #openSessionAs(window: number): OpenSessionCommand {
    const id = this.u53();
    if (!isDrawnId(id)) throw new RangeError(`it opens the session ${id}, and no such number is drawn`);
    if (!this.isAtEnd) throw new RangeError('it has bytes behind its session');
    return { type: 'openSession', window, id };
  }

  #expiry(count: number): ExpiryCommand {
    const stampMs = this.u53();
    const keys: ExpiredKey[] = [];
    for (let left = count; left > 0; left--) keys.push({ key: this.bytes(), deadlineMs: this.u53() });
    if (!this.isAtEnd) throw new RangeError('it has bytes behind its keys');
    return { type: 'expiry', stampMs, keys };
  }

  u8(): number {
    return this.#body[this.#advance(1)] as number;
  }

  u32(): number {
    return this.#bigEndian(this.#advance(4));
  }

  u32LE(): number {
    const at = this.#advance(4);
    const bytes = this.#body;
    return (
      (bytes[at] as number) +
      (bytes[at + 1] as number) * 0x100 +
      (bytes[at + 2] as number) * 0x1_0000 +
      (bytes[at + 3] as number) * 0x100_0000
    );
  }

  u53(): number {
    const at = this.#advance(8);
    const high = this.#bigEndian(at);
    if (high > 0x1f_ffff) throw new RangeError('it has a number above 2^53-1');
    return high * 2 ** 32 + this.#bigEndian(at + 4);
  }

  /** A view. */
  bytes(): Buffer {
    const length = this.u32();
    if (length === 0) return NOTHING;
    const from = this.#advance(length);
    return Buffer.from(this.#body.buffer, this.#body.byteOffset + from, length);
  }

  skipBytes(): void {
    this.#advance(this.u32());
  }

  life(): Life | undefined {
    const isThere = this.#body[this.#at] !== 0;
    const change = isThere ? this.nameIn(LIFE_CHANGES) : this.u8();
    const ttlMs = this.u53();
    if (ttlMs > MAX_TTL_MS) throw new RangeError('it has a life above the limit');
    const when = this.nameIn(LIFE_CONDITIONS);
    return typeof change === 'number' ? undefined : { change, ttlMs, when };
  }

  nameIn<Name>(names: readonly Name[]): Name {
    const number = this.u8();
    const name = names[number - 1];
    if (name === undefined) throw new RangeError(`it has ${number} where 1 to ${names.length} may be`);
    return name;
  }

  #bigEndian(at: number): number {
    const bytes = this.#body;
    return (
      (bytes[at] as number) * 0x100_0000 +
      (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number))
    );
  }

  /** Moves past so many bytes; returns where they begin. */
  #advance(sizeBytes: number): number {
    const from = this.#at;
    if (this.#body.length - from < sizeBytes) throw new RangeError('it ends early');
    this.#at = from + sizeBytes;
    return from;
  }
}

/** One is enough: no read waits for anything. */
const READER = new BodyReader();

function readerOf(body: Uint8Array, from: number): BodyReader {
  return READER.begin(body, from);
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
