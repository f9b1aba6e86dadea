/**
 * What a client's caller gets instead of an answer. `code` says what happened; `outcome` says exactly what is known of
 * a write: `notCommitted` if no attempt of it can have reached a log, or `unknown`. For a read it is `notCommitted`.
 *
 * Codes of the client itself:
 *
 *     TIMEOUT             no answer within timeoutMs
 *     UNREACHABLE         no node could be connected to within timeoutMs
 *     CONNECTION_REFUSED  every node refused the connection, refusedRounds times
 *     ABORTED             the caller's AbortSignal fired
 *     CLIENT_CLOSED       close() was called before the answer came
 *     CLIENT_OVERLOADED   maxQueuedRequests are waiting already
 *     INVALID_REQUEST     the arguments contradict each other
 *     KEY_TOO_LARGE, VALUE_TOO_LARGE, REQUEST_TOO_LARGE
 *                         the leader takes nothing so large: it was not sent
 *
 * All others come from a node: see PROTOCOL.md.
 */
import { RaftreeError } from '../env/errors.js';
import type { Outcome } from '../protocol/error-codes.js';

export class RaftreeClientError extends RaftreeError {
  readonly outcome: Outcome;

  constructor(code: string, message: string, outcome: Outcome, cause?: unknown) {
    super(code, message, cause === undefined ? {} : { cause });
    this.name = 'RaftreeClientError';
    this.outcome = outcome;
  }
}
