/** Changes of the cluster's members, and their form on the wire. */
import type { MessageOf, OutboundOf } from '../protocol/messages.js';
import { addressOf, invalid } from './client-options.js';

/**
 * A voter counts in elections and commits; a learner only receives the log. A new member needs both of its addresses
 * (`host:port`). `promote` makes a learner a voter, `demote` a voter a learner. `update` changes one address or both.
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
  /** Index of the configuration that has the requested members. */
  readonly index: number;
  /**
   * False: the members were already as requested. Undefined: they are as requested, but an attempt had an unknown
   * outcome.
   */
  readonly changed: boolean | undefined;
  /** Reasons why the change would have been refused without `force`. */
  readonly warnings: readonly string[];
}

type OutboundMemberChange = OutboundOf<'changeMembers'>['changes'][number];

/** Throws `INVALID_REQUEST`. */
export function toMemberChange(change: MemberChange): OutboundMemberChange {
  const { type, node } = change;
  if (!Number.isInteger(node) || node < 1) throw invalid(`${node} is not a valid node id`);
  const { client = '', peer = '' } = 'client' in change || 'peer' in change ? change : {};
  const isNew = type === 'addVoter' || type === 'addLearner';
  if (isNew && (client === '' || peer === '')) throw invalid('a new member needs both of its addresses');
  if (type === 'update' && client === '' && peer === '') throw invalid('an update needs a new address');
  for (const address of [client, peer]) if (address !== '') addressOf(address);
  return { type, nodeId: node, clientAddress: client, peerAddress: peer };
}

/** Whether the members that a leader reports, outside a joint configuration, are as the changes want them. */
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

/** The membership that a change leads to. An update does not change it. */
const KINDS: Partial<Record<MemberChange['type'], 'voter' | 'learner'>> = {
  addVoter: 'voter',
  promote: 'voter',
  addLearner: 'learner',
  demote: 'learner',
};
