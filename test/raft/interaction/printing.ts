/** Entries and states in the words of etcd's scripts. */
import { isVoter } from '../../../src/raft/configuration.js';
import { decodeChange } from '../../../src/raft/configuration-codec.js';
import type { Entry, HardState, PeerStatus, Role } from '../../../src/raft/types.js';
import type { ScriptNode } from './script-node.js';

const STATES: Record<Role, string> = {
  follower: 'StateFollower',
  preCandidate: 'StatePreCandidate',
  candidate: 'StateCandidate',
  leader: 'StateLeader',
};

const PROGRESS_STATES: Record<PeerStatus['state'], string> = {
  probe: 'StateProbe',
  replicate: 'StateReplicate',
  snapshot: 'StateSnapshot',
};

const LETTERS = { addVoter: 'v', addLearner: 'l', remove: 'r' } as const;

/** `term/index EntryNormal "text"`; of both versions of a change of membership that etcd has, the first's name. */
export function printEntry(index: number, entry: Entry): string {
  const place = `${entry.term}/${index}`;
  if (entry.kind !== 'configuration') return `${place} EntryNormal ${quoted(entry.body)}`;
  const changes = decodeChange(entry.body).changes.map(({ type, node }) => `${LETTERS[type]}${node}`);
  return [place, 'EntryConfChange', ...changes].join(' ');
}

export function printHardState({ term, vote, commit }: HardState): string {
  return `term ${term}, vote ${vote}, commit ${commit}`;
}

function quoted(body: Uint8Array): string {
  return JSON.stringify(Buffer.from(body).toString());
}

export function printState({ raft, id }: ScriptNode): string {
  const voter = isVoter(raft.configuration, id) ? 'Voter' : 'Non-Voter';
  return `${id}: ${STATES[raft.role]} (${voter}) Term:${raft.term} Lead:${raft.leader}\n`;
}

export function printLog({ disk }: ScriptNode): string {
  const { firstIndex, lastIndex } = disk;
  if (lastIndex < firstIndex) return `log is empty: first index=${firstIndex}, last index=${lastIndex}\n`;
  const lines = disk.slice(firstIndex, lastIndex).map((entry, i) => printEntry(firstIndex + i, entry));
  return `${lines.join('\n')}\n`;
}

/** What a leader knows of its followers; of itself etcd's has a line too. Nothing of others. */
export function printStatus(node: ScriptNode): string {
  const { raft, id } = node;
  if (raft.role !== 'leader') return '';
  const own = `${id}: StateReplicate match=${raft.stableIndex} next=${raft.stableIndex + 1}\n`;
  const lines = new Map([[id, own]]);
  for (const peer of raft.peers()) lines.set(peer.id, printPeer(node, peer));
  return [...lines]
    .sort(([a], [b]) => a - b)
    .map(([, line]) => line)
    .join('');
}

function printPeer(node: ScriptNode, peer: PeerStatus): string {
  const { learners } = node.raft.configuration;
  const snapshot = peer.state === 'snapshot' ? node.snapshotSentTo(peer.id) : undefined;
  const parts = [
    `${peer.id}: ${PROGRESS_STATES[peer.state]}`,
    `match=${peer.matchIndex}`,
    // What follows a snapshot that is on its way only the host knows here.
    `next=${snapshot === undefined ? peer.nextIndex : snapshot + 1}`,
  ];
  if (learners.includes(peer.id)) parts.push('learner');
  if (peer.isPaused) parts.push('paused');
  if (snapshot !== undefined) parts.push(`pendingSnap=${snapshot}`);
  if (!node.hasHeardFrom(peer.id)) parts.push('inactive');
  if (peer.inflightMessages > 0) {
    const isFull = peer.inflightMessages >= node.options.maxInflightMessages;
    parts.push(`inflight=${peer.inflightMessages}${isFull ? '[full]' : ''}`);
  }
  return `${parts.join(' ')}\n`;
}
