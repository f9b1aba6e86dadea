/** Where a replica may go: what it shares with the other replicas of its tablet, and whom it would meet there. */
import type { ClusterView, NodeView, TabletView } from './cluster-view.js';
import type { Shares } from './shares.js';

/** Replicas that one failure would take together: pairs in one zone, then pairs on one host. */
export interface Conflicts {
  readonly zones: number;
  readonly hosts: number;
}

export function conflictsOf(nodes: readonly NodeView[]): Conflicts {
  let zones = 0;
  let hosts = 0;
  for (let i = 1; i < nodes.length; i++)
    for (let j = 0; j < i; j++) {
      const [one, other] = [(nodes[i] as NodeView).node, (nodes[j] as NodeView).node];
      if (one.zone === other.zone) zones++;
      if (one.host === other.host) hosts++;
    }
  return { zones, hosts };
}

/** Those of one node with the others of a tablet, without the one that leaves. */
function conflictsAt(
  { nodes }: TabletView,
  leaving: NodeView | undefined,
  { node: { zone, host } }: NodeView,
) {
  let zones = 0;
  let hosts = 0;
  for (const other of nodes) {
    if (other === leaving) continue;
    if (other.node.zone === zone) zones++;
    if (other.node.host === host) hosts++;
  }
  return { zones, hosts };
}

export function areFewer(one: Conflicts, other: Conflicts): boolean {
  return one.zones !== other.zones ? one.zones < other.zones : one.hosts < other.hosts;
}

/** The tablet's replicas are as far apart as before, or farther, if one goes from here to there. */
export function keepsApart(tablet: TabletView, from: NodeView, to: NodeView): boolean {
  return !areFewer(conflictsAt(tablet, from, from), conflictsAt(tablet, from, to));
}

/** How many nodes a replica would meet at `to` that `to` has no tablet in common with. */
export function newPartners({ nodes }: TabletView, leaving: NodeView | undefined, to: NodeView): number {
  let count = 0;
  for (const other of nodes) if (other !== leaving && !to.partners.has(other)) count++;
  return count;
}

/** With it no node meets more than `maxPartners` others, or none that it does not meet already. */
export function keepsPartners(
  { nodes }: TabletView,
  leaving: NodeView | undefined,
  to: NodeView,
  maxPartners: number,
): boolean {
  let room = maxPartners - to.partners.size;
  for (const other of nodes) {
    if (other === leaving || to.partners.has(other)) continue;
    if (--room < 0 || other.partners.size >= maxPartners) return false;
  }
  return true;
}

/** The best node for a replica that must have one. Undefined if there is none now. */
export function bestTarget(
  view: ClusterView,
  tablet: TabletView,
  leaving: NodeView | undefined,
  replicas: Shares,
): NodeView | undefined {
  let best: NodeView | undefined;
  let least: readonly number[] = [];
  for (const to of view.nodes) {
    if (tablet.nodes.includes(to) || !view.mayMove(leaving, to)) continue;
    const { zones, hosts } = conflictsAt(tablet, leaving, to);
    if (least[0] !== undefined && zones > least[0]) continue;
    const rank = [
      zones,
      hosts,
      replicas.mayGain(to, 1) ? 0 : 1,
      keepsPartners(tablet, leaving, to, view.settings.maxPartners) ? 0 : 1,
      newPartners(tablet, leaving, to),
      replicas.excess(to),
    ];
    if (best && !isLess(rank, least)) continue;
    best = to;
    least = rank;
  }
  return best;
}

function isLess(one: readonly number[], other: readonly number[]): boolean {
  for (const [i, value] of one.entries()) {
    const against = other[i] as number;
    if (value !== against) return value < against;
  }
  return false;
}
