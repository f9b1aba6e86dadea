/** What a tablet needs for itself: replicas that live, none too many, none on a node that drains, and all far apart. */
import {
  type ClusterView,
  inSteps,
  type NodeView,
  replicaOn,
  type Steps,
  type TabletView,
} from './cluster-view.js';
import type { Shares } from './shares.js';
import { areFewer, bestTarget, conflictsOf } from './targets.js';

/** Tablets in a plan that are looked at for a better place and find none. */
const MAX_VAIN_LOOKS = 5000;

/** Those with the fewest live replicas come first. */
export function* repair(view: ClusterView, replicas: Shares): Steps {
  const wounded: { readonly tablet: TabletView; readonly live: number }[] = [];
  yield* inSteps(view.tablets, (tablet) => {
    if (tablet.isBusy || !hasQuorum(tablet)) return;
    const live = liveOf(tablet);
    const { length } = tablet.descriptor.replicas;
    if (live < length || length !== view.settings.replicas || tablet.nodes.length < length)
      wounded.push({ tablet, live });
  });
  wounded.sort(
    (one, other) => one.live - other.live || one.tablet.descriptor.id - other.tablet.descriptor.id,
  );
  for (const { tablet } of wounded) {
    repairOne(view, tablet, replicas);
    yield;
  }
}

function liveOf({ nodes }: TabletView): number {
  return nodes.reduce((count, { isDead }) => count + (isDead ? 0 : 1), 0);
}

/** Without a quorum no change can be committed: whoever is missing must come back. */
function hasQuorum(tablet: TabletView): boolean {
  return 2 * liveOf(tablet) > tablet.descriptor.replicas.length;
}

function repairOne(view: ClusterView, tablet: TabletView, replicas: Shares): void {
  const { descriptor, nodes } = tablet;
  const { settings } = view;
  const learner = descriptor.replicas.find(({ role }) => role === 'learner');
  const dead = nodes.find(({ isDead }) => isDead);
  if (learner) {
    const on = view.node(learner.node);
    if (on) view.move(tablet, on, undefined, 'surplus');
  } else if (descriptor.replicas.length > settings.replicas) {
    const leaving = dead ?? mostWillingly(tablet, replicas);
    if (leaving && view.mayMove(leaving, undefined)) view.move(tablet, leaving, undefined, 'surplus');
  } else if (dead || descriptor.replicas.length < settings.replicas) {
    const to = bestTarget(view, tablet, dead, replicas);
    if (to) view.move(tablet, dead, to, 'repair');
  }
}

/** Of too many: one that drains, or is nearest to another, or is on the fullest node. */
function mostWillingly({ nodes }: TabletView, replicas: Shares): NodeView | undefined {
  const without = (leaving: NodeView) => conflictsOf(nodes.filter((node) => node !== leaving));
  return [...nodes].sort((one, other) => {
    if (one.node.isDraining !== other.node.isDraining) return one.node.isDraining ? -1 : 1;
    const [ifOne, ifOther] = [without(one), without(other)];
    if (areFewer(ifOne, ifOther)) return -1;
    if (areFewer(ifOther, ifOne)) return 1;
    return replicas.excess(other) - replicas.excess(one) || one.node.id - other.node.id;
  })[0];
}

export function* drain(view: ClusterView, replicas: Shares): Steps {
  for (const from of view.nodes) {
    if (!from.node.isDraining) continue;
    // Leaders first, and they need not wait for the move of their replica: the node may be about to stop.
    for (const tablet of from.tablets) {
      if (tablet.isBusy || tablet.leader !== from || from.transfersFrom >= view.settings.maxTransfersPerNode)
        continue;
      const heirs = tablet.nodes.filter((node) => mayLead(view, tablet, node));
      const [heir] = heirs.sort((one, other) => one.leaders - other.leaders || one.node.id - other.node.id);
      if (heir) view.transfer(tablet, heir, 'drain');
    }
    for (const tablet of [...from.tablets]) {
      if (tablet.isBusy || !tablet.ledBy || !hasQuorum(tablet)) continue;
      if (!view.mayMove(from, undefined)) break;
      const to = bestTarget(view, tablet, from, replicas);
      if (to) view.move(tablet, from, to, 'drain');
    }
    yield;
  }
}

export function mayLead(view: ClusterView, tablet: TabletView, node: NodeView): boolean {
  const { maxTransfersPerNode } = view.settings;
  if (!node.isTarget || node.transfersTo >= maxTransfersPerNode || node === tablet.leader) return false;
  return replicaOn(tablet.descriptor, node)?.role === 'voter';
}

/** Takes replicas apart that one failure of a zone or a host would take together. */
export function* spread(view: ClusterView, replicas: Shares): Steps {
  const places = view.nodes.filter(({ hasShare }) => hasShare).map(({ node }) => node);
  const zones = new Set(places.map(({ zone }) => zone)).size;
  const hosts = new Set(places.map(({ host }) => host)).size;
  let vainLooks = 0;
  yield* inSteps(view.tablets, (tablet) => {
    if (tablet.isBusy || !tablet.ledBy || vainLooks >= MAX_VAIN_LOOKS) return;
    const { nodes } = tablet;
    const now = conflictsOf(nodes);
    const isBest =
      now.zones <= leastPairs(nodes.length, zones) && now.hosts <= leastPairs(nodes.length, hosts);
    if (isBest) return;
    let best: { readonly from: NodeView; readonly to: NodeView } | undefined;
    let least = now;
    for (const from of nodes) {
      const to = bestTarget(view, tablet, from, replicas);
      if (!to) continue;
      const after = conflictsOf([...nodes.filter((node) => node !== from), to]);
      if (!areFewer(after, least)) continue;
      best = { from, to };
      least = after;
    }
    if (best) view.move(tablet, best.from, best.to, 'zones and hosts');
    else vainLooks++;
  });
}

/** So many pairs share a place at least, if `count` are spread over so many places. */
function leastPairs(count: number, places: number): number {
  if (places === 0) return 0;
  const inEach = Math.floor(count / places);
  const rest = count % places;
  return (rest * (inEach + 1) * inEach) / 2 + ((places - rest) * inEach * (inEach - 1)) / 2;
}
