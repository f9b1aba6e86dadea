/** Requests of the native protocol as requests to kv/, and results as messages. */
import type { KvError } from '../../kv/kv-error.js';
import type { Absent, Found, Get, Page, Scan, SessionOpened, Write, Written } from '../../kv/requests.js';
import { errorReply } from '../../protocol/error-codes.js';
import type { MessageOf, OutboundMessage } from '../../protocol/messages.js';
import type { AdministrationDone, AdministrationError, BalanceShown, TabletSplit } from '../ports.js';
import type { Synced, Watching } from './watch-streams.js';

export function writeOf(message: MessageOf<'write'>): Write {
  const { tablet, sessionId, sequence, acknowledgedThrough, after, operations } = message;
  const session = sessionId > 0 ? { id: sessionId, sequence, acknowledgedThrough, after } : undefined;
  return { type: 'write', tablet, session, operations };
}

export function readOf(message: MessageOf<'get'> | MessageOf<'scan'>): Get | Scan {
  if (message.type === 'get') {
    const { tablet, consistency, key, omitValue } = message;
    return { type: 'get', tablet, consistency, key, omitValue };
  }
  const { tablet, consistency, from, to, limit, reverse, keysOnly } = message;
  return { type: 'scan', tablet, consistency, from, to, limit, reverse, keysOnly };
}

export type Result =
  | Written
  | SessionOpened
  | Found
  | Absent
  | Page
  | AdministrationDone
  | TabletSplit
  | BalanceShown
  | AdministrationError
  | Watching
  | Synced
  | KvError;

export type Reply = Extract<
  OutboundMessage,
  {
    readonly type:
      | 'writeReply'
      | 'sessionOpened'
      | 'getReply'
      | 'scanReply'
      | 'done'
      | 'tabletSplit'
      | 'balanceReply'
      | 'watching'
      | 'watchSynced'
      | 'error';
  }
>;

export function replyTo(requestId: number, result: Result): Reply {
  switch (result.type) {
    case 'written':
      return { type: 'writeReply', requestId, ...result.write };
    case 'found': {
      const { version, value, remainingMs } = result;
      return { type: 'getReply', requestId, found: true, version, value, remainingMs };
    }
    case 'absent':
      return {
        type: 'getReply',
        requestId,
        found: false,
        version: 0,
        value: NOTHING,
        remainingMs: undefined,
      };
    case 'page': {
      const { entries, more, coveredTo } = result;
      return { type: 'scanReply', requestId, entries, more, coveredTo };
    }
    case 'balance':
      return { ...result, type: 'balanceReply', requestId };
    case 'error': {
      const { code, message, outcome } = result;
      const leader = 'leader' in result ? result.leader : undefined;
      const known = leader && { leaderId: leader.id, leaderAddress: leader.address };
      return errorReply(requestId, code, message, { outcome, ...known });
    }
    default:
      return { ...result, requestId };
  }
}

const NOTHING = Buffer.alloc(0);
