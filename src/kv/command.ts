/**
 * What a Raft entry of this state machine holds: the bytes of the client's request as they came, behind a small head.
 *
 *     write:        1 u8 | value limit u32 | sessionId, sequence … as in PROTOCOL.md's `write`, without requestId
 *     openSession:  2 u8 | window u32
 *
 * The head carries the limit of the leader that accepted the command: every replica must decide alike, whatever its
 * own configuration says. Above MAX_VALUE_BYTES no append takes effect: such a value could not be read any more.
 *
 * An entry that is not of this form, or that no engine can hold, is **void**: it changes nothing, on every replica
 * alike, and stops none. It is refused before it is appended, so it comes from a leader that is damaged, or lies. For
 * the rule to hold, all replicas must find the same entries void: another kind of command, or other limits, may be used
 * only when all members know them.
 */

import { errorMessage } from '../env/errors.js';
import { type CommandOf, decodeCommand, isCommand } from '../protocol/codec.js';
import { MAX_VALUE_BYTES } from '../protocol/limits.js';

const WRITE = 1;
const OPEN_SESSION = 2;
const HEAD_BYTES = 5;

export type WriteCommand = CommandOf<'write'>;
export type WriteOperation = WriteCommand['operations'][number];

export type Command =
  | { readonly type: 'write'; readonly maxValueBytes: number; readonly write: WriteCommand }
  | { readonly type: 'openSession'; readonly window: number };

/** `request`: the request's bytes after requestId. Copies them: a small command must not pin a large receive buffer. */
export function encodeWrite(maxValueBytes: number, request: Uint8Array): Buffer {
  const entry = Buffer.allocUnsafe(5 + request.length);
  entry[0] = WRITE;
  entry.writeUInt32LE(maxValueBytes, 1);
  entry.set(request, 5);
  return entry;
}

export function encodeOpenSession(window: number): Buffer {
  const entry = Buffer.allocUnsafe(5);
  entry[0] = OPEN_SESSION;
  entry.writeUInt32LE(window, 1);
  return entry;
}

/** What the engine can hold, and what a session keeps of a write; the same for all replicas, for ever. */
const MAX_STORED_KEY_BYTES = 64 * 1024 - 1;
const MAX_KEPT_OPERATIONS = 0xffff;

export interface VoidEntry {
  readonly type: 'void';
  readonly reason: string;
}

/** Whether an entry has the form of a command: what a follower can tell of many entries at little cost. */
export function isCommandEntry(body: Uint8Array): boolean {
  const entry = Buffer.from(body.buffer, body.byteOffset, body.length);
  if (entry[0] === OPEN_SESSION) return entry.length >= HEAD_BYTES;
  return entry[0] === WRITE && entry.length > HEAD_BYTES && isCommand('write', entry.subarray(HEAD_BYTES));
}

/** What a committed entry does: nothing if it is void. */
export function commandOf(body: Uint8Array): Command | VoidEntry {
  let command: Command;
  try {
    command = decodeEntry(body);
  } catch (error) {
    return { type: 'void', reason: errorMessage(error) };
  }
  if (command.type === 'openSession') return command;
  const { operations } = command.write;
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

/** Throws `MALFORMED_MESSAGE` or a RangeError for bytes that no leader can have accepted. */
export function decodeEntry(body: Uint8Array): Command {
  const entry = Buffer.from(body.buffer, body.byteOffset, body.length);
  const kind = entry.readUInt8(0);
  if (kind === OPEN_SESSION) return { type: 'openSession', window: entry.readUInt32LE(1) };
  if (kind !== WRITE) throw new RangeError(`unknown command ${kind} in the Raft log`);
  return {
    type: 'write',
    maxValueBytes: Math.min(entry.readUInt32LE(1), MAX_VALUE_BYTES),
    write: decodeCommand('write', entry.subarray(5)),
  };
}
