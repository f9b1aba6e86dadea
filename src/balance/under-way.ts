/** The next order of each move and transfer that is under way, and of replicas that are no members any more. */

import type { Move, Replica, Transfer } from './cluster-map.js';
import {
  type ClusterView,
  inSteps,
  type NodeView,
  replicaOn,
  type Steps,
  type TabletView,
} from './cluster-view.js';

export function* driveOn(view: ClusterView): Steps {
  yield* inSteps(view.tablets, (tablet) => {
    if (tablet.move) driveMove(view, tablet, tablet.move);
    if (tablet.transfer) driveTransfer(view, tablet, tablet.transfer);
  });
  for (const { node, report } of view.strays) {
    const tablet = view.tablet(report.tablet);
    // A replica that knows newer members than the map is judged when the map knows them too.
    if (!tablet || report.confIndex > tablet.descriptor.confIndex) continue;
    const { tablet: id, replicaId } = report;
    view.orders.push({ type: 'remove', tablet: id, replicaId, node: node.node.id });
  }
}

function driveMove(view: ClusterView, tablet: TabletView, { generation, add, remove, sinceMs }: Move): void {
  const { descriptor, leads, ledBy } = tablet;
  const { id, confIndex, replicas } = descriptor;
  const forget = (why: string) => view.orders.push({ type: 'forget', what: 'move', tablet: id, why });
  const change = (promote: number | undefined, leaving: number | undefined) => {
    // Without a leader nobody could carry it out.
    if (!ledBy) return;
    const after = replicas.filter(
      ({ replicaId, role }) => replicaId !== leaving && (role === 'voter' || replicaId === promote),
    );
    const heardVoters = heard(view, after);
    view.orders.push({ type: 'change', tablet: id, confIndex, promote, remove: leaving, heardVoters });
  };
  if (generation !== descriptor.generation) {
    forget('the tablet is another one by now');
    return;
  }
  const added = add && replicas.find(({ replicaId }) => replicaId === add.replicaId);
  const leaving = replicas.find(({ replicaId }) => replicaId === remove);
  if (add && added?.role !== 'voter') {
    const target = view.node(add.node);
    const isLost = !target || target.isDead || target.node.isDraining;
    if (isLost || view.nowMs - sinceMs > view.settings.moveTimeoutMs) {
      if (added) change(undefined, added.replicaId);
      else forget(isLost ? `node ${add.node} takes nothing` : 'it took too long');
      return;
    }
    if (!added) {
      const { replicaId, node } = add;
      if (ledBy && view.created.has(replicaId))
        view.orders.push({ type: 'learner', tablet: id, confIndex, replicaId, node });
      else if (!view.created.has(replicaId))
        view.orders.push({ type: 'create', tablet: id, generation, replicaId, node });
      return;
    }
    if (!leads?.caughtUp.includes(add.replicaId) || !target.isHeard) return;
    if (handsOver(view, tablet, leaving?.node)) change(add.replicaId, leaving?.replicaId);
    return;
  }
  if (!leaving) {
    forget('it is done');
    return;
  }
  const others = replicas.filter(({ role, replicaId }) => role === 'voter' && replicaId !== remove);
  const isLive = !view.node(leaving.node)?.isDead;
  if (!add && isLive && leaving.role === 'voter') {
    // It was one too many. If another has died, that one is to go.
    if (others.some(({ node }) => view.node(node)?.isDead !== false)) {
      forget('another replica is gone');
      return;
    }
    if (heard(view, others) < view.settings.replicas) return;
  }
  if (handsOver(view, tablet, leaving.node)) change(undefined, leaving.replicaId);
}

function heard(view: ClusterView, replicas: readonly Replica[]): number {
  return replicas.filter(({ node }) => view.node(node)?.isHeard).length;
}

/** Whether the node may leave now: a leader hands over first. */
function handsOver(view: ClusterView, tablet: TabletView, leaving: number | undefined): boolean {
  const { ledBy, descriptor, transfer } = tablet;
  if (!ledBy || ledBy.node.id !== leaving) return true;
  if (transfer) return false;
  const heirs = tablet.nodes.filter(
    (node) => node !== ledBy && node.isTarget && replicaOn(descriptor, node)?.role === 'voter',
  );
  const willLead = (node: NodeView) => node.leaders + node.transfersTo;
  const [heir] = heirs.sort((one, other) => willLead(one) - willLead(other) || one.node.id - other.node.id);
  // The only voter that lives cannot hand over: the change itself ends its leadership.
  if (!heir) return true;
  view.orderTransfer(tablet, heir, 'hand over');
  heir.transfersTo++;
  return false;
}

function driveTransfer(view: ClusterView, tablet: TabletView, { to, sinceMs }: Transfer): void {
  const { id } = tablet.descriptor;
  const forget = (why: string) => view.orders.push({ type: 'forget', what: 'transfer', tablet: id, why });
  const target: NodeView | undefined = view.node(to);
  if (tablet.ledBy?.node.id === to) forget('it is done');
  else if (!target?.isTarget || !replicaOn(tablet.descriptor, target)) forget(`node ${to} cannot lead`);
  else if (view.nowMs - sinceMs > view.settings.transferTimeoutMs) forget('it took too long');
  else view.orderTransfer(tablet, target, 'hand over');
}
