/**
 * Which nodes vote on the map. Every node has it; few of them vote, as many as a tablet is to have replicas. One that
 * is dead or drains is replaced, one at a time, and the voters are kept as far apart as the replicas of a tablet.
 */
import type { BalanceSettings, ClusterMap, Reports } from './cluster-map.js';
import { ClusterView, type NodeView } from './cluster-view.js';
import type { Reason } from './orders.js';
import { areFewer, conflictsOf } from './targets.js';

/** The members of meta, which are the nodes of the cluster. */
export interface MapMembers {
  readonly voters: readonly number[];
  readonly learners: readonly number[];
}

/** One change: whoever is promoted votes from then on, and whoever is demoted does not. */
export interface VoterChange {
  readonly promote: number | undefined;
  readonly demote: number | undefined;
  readonly reason: Reason;
}

/**
 * The next change; undefined: there is none to be made now. `planner` leads meta: voters are not taken apart by its own
 * demotion.
 */
export function planVoters(
  { voters, learners }: MapMembers,
  nodes: ClusterMap['nodes'],
  reports: Reports,
  settings: BalanceSettings,
  nowMs: number,
  planner: number,
): VoterChange | undefined {
  const view = new ClusterView({ nodes, tablets: [], moves: [], transfers: [] }, reports, settings, nowMs);
  const viewsOf = (ids: readonly number[]) => ids.flatMap((id) => view.node(id) ?? []);
  const present = viewsOf(voters);
  const live = present.filter(({ isDead }) => !isDead);
  // The map does not have all of them yet; or no change can be committed, and they must come back.
  if (present.length < voters.length || 2 * live.length <= voters.length) return undefined;
  const targets = viewsOf(learners).filter(({ isTarget }) => isTarget);
  const { drainsOnly, replicas } = settings;
  const change = (leaving: NodeView | undefined, reason: Reason): VoterChange | undefined => {
    const promote = bestOf(targets, without(present, leaving))?.node.id;
    // Nobody can take its place: it is spared only if there are more than there should be.
    if (promote === undefined && (!leaving || present.length <= replicas)) return undefined;
    return { promote, demote: leaving?.node.id, reason };
  };
  const dead = present.find(({ isDead }) => isDead);
  const drained = present.find(({ node }) => node.isDraining);
  return (
    (!drainsOnly && dead && change(dead, 'repair')) ||
    (!drainsOnly && present.length < replicas && change(undefined, 'repair')) ||
    (drained && change(drained, 'drain')) ||
    (!drainsOnly && spread(present, targets, planner)) ||
    undefined
  );
}

function spread(
  present: readonly NodeView[],
  targets: readonly NodeView[],
  planner: number,
): VoterChange | undefined {
  let best: VoterChange | undefined;
  let least = conflictsOf(present);
  for (const leaving of present) {
    if (leaving.node.id === planner) continue;
    const others = without(present, leaving);
    const target = bestOf(targets, others);
    const after = target && conflictsOf([...others, target]);
    if (!target || !after || !areFewer(after, least)) continue;
    best = { promote: target.node.id, demote: leaving.node.id, reason: 'zones and hosts' };
    least = after;
  }
  return best;
}

/** The one that is farthest from these. */
function bestOf(targets: readonly NodeView[], others: readonly NodeView[]): NodeView | undefined {
  const conflicts = (target: NodeView) => conflictsOf([...others, target]);
  return [...targets].sort((one, other) => {
    const [ofOne, ofOther] = [conflicts(one), conflicts(other)];
    if (areFewer(ofOne, ofOther)) return -1;
    return areFewer(ofOther, ofOne) ? 1 : one.node.id - other.node.id;
  })[0];
}

function without(nodes: readonly NodeView[], leaving: NodeView | undefined): readonly NodeView[] {
  return nodes.filter((node) => node !== leaving);
}
