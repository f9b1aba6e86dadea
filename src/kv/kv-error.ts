/** How a request to kv/ fails: a value with a code for programs, a message for people, and the outcome of a write. */
import type { Outcome } from '../env/errors.js';

/** Every code with its usual outcome. An error may have another one. */
export const KV_ERROR_OUTCOMES = {
  NOT_LEADER: 'notCommitted',
  NO_LEADER: 'notCommitted',
  OVERLOADED: 'notCommitted',
  SHUTTING_DOWN: 'notCommitted',
  LEADERSHIP_LOST: 'unknown',
  SESSION_EXPIRED: 'notCommitted',
  OUT_OF_ORDER: 'notCommitted',
  INVALID_REQUEST: 'notCommitted',
  WRONG_TABLET: 'notCommitted',
  SPANS_TABLETS: 'notCommitted',
  TABLET_FROZEN: 'notCommitted',
  NOT_PERMITTED: 'notCommitted',
  KEY_EMPTY: 'notCommitted',
  KEY_TOO_LARGE: 'notCommitted',
  VALUE_TOO_LARGE: 'notCommitted',
  REQUEST_TOO_LARGE: 'notCommitted',
  DISK_FULL: 'notCommitted',
  READ_FAILED: 'notCommitted',
  INTERNAL: 'unknown',
} as const satisfies Readonly<Record<string, Outcome>>;

export type KvErrorCode = keyof typeof KV_ERROR_OUTCOMES;

export interface KvError {
  readonly type: 'error';
  readonly code: KvErrorCode;
  readonly message: string;
  /** `notCommitted`: the write is not in the log. `unknown`: it may take effect. A read is always `notCommitted`. */
  readonly outcome: Outcome;
  /** With `NOT_LEADER`. The address is empty if it is not known. */
  readonly leader?: { readonly id: number; readonly address: string };
}

export function kvError(code: KvErrorCode, message: string, outcome?: Outcome): KvError {
  return { type: 'error', code, message, outcome: outcome ?? KV_ERROR_OUTCOMES[code] };
}

export function isKvErrorCode(code: string): code is KvErrorCode {
  return Object.hasOwn(KV_ERROR_OUTCOMES, code);
}

/** The message of `SPANS_TABLETS`. */
export const SPANS_TABLETS =
  'the keys of one write belong to several tablets: write them apart, or (by hash) give them the same {tag}';
