/**
 * The one who breaks things: fault after fault, each for a while, several at a time. What the machines survive only
 * up to a limit stays within it: bits are flipped and disks replaced on a minority.
 */

import type { RunCluster } from '../run/run-cluster.js';
import { healthyDisk, type RunMachine } from '../run/run-machine.js';
import { type FaultOf, faultsOf } from '../setting/fault-names.js';
import { SimDisk } from '../world/disk.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { LEAST_VOTERS } from './operator.js';

/** Of operators and strangers there are others (mistakes.ts, strangers.ts). */
type NemesisFault = FaultOf<'network' | 'crash' | 'disk'>;

export class Nemesis {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #faults: Record<NemesisFault, () => void | Promise<void>>;
  #stopped = false;
  #cutsNewLeadersUntilMs = 0;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
    cluster.onElected = (who) => {
      if (cluster.nowMs < this.#cutsNewLeadersUntilMs) void this.#cutNewLeader(who);
    };
    this.#faults = {
      partition: () => this.#partition(),
      oneWayCut: () => this.#oneWayCut(),
      isolateLeader: () => this.#isolateLeader(),
      cutNewLeaders: () => this.#cutNewLeaders(),
      clogLinks: () => this.#clogLinks(),
      cutClient: () => this.#cutClient(),
      slowLinks: () => this.#slowLinks(),
      narrowLinks: () => this.#narrowLinks(),
      forgetConnections: () => this.#forgetConnections(),
      breakConnections: () => this.#breakConnections(),
      messageFaults: () => this.#messageFaults(),
      kill: () => this.#kill(this.#anyMachine()),
      killLeader: () => this.#kill(cluster.leader),
      killBetweenOperations: () => this.#killBetweenOperations(),
      powerCut: () => this.#powerCut(),
      powerCutOfSome: () => this.#powerCutOfSome(),
      powerCutOfAll: () => this.#powerCutOfAll(),
      orderlyRestart: () => this.#orderlyRestart(),
      pause: () => this.#pause(),
      pauseLeader: () => this.#pauseLeader(),
      shortStall: () => this.#shortStall(),
      clockDrift: () => this.#clockDrift(),
      wallClockJump: () => this.#wallClockJump(),
      clockJump: () => this.#clockJump(),
      slowDisk: () => this.#slowDisk(),
      diskStall: () => this.#diskStall(),
      fullDisk: () => this.#fullDisk(),
      failedSync: () => this.#failedSync(),
      failedRead: () => this.#failedRead(),
      bitFlip: () => this.#bitFlip(),
      replacedDisk: () => this.#replaceDisk(),
    };
  }

  /** Resolves when it has been stopped. Faults under way may still end on their own. */
  async run(): Promise<void> {
    const { faultEveryMs } = this.#cluster.setting;
    const faults = faultsOf(['network', 'crash', 'disk'], this.#cluster.setting.faults);
    if (faults.length === 0) return;
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * 2 * faultEveryMs);
      if (this.#stopped) return;
      void this.#faults[this.#random.pick(faults)]();
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Everything works again, and goes on doing so; what is down is started. */
  heal(): void {
    const { world, machines, messageFaults } = this.#cluster;
    this.#note('heal');
    this.#cutsNewLeadersUntilMs = 0;
    world.network.mendAll();
    Object.assign(messageFaults, { loss: 0, repetition: 0, reordering: 0 });
    for (const one of this.#hosts)
      for (const other of this.#hosts) {
        world.network.slow(one, other);
        world.network.narrow(one, other);
      }
    for (const machine of machines) {
      const { condition } = machine;
      Object.assign(condition, healthyDisk(this.#cluster.setting.maxDiskMs));
      this.#cluster.resume(machine);
      machine.process?.clock.setRate(1);
      if (machine.starts > 0) this.#cluster.turnOn(machine);
    }
  }

  get #hosts(): string[] {
    const { machines, setting } = this.#cluster;
    const clients = Array.from({ length: setting.workload.clients }, (_, i) => `c${i + 1}`);
    return [...machines.map(({ host }) => host), ...clients];
  }

  #note(what: string, fields: Record<string, unknown> = {}): void {
    this.#cluster.trace.record('world', what, fields);
  }

  #whileMs(most: number): Promise<void> {
    return this.#cluster.sleep(50 + this.#random.float() ** 2 * most);
  }

  #anyMachine(): RunMachine {
    return this.#random.pick(this.#cluster.machines);
  }

  #runningMachine(): RunMachine | undefined {
    const running = this.#cluster.machines.filter(({ process }) => process !== undefined);
    return running.length > 0 ? this.#random.pick(running) : undefined;
  }

  /** Half of the time the leader, where the interesting things happen. */
  #prominentMachine(): RunMachine {
    return (this.#random.chance(0.5) ? this.#cluster.leader : undefined) ?? this.#anyMachine();
  }

  /**
   * One that may be damaged for ever: a majority must stay whole. Of members that change it is one machine in all: the
   * operator always leaves so many that they can do without one.
   */
  #expendableMachine(): RunMachine | undefined {
    const { machines, setting } = this.#cluster;
    const damaged = machines.filter(({ isDamaged }) => isDamaged);
    const budget = setting.changesMembers ? 1 : (machines.length - 1) >> 1;
    if (setting.nodes === 1 && !this.#hasGrown()) return undefined;
    const one = damaged.length >= budget ? this.#random.pick([undefined, ...damaged]) : this.#anyMachine();
    return one?.state === 'lost' ? undefined : one;
  }

  /** Of a group that was begun by one node: it can do without any one of them. */
  #hasGrown(): boolean {
    const status = this.#cluster.leader?.node?.status(0);
    return status !== undefined && status.voters.length >= LEAST_VOTERS && status.outgoing.length === 0;
  }

  // Network

  #cutBetween(side: readonly string[], other: readonly string[]): void {
    const { network } = this.#cluster.world;
    for (const one of side)
      for (const two of other) {
        network.cut(one, two);
        network.cut(two, one);
      }
  }

  async #partition(): Promise<void> {
    const hosts = this.#cluster.machines.map(({ host }) => host);
    const side = hosts.filter(() => this.#random.chance(0.5));
    const other = hosts.filter((host) => !side.includes(host));
    if (side.length === 0 || other.length === 0) return;
    this.#cluster.coverage.count('partitions');
    this.#note('partition', { side, other });
    this.#cutBetween(side, other);
    await this.#whileMs(6000);
    await this.#mend();
  }

  /** All at once, or one link after the other. */
  async #mend(): Promise<void> {
    const { network } = this.#cluster.world;
    if (this.#random.chance(0.5)) {
      this.#note('mend all links');
      network.mendAll();
      return;
    }
    this.#cluster.coverage.count('links mended one by one');
    for (const [from, to] of network.cutLinks) {
      await this.#cluster.sleep(this.#random.float() * 300);
      this.#note('mend', { from, to });
      network.mend(from, to);
    }
  }

  async #oneWayCut(): Promise<void> {
    const from = this.#prominentMachine().host;
    const to = this.#anyMachine().host;
    if (from === to) return;
    this.#cluster.coverage.count('one-way cuts');
    this.#note('cut', { from, to });
    this.#cluster.world.network.cut(from, to);
    await this.#whileMs(5000);
    this.#cluster.world.network.mend(from, to);
  }

  async #isolateLeader(): Promise<void> {
    const leader = this.#cluster.leader?.host;
    if (leader === undefined) return;
    const others = this.#cluster.machines.map(({ host }) => host).filter((host) => host !== leader);
    const { network } = this.#cluster.world;
    const way = this.#random.pick(['both', 'in', 'out']);
    this.#cluster.coverage.count('leaders isolated');
    this.#note('isolate leader', { leader, way });
    for (const other of others) {
      if (way !== 'out') network.cut(other, leader);
      if (way !== 'in') network.cut(leader, other);
    }
    await this.#whileMs(6000);
    await this.#mend();
  }

  /** Who is elected writes alone, for a while, and so do his successors: logs grow apart. */
  #cutNewLeaders(): void {
    this.#cutsNewLeadersUntilMs = this.#cluster.nowMs + 1000 + this.#random.float() * 5000;
  }

  async #cutNewLeader(leader: string): Promise<void> {
    const { network } = this.#cluster.world;
    const others = this.#cluster.machines.map(({ host }) => host).filter((host) => host !== leader);
    const cut = others.filter(() => this.#random.chance(0.8));
    this.#cluster.coverage.count('new leaders cut off');
    this.#note('cut new leader', { leader, cut });
    for (const other of cut) network.cut(leader, other);
    await this.#whileMs(2000);
    for (const other of cut) {
      network.mend(leader, other);
      await this.#cluster.sleep(this.#random.float() * 100);
    }
  }

  async #clogLinks(): Promise<void> {
    const { network } = this.#cluster.world;
    const hosts = this.#cluster.machines.map(({ host }) => host);
    this.#note('clog links');
    for (const from of hosts)
      for (const to of hosts) if (from !== to && this.#random.chance(0.4)) network.cut(from, to);
    await this.#whileMs(3000);
    await this.#mend();
  }

  async #cutClient(): Promise<void> {
    const client = `c${this.#random.between(1, this.#cluster.setting.workload.clients)}`;
    const { host } = this.#prominentMachine();
    this.#cluster.coverage.count('clients cut off');
    this.#note('cut client', { client, host });
    // Only the way back, often: the request is heard, the answer is not.
    if (this.#random.chance(0.4)) this.#cluster.world.network.cut(client, host);
    this.#cluster.world.network.cut(host, client);
    await this.#whileMs(3000);
    this.#cluster.world.network.mend(client, host);
    this.#cluster.world.network.mend(host, client);
  }

  async #slowLinks(): Promise<void> {
    const { network } = this.#cluster.world;
    const links = this.#someLinks();
    const maxMs = this.#random.pick([50, 300, 1500]);
    this.#cluster.coverage.count('slow links');
    this.#note('slow links', { links, maxMs });
    for (const [from, to] of links) network.slow(from, to, { minMs: maxMs / 10, maxMs });
    await this.#whileMs(5000);
    for (const [from, to] of links) network.slow(from, to);
  }

  /** So few bytes per second that entries and snapshots fill them. */
  async #narrowLinks(): Promise<void> {
    const { network } = this.#cluster.world;
    const links = this.#someLinks();
    const bytesPerSecond = this.#random.pick([4, 32, 256]) * 1024;
    this.#cluster.coverage.count('narrow links');
    this.#note('narrow links', { links, bytesPerSecond });
    for (const [from, to] of links) network.narrow(from, to, bytesPerSecond);
    await this.#whileMs(5000);
    for (const [from, to] of links) network.narrow(from, to);
  }

  #someLinks(): (readonly [string, string])[] {
    const hosts = this.#hosts;
    return Array.from(
      { length: this.#random.between(1, 6) },
      () => [this.#random.pick(hosts), this.#random.pick(hosts)] as const,
    );
  }

  /** A firewall between two has lost its state: neither is told that their connections are dead. */
  #forgetConnections(): void {
    const one = this.#random.pick(this.#hosts);
    const other = this.#prominentMachine().host;
    this.#cluster.coverage.count('connections forgotten');
    this.#note('forget connections', { one, other });
    this.#cluster.world.network.forgetConnections(one, other);
  }

  #breakConnections(): void {
    const one = this.#random.pick(this.#hosts);
    const other = this.#prominentMachine().host;
    this.#cluster.coverage.count('connections broken');
    this.#note('break connections', { one, other });
    this.#cluster.world.network.breakConnections(one, other);
  }

  async #messageFaults(): Promise<void> {
    const { messageFaults } = this.#cluster;
    const odds = () => this.#random.pick([0, 0.02, 0.2]);
    Object.assign(messageFaults, { loss: odds(), repetition: odds(), reordering: odds() });
    this.#note('message faults', { ...messageFaults });
    await this.#whileMs(6000);
    Object.assign(messageFaults, { loss: 0, repetition: 0, reordering: 0 });
  }

  // Processes

  #kill(machine: RunMachine | undefined): void {
    if (!machine?.process) return;
    this.#cluster.coverage.count('kills');
    this.#cluster.kill(machine);
  }

  #killBetweenOperations(): void {
    const machine = this.#runningMachine();
    if (!machine) return;
    const isPowerCut = this.#random.chance(0.6);
    machine.condition.fuse = {
      operations: this.#random.between(1, 60),
      burnt: () => {
        this.#cluster.coverage.count('kills between disk operations');
        if (isPowerCut) this.#cluster.cutPower(machine);
        else this.#cluster.kill(machine);
      },
    };
  }

  #powerCut(): void {
    const machine = this.#prominentMachine();
    if (machine.state === 'lost') return;
    this.#cluster.coverage.count('power cuts');
    this.#cluster.cutPower(machine);
  }

  /** A rack goes dark, and a little later perhaps the leader elsewhere. */
  async #powerCutOfSome(): Promise<void> {
    const { machines, coverage } = this.#cluster;
    const some = machines.filter(({ state }) => state !== 'lost' && this.#random.chance(0.5));
    coverage.count('power cuts of some');
    for (const machine of some) this.#cluster.cutPower(machine);
    if (this.#random.chance(0.5)) return;
    await this.#whileMs(500);
    const { leader } = this.#cluster;
    if (leader) this.#cluster.cutPower(leader);
  }

  #powerCutOfAll(): void {
    this.#cluster.coverage.count('power cuts of all');
    for (const machine of this.#cluster.machines)
      if (machine.state !== 'lost') this.#cluster.cutPower(machine);
  }

  async #orderlyRestart(): Promise<void> {
    const machine = this.#runningMachine();
    if (machine?.state !== 'up') return;
    this.#cluster.coverage.count('orderly restarts');
    await this.#cluster.close(machine);
  }

  async #pause(): Promise<void> {
    const machine = this.#prominentMachine();
    if (!machine.process || machine.isPaused) return;
    this.#cluster.coverage.count('pauses');
    this.#cluster.pause(machine);
    const { process } = machine;
    await this.#whileMs(5000);
    if (machine.process === process) this.#cluster.resume(machine);
  }

  /**
   * Until the others have a leader of their own. The old one wakes up and does not know; half of the time nobody can
   * tell it but the clients, who ask it.
   */
  async #pauseLeader(): Promise<void> {
    const machine = this.#cluster.leader;
    if (!machine || machine.isPaused) return;
    const { process, host } = machine;
    const { network } = this.#cluster.world;
    const others = this.#cluster.machines.filter((other) => other !== machine && this.#random.chance(0.8));
    const isCutOff = this.#random.chance(0.5);
    this.#cluster.coverage.count('leaders paused');
    this.#cluster.pause(machine);
    if (isCutOff) for (const other of others) this.#cutBetween([host], [other.host]);
    const { electionTimeoutMaxMs } = this.#cluster.setting.raft;
    await this.#cluster.sleep(electionTimeoutMaxMs * (1.5 + this.#random.float() * 2));
    if (machine.process === process) this.#cluster.resume(machine);
    await this.#cluster.sleep(this.#random.float() * 300);
    if (!isCutOff) return;
    for (const other of others) {
      network.mend(host, other.host);
      network.mend(other.host, host);
    }
  }

  /** About as long as an election timeout, or much shorter; its timers are due before it reads its sockets. */
  async #shortStall(): Promise<void> {
    const machine = this.#prominentMachine();
    const { process } = machine;
    if (!process || machine.isPaused) return;
    this.#cluster.coverage.count('short stalls');
    this.#cluster.pause(machine);
    await this.#cluster.sleep(
      this.#cluster.setting.raft.electionTimeoutMinMs * (0.2 + this.#random.float() * 1.2),
    );
    if (machine.process === process) this.#cluster.resume(machine, 'timers first');
  }

  async #clockDrift(): Promise<void> {
    const { process } = this.#prominentMachine();
    if (!process) return;
    const rate = 0.96 + this.#random.float() * 0.08;
    this.#cluster.coverage.count('clock drifts');
    this.#note('clock drift', { rate });
    process.clock.setRate(rate);
    await this.#whileMs(10_000);
    process.clock.setRate(1);
  }

  #wallClockJump(): void {
    const machine = this.#anyMachine();
    const byMs = (this.#random.float() - 0.5) * 7_200_000;
    this.#cluster.coverage.count('wall clock jumps');
    this.#note('wall clock jump', { host: machine.host, byMs });
    machine.process?.clock.jumpWall(byMs);
  }

  /** Leases trust clocks not to do that: the workload asks for no lease reads where it happens. */
  #clockJump(): void {
    const { process, host } = this.#prominentMachine();
    if (!process) return;
    const byMs = this.#random.float() ** 2 * 20_000;
    this.#cluster.coverage.count('clock jumps');
    this.#note('clock jump', { host, byMs });
    process.clock.jump(byMs);
  }

  // Disks

  async #slowDisk(): Promise<void> {
    const { condition, host } = this.#prominentMachine();
    const maxMs = this.#random.pick([5, 50, 400]);
    this.#cluster.coverage.count('slow disks');
    this.#note('slow disk', { host, maxMs });
    condition.maxMs = maxMs;
    await this.#whileMs(5000);
    condition.maxMs = this.#cluster.setting.maxDiskMs;
  }

  #diskStall(): void {
    const { condition, host } = this.#prominentMachine();
    const forMs = this.#random.float() ** 2 * 6000;
    this.#cluster.coverage.count('disk stalls');
    this.#note('disk stall', { host, forMs });
    condition.stalledUntilMs = this.#cluster.nowMs + forMs;
  }

  async #fullDisk(): Promise<void> {
    const { condition, host } = this.#prominentMachine();
    this.#cluster.coverage.count('full disks');
    this.#note('full disk', { host });
    condition.isFull = true;
    await this.#whileMs(4000);
    this.#note('space again', { host });
    condition.isFull = false;
  }

  #failedSync(): void {
    const { condition, host } = this.#prominentMachine();
    this.#note('a sync will fail', { host });
    condition.failSyncs = 1;
  }

  #failedRead(): void {
    const { condition, host } = this.#prominentMachine();
    this.#note('reads will fail', { host });
    condition.failReads = this.#random.between(1, 5);
  }

  /** In a table, or in a segment of the Raft log that has a successor: its last record could pass for a torn tail. */
  #bitFlip(): void {
    const machine = this.#expendableMachine();
    if (!machine) return;
    const files = machine.disk.files('/data');
    const segments = files.filter((path) => /raft-\d+\.log$/.test(path));
    const candidates = [...files.filter((path) => path.endsWith('.sst')), ...segments.slice(0, -2)];
    if (candidates.length === 0) return;
    const path = this.#random.pick(candidates);
    this.#cluster.flipBit(machine, path, this.#random.float(), this.#random.between(0, 7));
    if (this.#cluster.setting.changesMembers) this.#cluster.coverage.count('damage while members change');
  }

  /** The machine comes back with its name and an empty disk: it must not be let in, its votes are forgotten. */
  #replaceDisk(): void {
    const { machines } = this.#cluster;
    const machine = this.#expendableMachine();
    // Whoever never met the old disk could not know that this is another.
    if (!machine || machine.edit || !machines.every((other) => other === machine || hasMet(other, machine)))
      return;
    this.#cluster.coverage.count('disks replaced');
    if (this.#cluster.setting.changesMembers) this.#cluster.coverage.count('damage while members change');
    this.#note('disk replaced', { host: machine.host });
    machine.isDamaged = true;
    machine.hasBrokenDisk = true;
    machine.isReplaced = true;
    if (machine.process) this.#cluster.kill(machine);
    machine.disk = new SimDisk();
  }
}

/** Whether one machine's disk says which disk the other had. */
function hasMet({ disk }: RunMachine, { id }: RunMachine): boolean {
  const known = disk.contentOf('/data/peers.json');
  return known !== undefined && `${id}` in (JSON.parse(known.toString()) as object);
}
