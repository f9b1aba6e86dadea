/** Messages between the nodes of a script, with the names that etcd has for them. */
import type { ConfigurationChange } from '../../../src/raft/configuration.js';
import type { Message, NodeId } from '../../../src/raft/types.js';

export type Proposal = Uint8Array | ConfigurationChange;

/** What the host of a node carries besides the messages of the cores: proposals that a follower passes on. */
export interface PassedProposal {
  readonly type: 'proposal';
  readonly proposal: Proposal;
}

export interface InTransit {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly message: Message | PassedProposal;
}

const NAMES: Record<InTransit['message']['type'], string> = {
  append: 'MsgApp',
  appendReply: 'MsgAppResp',
  heartbeat: 'MsgHeartbeat',
  heartbeatReply: 'MsgHeartbeatResp',
  // etcd has no quiet groups.
  quietOffer: 'MsgQuiet',
  quietReply: 'MsgQuietResp',
  requestVote: 'MsgVote',
  voteReply: 'MsgVoteResp',
  snapshot: 'MsgSnap',
  timeoutNow: 'MsgTimeoutNow',
  readIndex: 'MsgReadIndex',
  readIndexReply: 'MsgReadIndexResp',
  proposal: 'MsgProp',
};

export function nameOf({ message }: InTransit): string {
  const isPreVote = 'preVote' in message && message.preVote;
  return isPreVote ? NAMES[message.type].replace('Vote', 'PreVote') : NAMES[message.type];
}

/** What leaves a core only when something is durable. */
const HELD_BACK: ReadonlySet<InTransit['message']['type']> = new Set([
  'requestVote',
  'voteReply',
  'appendReply',
  'heartbeatReply',
  'quietReply',
]);

export function isHeldBack({ message }: InTransit): boolean {
  return HELD_BACK.has(message.type);
}
