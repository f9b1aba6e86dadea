/**
 * A schedule is a run without random faults: it leads the cluster step by step to one rare situation. Cluster, network,
 * disks, clients and rules are the same. The seed decides which node has which part, and how long everything takes. A
 * schedule may do what a network, a disk or a supervisor can do. It observes the nodes, and does not change their
 * state.
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
  /** The setting of the run, made from what the seed has chosen. */
  setting(chosen: Setting): Setting;
  /** The steps that a run of correct code must reach; a run that misses one has shown nothing. */
  readonly steps: readonly string[];
  /** Resolves when all steps are done, or when it cannot go on. */
  run(stage: Stage): Promise<void>;
}

/** Three members that do not change, with fast disks and links: only the schedule makes them slow. */
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

/** The longest wait for one step. */
const PATIENCE_MS = 15_000;
/** So many entries are committed before a schedule begins. */
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
    // A leader refuses much before it has committed an entry of its term.
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

  /** Whether the condition held in time, and before the end of the run. */
  async until(condition: () => boolean, withinMs = PATIENCE_MS): Promise<boolean> {
    const untilMs = this.cluster.nowMs + withinMs;
    while (!condition()) {
      if (this.#stopped || this.cluster.nowMs >= untilMs) return false;
      await this.cluster.sleep(1);
    }
    return true;
  }

  /** The founders in a random order, without those given. */
  shuffledFounders(...without: readonly RunMachine[]): RunMachine[] {
    const left = this.cluster.founders.filter((machine) => !without.includes(machine));
    return left
      .map((machine) => ({ machine, at: this.random.float() }))
      .sort((a, b) => a.at - b.at)
      .map(({ machine }) => machine);
  }

  /** From now on these messages between nodes are lost, or late: the schedule calls `send` when one is to leave. */
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

  /** Called at each election, before the new leader has sent a message. */
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

  /** The clients cannot reach this node any more, and ask another one. */
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

  /** An operator on a new host asks one node to change a member, and does not wait for the answer. */
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
    // Forced: a schedule needs what an operator should not do.
    this.#ask(at, {
      type: 'changeMembers',
      expectedIndex: undefined,
      force: true,
      changes: [{ type: wanted, nodeId: id, ...addresses }],
    });
  }

  transfer(at: RunMachine, to: RunMachine): void {
    this.#ask(at, { type: 'transferLeader', tablet: 0, nodeId: to.id });
  }

  #ask(at: RunMachine, request: Parameters<Direct['ask']>[1]): void {
    const operator = this.cluster.direct(this.cluster.host(`operator${this.#hosts++}`).env);
    this.#operators.push(operator);
    void operator.ask(at.endpoint, request);
  }

  /** Another operator, who forces no command. */
  operator(): Commands {
    const commands = new Commands(this.cluster, this.random, `operator${this.#hosts++}`);
    this.#commands.push(commands);
    return commands;
  }

  /** Asks several times. Whether one answer was as wanted. */
  async untilAnswered(ask: () => Promise<string>, wanted: string): Promise<boolean> {
    for (let tries = 0; tries < 10 && !this.#stopped; tries++) {
      if ((await ask()) === wanted) return true;
      await this.sleep(300);
    }
    return false;
  }

  /** Waits until so many more entries are committed. */
  async grows(entries: number): Promise<boolean> {
    const { reference } = this.cluster;
    const before = reference.lastIndex;
    return this.until(() => reference.lastIndex >= before + entries);
  }
}
