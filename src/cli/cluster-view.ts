/** The cluster as all of its nodes report it: each about itself and about its peers. */
import type { NodeStatus, RaftreeClient } from '../client/client.js';

export interface SeenNode {
  readonly nodeId: number;
  /** Empty if unknown. */
  readonly clientAddress: string;
  readonly peerAddress: string;
  readonly membership: 'voter' | 'learner' | 'leaving' | '-';
  /** Undefined if it did not answer. */
  readonly status: NodeStatus | undefined;
  /** The id of another node that answers at this node's client address. */
  readonly impostor?: number | undefined;
}

/** A member's state as the leader sees it. */
export interface Standing {
  /** `follows`: the leader hears from it now. */
  readonly state: 'leads' | 'follows' | 'not heard' | 'no leader';
  /**
   * Time since the leader last heard from it; undefined if it has not since the leader's process started, or without a
   * leader.
   */
  readonly heardMsAgo: number | undefined;
  /** Why the leader does not hear from it or cannot reach it, if known; otherwise empty. */
  readonly problem: string;
}

export function standingOf({ nodeId, impostor }: SeenNode, leader: NodeStatus | undefined): Standing {
  const found = impostor === undefined ? '' : `node ${impostor} answers at its client address`;
  if (!leader) return { state: 'no leader', heardMsAgo: undefined, problem: found };
  if (leader.nodeId === nodeId) return { state: 'leads', heardMsAgo: 0, problem: found };
  const { reachable, heardMsAgo, problem } = leader.peers.find((peer) => peer.nodeId === nodeId) ?? {
    reachable: false,
    heardMsAgo: undefined,
    problem: '',
  };
  return { state: reachable ? 'follows' : 'not heard', heardMsAgo, problem: problem || found };
}

export function ago(heardMsAgo: number | undefined): string {
  if (heardMsAgo === undefined) return 'never';
  return heardMsAgo < 1000 ? 'now' : `${Math.round(heardMsAgo / 1000)} s ago`;
}

/** Time limit per node: a node that is down must not use up the whole timeout. */
const PATIENCE_MS = 1500;

/** Asks one node, then every peer that it lists. */
export async function viewCluster(client: RaftreeClient): Promise<SeenNode[]> {
  const first = await client.status();
  const others = await Promise.all(
    first.peers.map(async (peer) => {
      const status = await client
        .status(peer.clientAddress, { timeoutMs: PATIENCE_MS })
        .catch(() => undefined);
      const isOther = status !== undefined && status.nodeId !== peer.nodeId;
      return isOther
        ? { nodeId: peer.nodeId, status: undefined, impostor: status.nodeId }
        : { nodeId: peer.nodeId, status, impostor: undefined };
    }),
  );
  return nodesSeen([{ nodeId: first.nodeId, status: first, impostor: undefined }, ...others]);
}

export type Asked = Pick<SeenNode, 'nodeId' | 'status' | 'impostor'>;

/** What is known of these nodes from the answers of those that gave one. */
export function nodesSeen(nodes: readonly Asked[]): SeenNode[] {
  const answers = nodes.flatMap(({ status }) => status ?? []);
  // The leader's membership counts; without a leader, that of the node with the highest applied index.
  const [best] = [...answers].sort(byAuthority);
  return nodes
    .map(({ nodeId, status, impostor }) => ({
      nodeId,
      ...addressesOf(nodeId, answers),
      membership: best ? membershipOf(nodeId, best) : '-',
      status,
      impostor,
    }))
    .sort((a, b) => a.nodeId - b.nodeId);
}

/** The leader's own status, if a leader answered. */
export function leaderOf(nodes: readonly SeenNode[]): NodeStatus | undefined {
  const leaders = nodes.flatMap(({ status }) => (status?.role === 'leader' ? status : []));
  return leaders.sort((a, b) => b.term - a.term)[0];
}

function byAuthority(a: NodeStatus, b: NodeStatus): number {
  const leads = (status: NodeStatus) => (status.role === 'leader' ? status.term : 0);
  return leads(b) - leads(a) || b.appliedIndex - a.appliedIndex;
}

function membershipOf(nodeId: number, { voters, outgoing, learners }: NodeStatus): SeenNode['membership'] {
  if (voters.includes(nodeId)) return 'voter';
  if (outgoing.includes(nodeId)) return 'leaving';
  return learners.includes(nodeId) ? 'learner' : '-';
}

/**
 * A node does not list itself among its peers. So its addresses come from the other nodes, and what they do not know
 * from itself.
 */
function addressesOf(
  nodeId: number,
  answers: readonly NodeStatus[],
): { readonly clientAddress: string; readonly peerAddress: string } {
  const known = answers.flatMap(({ peers }) => peers).find((peer) => peer.nodeId === nodeId);
  if (known) return known;
  const named = answers.find((status) => status.leaderId === nodeId && status.leaderAddress !== '');
  const own = answers.find((status) => status.nodeId === nodeId);
  return { clientAddress: named?.leaderAddress ?? '', peerAddress: own?.peerAddress ?? '' };
}
