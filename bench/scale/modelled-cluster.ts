/**
 * A cluster of which only what the balancer sees is modelled: nodes, tablets with sizes and loads, who leads, and what
 * becomes of orders. There are no logs, no bytes and no time but that which is told.
 */
import type {
  ClusterMap,
  ClusterNode,
  Descriptor,
  Move,
  NodeReport,
  Replica,
  ReplicaReport,
  Reports,
  Transfer,
} from '../../src/balance/cluster-map.js';
import type { Order } from '../../src/balance/orders.js';

export interface ModelledTablet {
  descriptor: Descriptor;
  readonly sizeBytes: number;
  operationsPerSecond: number;
  /** 0: nobody leads. */
  leader: number;
  term: number;
  ledSinceMs: number;
}

interface Placed {
  readonly tablet: number;
  readonly replicaId: number;
  confIndex: number;
}

export type ModelledNode = ClusterNode & { isUp: boolean; isDraining: boolean };

export class ModelledCluster {
  readonly nodes = new Map<number, ModelledNode>();
  readonly tablets = new Map<number, ModelledTablet>();
  readonly moves = new Map<number, Move>();
  readonly transfers = new Map<number, Transfer>();
  /** The replicas on each node, by replica id. */
  readonly placed = new Map<number, Map<number, Placed>>();
  readonly #heardMs = new Map<number, number>();
  #nextReplicaId = 1;
  nowMs = 0;
  movedBytes = 0;
  movedReplicas = 0;

  addNode(id: number, host = `h${id}`, zone = 'z', weight = 1): void {
    this.nodes.set(id, { id, host, zone, weight, isDraining: false, isUp: true });
    this.placed.set(id, new Map());
  }

  /** The first of the nodes leads. */
  addTablet(id: number, nodes: readonly number[], sizeBytes: number, operationsPerSecond = 1): void {
    const replicas = nodes.map(
      (node): Replica => ({ replicaId: this.#nextReplicaId++, node, role: 'voter' }),
    );
    const descriptor: Descriptor = {
      ...{ id, start: Buffer.alloc(0), end: undefined, generation: 1, parents: [], replicas, confIndex: 1 },
    };
    const [leader = 0] = nodes;
    this.tablets.set(id, {
      descriptor,
      sizeBytes,
      operationsPerSecond,
      leader,
      term: 1,
      ledSinceMs: this.nowMs,
    });
    for (const { node, replicaId } of replicas) this.#place(node, { tablet: id, replicaId, confIndex: 1 });
  }

  get map(): ClusterMap {
    return {
      nodes: [...this.nodes.values()],
      tablets: [...this.tablets.values()].map(({ descriptor }) => descriptor),
      moves: [...this.moves.values()],
      transfers: [...this.transfers.values()],
    };
  }

  /** All nodes that are up have just reported. */
  reports(sinceMs = 0): Reports {
    for (const { id, isUp } of this.nodes.values()) if (isUp) this.#heardMs.set(id, this.nowMs);
    const nodes: NodeReport[] = [];
    for (const [node, heardMs] of this.#heardMs) {
      if (!this.nodes.has(node)) continue;
      const replicas: ReplicaReport[] = [];
      const isUp = this.nodes.get(node)?.isUp;
      if (isUp)
        for (const placed of this.placed.get(node)?.values() ?? []) replicas.push(this.#report(node, placed));
      nodes.push({ node, heardMs, replicas });
    }
    return { sinceMs, nodes };
  }

  #report(node: number, { tablet, replicaId, confIndex }: Placed): ReplicaReport {
    const known = this.tablets.get(tablet);
    const report = { tablet, replicaId, confIndex, sizeBytes: known?.sizeBytes ?? 0 };
    if (!known || known.leader !== node) return report;
    const { descriptor, operationsPerSecond, ledSinceMs, term } = known;
    const caughtUp = descriptor.replicas
      .filter(({ role }) => role === 'learner')
      .map((replica) => replica.replicaId);
    return { ...report, leads: { term, operationsPerSecond, forMs: this.nowMs - ledSinceMs, caughtUp } };
  }

  /** Followers elect another leader where the leader's node is down. */
  elect(): void {
    for (const tablet of this.tablets.values()) {
      const isLed = this.nodes.get(tablet.leader)?.isUp && this.#voterOn(tablet, tablet.leader);
      const hasQuorum = this.hasQuorum(tablet.descriptor.replicas);
      if (isLed && hasQuorum) continue;
      const heir = hasQuorum
        ? this.#voters(tablet).find(({ node }) => this.nodes.get(node)?.isUp)
        : undefined;
      this.#lead(tablet, heir?.node ?? 0);
    }
  }

  hasQuorum(replicas: readonly Replica[]): boolean {
    const voters = replicas.filter(({ role }) => role === 'voter');
    const live = voters.filter(({ node }) => this.nodes.get(node)?.isUp);
    return 2 * live.length > voters.length;
  }

  /** Carries an order out, unless what it expects is not so. Returns whether it did something. */
  execute(order: Order): boolean {
    switch (order.type) {
      case 'forget':
        return (order.what === 'move' ? this.moves : this.transfers).delete(order.tablet);
      case 'remove':
        return (
          this.nodes.get(order.node)?.isUp === true && this.#remove(order.tablet, order.replicaId, order.node)
        );
      case 'create':
        return this.#create(order.tablet, order.replicaId, order.node);
      default: {
        const tablet = this.tablets.get(order.tablet);
        if (!tablet || order.confIndex !== tablet.descriptor.confIndex) return false;
        if (order.type === 'move') return this.#record(tablet, order);
        if (order.type === 'transfer') return this.#transfer(tablet, order);
        return this.#changeMembers(tablet, order);
      }
    }
  }

  /** Every move and transfer goes through all its steps at once. */
  completeAll(): void {
    for (const { tablet: id, add, remove } of [...this.moves.values()]) {
      const tablet = this.tablets.get(id);
      if (!tablet) continue;
      const leaving = tablet.descriptor.replicas.find(({ replicaId }) => replicaId === remove);
      if (add) {
        this.execute({ type: 'create', tablet: id, generation: 1, ...add });
        this.execute({ type: 'learner', tablet: id, confIndex: tablet.descriptor.confIndex, ...add });
      }
      const { confIndex, replicas } = tablet.descriptor;
      const heir = replicas.find(({ node, role }) => node !== leaving?.node && role === 'voter');
      if (leaving && tablet.leader === leaving.node && heir) this.#lead(tablet, heir.node);
      this.execute({
        type: 'change',
        tablet: id,
        confIndex,
        promote: add?.replicaId,
        remove,
        heardVoters: 0,
      });
      if (leaving) this.execute({ type: 'remove', tablet: id, ...leaving });
      this.moves.delete(id);
    }
    this.transfers.clear();
  }

  #record(
    { descriptor }: ModelledTablet,
    { to, remove }: { readonly to: number | undefined; readonly remove: number | undefined },
  ): boolean {
    if (this.moves.has(descriptor.id)) return false;
    const add = to === undefined ? undefined : { node: to, replicaId: this.#nextReplicaId++ };
    const { id: tablet, generation } = descriptor;
    this.moves.set(tablet, { tablet, generation, add, remove, sinceMs: this.nowMs });
    return true;
  }

  #create(tablet: number, replicaId: number, node: number): boolean {
    const isExpected = this.moves.get(tablet)?.add?.replicaId === replicaId;
    if (!isExpected || !this.nodes.get(node)?.isUp || this.placed.get(node)?.has(replicaId)) return false;
    this.#place(node, { tablet, replicaId, confIndex: 0 });
    return true;
  }

  #remove(id: number, replicaId: number, node: number): boolean {
    const replicas = this.tablets.get(id)?.descriptor.replicas ?? [];
    if (replicas.some((replica) => replica.replicaId === replicaId))
      throw new Error(`replica ${replicaId} of tablet ${id} is a member, and was to be removed`);
    return this.placed.get(node)?.delete(replicaId) ?? false;
  }

  #transfer(
    tablet: ModelledTablet,
    { term, from, to }: { readonly term: number; readonly from: number; readonly to: number },
  ): boolean {
    const { id } = tablet.descriptor;
    if (!this.transfers.has(id)) this.transfers.set(id, { tablet: id, to, sinceMs: this.nowMs });
    if (
      tablet.term !== term ||
      tablet.leader !== from ||
      !this.nodes.get(to)?.isUp ||
      !this.#voterOn(tablet, to)
    )
      return false;
    this.#lead(tablet, to);
    return true;
  }

  #changeMembers(tablet: ModelledTablet, order: Extract<Order, { type: 'learner' | 'change' }>): boolean {
    const { descriptor, leader } = tablet;
    const { replicas } = descriptor;
    if (!this.nodes.get(leader)?.isUp || !this.hasQuorum(replicas)) return false;
    let next: readonly Replica[];
    if (order.type === 'learner') {
      const { replicaId, node } = order;
      if (!this.placed.get(node)?.has(replicaId)) return false;
      next = [...replicas, { replicaId, node, role: 'learner' }];
      this.movedBytes += tablet.sizeBytes;
      this.movedReplicas++;
    } else {
      next = replicas
        .filter(({ replicaId }) => replicaId !== order.remove)
        .map((replica) =>
          replica.replicaId === order.promote ? { ...replica, role: 'voter' as const } : replica,
        );
      const live = next.filter(({ role, node }) => role === 'voter' && this.nodes.get(node)?.isUp).length;
      if (live < order.heardVoters || !this.hasQuorum(next)) return false;
    }
    tablet.descriptor = { ...descriptor, replicas: next, confIndex: descriptor.confIndex + 1 };
    for (const { node, replicaId } of next) {
      const placed = this.placed.get(node)?.get(replicaId);
      if (placed && this.nodes.get(node)?.isUp) placed.confIndex = descriptor.confIndex + 1;
    }
    if (!this.#voterOn(tablet, leader)) this.#lead(tablet, 0);
    return true;
  }

  #lead(tablet: ModelledTablet, leader: number): void {
    if (tablet.leader === leader) return;
    tablet.leader = leader;
    tablet.term++;
    tablet.ledSinceMs = this.nowMs;
  }

  #voters({ descriptor }: ModelledTablet): Replica[] {
    return descriptor.replicas.filter(({ role }) => role === 'voter');
  }

  #voterOn(tablet: ModelledTablet, id: number): boolean {
    return this.#voters(tablet).some(({ node }) => node === id);
  }

  #place(node: number, placed: Placed): void {
    this.placed.get(node)?.set(placed.replicaId, placed);
  }
}
