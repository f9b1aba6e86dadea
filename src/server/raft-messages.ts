/** Messages between replicas as messages of the protocol, and back. */
import { RaftreeError } from '../env/errors.js';
import { isCommandEntry } from '../kv/command.js';
import type { OutboundMessage, Message as ProtocolMessage } from '../protocol/messages.js';
import { decodeChange, decodeConfiguration, encodeConfiguration } from '../raft/configuration-codec.js';
import type { ReplicaMessage } from '../replica/snapshot-messages.js';

export function toProtocol(group: number, message: ReplicaMessage): OutboundMessage {
  switch (message.type) {
    case 'snapshotOffer': {
      const { type, term, checkpoint, snapshot, files } = message;
      const configuration = encodeConfiguration(snapshot.configuration);
      const { index, term: snapshotTerm } = snapshot;
      return { type, group, term, checkpoint, index, snapshotTerm, configuration, files };
    }
    default:
      return { ...message, group };
  }
}

export interface GroupMessage {
  readonly group: number;
  readonly message: ReplicaMessage;
}

/** Undefined for a message that is not between replicas. Throws `MALFORMED_MESSAGE` for one that cannot be decoded. */
export function fromProtocol(message: ProtocolMessage): GroupMessage | undefined {
  switch (message.type) {
    case 'append': {
      let index = message.previousIndex;
      for (const { kind, body } of message.entries) {
        index++;
        if (kind === 'configuration') readable('append.entries', () => checkChange(body));
        // A committed entry that is no command is void on all replicas. One that is not committed is refused here, so
        // that this node does not help to commit it.
        if (kind === 'command' && index > message.commitIndex && !isCommandEntry(body))
          throw malformed('append.entries cannot be read');
      }
      return { group: message.group, message };
    }
    case 'snapshotOffer': {
      const { group, type, term, checkpoint, index, snapshotTerm, files } = message;
      const configuration = readable('snapshotOffer.configuration', () =>
        decodeConfiguration(message.configuration),
      );
      return {
        group,
        message: { type, term, checkpoint, snapshot: { index, term: snapshotTerm, configuration }, files },
      };
    }
    case 'requestVote':
    case 'voteReply':
    case 'appendReply':
    case 'heartbeat':
    case 'heartbeatReply':
    case 'quietOffer':
    case 'quietReply':
    case 'timeoutNow':
    case 'readIndex':
    case 'readIndexReply':
    case 'snapshotWanted':
    case 'snapshotChunk':
      return { group: message.group, message };
    default:
      return undefined;
  }
}

/** Throws for a change that no leader proposes. */
function checkChange(body: Uint8Array): void {
  const { changes } = decodeChange(body);
  if (changes.some(({ node }) => node === 0)) throw new RangeError('0 is no node');
}

function readable<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch {
    throw malformed(`${what} cannot be read`);
  }
}

function malformed(message: string): RaftreeError {
  return new RaftreeError('MALFORMED_MESSAGE', message);
}
