/** What an operator may change about the members of a cluster, and its form on the wire. */
import type { MessageOf, OutboundOf } from '../protocol/messages.js';
import { addressOf, invalid } from './client-options.js';

/**
 * A voter counts in elections and commits; a learner receives everything and counts for nothing. Whoever is a member
 * already may be added as the other kind, without addresses; a new member needs both of its addresses (`host:port`).
 */
export type MemberChange =
  | {
      readonly type: 'addVoter' | 'addLearner';
      readonly node: number;
      readonly client?: string;
      readonly peer?: string;
    }
  | { readonly type: 'remove'; readonly node: number };

type OutboundMemberChange = OutboundOf<'changeMembers'>['changes'][number];

/** Throws `INVALID_REQUEST`. */
export function toMemberChange(change: MemberChange): OutboundMemberChange {
  const { type, node } = change;
  if (!Number.isInteger(node) || node < 1) throw invalid(`${node} is no node's id`);
  const { client = '', peer = '' } = change.type === 'remove' ? {} : change;
  if ((client === '') !== (peer === '')) throw invalid('give both addresses of a member, or neither');
  for (const address of [client, peer]) if (address !== '') addressOf(address);
  return { type, nodeId: node, clientAddress: client, peerAddress: peer };
}

/** Whether the members that a leader tells, with no change half done, are as the changes want them. */
export function isInForce(
  { voters, learners, peers }: MessageOf<'statusReply'>,
  changes: readonly OutboundMemberChange[],
): boolean {
  const last = new Map(changes.map((change) => [change.nodeId, change]));
  return [...last.values()].every(({ type, nodeId, clientAddress, peerAddress }) => {
    if (type === 'remove') return !voters.includes(nodeId) && !learners.includes(nodeId);
    if (!(type === 'addVoter' ? voters : learners).includes(nodeId)) return false;
    // The leader does not list its own addresses: it was reached under them.
    const peer = peers.find((each) => each.nodeId === nodeId);
    if (clientAddress === '' || !peer) return true;
    return peer.clientAddress === clientAddress && peer.peerAddress === peerAddress;
  });
}
