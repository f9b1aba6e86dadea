/** Nodes that hold several groups each: a store per node on a simulated disk, and messages that arrive late. */
import { silentLogger } from '../../src/env/env.js';
import type { RaftreeError } from '../../src/env/errors.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { FIRST_BASE } from '../../src/raft/types.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { SimFileSystemOptions } from '../../src/sim/world/file-operation.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';
import { type Group, Store } from '../../src/store/store.js';
import { ListMachine, taken } from '../replica/replica-lab.js';

/** Small, so that what has limits meets them. */
export const LAB_RAFT = {
  ...{ heartbeatMs: 20, electionTimeoutMinMs: 100, electionTimeoutMaxMs: 200, maxClockDrift: 0.1 },
  ...{ maxEntryBytes: 100_000, maxAppendBytes: 500, maxApplyBytes: 500, maxInflightMessages: 8 },
  ...{ maxInflightBytes: 4000, maxUncommittedBytes: 20_000, maxPendingReads: 100 },
};
export const LAB_RAFT_LOG = {
  ...{ maxSegmentBytes: 4096, maxGroupCommitBytes: 64 * 1024 },
  ...{ maxCachedBytes: 2000, preallocateBytes: 512 },
};

export type ListStore = Store<ListMachine, number>;
export type ListGroup = Group<ListMachine, number>;

export interface StoreNode {
  readonly id: number;
  readonly disk: SimDisk;
  readonly process: SimProcess;
  readonly store: ListStore;
  /** Groups that failed while others went on, and why. */
  readonly groupFailures: { readonly group: number; readonly error: RaftreeError }[];
  /** Failures of the whole store. */
  readonly failures: RaftreeError[];
  isRunning: boolean;
}

/** What becomes of a file operation of a node. */
type Fault = (node: number) => NonNullable<SimFileSystemOptions['fault']>;

const INCARNATION = 'ab'.repeat(16);
const NODES = [1, 2, 3];

export class StoreLab {
  readonly world: SimWorld;
  readonly nodes = new Map<number, StoreNode>();
  readonly groups: readonly number[];
  readonly #fault: Fault;
  readonly #quietAfterMs: number;
  /** Messages that the network loses now. */
  isLost: (from: number, to: number, type: string) => boolean = () => false;

  private constructor(seed: number, groups: readonly number[], fault: Fault, quietAfterMs: number) {
    this.world = new SimWorld(seed);
    this.groups = groups;
    this.#fault = fault;
    this.#quietAfterMs = quietAfterMs;
  }

  static async start(
    seed: number,
    groups: readonly number[],
    fault: Fault = () => () => undefined,
    quietAfterMs = 0,
  ): Promise<StoreLab> {
    const lab = new StoreLab(seed, groups, fault, quietAfterMs);
    for (const id of NODES) await lab.boot(id, new SimDisk());
    return lab;
  }

  /** Starts a node; its groups are created if its disk is new. */
  async boot(id: number, disk: SimDisk): Promise<StoreNode> {
    const { scheduler, random } = this.world;
    const process = this.world.start(`n${id}`, disk, {
      latency: () => scheduler.sleep(random.float()),
      fault: this.#fault(id),
    });
    process.fs.makeDirectory('/data');
    const groupFailures: StoreNode['groupFailures'] = [];
    const failures: RaftreeError[] = [];
    const deliver = (to: number, type: string, receive: (target: ListStore) => void) => {
      if (this.isLost(id, to, type)) return;
      scheduler.after(random.float() * 2, () => {
        const target = this.nodes.get(to);
        if (target?.isRunning && !this.isLost(id, to, type)) receive(target.store);
      });
    };
    const store: ListStore = Store.open<ListMachine, number>(
      {
        directory: '/data',
        raft: { id, ...LAB_RAFT },
        quietAfterMs: this.#quietAfterMs,
        snapshots: {
          maxChunkBytes: 200,
          maxBytesPerSecond: 1_000_000,
          stallTimeoutMs: 400,
          maxConcurrent: 2,
        },
        raftLog: LAB_RAFT_LOG,
        logLimits: { maxLogBytes: 1024 * 1024, maxSnapshotLogBytes: 0, trailingEntries: 10 },
      },
      {
        env: process.env,
        logger: silentLogger,
        openStateMachine: async ({ directory, emptyAt }) => new ListMachine(process.fs, directory, emptyAt),
        transport: {
          send: (to, group, message) => {
            const copy = taken(message);
            deliver(to, message.type, (target) => target.receive(id, group, copy));
          },
          sendAlive: (to, epoch) => deliver(to, 'alive', (target) => target.receiveAlive(id, epoch)),
        },
        host: {
          statusChanged() {},
          configurationChanged() {},
          succeeded() {},
          groupFailed: (group, error) => void groupFailures.push({ group, error }),
          failed: (error) => void failures.push(error),
        },
      },
    );
    for (const group of this.groups) {
      const restarted = store.incarnationOf(group) !== undefined;
      const base = { ...FIRST_BASE, configuration: configurationOf(NODES) };
      if (!restarted) await scheduler.run(store.createGroup(group, base, INCARNATION));
      await scheduler.run(store.openGroup(group, { restarted }));
    }
    const node = { id, disk, process, store, groupFailures, failures, isRunning: true };
    this.nodes.set(id, node);
    return node;
  }

  node(id: number): StoreNode {
    const node = this.nodes.get(id);
    if (!node) throw new Error(`there is no node ${id}`);
    return node;
  }

  groupOf(node: number, group: number): ListGroup {
    const open = this.node(node).store.group(group);
    if (!open) throw new Error(`group ${group} is not open on node ${node}`);
    return open;
  }

  /** The power of a node fails. */
  powerCut(id: number): SimDisk {
    const node = this.node(id);
    node.isRunning = false;
    node.process.kill();
    node.disk.powerCut(this.world.random);
    return node.disk;
  }

  leaderOf(group: number): ListGroup | undefined {
    const leaders = this.replicasOf(group).filter(({ replica }) => replica.role === 'leader');
    return leaders.sort((a, b) => b.replica.term - a.replica.term)[0];
  }

  async until(condition: () => boolean, limitMs = 10_000): Promise<void> {
    const { scheduler } = this.world;
    if (!(await scheduler.runUntil(condition, scheduler.nowMs() + limitMs)))
      throw new Error(`did not happen within ${limitMs} ms of virtual time`);
  }

  async untilLed(...groups: readonly number[]): Promise<void> {
    await this.until(() =>
      groups.every((group) => {
        const replica = this.leaderOf(group)?.replica;
        return replica !== undefined && replica.commitIndex === replica.lastIndex;
      }),
    );
  }

  /** Proposes a command until a leader has applied it: it may be applied more than once. */
  async write(group: number, text: string): Promise<void> {
    const { scheduler } = this.world;
    for (let isDone = false; !isDone; ) {
      const leader = this.leaderOf(group);
      if (!leader) await scheduler.runFor(20);
      else
        isDone = await scheduler.run(
          leader.replica.propose(Buffer.from(text)).then(
            () => true,
            () => false,
          ),
        );
    }
  }

  /** All running nodes on which the group takes part have applied all of its leader's log. */
  async untilEqual(group: number): Promise<void> {
    await this.until(() => {
      const lastIndex = this.leaderOf(group)?.replica.lastIndex;
      return this.replicasOf(group).every(({ stateMachine }) => stateMachine.appliedIndex === lastIndex);
    });
  }

  /** The replicas of a group on running nodes that have not failed. */
  replicasOf(group: number): ListGroup[] {
    return [...this.nodes.values()]
      .filter(({ isRunning }) => isRunning)
      .flatMap(({ store }) => store.group(group) ?? [])
      .filter(({ failure }) => failure === undefined);
  }
}
