/** The exit codes of the process. */
import { errorMessage, RaftreeError } from '../env/errors.js';

export const EXIT = {
  done: 0,
  /** The key does not exist, a condition was not met, an import had bad lines, or files are damaged. */
  notMet: 1,
  usage: 2,
  /** Nothing was changed. */
  notCommitted: 3,
  /** The change may have been made, or may still be made. */
  unknown: 4,
  /** No node listens at the endpoints: nothing was changed. */
  notRunning: 5,
} as const;

export const EXIT_CODES_HELP =
  'Exit codes: 0 done; 1 not found, condition not met, bad lines or damage found; 2 usage; 3 not committed; ' +
  '4 outcome unknown; 5 no node listens, not committed.';

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A mistake in the command line. */
export class UsageError extends Error {}

const USAGE_CODES = new Set(['INVALID_CONFIG', 'INVALID_REQUEST', 'KEY_EMPTY', 'KEY_TOO_LARGE']);

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof UsageError) return EXIT.usage;
  if (!(error instanceof RaftreeError)) return EXIT.unknown;
  if (USAGE_CODES.has(error.code)) return EXIT.usage;
  const outcome = 'outcome' in error ? error.outcome : error.info.outcome;
  if (outcome === 'unknown') return EXIT.unknown;
  return error.code === 'CONNECTION_REFUSED' ? EXIT.notRunning : EXIT.notCommitted;
}

/** One line for standard error: what happened and, if it matters, what is known about the outcome. */
export function describeError(error: unknown): string {
  if (!(error instanceof RaftreeError)) return `raftree: ${errorMessage(error)}`;
  const code = exitCodeOf(error);
  const known =
    code === EXIT.unknown
      ? '; whether it took effect is unknown'
      : code === EXIT.notRunning
        ? '; nothing was changed'
        : '';
  return `raftree: ${error.message} (${error.code}${known})`;
}

/** The same as one line of JSON. */
export function errorAsJson(error: unknown): string {
  const exitCode = exitCodeOf(error);
  const code = error instanceof RaftreeError ? error.code : exitCode === EXIT.usage ? 'USAGE' : 'INTERNAL';
  const outcome = exitCode === EXIT.unknown ? 'unknown' : 'notCommitted';
  return JSON.stringify({ error: { code, message: errorMessage(error), outcome } });
}
