/** Raft's messages as the protocol carries them, and back. */
import { RaftreeError } from '../env/errors.js';
import type { OutboundMessage, Message as ProtocolMessage } from '../protocol/messages.js';
import type { EntryKind, Message as RaftMessage } from '../raft/types.js';

const KIND_NUMBERS: Record<EntryKind, number> = { noop: 1, command: 2 };
const KINDS = new Map<number, EntryKind>([
  [1, 'noop'],
  [2, 'command'],
]);

export function toProtocol(group: number, message: RaftMessage): OutboundMessage {
  if (message.type !== 'append') return { ...message, group };
  const entries = message.entries.map(({ term, kind, body }) => ({ term, kind: KIND_NUMBERS[kind], body }));
  return { ...message, group, entries };
}

export interface GroupMessage {
  readonly group: number;
  readonly message: RaftMessage;
}

/** Undefined for a message that is not Raft's. Throws `MALFORMED_MESSAGE` for an unknown kind of entry. */
export function fromProtocol(message: ProtocolMessage): GroupMessage | undefined {
  switch (message.type) {
    case 'append':
      return {
        group: message.group,
        message: {
          ...message,
          entries: message.entries.map(({ term, kind, body }) => ({ term, kind: kindOf(kind), body })),
        },
      };
    case 'requestVote':
    case 'voteReply':
    case 'appendReply':
    case 'heartbeat':
    case 'heartbeatReply':
      return { group: message.group, message };
    default:
      return undefined;
  }
}

function kindOf(kind: number): EntryKind {
  const known = KINDS.get(kind);
  if (!known)
    throw new RaftreeError('MALFORMED_MESSAGE', `append.entries: there is no entry of kind ${kind}`);
  return known;
}
