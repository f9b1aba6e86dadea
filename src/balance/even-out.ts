/**
 * Moves replicas from nodes that have more than their share to nodes that have less. A node above the band gives until
 * it is in the band; a node below the band takes until it is. Every move brings both nodes nearer to their shares, and
 * leaves what has been evened out before it within its band: so this comes to an end, whatever the order.
 */
import type { ClusterView, NodeView, TabletView } from './cluster-view.js';
import type { Reason } from './orders.js';
import type { Shares } from './shares.js';
import { keepsApart, keepsPartners, newPartners } from './targets.js';

/** Of the emptiest nodes so many are tried for each tablet, besides those that meet its other nodes already. */
const EMPTIEST_TRIED = 12;
/** And for a node with too little so many of the fullest: where none of these can give, hardly any other can. */
const FULLEST_TRIED = 24;
/** Of so many that would do the best is taken: tablets on the same nodes are alike. */
const ENOUGH_FOUND = 8;
const EXCHANGES_TRIED = 3;

export interface Evening {
  readonly shares: Shares;
  readonly amountOf: (tablet: TabletView) => number;
  /** Replicas of tablets, if something else is evened out now. */
  readonly kept: Shares | undefined;
  readonly reason: Reason;
}

interface Found {
  readonly tablet: TabletView;
  readonly from: NodeView;
  readonly to: NodeView;
  /** Less is better. */
  readonly cost: number;
}

export function evenOut(view: ClusterView, evening: Evening): void {
  const { shares, reason } = evening;
  const targets = view.nodes.filter(({ isTarget }) => isTarget);
  const byExcess = (one: NodeView, other: NodeView) =>
    shares.excess(one) - shares.excess(other) || one.node.id - other.node.id;
  const emptiest = [...targets].sort(byExcess);
  const fullest = view.nodes.filter(({ hasShare }) => hasShare).sort((one, other) => byExcess(other, one));
  for (const from of fullest) {
    while (shares.isAbove(from)) {
      const found = bestFrom(view, evening, from, emptiest);
      if (found) view.move(found.tablet, from, found.to, reason);
      else if (!exchange(view, evening, from, emptiest)) break;
    }
  }
  for (const to of emptiest) {
    while (shares.isBelow(to) && view.mayMove(undefined, to)) {
      const found = bestTo(view, evening, to, fullest);
      if (!found) break;
      view.move(found.tablet, found.from, to, reason);
    }
  }
}

/** The best tablet to move away, and where to. */
function bestFrom(
  view: ClusterView,
  evening: Evening,
  from: NodeView,
  emptiest: readonly NodeView[],
): Found | undefined {
  if (!view.mayMove(from, undefined)) return undefined;
  const open: NodeView[] = [];
  for (const to of emptiest) {
    if (open.length === EMPTIEST_TRIED) break;
    if (view.mayMove(undefined, to) && evening.shares.excess(to) < evening.shares.excess(from)) open.push(to);
  }
  let best: Found | undefined;
  let found = 0;
  for (const tablet of from.tablets) {
    if (!isFree(tablet)) continue;
    // Those that meet the others already need not be among the emptiest.
    for (const to of [...open, ...meeters(tablet, from)]) {
      const one = look(view, evening, tablet, from, to);
      if (!one) continue;
      best = better(best, one);
      found++;
    }
    if (best && (best.cost < 0 || found >= ENOUGH_FOUND)) return best;
  }
  return best;
}

/** The best tablet for a node that has too little. */
function bestTo(
  view: ClusterView,
  evening: Evening,
  to: NodeView,
  fullest: readonly NodeView[],
): Found | undefined {
  const { shares } = evening;
  let best: Found | undefined;
  let found = 0;
  // First what it need meet nobody new for.
  for (const partner of to.partners.keys()) {
    if (found >= ENOUGH_FOUND) break;
    for (const tablet of partner.tablets) {
      if (!isFree(tablet)) continue;
      for (const from of tablet.nodes) {
        if (from === partner || !from.hasShare || !view.mayMove(from, to)) continue;
        const one = newPartners(tablet, from, to) === 0 && look(view, evening, tablet, from, to);
        if (!one) continue;
        best = better(best, one);
        if (shares.excess(from) > 0) found++;
      }
    }
  }
  if (best && shares.excess(best.from) > 0) return best;
  let tried = 0;
  for (const from of fullest) {
    if (shares.excess(from) <= shares.excess(to) || tried === FULLEST_TRIED) break;
    if (!view.mayMove(from, to)) continue;
    tried++;
    let there: Found | undefined;
    for (const tablet of from.tablets) {
      if (!isFree(tablet)) continue;
      const one = look(view, evening, tablet, from, to);
      there = better(there, one);
      if (one && ++found >= ENOUGH_FOUND) break;
    }
    if (there) return better(best, there);
  }
  return best;
}

/**
 * A node that may give no replica without getting another: of two tablets one goes there and a smaller one comes back.
 * Returns whether there are two such.
 */
function exchange(
  view: ClusterView,
  { shares, kept, amountOf, reason }: Evening,
  from: NodeView,
  emptiest: readonly NodeView[],
): boolean {
  if (!kept || !view.mayMove(from, from)) return false;
  const { maxPartners } = view.settings;
  const mayGo = (tablet: TabletView, one: NodeView, other: NodeView) =>
    isFree(tablet) &&
    !tablet.nodes.includes(other) &&
    keepsApart(tablet, one, other) &&
    keepsPartners(tablet, one, other, maxPartners);
  let tried = 0;
  for (const to of emptiest) {
    const difference = shares.excess(from) - shares.excess(to);
    if (difference <= 0 || tried === EXCHANGES_TRIED) return false;
    if (!view.mayMove(to, to)) continue;
    tried++;
    const away = [...from.tablets].filter((tablet) => amountOf(tablet) > 0 && mayGo(tablet, from, to));
    const back = [...to.tablets].filter((tablet) => mayGo(tablet, to, from));
    let best: { readonly away: TabletView; readonly back: TabletView; readonly miss: number } | undefined;
    const smallest = back.sort((one, other) => amountOf(one) - amountOf(other))[0];
    for (const tablet of smallest ? away : []) {
      const amount = amountOf(tablet) - amountOf(smallest as TabletView);
      const miss = Math.abs(difference / 2 - amount);
      if (!shares.isBetter(from, to, amount) || !shares.mayGain(to, amount) || !shares.mayLose(from, amount))
        continue;
      if (!best || miss < best.miss) best = { away: tablet, back: smallest as TabletView, miss };
    }
    if (!best) continue;
    view.move(best.away, from, to, reason);
    view.move(best.back, to, from, reason);
    return true;
  }
  return false;
}

function isFree({ isBusy, ledBy }: TabletView): boolean {
  return !isBusy && ledBy !== undefined;
}

/** Nodes that meet every other node of the tablet already. */
function meeters({ nodes }: TabletView, from: NodeView): NodeView[] {
  const [one, ...others] = nodes.filter((node) => node !== from);
  if (!one) return [];
  return [...one.partners.keys()].filter((node) => others.every((other) => other.partners.has(node)));
}

function look(
  view: ClusterView,
  { shares, kept, amountOf }: Evening,
  tablet: TabletView,
  from: NodeView,
  to: NodeView,
): Found | undefined {
  const amount = amountOf(tablet);
  if (!shares.isBetter(from, to, amount) || !shares.mayGain(to, amount) || !shares.mayLose(from, amount))
    return undefined;
  if (tablet.nodes.includes(to) || !view.mayMove(from, to) || !keepsApart(tablet, from, to)) return undefined;
  if (kept && !(kept.mayGain(to, 1) && kept.mayLose(from, 1))) return undefined;
  if (!keepsPartners(tablet, from, to, view.settings.maxPartners)) return undefined;
  // Half of the difference is the most that helps.
  const ideal = (shares.excess(from) - shares.excess(to)) / 2;
  const miss = Math.max(0, amount - ideal) / ideal;
  const together = tablet.nodes.reduce((sum, other) => sum + (from.partners.get(other) ?? 0), 0);
  // Few new partners; of these, those with which `from` has most in common: more of it may follow. Below 0: none.
  return { tablet, from, to, cost: newPartners(tablet, from, to) + miss - 1 + 0.5 / (1 + together) };
}

function better(one: Found | undefined, other: Found | undefined): Found | undefined {
  return one && (!other || one.cost <= other.cost) ? one : other;
}
