/**
 * What is answered to bytes that node:http takes for no request. Its parser knows the methods that are registered: a
 * request with another one is refused as with any that a path does not take.
 */
import type { Answer } from './answer.js';
import { type ProblemCode, problem } from './problem.js';

export interface ParseError {
  readonly code?: string | undefined;
  /** What came last on the connection. */
  readonly rawPacket?: Uint8Array;
}

const MALFORMED = ['MALFORMED_REQUEST', 'this is no HTTP request'] as const;

/** A token of RFC 9110, a target, and the version. */
const REQUEST_LINE = /^[\w!#$%&'*+.^`|~-]{1,32} (\S{1,16384}) HTTP\/1\.[01]\r?\n/;
const MAX_LINE_BYTES = 20_000;

/** `refused`: the answer to a request of a method that this target does not take. */
export function answerToUnparsed(
  { code = '', rawPacket }: ParseError,
  maxHeaderBytes: number,
  refused: (target: string) => Answer,
): Answer {
  const line = Buffer.from(rawPacket ?? [])
    .subarray(0, MAX_LINE_BYTES)
    .toString('latin1');
  const target = code === 'HPE_INVALID_METHOD' ? REQUEST_LINE.exec(line)?.[1] : undefined;
  if (target !== undefined) return refused(target);
  const problems: Readonly<Record<string, readonly [ProblemCode, string]>> = {
    HPE_HEADER_OVERFLOW: ['HEADERS_TOO_LARGE', `target and headers have more than ${maxHeaderBytes} bytes`],
    ERR_HTTP_REQUEST_TIMEOUT: ['REQUEST_TIMEOUT', 'the request did not come to its end in time'],
  };
  return problem(...(problems[code] ?? MALFORMED));
}
