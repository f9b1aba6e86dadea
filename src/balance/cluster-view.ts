/**
 * The cluster as it will be when everything that is under way is done: recorded moves and transfers count as done, and
 * so does what the plan itself adds. Numbers of replicas come from the map, and bytes from the tablets, not from sums
 * that nodes report: those lag behind moves that have just ended.
 */
import type {
  BalanceSettings,
  ClusterMap,
  ClusterNode,
  Descriptor,
  Move,
  Replica,
  ReplicaReport,
  Reports,
  Transfer,
} from './cluster-map.js';
import type { Order, Reason } from './orders.js';

/** A node, and what it will have. */
export interface NodeView {
  readonly node: ClusterNode;
  /** Lately. */
  readonly isHeard: boolean;
  /** It is heard, does not drain and is not full: it may be given something. */
  readonly isTarget: boolean;
  readonly isDead: boolean;
  /** Neither dead nor draining: it has a share. */
  readonly hasShare: boolean;
  readonly tablets: Set<TabletView>;
  /** See `ClusterView.freeOn`. */
  free: Map<string, Set<TabletView>> | undefined;
  sizeBytes: number;
  leaders: number;
  operationsPerSecond: number;
  /** A leader here is too new to tell its load. */
  isLoadKnown: boolean;
  /** With how many tablets this node meets each other node. */
  readonly partners: Map<NodeView, number>;
  movesTo: number;
  movesFrom: number;
  transfersTo: number;
  transfersFrom: number;
}

export interface TabletView {
  readonly descriptor: Descriptor;
  /** In the end. */
  readonly nodes: NodeView[];
  sizeBytes: number;
  operationsPerSecond: number;
  /** Undefined if none is known, or none will be. */
  leader: NodeView | undefined;
  /** Whose report says that it leads, and what it says. */
  ledBy: NodeView | undefined;
  leads: NonNullable<ReplicaReport['leads']> | undefined;
  move: Move | undefined;
  transfer: Transfer | undefined;
  /** The plan has changed it, or it has a move or transfer: it is left alone. */
  isBusy: boolean;
}

/** What takes long is done in steps: who plans may do something else between two of them. */
export type Steps = Generator<void, void>;

/** So many tablets in a step. */
const TABLETS_IN_STEP = 1024;

export function* inSteps<Each>(all: Iterable<Each>, take: (each: Each) => void): Steps {
  let taken = 0;
  for (const each of all) {
    take(each);
    if (++taken % TABLETS_IN_STEP === 0) yield;
  }
}

export class ClusterView {
  readonly nodes: readonly NodeView[];
  readonly tablets: TabletView[] = [];
  readonly orders: Order[] = [];
  readonly settings: BalanceSettings;
  readonly nowMs: number;
  /** Reports of replicas that the map does not name. */
  readonly strays: { readonly node: NodeView; readonly report: ReplicaReport }[] = [];
  readonly created = new Set<number>();
  readonly #byNode: ReadonlyMap<number, NodeView>;
  readonly #byTablet = new Map<number, TabletView>();

  /** Without tablets: `fill` brings them. */
  constructor(map: ClusterMap, reports: Reports, settings: BalanceSettings, nowMs: number) {
    this.settings = settings;
    this.nowMs = nowMs;
    const heardMs = new Map(reports.nodes.map((report) => [report.node, report.heardMs]));
    const full = new Set(reports.nodes.filter(({ isFull }) => isFull).map((report) => report.node));
    this.nodes = map.nodes.map((node) => {
      const silentMs = nowMs - Math.max(reports.sinceMs, heardMs.get(node.id) ?? Number.NEGATIVE_INFINITY);
      const isDead = silentMs > settings.deadAfterMs;
      const isHeard = heardMs.has(node.id) && silentMs <= settings.silentAfterMs;
      return newNode(node, isDead, isHeard, full.has(node.id));
    });
    this.#byNode = new Map(this.nodes.map((view) => [view.node.id, view]));
  }

  *fill(map: ClusterMap, reports: Reports): Steps {
    const moves = new Map(map.moves.map((move) => [move.tablet, move]));
    const transfers = new Map(map.transfers.map((transfer) => [transfer.tablet, transfer]));
    yield* inSteps(map.tablets, (descriptor) => {
      const { id } = descriptor;
      const tablet = newTablet(descriptor, moves.get(id), transfers.get(id));
      this.tablets.push(tablet);
      this.#byTablet.set(id, tablet);
    });
    for (const report of reports.nodes) {
      this.#take(report);
      yield;
    }
    yield* inSteps(this.tablets, (tablet) => this.#settle(tablet));
  }

  node(id: number): NodeView | undefined {
    return this.#byNode.get(id);
  }

  tablet(id: number): TabletView | undefined {
    return this.#byTablet.get(id);
  }

  /**
   * The tablets of a node that may be moved, by the nodes that they are on: what places and partners allow to one of
   * them they allow to all.
   */
  freeOn(node: NodeView): ReadonlyMap<string, ReadonlySet<TabletView>> {
    if (!node.free) {
      node.free = new Map();
      for (const tablet of node.tablets) {
        if (tablet.isBusy || !tablet.ledBy) continue;
        const place = placeOf(tablet);
        const there = node.free.get(place);
        if (there) there.add(tablet);
        else node.free.set(place, new Set([tablet]));
      }
    }
    return node.free;
  }

  /** The plan changes it: nothing else does. */
  #occupy(tablet: TabletView): void {
    tablet.isBusy = true;
    const place = placeOf(tablet);
    for (const { free } of tablet.nodes) {
      const there = free?.get(place);
      if (there?.delete(tablet) && there.size === 0) free?.delete(place);
    }
  }

  /** Whether a move may go from one node to another now. Either may be undefined. */
  mayMove(from: NodeView | undefined, to: NodeView | undefined): boolean {
    const { maxMovesPerNode } = this.settings;
    if (from && !from.isDead && from.movesFrom >= maxMovesPerNode) return false;
    return !to || (to.isTarget && to.movesTo < maxMovesPerNode);
  }

  move(tablet: TabletView, from: NodeView | undefined, to: NodeView | undefined, reason: Reason): void {
    const { id, generation, confIndex } = tablet.descriptor;
    const remove = from && replicaOn(tablet.descriptor, from)?.replicaId;
    this.orders.push({ type: 'move', tablet: id, generation, confIndex, to: to?.node.id, remove, reason });
    this.#occupy(tablet);
    this.#exchange(tablet, from, to);
  }

  transfer(tablet: TabletView, to: NodeView, reason: Reason): void {
    const { leader: from, ledBy } = tablet;
    if (!from || from !== ledBy) return;
    this.orderTransfer(tablet, to, reason);
    this.#occupy(tablet);
    from.transfersFrom++;
    to.transfersTo++;
    this.#lead(tablet, to);
  }

  /** Only the order: nothing is counted. */
  orderTransfer({ descriptor, ledBy, leads }: TabletView, to: NodeView, reason: Reason): void {
    if (!ledBy || !leads) return;
    const { id: tablet, confIndex } = descriptor;
    const { term } = leads;
    const [from, target] = [ledBy.node.id, to.node.id];
    this.orders.push({ type: 'transfer', tablet, confIndex, term, from, to: target, reason });
  }

  #take({ node: id, replicas }: Reports['nodes'][number]): void {
    const node = this.#byNode.get(id);
    if (!node) return;
    for (const report of replicas) {
      const tablet = this.#byTablet.get(report.tablet);
      // What the map does not know it does not judge: it may be a child of a split.
      if (!tablet) continue;
      const isMember = hasReplica(tablet.descriptor, report.replicaId);
      if (tablet.move?.add?.replicaId === report.replicaId) this.created.add(report.replicaId);
      else if (!isMember) this.strays.push({ node, report });
      if (!isMember) continue;
      // Of another node's replica it knows nothing.
      if (replicaOn(tablet.descriptor, node)?.replicaId !== report.replicaId) continue;
      tablet.sizeBytes = Math.max(tablet.sizeBytes, report.sizeBytes);
      const { leads, operationsPerSecond = 0 } = report;
      // That stays with the replica, whoever leads.
      if (!leads) node.operationsPerSecond += operationsPerSecond;
      // Of two leaders the one of the earlier term has not heard of the other, or has died.
      if (!leads || node.isDead || (tablet.leads && tablet.leads.term > leads.term)) continue;
      tablet.leads = leads;
      tablet.ledBy = node;
    }
  }

  /** Counts a tablet on its nodes, with its move and its transfer as if they were done. */
  #settle(tablet: TabletView): void {
    const { descriptor, move, transfer, leads, ledBy } = tablet;
    for (const { node } of descriptor.replicas) {
      const view = this.#byNode.get(node);
      if (view) this.#join(tablet, view);
    }
    if (move) {
      const leaving = descriptor.replicas.find(({ replicaId }) => replicaId === move.remove);
      const from = leaving && this.#byNode.get(leaving.node);
      const to = move.add && this.#byNode.get(move.add.node);
      const isNew = to !== undefined && !tablet.nodes.includes(to);
      if (to && !isNew) to.movesTo++;
      this.#exchange(tablet, from, isNew ? to : undefined);
    }
    const target = transfer && this.#byNode.get(transfer.to);
    if (target && ledBy && target !== ledBy) {
      ledBy.transfersFrom++;
      target.transfersTo++;
    }
    const next = target ?? ledBy;
    tablet.operationsPerSecond = leads?.operationsPerSecond ?? 0;
    if (next && tablet.nodes.includes(next)) this.#lead(tablet, next);
    const isKnown = leads !== undefined && leads.forMs >= this.settings.loadWindowMs && !transfer && !move;
    if (!isKnown) for (const node of [ledBy, target]) if (node) node.isLoadKnown = false;
  }

  #exchange(tablet: TabletView, from: NodeView | undefined, to: NodeView | undefined): void {
    if (from) {
      from.movesFrom++;
      this.#leave(tablet, from);
    }
    if (to) {
      to.movesTo++;
      this.#join(tablet, to);
    }
  }

  #join(tablet: TabletView, node: NodeView): void {
    for (const other of tablet.nodes) meet(node, other, 1);
    tablet.nodes.push(node);
    node.tablets.add(tablet);
    node.sizeBytes += tablet.sizeBytes;
  }

  #leave(tablet: TabletView, node: NodeView): void {
    const at = tablet.nodes.indexOf(node);
    if (at < 0) return;
    tablet.nodes.splice(at, 1);
    for (const other of tablet.nodes) meet(node, other, -1);
    node.tablets.delete(tablet);
    node.sizeBytes -= tablet.sizeBytes;
    if (tablet.leader === node) this.#lead(tablet, undefined);
  }

  #lead(tablet: TabletView, node: NodeView | undefined): void {
    const before = tablet.leader;
    if (before) {
      before.leaders--;
      before.operationsPerSecond -= tablet.operationsPerSecond;
    }
    tablet.leader = node;
    if (!node) return;
    node.leaders++;
    node.operationsPerSecond += tablet.operationsPerSecond;
  }
}

/** The same for tablets on the same nodes. */
function placeOf({ nodes }: TabletView): string {
  return nodes
    .map(({ node }) => node.id)
    .sort((one, other) => one - other)
    .join(' ');
}

/** Asked for each report: no closure. */
function hasReplica({ replicas }: Descriptor, replicaId: number): boolean {
  for (const replica of replicas) if (replica.replicaId === replicaId) return true;
  return false;
}

export function replicaOn({ replicas }: Descriptor, { node }: NodeView): Replica | undefined {
  return replicas.find((replica) => replica.node === node.id);
}

function meet(one: NodeView, other: NodeView, by: 1 | -1): void {
  for (const [self, partner] of [
    [one, other],
    [other, one],
  ] as const) {
    const count = (self.partners.get(partner) ?? 0) + by;
    if (count > 0) self.partners.set(partner, count);
    else self.partners.delete(partner);
  }
}

function newNode(node: ClusterNode, isDead: boolean, isHeard: boolean, isFull: boolean): NodeView {
  return {
    ...{ node, isDead, isHeard, isTarget: isHeard && !node.isDraining && !isFull },
    ...{ hasShare: !isDead && !node.isDraining, isLoadKnown: true },
    tablets: new Set(),
    free: undefined,
    partners: new Map(),
    ...{ sizeBytes: 0, leaders: 0, operationsPerSecond: 0 },
    ...{ movesTo: 0, movesFrom: 0, transfersTo: 0, transfersFrom: 0 },
  };
}

function newTablet(
  descriptor: Descriptor,
  move: Move | undefined,
  transfer: Transfer | undefined,
): TabletView {
  // There are as many as there are tablets: no objects in between.
  return {
    descriptor,
    move,
    transfer,
    nodes: [],
    sizeBytes: 0,
    operationsPerSecond: 0,
    leader: undefined,
    ledBy: undefined,
    leads: undefined,
    isBusy: move !== undefined || transfer !== undefined,
  };
}
