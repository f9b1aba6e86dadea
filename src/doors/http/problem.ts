/**
 * Errors as problem documents (RFC 9457): `{ type, title, status, detail, code, outcome }`. `code` is for programs, and
 * the same as in the binary protocol where that has one. `outcome` says what is known of a write: `notCommitted`, it
 * changed nothing and will not; `unknown`, it may take effect.
 */
import type { Outcome } from '../../env/errors.js';
import type { Answer } from './answer.js';

/** Codes with their status: those of nodes and of the client library, then those of HTTP alone. */
export const PROBLEM_STATUS = {
  INVALID_REQUEST: 400,
  KEY_EMPTY: 400,
  KEY_TOO_LARGE: 400,
  CHANGE_INVALID: 400,
  NOT_PERMITTED: 403,
  NOT_A_MEMBER: 404,
  ALREADY_MEMBER: 409,
  CHANGE_PENDING: 409,
  CHANGE_CONFLICT: 409,
  SPANS_TABLETS: 409,
  NOT_A_NUMBER: 409,
  NUMBER_OVERFLOW: 409,
  QUORUM_AT_RISK: 409,
  MEMBER_UNREACHABLE: 409,
  MEMBER_BEHIND: 409,
  VALUE_TOO_LARGE: 413,
  REQUEST_TOO_LARGE: 413,
  INTERNAL: 500,
  READ_FAILED: 500,
  NOT_LEADER: 503,
  NO_LEADER: 503,
  OVERLOADED: 503,
  SHUTTING_DOWN: 503,
  LEADERSHIP_LOST: 503,
  SESSION_EXPIRED: 503,
  OUT_OF_ORDER: 503,
  WRONG_TABLET: 503,
  TABLET_FROZEN: 503,
  NODE_REMOVED: 503,
  UNREACHABLE: 503,
  MAP_UNAVAILABLE: 503,
  TRANSFER_FAILED: 503,
  TIMEOUT: 504,
  DISK_FULL: 507,
  MALFORMED_REQUEST: 400,
  UNAUTHENTICATED: 401,
  FOREIGN_HOST: 403,
  FOREIGN_ORIGIN: 403,
  ROUTE_NOT_FOUND: 404,
  KEY_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  HISTORY_GONE: 410,
  CONDITION_FAILED: 412,
  UNSUPPORTED_MEDIA_TYPE: 415,
  HEADERS_TOO_LARGE: 431,
} as const satisfies Readonly<Record<string, number>>;

export type ProblemCode = keyof typeof PROBLEM_STATUS;

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  507: 'Insufficient Storage',
};

export const PROBLEM_CONTENT_TYPE = 'application/problem+json';

export interface ProblemDetails {
  readonly outcome?: Outcome;
  readonly headers?: Readonly<Record<string, string>>;
  /** Further members of the document. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEM_STATUS, code);
}

export function problem(code: ProblemCode, detail: string, details: ProblemDetails = {}): Answer {
  const { outcome = 'notCommitted', headers = {}, more = {} } = details;
  const status = PROBLEM_STATUS[code];
  const title = TITLES[status] ?? '';
  return {
    status,
    headers: {
      'content-type': PROBLEM_CONTENT_TYPE,
      ...(status === 503 ? { 'retry-after': '1' } : {}),
      ...headers,
    },
    body: `${JSON.stringify({ type: 'about:blank', title, status, detail, code, outcome, ...more })}\n`,
  };
}

/** An error of kv/, of the administration, or of the client library. */
export function problemOf(error: {
  readonly code: string;
  readonly message: string;
  readonly outcome: Outcome;
}): Answer {
  const { code, message, outcome } = error;
  return problem(nameOfProblem(code), message, { outcome });
}

export function nameOfProblem(code: string): ProblemCode {
  return OTHER_NAMES[code] ?? (isProblemCode(code) ? code : 'INTERNAL');
}

/** Codes of the client library in a node that mean something else to the node's callers. */
const OTHER_NAMES: Readonly<Record<string, ProblemCode>> = {
  CLIENT_CLOSED: 'SHUTTING_DOWN',
  CLIENT_OVERLOADED: 'OVERLOADED',
  CONNECTION_REFUSED: 'UNREACHABLE',
  SECRET_MISMATCH: 'UNREACHABLE',
  IDENTITY_MISMATCH: 'UNREACHABLE',
  VERSION_MISMATCH: 'UNREACHABLE',
};
