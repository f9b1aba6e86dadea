/**
 * Moves replicas from nodes that have more than their share to nodes that have less. A node above the band gives until
 * it is in the band; a node below the band takes until it is. Every move brings both nodes nearer to their shares, and
 * leaves what has been evened out before it within its band: so this comes to an end, whatever the order.
 */
import type { ClusterView, NodeView, Steps, TabletView } from './cluster-view.js';
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

export function* evenOut(view: ClusterView, evening: Evening): Steps {
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
      yield;
    }
  }
  for (const to of emptiest) {
    while (shares.isBelow(to) && view.mayMove(undefined, to)) {
      const found = bestTo(view, evening, to, fullest);
      if (!found) break;
      view.move(found.tablet, found.from, to, reason);
      yield;
    }
    yield;
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
  for (const alike of view.freeOn(from).values()) {
    const [first] = alike;
    if (!first) continue;
    // Those that meet the others already need not be among the emptiest.
    const targets = [...open, ...meeters(first, from)];
    const fits = targets.flatMap((to) => fitOf(view, evening, first, from, to) ?? []);
    for (const tablet of fits.length > 0 ? alike : []) {
      for (const fit of fits) {
        const one = judged(evening, tablet, fit);
        if (!one) continue;
        best = better(best, one);
        found++;
      }
      if (best && (best.cost < 0 || found >= ENOUGH_FOUND)) return best;
    }
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
    for (const alike of view.freeOn(partner).values()) {
      if (found >= ENOUGH_FOUND) break;
      const [first] = alike;
      if (!first) continue;
      const fits = first.nodes.flatMap((from) => {
        if (from === partner || !from.hasShare || newPartners(first, from, to) > 0) return [];
        return fitOf(view, evening, first, from, to) ?? [];
      });
      for (const tablet of fits.length > 0 ? alike : []) {
        for (const fit of fits) {
          const one = judged(evening, tablet, fit);
          if (!one) continue;
          best = better(best, one);
          if (shares.excess(fit.from) > 0) found++;
        }
        if (found >= ENOUGH_FOUND) break;
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
    for (const alike of view.freeOn(from).values()) {
      const [first] = alike;
      const fit = first && fitOf(view, evening, first, from, to);
      for (const tablet of fit ? alike : []) {
        const one = fit && judged(evening, tablet, fit);
        there = better(there, one);
        if (one && ++found >= ENOUGH_FOUND) break;
      }
      if (found >= ENOUGH_FOUND) break;
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
  /** Those of `one` that may go to `other`. */
  const going = (one: NodeView, other: NodeView) =>
    [...view.freeOn(one).values()].flatMap((alike) => {
      const [first] = alike;
      const may =
        first &&
        !first.nodes.includes(other) &&
        keepsApart(first, one, other) &&
        keepsPartners(first, one, other, maxPartners);
      return may ? [...alike] : [];
    });
  let tried = 0;
  for (const to of emptiest) {
    const difference = shares.excess(from) - shares.excess(to);
    if (difference <= 0 || tried === EXCHANGES_TRIED) return false;
    if (!view.mayMove(to, to)) continue;
    tried++;
    const away = going(from, to).filter((tablet) => amountOf(tablet) > 0);
    const back = going(to, from);
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

/** Nodes that meet every other node of the tablet already. */
function meeters({ nodes }: TabletView, from: NodeView): NodeView[] {
  const [one, ...others] = nodes.filter((node) => node !== from);
  if (!one) return [];
  return [...one.partners.keys()].filter((node) => others.every((other) => other.partners.has(node)));
}

/** A move that places, partners and the number of replicas allow to all tablets on the same nodes. */
interface Fit {
  readonly from: NodeView;
  readonly to: NodeView;
  /** Without what the tablet's size adds. */
  readonly cost: number;
}

function fitOf(
  view: ClusterView,
  { kept }: Evening,
  tablet: TabletView,
  from: NodeView,
  to: NodeView,
): Fit | undefined {
  if (tablet.nodes.includes(to) || !view.mayMove(from, to) || !keepsApart(tablet, from, to)) return undefined;
  if (kept && !(kept.mayGain(to, 1) && kept.mayLose(from, 1))) return undefined;
  if (!keepsPartners(tablet, from, to, view.settings.maxPartners)) return undefined;
  const together = tablet.nodes.reduce((sum, other) => sum + (from.partners.get(other) ?? 0), 0);
  // Few new partners; of these, those with which `from` has most in common: more of it may follow. Below 0: none.
  return { from, to, cost: newPartners(tablet, from, to) - 1 + 0.5 / (1 + together) };
}

function judged(
  { shares, amountOf }: Evening,
  tablet: TabletView,
  { from, to, cost }: Fit,
): Found | undefined {
  const amount = amountOf(tablet);
  if (!shares.isBetter(from, to, amount) || !shares.mayGain(to, amount) || !shares.mayLose(from, amount))
    return undefined;
  // Half of the difference is the most that helps.
  const ideal = (shares.excess(from) - shares.excess(to)) / 2;
  const miss = Math.max(0, amount - ideal) / ideal;
  return { tablet, from, to, cost: cost + miss };
}

function better(one: Found | undefined, other: Found | undefined): Found | undefined {
  return one && (!other || one.cost <= other.cost) ? one : other;
}
