/**
 * Converts the engine's errors to those of the abstract-level ecosystem. `cause` is the engine's own error, with its
 * code and info.
 *
 *     LEVEL_LOCKED              the directory is in use by another database, in this process or another
 *     LEVEL_DATABASE_MISSING    there is no database there, and `createIfMissing` is false
 *     LEVEL_DATABASE_EXISTS     there is one, and `errorIfExists` is true
 *     LEVEL_CORRUPTION          damaged bytes
 *     LEVEL_IO_ERROR            the disk refused: full, read-only after an earlier failure, or a system error
 *     LEVEL_BUSY                more writes are waiting than the engine holds in memory
 *     LEVEL_INVALID             a key, value, batch or option that the engine does not accept
 *     LEVEL_ABORTED             the signal of an iterator was aborted
 *
 * If a database fails to open, the error is abstract-level's `LEVEL_DATABASE_NOT_OPEN`, with one of these as its
 * `cause`.
 */
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';

const CODES: Readonly<Record<string, string>> = {
  LSM_LOCKED: 'LEVEL_LOCKED',
  LSM_CLOSED: 'LEVEL_DATABASE_NOT_OPEN',
  LSM_MISSING: 'LEVEL_DATABASE_MISSING',
  LSM_EXISTS: 'LEVEL_DATABASE_EXISTS',
  LSM_INVALID: 'LEVEL_INVALID',
  LSM_BUSY: 'LEVEL_BUSY',
  CORRUPTION: 'LEVEL_CORRUPTION',
};

/** An error without a code is a bug in the program and stays as it is. */
export function levelError(error: unknown): unknown {
  const code = errorCode(error);
  if (code === undefined || code.startsWith('LEVEL_')) return error;
  return new RaftreeError(CODES[code] ?? 'LEVEL_IO_ERROR', errorMessage(error), { cause: error });
}

/** The name is the one of the web platform. */
export function abortError(): RaftreeError {
  const error = new RaftreeError('LEVEL_ABORTED', 'Operation has been aborted');
  error.name = 'AbortError';
  return error;
}
