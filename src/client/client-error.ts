/**
 * The error that the methods of a client throw. `code` says what happened. `outcome` says what is known about a write:
 * `notCommitted` if no attempt can have reached a log, otherwise `unknown`. For a read it is `notCommitted`.
 *
 * Codes of the client itself:
 *
 *     TIMEOUT             no answer within timeoutMs
 *     UNREACHABLE         no connection to any node within timeoutMs
 *     CONNECTION_REFUSED  every node refused the connection, refusedRounds times
 *     ABORTED             the AbortSignal was aborted
 *     CLIENT_CLOSED       close() was called before the answer came
 *     CLIENT_OVERLOADED   maxQueuedRequests are already waiting
 *     INVALID_REQUEST     invalid or contradictory arguments
 *     KEY_TOO_LARGE, VALUE_TOO_LARGE, REQUEST_TOO_LARGE
 *                         above the leader's limits: it was not sent
 *     HISTORY_GONE        a watch needs changes that no node keeps any more: `HistoryGoneError`
 *     MIRROR_NOT_READY    a mirror was read before its ready resolved
 *     MIRROR_TOO_LARGE    the keys of a mirror take more than its maxBytes
 *     NOT_A_NUMBER        the value of a key to increment is no whole number of 64 bits
 *     NUMBER_OVERFLOW     the sum of an increment would have more than 64 bits
 *
 * All other codes come from a node: see PROTOCOL.md.
 */

import { type Outcome, RaftreeError } from '../env/errors.js';

export class RaftreeClientError extends RaftreeError {
  readonly outcome: Outcome;

  constructor(code: string, message: string, outcome: Outcome, cause?: unknown) {
    super(code, message, cause === undefined ? {} : { cause });
    this.name = 'RaftreeClientError';
    this.outcome = outcome;
  }
}

/** A watch cannot go on without a gap. */
export class HistoryGoneError extends RaftreeClientError {
  /**
   * From where on changes are kept: a version, or a token if the keys belong to several tablets. Those before can only
   * be seen as what the keys hold now.
   */
  readonly resumeFrom: number | string;

  constructor(reason: string, resumeFrom: number | string) {
    const from =
      typeof resumeFrom === 'number' ? `version ${resumeFrom} on` : 'where this error says (resumeFrom)';
    const message = `${reason}: read the keys anew, and watch from ${from}`;
    super('HISTORY_GONE', message, 'notCommitted');
    this.name = 'HistoryGoneError';
    this.resumeFrom = resumeFrom;
  }
}
