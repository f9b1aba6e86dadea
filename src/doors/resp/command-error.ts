/** What a command is refused with: the texts of Redis, as far as it has one. */

import { RaftreeClientError } from '../../client/client-error.js';
import { errorCode, errorMessage } from '../../env/errors.js';
import type { StringError } from '../../kv/string-operation.js';

/** The message is the whole text of the answer: it begins with a code. */
export class CommandError extends Error {}

export const SYNTAX = 'ERR syntax error';
export const NOT_AN_INTEGER = 'ERR value is not an integer or out of range';

export const STRING_ERRORS: Readonly<Record<StringError, string>> = {
  malformed: 'ERR this node does not know the operation',
  notAnInteger: NOT_AN_INTEGER,
  notAFloat: 'ERR value is not a valid float',
  overflow: 'ERR increment or decrement would overflow',
  floatOverflow: 'ERR increment would produce NaN or Infinity',
  tooLarge: 'ERR string exceeds maximum allowed size (limits.maxValueBytes)',
  answerTooLarge: 'ERR the values of this answer are too large together',
  noSuchKey: 'ERR no such key',
};

const CODES: Readonly<Record<string, string>> = {
  NO_LEADER: 'CLUSTERDOWN',
  NOT_LEADER: 'CLUSTERDOWN',
  UNREACHABLE: 'CLUSTERDOWN',
  CONNECTION_REFUSED: 'CLUSTERDOWN',
  TIMEOUT: 'CLUSTERDOWN',
  NODE_REMOVED: 'CLUSTERDOWN',
  SHUTTING_DOWN: 'CLUSTERDOWN',
  CLIENT_CLOSED: 'CLUSTERDOWN',
  OVERLOADED: 'TRYAGAIN',
  CLIENT_OVERLOADED: 'TRYAGAIN',
  DISK_FULL: 'MISCONF',
  NOT_PERMITTED: 'NOPERM',
  SPANS_TABLETS: 'CROSSSLOT',
  WRONG_TABLET: 'TRYAGAIN',
  TABLET_FROZEN: 'TRYAGAIN',
};

/** The answer to a request that failed. Undefined for a fault of this node. */
export function refusalText(error: unknown): string | undefined {
  if (error instanceof CommandError) return error.message;
  if (!(error instanceof RaftreeClientError)) return undefined;
  const { outcome } = error;
  const code = errorCode(error) ?? '';
  if (outcome === 'unknown')
    return `UNKNOWN ${code}: ${errorMessage(error)}; the write may still take effect`;
  return `${CODES[code] ?? 'ERR'} ${code}: ${errorMessage(error)}`;
}
