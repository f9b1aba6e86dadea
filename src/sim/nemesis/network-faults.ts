/** Links that are cut, slow or narrow, connections that break, and messages that are lost, repeated or late. */
import type { RunCluster } from '../run/run-cluster.js';
import type { FaultOf } from '../setting/fault-names.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { type Act, Faults } from './faults.js';

export class NetworkFaults extends Faults {
  #cutsNewLeadersUntilMs = 0;
  readonly acts: Readonly<Record<FaultOf<'network'>, Act>> = {
    partition: () => this.#partition(),
    oneWayCut: () => this.#oneWayCut(),
    isolateLeader: () => this.#isolateLeader(),
    cutNewLeaders: () => this.#cutNewLeaders(),
    clogLinks: () => this.#clogLinks(),
    cutClient: () => this.#cutClient(),
    slowLinks: () => this.#slowLinks(),
    narrowLinks: () => this.#narrowLinks(),
    breakConnections: () => this.#breakConnections(),
    forgetConnections: () => this.#forgetConnections(),
    messageFaults: () => this.#messageFaults(),
  };

  constructor(cluster: RunCluster, random: SeededRandom) {
    super(cluster, random);
    cluster.onElected = (who) => {
      if (cluster.nowMs < this.#cutsNewLeadersUntilMs) void this.#cutNewLeader(who);
    };
  }

  /** All links work as at the beginning. */
  heal(): void {
    const { world, messageFaults } = this.cluster;
    this.#cutsNewLeadersUntilMs = 0;
    world.network.mendAll();
    Object.assign(messageFaults, { loss: 0, repetition: 0, reordering: 0 });
    for (const one of this.hosts)
      for (const other of this.hosts) {
        world.network.slow(one, other);
        world.network.narrow(one, other);
      }
  }

  async #partition(): Promise<void> {
    const hosts = this.cluster.machines.map(({ host }) => host);
    const side = hosts.filter(() => this.random.chance(0.5));
    const other = hosts.filter((host) => !side.includes(host));
    if (side.length === 0 || other.length === 0) return;
    this.cluster.coverage.count('partitions');
    this.note('partition', { side, other });
    this.cutBetween(side, other);
    await this.whileMs(6000);
    await this.#mend();
  }

  /** All at once, or one link after the other. */
  async #mend(): Promise<void> {
    const { network } = this.cluster.world;
    if (this.random.chance(0.5)) {
      this.note('mend all links');
      network.mendAll();
      return;
    }
    this.cluster.coverage.count('links mended one by one');
    for (const [from, to] of network.cutLinks) {
      await this.cluster.sleep(this.random.float() * 300);
      this.note('mend', { from, to });
      network.mend(from, to);
    }
  }

  async #oneWayCut(): Promise<void> {
    const from = this.prominentMachine().host;
    const to = this.anyMachine().host;
    if (from === to) return;
    this.cluster.coverage.count('one-way cuts');
    this.note('cut', { from, to });
    this.cluster.world.network.cut(from, to);
    await this.whileMs(5000);
    this.cluster.world.network.mend(from, to);
  }

  async #isolateLeader(): Promise<void> {
    const leader = this.cluster.someLeader(this.random)?.host;
    if (leader === undefined) return;
    const others = this.cluster.machines.map(({ host }) => host).filter((host) => host !== leader);
    const { network } = this.cluster.world;
    const way = this.random.pick(['both', 'in', 'out']);
    this.cluster.coverage.count('leaders isolated');
    this.note('isolate leader', { leader, way });
    for (const other of others) {
      if (way !== 'out') network.cut(other, leader);
      if (way !== 'in') network.cut(leader, other);
    }
    await this.whileMs(6000);
    await this.#mend();
  }

  /** Each new leader is cut off for a while and writes alone, so that logs diverge. */
  #cutNewLeaders(): void {
    this.#cutsNewLeadersUntilMs = this.cluster.nowMs + 1000 + this.random.float() * 5000;
  }

  async #cutNewLeader(leader: string): Promise<void> {
    const { network } = this.cluster.world;
    const others = this.cluster.machines.map(({ host }) => host).filter((host) => host !== leader);
    const cut = others.filter(() => this.random.chance(0.8));
    this.cluster.coverage.count('new leaders cut off');
    this.note('cut new leader', { leader, cut });
    for (const other of cut) network.cut(leader, other);
    await this.whileMs(2000);
    for (const other of cut) {
      network.mend(leader, other);
      await this.cluster.sleep(this.random.float() * 100);
    }
  }

  async #clogLinks(): Promise<void> {
    const { network } = this.cluster.world;
    const hosts = this.cluster.machines.map(({ host }) => host);
    this.note('clog links');
    for (const from of hosts)
      for (const to of hosts) if (from !== to && this.random.chance(0.4)) network.cut(from, to);
    await this.whileMs(3000);
    await this.#mend();
  }

  async #cutClient(): Promise<void> {
    const client = `c${this.random.between(1, this.cluster.setting.workload.clients)}`;
    const { host } = this.prominentMachine();
    this.cluster.coverage.count('clients cut off');
    this.note('cut client', { client, host });
    // Often only the way back: the request arrives, the answer does not.
    if (this.random.chance(0.4)) this.cluster.world.network.cut(client, host);
    this.cluster.world.network.cut(host, client);
    await this.whileMs(3000);
    this.cluster.world.network.mend(client, host);
    this.cluster.world.network.mend(host, client);
  }

  async #slowLinks(): Promise<void> {
    const { network } = this.cluster.world;
    const links = this.#someLinks();
    const maxMs = this.random.pick([50, 300, 1500]);
    this.cluster.coverage.count('slow links');
    this.note('slow links', { links, maxMs });
    for (const [from, to] of links) network.slow(from, to, { minMs: maxMs / 10, maxMs });
    await this.whileMs(5000);
    for (const [from, to] of links) network.slow(from, to);
  }

  /** Links with so little bandwidth that entries and snapshots fill them. */
  async #narrowLinks(): Promise<void> {
    const { network } = this.cluster.world;
    const links = this.#someLinks();
    const bytesPerSecond = this.random.pick([4, 32, 256]) * 1024;
    this.cluster.coverage.count('narrow links');
    this.note('narrow links', { links, bytesPerSecond });
    for (const [from, to] of links) network.narrow(from, to, bytesPerSecond);
    await this.whileMs(5000);
    for (const [from, to] of links) network.narrow(from, to);
  }

  #someLinks(): (readonly [string, string])[] {
    const hosts = this.hosts;
    return Array.from(
      { length: this.random.between(1, 6) },
      () => [this.random.pick(hosts), this.random.pick(hosts)] as const,
    );
  }

  /** A firewall between two hosts has lost its state: neither learns that their connections are dead. */
  #forgetConnections(): void {
    const one = this.random.pick(this.hosts);
    const other = this.prominentMachine().host;
    this.cluster.coverage.count('connections forgotten');
    this.note('forget connections', { one, other });
    this.cluster.world.network.forgetConnections(one, other);
  }

  #breakConnections(): void {
    const one = this.random.pick(this.hosts);
    const other = this.prominentMachine().host;
    this.cluster.coverage.count('connections broken');
    this.note('break connections', { one, other });
    this.cluster.world.network.breakConnections(one, other);
  }

  async #messageFaults(): Promise<void> {
    const { messageFaults } = this.cluster;
    const odds = () => this.random.pick([0, 0.02, 0.2]);
    Object.assign(messageFaults, { loss: odds(), repetition: odds(), reordering: odds() });
    this.note('message faults', { ...messageFaults });
    await this.whileMs(6000);
    Object.assign(messageFaults, { loss: 0, repetition: 0, reordering: 0 });
  }
}
