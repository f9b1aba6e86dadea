/**
 * The codes of `error` messages, each with its usual outcome: whether the request may have been committed. Programs
 * decide by code and outcome. The message is for people.
 */
import { type Outcome, RaftreeError } from '../env/errors.js';
import type { MessageOf, OutboundOf } from './messages.js';

interface ErrorCodeDeclaration {
  readonly outcome: Outcome;
  /** `connection`: the connection closes after it. */
  readonly about: 'request' | 'connection';
  /** One sentence for PROTOCOL.md: what happened, and what to do. */
  readonly meaning: string;
}

export const ERROR_CODES = {
  NOT_LEADER: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'Another node leads: ask leaderAddress, or any other node if it is empty.',
  },
  NO_LEADER: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'No leader is known at present: try again shortly.',
  },
  OVERLOADED: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The node has as much to do as it can hold: try again after a pause.',
  },
  SHUTTING_DOWN: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The node is stopping: ask another one.',
  },
  LEADERSHIP_LOST: {
    outcome: 'unknown',
    about: 'request',
    meaning: 'The node lost the leadership while the write was under way: repeat it with the same sequence.',
  },
  SESSION_EXPIRED: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The session is not known (any more): this attempt changed nothing. Open a new one.',
  },
  OUT_OF_ORDER: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The write named in `after` was not carried out yet: this attempt changed nothing. Repeat that one first.',
  },
  INVALID_REQUEST: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The request contradicts itself, or its sequence is outside the window; the message says how.',
  },
  WRONG_TABLET: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The tablet is not here, or owns no such key: ask for the map (`tablets`), and repeat with the right one.',
  },
  SPANS_TABLETS: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The keys of one write belong to several tablets: write them apart, or give them one {tag} (by hash).',
  },
  TABLET_FROZEN: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The tablet is being merged with its neighbour: try again after a pause; soon it goes on, or is WRONG_TABLET.',
  },
  KEY_EMPTY: { outcome: 'notCommitted', about: 'request', meaning: 'A key has no bytes.' },
  KEY_TOO_LARGE: { outcome: 'notCommitted', about: 'request', meaning: 'A key is above the limit.' },
  VALUE_TOO_LARGE: { outcome: 'notCommitted', about: 'request', meaning: 'A value is above the limit.' },
  REQUEST_TOO_LARGE: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The request as a whole is above the limit.',
  },
  DISK_FULL: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The disk of the leader is full: free space, or try again when another node leads. Of a write that is in the log and waits for space the outcome is `unknown`: repeat it with the same sequence.',
  },
  HISTORY_GONE: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'Of a watch: changes that it was not told are not kept any more. Read the keys anew, and watch from fromVersion.',
  },
  CHANGE_PENDING: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'Another change of membership is under way: try again when it is done.',
  },
  CHANGE_INVALID: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The present membership does not allow the change.',
  },
  CHANGE_CONFLICT: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The membership was changed since the index that the request expects: look again first.',
  },
  NOT_PERMITTED: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'This connection may not administrate: prove the cluster secret, or if there is none, connect from the node’s machine.',
  },
  NODE_REMOVED: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'This node was removed from the cluster: ask a member.',
  },
  ALREADY_MEMBER: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The node to be added is a member, with another role or other addresses: promote, demote or update it.',
  },
  NOT_A_MEMBER: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The node that is to be changed or removed is no member.',
  },
  QUORUM_AT_RISK: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'Of the voters before or after the change no majority is heard and holds the log; `force` changes them nevertheless.',
  },
  MEMBER_UNREACHABLE: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The member is not reached under its peer address, or something else answers there; `force` ignores that.',
  },
  MEMBER_BEHIND: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The learner did not catch up within an election timeout: wait; `force` makes it a voter nevertheless.',
  },
  MAP_UNAVAILABLE: {
    outcome: 'notCommitted',
    about: 'request',
    meaning:
      'The map of the tablets has no leader for two election timeouts: nothing can be split, merged or moved. Ask another node; if all say so, start those that vote on it.',
  },
  TRANSFER_FAILED: {
    outcome: 'unknown',
    about: 'request',
    meaning: 'The other node did not take over in time.',
  },
  READ_FAILED: {
    outcome: 'notCommitted',
    about: 'request',
    meaning: 'The node could not read its disk: ask another one.',
  },
  INTERNAL: {
    outcome: 'unknown',
    about: 'request',
    meaning: 'A fault in the node; its log has the details.',
  },
  VERSION_MISMATCH: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'The two sides speak different versions of the protocol.',
  },
  IDENTITY_MISMATCH: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'The hello names another cluster, node, store or role than belongs here.',
  },
  SECRET_MISMATCH: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'The two sides do not have the same cluster secret, or only one has any.',
  },
  STORE_OUTDATED: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'The data folder of this node has lost what it acknowledged: the node stops.',
  },
  HELLO_EXPECTED: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'The messages of the handshake came in another order, or others between them.',
  },
  HELLO_TIMEOUT: { outcome: 'notCommitted', about: 'connection', meaning: 'No hello came in time.' },
  FRAME_TOO_LARGE: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'A frame claims to be longer than the limit.',
  },
  FRAME_TIMEOUT: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'A frame began and did not go on in time.',
  },
  BUFFERS_FULL: {
    outcome: 'unknown',
    about: 'connection',
    meaning: 'The connections of the node hold too many bytes, and this one held most or stood still.',
  },
  IDLE_TIMEOUT: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning:
      'The client sent nothing for a long time, not even a ping: connect again when there is a request.',
  },
  UNKNOWN_MESSAGE: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'A frame has a type that is not in this document.',
  },
  MALFORMED_MESSAGE: {
    outcome: 'notCommitted',
    about: 'connection',
    meaning: 'A body does not have the layout of its type; the message names the field.',
  },
} as const satisfies Readonly<Record<string, ErrorCodeDeclaration>>;

export type ErrorCode = keyof typeof ERROR_CODES;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

/** An `error` message. Without a given outcome it has the usual one of its code. */
export function errorReply(
  requestId: number,
  code: ErrorCode,
  message: string,
  more: { readonly outcome?: Outcome; readonly leaderId?: number; readonly leaderAddress?: string } = {},
): OutboundOf<'error'> {
  return {
    type: 'error',
    requestId,
    code,
    message,
    outcome: more.outcome ?? ERROR_CODES[code].outcome,
    leaderId: more.leaderId ?? 0,
    leaderAddress: more.leaderAddress ?? '',
  };
}

/** A received `error` message as an error. Outcome and leader are in `info`. */
export function receivedError(message: MessageOf<'error'>): RaftreeError {
  const { code, outcome, leaderId, leaderAddress } = message;
  return new RaftreeError(code, message.message, { info: { outcome, leaderId, leaderAddress } });
}
