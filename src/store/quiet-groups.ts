/**
 * Keeps the promises that quiet groups rely on (raft/quiet.ts), once for all groups of a node: while groups are quiet,
 * it says a few times per election timeout, to each node that they rely on, that this node is alive. It wakes groups
 * when a node that they rely on is silent, or has begun a new epoch.
 *
 * An epoch is a random number. It is new with each process, and after the end of any replica of this node.
 */
import type { Clock, Random } from '../env/env.js';
import type { NodeId, Quietness } from '../raft/types.js';
import type { TickHandle, TickSource } from '../replica/ports.js';

export interface QuietGroupsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly ticks: TickSource;
  /** Between two signs of life. */
  readonly heartbeatMs: number;
  /** So much silence breaks a promise. */
  readonly electionTimeoutMinMs: number;
  readonly sendAlive: (to: NodeId, epoch: number) => void;
  readonly wake: (group: number, isSilent: boolean) => void;
}

interface Watched {
  /** Undefined if nothing was heard yet. */
  epoch: number | undefined;
  heardMs: number;
  /** Quiet groups that rely on this node. */
  readonly groups: Set<number>;
}

export class QuietGroups {
  readonly #options: QuietGroupsOptions;
  readonly #nodes = new Map<NodeId, Watched>();
  readonly #quiet = new Map<number, Quietness>();
  /** Undefined until it is needed. */
  #epoch: number | undefined;
  /** There is one while any node is watched. */
  #ticks: TickHandle | undefined;

  constructor(options: QuietGroupsOptions) {
    this.#options = options;
  }

  /** How many groups are quiet. */
  get count(): number {
    return this.#quiet.size;
  }

  get epoch(): number {
    this.#epoch ??= newEpoch(this.#options.random);
    return this.#epoch;
  }

  /** Breaks the promise to all groups: a replica has ended, and other nodes may rely on it. */
  beginEpoch(): void {
    if (this.#epoch === undefined) return;
    this.#epoch = newEpoch(this.#options.random);
    this.#sendAll();
  }

  /** A node is alive, in this epoch. */
  heard(node: NodeId, epoch: number): void {
    const watched = this.#watch(node);
    watched.heardMs = this.#options.clock.nowMs();
    const isOther = watched.epoch !== undefined && watched.epoch !== epoch;
    watched.epoch = epoch;
    if (isOther) this.#wake(watched, false);
  }

  changed(group: number, quietness: Quietness | undefined): void {
    for (const node of this.#quiet.get(group)?.nodes ?? []) this.#nodes.get(node)?.groups.delete(group);
    this.#quiet.delete(group);
    if (!quietness) return;
    this.#quiet.set(group, quietness);
    for (const node of quietness.nodes) {
      const watched = this.#watch(node);
      // If this process ends soon, the other one can tell the next from it.
      if (watched.groups.size === 0) this.#options.sendAlive(node, this.epoch);
      watched.groups.add(group);
      // All members of the group have just answered its leader.
      if (quietness.epoch === undefined) watched.heardMs = this.#options.clock.nowMs();
      if (quietness.epoch !== undefined && quietness.epoch !== watched.epoch)
        this.#options.wake(group, false);
    }
  }

  close(): void {
    this.#ticks?.remove();
  }

  #watch(node: NodeId): Watched {
    const { clock, ticks, heartbeatMs } = this.#options;
    const nowMs = clock.nowMs();
    let watched = this.#nodes.get(node);
    if (!watched) {
      watched = { epoch: undefined, heardMs: nowMs, groups: new Set() };
      this.#nodes.set(node, watched);
    }
    this.#ticks ??= ticks.add((isLate) => this.#tick(isLate), nowMs + heartbeatMs);
    return watched;
  }

  #tick(isLate: boolean): number {
    const { clock, heartbeatMs, electionTimeoutMinMs } = this.#options;
    const nowMs = clock.nowMs();
    this.#sendAll();
    for (const [node, watched] of this.#nodes) {
      // This process was paused: what arrived meanwhile is not read yet.
      if (isLate || nowMs - watched.heardMs < electionTimeoutMinMs) continue;
      this.#wake(watched, true);
      this.#nodes.delete(node);
    }
    if (this.#nodes.size === 0) {
      this.#ticks?.remove();
      this.#ticks = undefined;
    }
    return nowMs + heartbeatMs;
  }

  #sendAll(): void {
    for (const [node, { groups }] of this.#nodes)
      if (groups.size > 0) this.#options.sendAlive(node, this.epoch);
  }

  #wake({ groups }: Watched, isSilent: boolean): void {
    for (const group of [...groups]) this.#options.wake(group, isSilent);
  }
}

function newEpoch(random: Random): number {
  return 1 + random.uint32() * 2 ** 20 + (random.uint32() & 0xfffff);
}
