/** What an operator may change about the members of a cluster, and its form on the wire. */
import type { MessageOf, OutboundOf } from '../protocol/messages.js';
import { addressOf, invalid } from './client-options.js';

/**
 * A voter counts in elections and commits; a learner receives everything and counts for nothing. A new member needs
 * both of its addresses (`host:port`); `promote` makes a learner a voter, `demote` a voter a learner; `update` changes
 * one address or both.
 */
export type MemberChange =
  | {
      readonly type: 'addVoter' | 'addLearner';
      readonly node: number;
      readonly client: string;
      readonly peer: string;
    }
  | { readonly type: 'update'; readonly node: number; readonly client?: string; readonly peer?: string }
  | { readonly type: 'promote' | 'demote' | 'remove'; readonly node: number };

export interface MembersChanged {
  /** Of the configuration in which the members are as asked for. */
  readonly index: number;
  /** False: they were so before. Undefined: an attempt was lost sight of, and they are so now. */
  readonly changed: boolean | undefined;
  /** What would have been refused without `force`. */
  readonly warnings: readonly string[];
}

type OutboundMemberChange = OutboundOf<'changeMembers'>['changes'][number];

/** Throws `INVALID_REQUEST`. */
export function toMemberChange(change: MemberChange): OutboundMemberChange {
  const { type, node } = change;
  if (!Number.isInteger(node) || node < 1) throw invalid(`${node} is no node's id`);
  const { client = '', peer = '' } = 'client' in change || 'peer' in change ? change : {};
  const isNew = type === 'addVoter' || type === 'addLearner';
  if (isNew && (client === '' || peer === '')) throw invalid('a new member needs both of its addresses');
  if (type === 'update' && client === '' && peer === '') throw invalid('give the address that is to change');
  for (const address of [client, peer]) if (address !== '') addressOf(address);
  return { type, nodeId: node, clientAddress: client, peerAddress: peer };
}

/** Whether the members that a leader tells, with no change half done, are as the changes want them. */
export function isInForce(
  { nodeId: leader, leaderAddress, peerAddress, voters, learners, peers }: MessageOf<'statusReply'>,
  changes: readonly OutboundMemberChange[],
): boolean {
  const last = new Map(changes.map((change) => [change.nodeId, change]));
  // The leader does not list itself among its peers.
  const members = [...peers, { nodeId: leader, clientAddress: leaderAddress, peerAddress }];
  return [...last.values()].every(({ type, nodeId, ...wanted }) => {
    const isThere = { voter: voters.includes(nodeId), learner: learners.includes(nodeId) };
    if (type === 'remove') return !isThere.voter && !isThere.learner;
    if (!isThere[KINDS[type] ?? (isThere.voter ? 'voter' : 'learner')]) return false;
    const present = members.find((each) => each.nodeId === nodeId);
    return (['clientAddress', 'peerAddress'] as const).every(
      (which) => wanted[which] === '' || wanted[which] === present?.[which],
    );
  });
}

/** What a change makes of a node; an update leaves it as it is. */
const KINDS: Partial<Record<MemberChange['type'], 'voter' | 'learner'>> = {
  addVoter: 'voter',
  promote: 'voter',
  addLearner: 'learner',
  demote: 'learner',
};
