/**
 * Error codes of the engine. `info.outcome` of a failed write is `notCommitted` or `unknown`.
 *
 *     LSM_CLOSED      the tree is closed
 *     LSM_LOCKED      the directory is in use by another tree, in this process or another
 *     LSM_MISSING     there is no tree in the directory, and `createIfMissing` is false
 *     LSM_EXISTS      there is one, and `errorIfExists` is true
 *     LSM_FOREIGN     the directory holds a database of another kind
 *     LSM_INVALID     an option, key, value or range that is not accepted
 *     LSM_BUSY        more bytes wait to be written than `maxWaitingBytes`
 *     LSM_NO_SPACE    the disk is full; reading goes on, and writing resumes when there is space
 *     LSM_READ_ONLY   a write or sync of files failed; nothing more is written until the tree is reopened
 *     LSM_NOT_DURABLE the tree is closed, and writes that were acknowledged may be lost, because the disk had failed
 *     DIRECTORY_GONE  the directory was moved or removed while the tree was open: the cause of a LSM_READ_ONLY
 *     CORRUPTION      damaged bytes; `info` has path and offset
 */
import type { Env } from '../../env/env.js';
import { errorCode, errorMessage, type Outcome, RaftreeError } from '../../env/errors.js';

export function closedError(): RaftreeError {
  return new RaftreeError('LSM_CLOSED', 'the tree is closed', { info: { outcome: 'notCommitted' } });
}

export function invalid(message: string): RaftreeError {
  return new RaftreeError('LSM_INVALID', message, { info: { outcome: 'notCommitted' } });
}

export function checkBytes(value: unknown, what: string): void {
  if (!(value instanceof Uint8Array)) throw invalid(`${what} must be a Uint8Array`);
}

/** Throws `LSM_INVALID` if this cannot be the name of a directory. */
export function checkDirectory(env: Env, directory: string): void {
  if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) {
    throw invalid(`the directory of a tree must be a path; it is ${JSON.stringify(directory)}`);
  }
  if (!env.fs.exists(directory)) return;
  try {
    env.fs.list(directory);
  } catch (error) {
    if (errorCode(error) !== 'ENOTDIR') throw error;
    throw invalid(`${directory} is a file, not a directory`);
  }
}

export function readOnlyError(cause: unknown, outcome: Outcome): RaftreeError {
  const remedy = isCorruption(cause)
    ? '; close it and let `raftree lsm repair` keep what is intact and list what is lost, or it will stop there again'
    : '';
  return new RaftreeError(
    'LSM_READ_ONLY',
    `nothing more is written until the tree is reopened, because of an earlier failure: ${errorMessage(cause)}${remedy}`,
    { cause, info: { ...(isCorruption(cause) ? cause.info : {}), outcome } },
  );
}

/** The tree is closed, and acknowledged writes after `durableSequence` may be lost. */
export function notDurableError(cause: unknown, durableSequence: number, lastSequence: number): RaftreeError {
  return new RaftreeError(
    'LSM_NOT_DURABLE',
    `the tree is closed, but its writes from sequence ${durableSequence + 1} to ${lastSequence} may be lost: ${errorMessage(cause)}`,
    { cause, info: { outcome: 'unknown', durableSequence, lastSequence } },
  );
}

function isCorruption(error: unknown): error is RaftreeError {
  return error instanceof RaftreeError && error.code === 'CORRUPTION';
}

export function noSpaceError(cause?: unknown): RaftreeError {
  return new RaftreeError('LSM_NO_SPACE', 'the disk is full; writing resumes by itself when there is space', {
    cause,
    info: { outcome: 'notCommitted' },
  });
}

export function busyError(pendingBytes: number): RaftreeError {
  return new RaftreeError('LSM_BUSY', `${pendingBytes} bytes of writes are waiting already; slow down`, {
    info: { outcome: 'notCommitted' },
  });
}

/** An error of opening a tree, with advice on what to do about it. */
export function openingError(error: unknown, directory: string): unknown {
  if (!isCorruption(error)) return error;
  const advice = `put back what is missing, or let \`raftree lsm repair ${directory}\` keep what is intact and list what is lost`;
  return new RaftreeError(error.code, `${error.message}; ${advice}`, { cause: error, info: error.info });
}
