/**
 * Which messages count, by their sender. The host names the sender: the node that the connection has authenticated. An
 * authenticated node need not be a member, and a member may be misconfigured. These rules do not make Raft survive
 * lying members (it is not Byzantine fault tolerant). They prevent lasting harm by all other nodes.
 *
 * Dropping a message is always safe in Raft. So for each rule only liveness needs an argument: that no node waits
 * forever because of it.
 *
 * 1. Terms have headroom. A term more than MAX_TERM_JUMP ahead, or above MAX_TERM, is refused before it is stored. An
 *    election takes at least 50 ms. Only a leadership transfer is faster: it takes a round trip and a committed entry,
 *    and is started by an operator or by a leader that shuts down. So a cluster needs more than six years of continuous
 *    elections to get that far ahead of a member. A node without members yet accepts every term up to MAX_TERM: a
 *    member may have been misconfigured long before this node joins.
 * 2. Answers count only from members of the configuration in force. A node asks no others: a candidate asks the voters,
 *    a leader the members it replicates to. Answers from others can neither win an election nor commit an entry.
 * 3. Requests to a leader (readIndex) count only from its members: it sends heartbeats to no others. A node that was
 *    just removed may still follow the leader, for up to an election timeout. Its reads fail at their deadlines.
 * 4. A term has one leader. A node that has followed a leader in a term, or was it, accepts no other leader in that
 *    term.
 * 5. A stranger is a node that is no member in force and is in no configuration change in the log. Its vote requests
 *    and its messages as a leader count only while this node hears from no leader that it knows. A node without members
 *    yet has no strangers: it accepts them from every node.
 *
 * Rule 5 cannot be stricter. A node that was away does not know the members that were added meanwhile. The only
 * candidate left may be one that it does not know, and that candidate may need its vote:
 *
 *     voters 1 2 3; 2 is away; 3 is replaced by 4 and switched off; 1 crashes; 2 is back: 4 must win with its vote
 *
 * Rule 5 isolates no node forever. Suppose that Y, a stranger to X, leads with the newest configuration, and X still
 * hears from a leader L of an earlier term that X knows (or X is L). L has heard from a quorum of its configuration
 * within an election timeout; otherwise it steps down. None of this quorum was in a later term: a member in a later
 * term answers with that term, and L steps down; or it does not answer, and L does not hear from it. Let k be the first
 * configuration change after L's configuration. A quorum of L's configuration stores k. So a member that L has heard
 * from stores k, and k was created in a term that is not later than L's. By leader completeness L stores k, or L
 * created it. L replicates k to X and applies it itself. The same then holds for the next change. So either X learns
 * all changes up to the one that adds Y, or L steps down, and then X accepts Y's messages.
 */
import { isMember } from './configuration.js';
import type { LocalState } from './local-state.js';
import { type Message, type MessageRefusal, NOBODY, type NodeId } from './types.js';

/** 2^32 elections of 50 ms take 6.8 years. */
export const MAX_TERM_JUMP = 2 ** 32;
/** From term 0 it takes 2^20 such jumps to get here. */
export const MAX_TERM = 2 ** 52;

/** Messages whose content the host handles: the transfer of a snapshot. */
export type TransferType = 'snapshotOffer' | 'snapshotChunk' | 'snapshotWanted';

type Sort =
  | 'vote'
  | 'answer'
  | 'request'
  | 'answer of the leader'
  | 'of a leader'
  | 'of a snapshot'
  | 'order';

const SORTS: Readonly<Record<Message['type'] | TransferType, Sort>> = {
  requestVote: 'vote',
  voteReply: 'answer',
  appendReply: 'answer',
  heartbeatReply: 'answer',
  quietReply: 'answer',
  snapshotWanted: 'answer',
  readIndex: 'request',
  readIndexReply: 'answer of the leader',
  append: 'of a leader',
  heartbeat: 'of a leader',
  quietOffer: 'of a leader',
  snapshot: 'of a snapshot',
  snapshotOffer: 'of a snapshot',
  snapshotChunk: 'of a snapshot',
  timeoutNow: 'order',
};

/** Whether a message is an answer. A node that was removed meanwhile may still answer. */
export function isAnswer(type: Message['type'] | TransferType): boolean {
  return SORTS[type] === 'answer' || SORTS[type] === 'answer of the leader';
}

export interface Heard {
  /** The leader of the current term that this node has followed, or was itself; NOBODY if it knows none. */
  readonly termLeader: NodeId;
  /** Whether this node leads, or has heard from the leader that it follows within an election timeout. */
  readonly hasLeader: boolean;
  /** The leader that this node follows now; itself if it leads. */
  readonly leader: NodeId;
}

/** Why a message does not count; undefined if it does. */
export function refusalOf(
  from: NodeId,
  { type, term }: { readonly type: Message['type'] | TransferType; readonly term: number },
  local: LocalState,
  { termLeader, hasLeader, leader }: Heard,
): MessageRefusal | undefined {
  const isNew = local.configuration.voters.length === 0;
  if (term > MAX_TERM || (!isNew && term > local.term + MAX_TERM_JUMP)) return 'termTooFar';
  const sort = SORTS[type];
  switch (sort) {
    case 'answer':
    case 'request':
      return isMember(local.configuration, from) ? undefined : 'stranger';
    case 'answer of the leader':
    case 'order':
      // TimeoutNow and answers to readIndex come only after a message of that term's leader.
      return term < local.term || from === termLeader ? undefined : 'notLeader';
    case 'of a leader':
    case 'of a snapshot':
      // A snapshot chunk carries its sender's term, and the sender may have stepped down since.
      if (term === local.term && termLeader !== NOBODY && from !== termLeader)
        return sort === 'of a leader' ? 'secondLeader' : 'notLeader';
  }
  return isStranger(from, local) && hasLeader && !isStranger(leader, local) ? 'stranger' : undefined;
}

function isStranger(node: NodeId, { id, configuration, membership }: LocalState): boolean {
  if (node === id || configuration.voters.length === 0) return false;
  return !isMember(configuration, node) && !membership.names(node);
}

/**
 * Whether the terms in a message are consistent: terms in a log never decrease, and none is above the message's term.
 */
export function isSound(message: Message | { readonly type: TransferType; readonly term: number }): boolean {
  switch (message.type) {
    case 'requestVote':
      return message.lastTerm <= message.term;
    case 'append': {
      let term = message.previousTerm;
      for (const entry of message.entries) {
        if (entry.term < term) return false;
        term = entry.term;
      }
      return term <= message.term;
    }
    case 'snapshot': {
      const { term, configuration } = message.snapshot;
      return term <= message.term && configuration.voters.length > 0;
    }
    default:
      return true;
  }
}
