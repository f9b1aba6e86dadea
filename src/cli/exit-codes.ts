/** What the process' exit code says. */
import { errorMessage, RaftreeError } from '../env/errors.js';

export const EXIT = {
  done: 0,
  /** The key is not there, a condition was not met, some lines of an import were bad, or files are damaged. */
  notMet: 1,
  usage: 2,
  /** Nothing was changed. */
  notCommitted: 3,
  /** The change may have been made, or may still be. */
  unknown: 4,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A mistake of whoever typed the command. */
export class UsageError extends Error {}

const USAGE_CODES = new Set(['INVALID_CONFIG', 'INVALID_REQUEST', 'KEY_EMPTY', 'KEY_TOO_LARGE']);

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof UsageError) return EXIT.usage;
  if (!(error instanceof RaftreeError)) return EXIT.unknown;
  if (USAGE_CODES.has(error.code)) return EXIT.usage;
  const outcome = 'outcome' in error ? error.outcome : error.info.outcome;
  return outcome === 'unknown' ? EXIT.unknown : EXIT.notCommitted;
}

/** One paragraph for standard error: what happened and, where it matters, what is known of the outcome. */
export function describeError(error: unknown): string {
  if (!(error instanceof RaftreeError)) return `raftree: ${errorMessage(error)}`;
  const known = exitCodeOf(error) === EXIT.unknown ? '; whether it took effect is unknown' : '';
  return `raftree: ${error.message} (${error.code}${known})`;
}
