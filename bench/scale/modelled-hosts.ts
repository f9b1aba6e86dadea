/**
 * A cluster in modelled time: a discrete-event model of hosts, each of which is busy for as long as its work costs
 * (cost-model.ts) and has a share of a processor.
 *
 *     a turn     a host takes all that has arrived, and is busy for what that costs. At its end frames leave
 *     a quota    in each period a host may be busy for its share of the period. That is looked at with each tick of
 *                the scheduler, so it may be busy for longer, and then stands still for as many periods
 *     a put      client -> leader -> append to the followers; entries are synced; acknowledgements -> commit -> client
 *     a sync     all entries that came while the last one was written; the disk takes a fixed time
 *     a tick     heartbeats, and the commit index for followers that have not got it with entries
 *
 * As in a real node: what leaves in one turn to one node is one frame; each tablet sends each follower one append in a
 * turn; an acknowledgement waits for the sync. Not modelled: elections, lost messages, flushes and compactions, limits,
 * and the generator of the load, which answers at once.
 */
import { firstReplicas, placementByHash } from '../../src/placement/placement.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { type Costs, cpuMsOf, KINDS, type Work } from './cost-model.js';

export interface ModelledTabletPlace {
  /** The first one leads. */
  readonly nodes: readonly number[];
}

/** Tablets where a new cluster has them, and leaders as `bench:scale` spreads them over real nodes. */
export function placesOf(nodes: number, tablets: number, replicas: number): ModelledTabletPlace[] {
  const ids = Array.from({ length: nodes }, (_, i) => i + 1);
  const leads = new Map<number, number>();
  return [...firstReplicas(placementByHash(tablets, replicas), ids).replicas.values()].map((placed) => {
    const members = placed.map(({ node }) => node);
    const [leader = 0, ...others] = members.sort(
      (one, other) => (leads.get(one) ?? 0) - (leads.get(other) ?? 0),
    );
    leads.set(leader, (leads.get(leader) ?? 0) + 1);
    return { nodes: [leader, ...others] };
  });
}

export interface HostsOptions {
  readonly nodes: number;
  readonly tablets: readonly ModelledTabletPlace[];
  readonly costs: Costs;
  /** Of one processor, for each node. */
  readonly share: number;
  readonly periodMs: number;
  /** How often the system looks whether a quota is used up. */
  readonly schedulerTickMs: number;
  readonly clients: number;
  readonly valueBytes: number;
  readonly heartbeatMs: number;
  readonly networkMs: number;
  readonly syncMs: number;
  /** All nodes share one disk, which does one sync at a time. Otherwise each has its own. */
  readonly hasOneDisk: boolean;
  readonly settleMs: number;
  readonly measuredMs: number;
  readonly seed: number;
}

export interface HostsResult {
  readonly putsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly nodesUsPerPut: number;
  readonly quotaUsed: number;
  readonly work: readonly Work[];
}

const TICKS_PER_HEARTBEAT = 5;

type Item =
  | { readonly type: 'put'; readonly tablet: Tablet; readonly client: number }
  | { readonly type: 'append'; readonly tablet: Tablet; readonly last: number; readonly commit: number }
  | { readonly type: 'acknowledged'; readonly tablet: Tablet; readonly by: number; readonly last: number }
  | { readonly type: 'heartbeat'; readonly tablet: Tablet }
  | { readonly type: 'heartbeatReply' }
  | { readonly type: 'synced'; readonly upTo: ReadonlyMap<Tablet, number> }
  | { readonly type: 'tick' };

interface Tablet {
  readonly leader: number;
  readonly followers: readonly number[];
  /** Entries at the leader; each is a put of a client. */
  last: number;
  sent: number;
  stable: number;
  committed: number;
  readonly waiting: { readonly client: number; readonly index: number }[];
  /** By follower. */
  readonly matched: Map<number, number>;
  readonly told: Map<number, number>;
  heartbeatDueMs: number;
}

interface Host {
  readonly id: number;
  /** Its periods begin at different times. */
  readonly phaseMs: number;
  /** What it may still use, in this period; below zero if it has used more. */
  period: number;
  leftMs: number;
  isBusy: boolean;
  /** What has arrived, by connection: 0 is that of the clients, undefined is of this host. */
  inbox: { readonly from: number | undefined; readonly item: Item }[];
  /** Of the tablets that it follows: the last entry that it has got. */
  readonly held: Map<Tablet, number>;
  /** To be synced: up to which entry of which tablet. */
  unsynced: Map<Tablet, number>;
  isSyncing: boolean;
  readonly led: Tablet[];
  tickDueMs: number;
  tickedMs: number;
  work: Record<keyof Work, number>;
  cpuMs: number;
}

/** Events in order of time; of equal times the one that was added first. */
class Agenda {
  readonly #heap: { readonly atMs: number; readonly serial: number; readonly run: () => void }[] = [];
  #serial = 0;

  add(atMs: number, run: () => void): void {
    const heap = this.#heap;
    const event = { atMs, serial: this.#serial++, run };
    let at = heap.length;
    for (heap.push(event); at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent])) break;
      heap[at] = heap[parent] as typeof event;
      at = parent;
    }
    heap[at] = event;
  }

  take(): { readonly atMs: number; readonly run: () => void } | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const event = heap.pop();
    if (!event || event === first) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], event)) break;
      heap[at] = heap[child] as typeof event;
      at = child;
    }
    heap[at] = event;
    return first;
  }
}

type Placed = { readonly atMs: number; readonly serial: number };

function isBefore(one: Placed | undefined, other: Placed | undefined): boolean {
  if (!one || !other) return one !== undefined;
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.serial < other.serial);
}

const NO_WORK: Work = { frames: 0, messages: 0, entries: 0, bytes: 0, syncs: 0, seconds: 0 };

export function runHosts(options: HostsOptions): HostsResult {
  return new Hosts(options).run();
}

class Hosts {
  readonly #options: HostsOptions;
  readonly #agenda = new Agenda();
  readonly #random: SeededRandom;
  readonly #hosts: readonly Host[];
  readonly #tablets: readonly Tablet[];
  /** When each client has sent its put. */
  readonly #sentMs: number[] = [];
  #latenciesMs: number[] = [];
  #nowMs = 0;
  #diskFreeMs = 0;

  constructor(options: HostsOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    const { periodMs } = options;
    this.#hosts = Array.from({ length: options.nodes }, (_, i): Host => {
      const phaseMs = this.#random.float() * periodMs;
      const common = {
        inbox: [],
        held: new Map(),
        unsynced: new Map(),
        led: [],
        work: { ...NO_WORK },
        cpuMs: 0,
      };
      return {
        ...{ id: i + 1, phaseMs, period: 0, leftMs: 0, isBusy: false, isSyncing: false },
        ...{ tickDueMs: 0, tickedMs: 0 },
        ...common,
      };
    });
    this.#tablets = options.tablets.map(({ nodes: [leader = 0, ...followers] }): Tablet => {
      const zeros = () => new Map(followers.map((node) => [node, 0]));
      const indexes = { last: 0, sent: 0, stable: 0, committed: 0 };
      const heartbeatDueMs = this.#random.float() * options.heartbeatMs;
      return { leader, followers, ...indexes, waiting: [], matched: zeros(), told: zeros(), heartbeatDueMs };
    });
    for (const tablet of this.#tablets) this.#host(tablet.leader).led.push(tablet);
  }

  run(): HostsResult {
    const { nodes, clients, share, settleMs, measuredMs } = this.#options;
    for (const host of this.#hosts) this.#armTick(host, this.#random.float() * this.#tickMs);
    for (let client = 0; client < clients * nodes; client++) this.#put(client);
    this.#runUntil(settleMs);
    for (const host of this.#hosts) {
      host.work = { ...NO_WORK };
      host.cpuMs = 0;
    }
    this.#latenciesMs = [];
    this.#runUntil(settleMs + measuredMs);
    const sorted = this.#latenciesMs.sort((one, other) => one - other);
    const puts = sorted.length;
    const cpuMs = this.#hosts.reduce((sum, host) => sum + host.cpuMs, 0);
    return {
      putsPerSecond: (1000 * puts) / measuredMs,
      p50Ms: sorted[Math.floor(puts / 2)] ?? 0,
      p99Ms: sorted[Math.floor(0.99 * puts)] ?? 0,
      nodesUsPerPut: (1000 * cpuMs) / puts,
      quotaUsed: cpuMs / (share * measuredMs * nodes),
      work: this.#hosts.map(({ work }) => ({ ...work, seconds: measuredMs / 1000 })),
    };
  }

  get #tickMs(): number {
    return this.#options.heartbeatMs / TICKS_PER_HEARTBEAT;
  }

  #host(id: number): Host {
    return this.#hosts[id - 1] as Host;
  }

  #runUntil(endMs: number): void {
    for (let event = this.#agenda.take(); event; event = this.#agenda.take()) {
      this.#nowMs = event.atMs;
      event.run();
      if (this.#nowMs >= endMs) return;
    }
  }

  #put(client: number): void {
    const tablet = this.#tablets[this.#random.between(0, this.#tablets.length - 1)] as Tablet;
    this.#sentMs[client] = this.#nowMs;
    this.#send(0, tablet.leader, [{ type: 'put', tablet, client }], this.#nowMs);
  }

  #send(from: number | undefined, to: number, items: readonly Item[], atMs: number): void {
    const delayMs = from === undefined ? 0 : this.#options.networkMs;
    const host = this.#host(to);
    this.#agenda.add(atMs + delayMs, () => {
      for (const item of items) host.inbox.push({ from, item });
      if (!host.isBusy) this.#turn(host);
    });
  }

  /** When the host has done so much, from now on. */
  #busyUntil(host: Host, cpuMs: number): number {
    const { schedulerTickMs } = this.#options;
    let atMs = this.#unthrottledMs(host, this.#nowMs);
    for (let restMs = cpuMs; ; ) {
      const tickMs =
        (Math.floor((atMs - host.phaseMs) / schedulerTickMs) + 1) * schedulerTickMs + host.phaseMs;
      const stepMs = Math.min(restMs, tickMs - atMs);
      host.leftMs -= stepMs;
      restMs -= stepMs;
      atMs += stepMs;
      if (restMs <= 1e-9) return atMs;
      atMs = this.#unthrottledMs(host, Math.max(atMs, tickMs));
    }
  }

  /** A period gives a host its quota, less what it has used too much before. */
  #unthrottledMs(host: Host, fromMs: number): number {
    const { share, periodMs } = this.#options;
    const quotaMs = share * periodMs;
    const period = Math.floor((fromMs - host.phaseMs) / periodMs);
    host.leftMs = Math.min(quotaMs, host.leftMs + (period - host.period) * quotaMs);
    host.period = period;
    if (host.leftMs > 0) return fromMs;
    const waited = 1 + Math.floor(-host.leftMs / quotaMs);
    host.leftMs += waited * quotaMs;
    host.period += waited;
    return host.phaseMs + host.period * periodMs;
  }

  #turn(host: Host): void {
    const { costs, valueBytes } = this.#options;
    const { inbox } = host;
    host.inbox = [];
    host.isBusy = true;
    const work: Record<keyof Work, number> = { ...NO_WORK };
    const out = new Map<number, Item[]>();
    const emit = (to: number, item: Item) => {
      const items = out.get(to);
      if (items) items.push(item);
      else out.set(to, [item]);
      work.messages++;
    };
    const connections = new Set(inbox.map(({ from }) => from));
    connections.delete(undefined);
    work.frames += connections.size;
    for (const { item } of inbox) this.#take(host, item, work, emit);
    const answered: number[] = [];
    for (const tablet of host.led) {
      if (tablet.last > tablet.sent) {
        tablet.sent = tablet.last;
        for (const follower of tablet.followers) {
          emit(follower, { type: 'append', tablet, last: tablet.last, commit: tablet.committed });
          tablet.told.set(follower, tablet.committed);
        }
      }
      // What is committed is applied, and answered, when it is durable here.
      const reached = [tablet.stable, ...tablet.matched.values()].sort((one, other) => other - one);
      const majority = reached[Math.floor(reached.length / 2)] ?? 0;
      tablet.committed = Math.max(tablet.committed, Math.min(majority, tablet.stable));
      while ((tablet.waiting[0]?.index ?? Number.POSITIVE_INFINITY) <= tablet.committed)
        answered.push(tablet.waiting.shift()?.client ?? 0);
    }
    work.frames += out.size + (answered.length > 0 ? 1 : 0);
    const batch = host.isSyncing || host.unsynced.size === 0 ? undefined : host.unsynced;
    if (batch) {
      host.unsynced = new Map();
      host.isSyncing = true;
      work.syncs++;
    }
    work.bytes = work.entries * valueBytes;
    const cpuMs = cpuMsOf(work, costs);
    const endMs = this.#busyUntil(host, cpuMs);
    host.cpuMs += cpuMs;
    for (const kind of KINDS) host.work[kind] += work[kind];
    this.#agenda.add(endMs, () => {
      for (const [to, items] of out) this.#send(host.id, to, items, this.#nowMs);
      if (batch) this.#sync(host, batch);
      const { networkMs } = this.#options;
      if (answered.length > 0) this.#agenda.add(this.#nowMs + networkMs, () => this.#answered(answered));
      host.isBusy = false;
      if (host.inbox.length > 0) this.#turn(host);
    });
  }

  #take(
    host: Host,
    item: Item,
    work: Record<keyof Work, number>,
    emit: (to: number, item: Item) => void,
  ): void {
    switch (item.type) {
      case 'put': {
        const { tablet, client } = item;
        tablet.waiting.push({ client, index: ++tablet.last });
        host.unsynced.set(tablet, tablet.last);
        work.entries++;
        return;
      }
      case 'append': {
        const { tablet, last } = item;
        work.messages++;
        work.entries += last - (host.held.get(tablet) ?? 0);
        host.held.set(tablet, last);
        host.unsynced.set(tablet, last);
        return;
      }
      case 'acknowledged':
        work.messages++;
        item.tablet.matched.set(item.by, item.last);
        return;
      case 'heartbeat':
        work.messages++;
        emit(item.tablet.leader, { type: 'heartbeatReply' });
        return;
      case 'heartbeatReply':
        work.messages++;
        return;
      case 'synced':
        host.isSyncing = false;
        for (const [tablet, last] of item.upTo) {
          if (tablet.leader === host.id) tablet.stable = last;
          else emit(tablet.leader, { type: 'acknowledged', tablet, by: host.id, last });
        }
        return;
      case 'tick':
        this.#tick(host, work, emit);
    }
  }

  #tick(host: Host, work: Record<keyof Work, number>, emit: (to: number, item: Item) => void): void {
    work.seconds += (this.#nowMs - host.tickedMs) / 1000;
    host.tickedMs = this.#nowMs;
    for (const tablet of host.led) {
      const isDue = this.#nowMs >= tablet.heartbeatDueMs;
      if (isDue) tablet.heartbeatDueMs = this.#nowMs + this.#options.heartbeatMs;
      for (const follower of tablet.followers) {
        const known = Math.min(tablet.committed, tablet.matched.get(follower) ?? 0);
        if (!isDue && (tablet.told.get(follower) ?? 0) >= known) continue;
        tablet.told.set(follower, known);
        emit(follower, { type: 'heartbeat', tablet });
      }
    }
    this.#armTick(host, this.#tickMs);
  }

  #armTick(host: Host, afterMs: number): void {
    this.#send(undefined, host.id, [{ type: 'tick' }], this.#nowMs + afterMs);
  }

  #sync(host: Host, upTo: ReadonlyMap<Tablet, number>): void {
    const { syncMs, hasOneDisk } = this.#options;
    const startMs = hasOneDisk ? Math.max(this.#nowMs, this.#diskFreeMs) : this.#nowMs;
    this.#diskFreeMs = startMs + syncMs;
    this.#send(undefined, host.id, [{ type: 'synced', upTo }], startMs + syncMs);
  }

  #answered(clients: readonly number[]): void {
    for (const client of clients) {
      this.#latenciesMs.push(this.#nowMs - (this.#sentMs[client] ?? 0));
      this.#put(client);
    }
  }
}
