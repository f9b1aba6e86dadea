/** Transfers leadership from nodes that lead more than their share, or whose tablets are busier, to others. */
import type { ClusterView, NodeView, Steps, TabletView } from './cluster-view.js';
import type { Evening } from './even-out.js';
import { mayLead } from './replace.js';

/** `isFit`: whether a node takes part. */
export function* evenOutLeaders(
  view: ClusterView,
  { shares, amountOf, kept, reason }: Evening,
  isFit: (node: NodeView) => boolean,
): Steps {
  const nodes = view.nodes.filter((node) => node.hasShare && isFit(node));
  nodes.sort((one, other) => shares.excess(other) - shares.excess(one) || one.node.id - other.node.id);
  // One tablet may have more load than the band is wide.
  const isGood = (from: NodeView, to: NodeView, amount: number) =>
    shares.isBetter(from, to, amount) &&
    (kept !== undefined || (shares.mayGain(to, amount) && shares.mayLose(from, amount)));
  const fits = (tablet: TabletView, from: NodeView, to: NodeView) => {
    const amount = amountOf(tablet);
    if (tablet.isBusy || !isFit(to) || !mayLead(view, tablet, to)) return false;
    if (from.transfersFrom >= view.settings.maxTransfersPerNode) return false;
    if (kept && !(kept.mayGain(to, 1) && kept.mayLose(from, 1))) return false;
    return isGood(from, to, amount);
  };
  /** A node that may lead no tablet less, or another that may lead none more: they exchange two. */
  const exchange = (tablet: TabletView, from: NodeView) => {
    for (const to of tablet.nodes) {
      if (tablet.isBusy || !isFit(to) || !mayLead(view, tablet, to)) continue;
      for (const back of to.tablets) {
        const amount = amountOf(tablet) - amountOf(back);
        if (back.isBusy || back.leader !== to || !isGood(from, to, amount) || !mayLead(view, back, from))
          continue;
        view.transfer(tablet, to, reason);
        view.transfer(back, from, reason);
        return;
      }
    }
  };
  for (const from of nodes) {
    for (const tablet of from.tablets) {
      if (!shares.isAbove(from)) break;
      if (tablet.leader !== from) continue;
      const heirs = tablet.nodes.filter((to) => fits(tablet, from, to));
      const [heir] = heirs.sort((one, other) => shares.excess(one) - shares.excess(other));
      if (heir) view.transfer(tablet, heir, reason);
      else if (kept) exchange(tablet, from);
    }
    yield;
  }
  for (const to of nodes.reverse()) {
    for (const tablet of to.tablets) {
      if (!shares.isBelow(to)) break;
      const from = tablet.leader;
      if (from && from !== to && isFit(from) && fits(tablet, from, to)) view.transfer(tablet, to, reason);
    }
    yield;
  }
}
