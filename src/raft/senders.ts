/**
 * Whose messages count. The host says who sent a message: the node that its connection has proven to be. That a node
 * has proven itself does not make it a member, and a member may err. Nothing in here makes Raft survive members that
 * lie; it keeps everybody else from doing lasting harm.
 *
 * Dropping a message is always safe in Raft. So each rule needs a reason only why nobody waits for ever because of it.
 *
 *   1. Terms have headroom. A term that lies more than MAX_TERM_JUMP ahead, or above MAX_TERM, is refused before it is
 *      stored. An election takes at least 50 ms, unless leadership is handed over: that takes a round trip and a
 *      committed entry, and is done by an operator or a leader that ends. So no cluster gets that far ahead of a member
 *      in less than six years of elections, one after the other. A node without any members yet takes every term up to
 *      MAX_TERM: a member may have erred long before it joins.
 *   2. Answers count from the members in force alone. A node asks nobody else: a candidate the voters, a leader the
 *      members that it replicates to. What others say can neither win an election nor commit.
 *   3. Requests to a leader (readIndex) count from its members alone: it sends heartbeats to no others. A node that was
 *      just removed may still follow it, for up to an election timeout: its reads end by their deadlines.
 *   4. A term has one leader. Who has followed one, or led, takes nothing from another in the same term.
 *   5. A stranger is a node that is no member in force, and that no change in the log names. Its requests for votes, and
 *      what it says as a leader, count only while this node hears from no leader that it knows. A node without any
 *      members yet knows nobody, and listens to all.
 *
 * Rule 5 cannot be stricter. A node that was away does not know who was added meanwhile, and there may be nobody left
 * that it knows, but a voter that needs its vote:
 *
 *     voters 1 2 3; 2 is away; 3 is replaced by 4 and switched off; 1 crashes; 2 is back: 4 must win with its vote
 *
 * And it cuts nobody off. Say that Y, a stranger to X, leads by the newest configuration, and that X still hears from a
 * leader L that it knows (or is L), of an earlier term. L has heard from a quorum of its configuration within an
 * election timeout, or it steps down. None of these was in a later term: a member of a later term says so, and L steps
 * down, or it says nothing, and is not heard. Let k be the first change of members after L's configuration. A quorum of
 * it holds k; so one that L has heard from does, and k was made in no later term than L's. By leader completeness L
 * holds k, or made it. L replicates it to X, and applies it itself; then the same holds of the next change. So either X
 * learns of all changes up to the one that names Y, or L steps down, and then X listens to Y.
 */
import { isMember } from './configuration.js';
import type { LocalState } from './local-state.js';
import { type Message, type MessageRefusal, NOBODY, type NodeId } from './types.js';

/** 2^32 elections of 50 ms are 6.8 years. */
export const MAX_TERM_JUMP = 2 ** 32;
/** So many jumps, and more, are left from the first to the last. */
export const MAX_TERM = 2 ** 52;

/** Of these the host keeps the content: the parts of a snapshot on its way. */
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
  snapshotWanted: 'answer',
  readIndex: 'request',
  readIndexReply: 'answer of the leader',
  append: 'of a leader',
  heartbeat: 'of a leader',
  snapshot: 'of a snapshot',
  snapshotOffer: 'of a snapshot',
  snapshotChunk: 'of a snapshot',
  timeoutNow: 'order',
};

/** Whether a message answers one of the receiver's: what was removed meanwhile may still answer. */
export function isAnswer(type: Message['type'] | TransferType): boolean {
  return SORTS[type] === 'answer' || SORTS[type] === 'answer of the leader';
}

export interface Heard {
  /** The one leader of the present term that this node has followed, or was; NOBODY if it knows of none. */
  readonly termLeader: NodeId;
  /** Whether this node leads, or has heard from the leader that it follows within an election timeout. */
  readonly hasLeader: boolean;
  /** Whom it follows now; itself if it leads. */
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
      // Whoever is told to campaign, or answered, has heard from the leader of that term before.
      return term < local.term || from === termLeader ? undefined : 'notLeader';
    case 'of a leader':
    case 'of a snapshot':
      // The term of a part of a snapshot is its sender's, who may have ceased to lead.
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
 * Whether the terms of a message fit together: no log holds an entry of a later term before one of an earlier, or of
 * its own future.
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
