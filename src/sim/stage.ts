/**
 * A schedule is a run whose faults are not thrown at random but led, step by step, to one narrow window: the same
 * cluster, network, disks, clients and rules, and a seed that still decides who is who and how long everything takes.
 * What a schedule does is what a network, a disk or a supervisor might do; it looks at the nodes, and never reaches
 * into them.
 */

import type { ReplicaMessage } from '../replica/snapshot-messages.js';
import type { Node } from '../server/node.js';
import type { Direct } from './cluster/direct.js';
import { Commands } from './nemesis/commands.js';
import type { RunCluster } from './run/run-cluster.js';
import type { RunMachine } from './run/run-machine.js';
import type { Setting } from './setting/setting.js';
import type { Workload } from './workload/workload.js';
import type { SeededRandom } from './world/seeded-random.js';

export interface Schedule {
  readonly name: string;
  /** Made of what the seed has chosen. */
  setting(chosen: Setting): Setting;
  /** The window, step by step: what `reached` must name in a run of correct code, or it has shown nothing. */
  readonly steps: readonly string[];
  /** Resolves when it is through, or cannot go on. */
  run(stage: Stage): Promise<void>;
}

/** Three nodes that stay together, and little that takes time but what the schedule makes slow. */
export function threeQuickNodes(chosen: Setting): Setting {
  return {
    ...chosen,
    nodes: 3,
    spares: 0,
    changesMembers: false,
    maxDelayMs: 5,
    maxDiskMs: 2,
    maxRestartMs: 300,
  };
}

export function statusOf({ node }: RunMachine): ReturnType<Node['status']> | undefined {
  return node?.status(0);
}

/** A step that has not come about within this will not. */
const PATIENCE_MS = 15_000;
/** So many are committed before a schedule begins. */
const FIRST_ENTRIES = 5;

export class Stage {
  readonly cluster: RunCluster;
  readonly random: SeededRandom;
  readonly workload: Workload;
  readonly #reached: string[] = [];
  readonly #operators: Direct[] = [];
  readonly #commands: Commands[] = [];
  #hosts = 1;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom, workload: Workload) {
    this.cluster = cluster;
    this.random = random;
    this.workload = workload;
  }

  get reached(): readonly string[] {
    return this.#reached;
  }

  async play(schedule: Schedule): Promise<void> {
    // Before the leader has committed something of its own, much is refused.
    if (await this.until(() => this.cluster.reference.lastIndex >= FIRST_ENTRIES)) await schedule.run(this);
  }

  mark(step: string): void {
    this.#reached.push(step);
    this.cluster.trace.record('world', 'step', { step });
  }

  stop(): void {
    this.#stopped = true;
    this.cluster.loses = () => false;
    for (const machine of this.cluster.machines) this.cluster.releaseApply(machine);
    for (const operator of [...this.#operators, ...this.#commands]) void operator.close();
  }

  sleep(delayMs: number): Promise<void> {
    return this.cluster.sleep(delayMs);
  }

  /** Whether it came to hold before patience, or the run, ended. */
  async until(condition: () => boolean, withinMs = PATIENCE_MS): Promise<boolean> {
    const untilMs = this.cluster.nowMs + withinMs;
    while (!condition()) {
      if (this.#stopped || this.cluster.nowMs >= untilMs) return false;
      await this.cluster.sleep(1);
    }
    return true;
  }

  /** The founders in an order that the seed decides, without those given. */
  shuffledFounders(...without: readonly RunMachine[]): RunMachine[] {
    const left = this.cluster.founders.filter((machine) => !without.includes(machine));
    return left
      .map((machine) => ({ machine, at: this.random.float() }))
      .sort((a, b) => a.at - b.at)
      .map(({ machine }) => machine);
  }

  /** From now on these messages between nodes are lost, or late: then `send` is called when they are to go. */
  lose(
    isLost: (from: RunMachine, to: RunMachine, message: ReplicaMessage, send: () => void) => boolean,
  ): void {
    const { machines } = this.cluster;
    this.cluster.loses = (who, id, message, send) => {
      const from = machines.find(({ host }) => host === who);
      const to = machines.find((machine) => machine.id === id);
      return from !== undefined && to !== undefined && isLost(from, to, message, send);
    };
  }

  /** What happens in the moment of each election, before the new leader has said anything. */
  onElected(react: (leader: RunMachine) => void): void {
    this.cluster.onElected = (who) => {
      const leader = this.cluster.machines.find(({ host }) => host === who);
      if (leader && !this.#stopped) react(leader);
    };
  }

  cut(side: readonly RunMachine[], other: readonly RunMachine[]): void {
    const { network } = this.cluster.world;
    for (const { host: one } of side)
      for (const { host: two } of other) {
        if (one === two) continue;
        network.cut(one, two);
        network.cut(two, one);
      }
  }

  isolate(...machines: readonly RunMachine[]): void {
    this.cut(machines, this.cluster.machines);
  }

  mendAll(): void {
    this.cluster.world.network.mendAll();
  }

  /** The clients find this node no more, and ask another one. */
  cutClients({ host }: RunMachine): void {
    const { network } = this.cluster.world;
    for (const client of this.#clients) {
      network.cut(client, host);
      network.cut(host, client);
      network.breakConnections(client, host);
    }
  }

  mendClients({ host }: RunMachine): void {
    const { network } = this.cluster.world;
    for (const client of this.#clients) {
      network.mend(client, host);
      network.mend(host, client);
    }
  }

  get #clients(): string[] {
    return Array.from({ length: this.cluster.setting.workload.clients }, (_, i) => `c${i + 1}`);
  }

  /** An operator on a host of his own asks one node to change a member; it is answered, or not, later. */
  change(at: RunMachine, type: 'addVoter' | 'addLearner' | 'remove', { id, host }: RunMachine): void {
    const { voters = [], learners = [] } = statusOf(at) ?? {};
    const isMember = voters.includes(id) || learners.includes(id);
    const wanted = isMember
      ? ({ addVoter: 'promote', addLearner: 'demote', remove: 'remove' } as const)[type]
      : type;
    const isNew = wanted === 'addVoter' || wanted === 'addLearner';
    const addresses = {
      clientAddress: isNew ? `${host}:7001` : '',
      peerAddress: isNew ? `${host}:7101` : '',
    };
    // A schedule leads to where an operator should not go.
    this.#ask(at, {
      type: 'changeMembers',
      expectedIndex: undefined,
      force: true,
      changes: [{ type: wanted, nodeId: id, ...addresses }],
    });
  }

  transfer(at: RunMachine, to: RunMachine): void {
    this.#ask(at, { type: 'transferLeader', nodeId: to.id });
  }

  #ask(at: RunMachine, request: Parameters<Direct['ask']>[1]): void {
    const operator = this.cluster.direct(this.cluster.host(`operator${this.#hosts++}`).env);
    this.#operators.push(operator);
    void operator.ask(at.endpoint, request);
  }

  /** Another operator; none of his commands is forced. */
  operator(): Commands {
    const commands = new Commands(this.cluster, this.random, `operator${this.#hosts++}`);
    this.#commands.push(commands);
    return commands;
  }

  /** Whether it was answered so, of several times that it was asked. */
  async untilAnswered(ask: () => Promise<string>, wanted: string): Promise<boolean> {
    for (let tries = 0; tries < 10 && !this.#stopped; tries++) {
      if ((await ask()) === wanted) return true;
      await this.sleep(300);
    }
    return false;
  }

  /** So many more entries are committed. */
  async grows(entries: number): Promise<boolean> {
    const { reference } = this.cluster;
    const before = reference.lastIndex;
    return this.until(() => reference.lastIndex >= before + entries);
  }
}
