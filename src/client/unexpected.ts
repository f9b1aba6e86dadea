import type { RequestName } from '../protocol/messages.js';
import { RaftreeClientError } from './client-error.js';
import { LASTING } from './router.js';

/** The error for a message that is no answer to this request. */
export function unexpected(type: string, request: RequestName): RaftreeClientError {
  const outcome = LASTING.has(request) ? 'unknown' : 'notCommitted';
  return new RaftreeClientError('UNKNOWN_MESSAGE', `${type} is no answer to ${request}`, outcome);
}
