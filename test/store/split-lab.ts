/** Nodes with one tablet on LSM trees, which is split: a store per node on a simulated disk. */
import { lsmEngine } from '../../src/engines/lsm-engine.js';
import { silentLogger } from '../../src/env/env.js';
import type { RaftreeError } from '../../src/env/errors.js';
import { encodeOpenSession, encodeWrite } from '../../src/kv/command.js';
import type { CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { encodeMapEntry } from '../../src/kv/map-birth.js';
import { encodeMergeStep, type MergeStep } from '../../src/kv/merge.js';
import { encodeSplitEntry } from '../../src/kv/split.js';
import { HistoryBudget } from '../../src/kv/watch/history-budget.js';
import { firstTablets, ONE_TABLET } from '../../src/placement/placement.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { FIRST_BASE } from '../../src/raft/types.js';
import { openKvStateMachine } from '../../src/server/kv-group.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import type { SimFileSystemOptions } from '../../src/sim/world/file-operation.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';
import { type Group, Store } from '../../src/store/store.js';
import { operation, write } from '../kv/kv-lab.js';
import { taken } from '../replica/replica-lab.js';
import { LAB_RAFT, LAB_RAFT_LOG } from './store-lab.js';

export type KvStore = Store<KvStateMachine, CommandResult>;
type KvGroup = Group<KvStateMachine, CommandResult>;

export interface SplitNode {
  readonly id: number;
  readonly disk: SimDisk;
  readonly process: SimProcess;
  readonly store: KvStore;
  readonly failures: RaftreeError[];
  isRunning: boolean;
}

const [BORN] = firstTablets(ONE_TABLET);
export const PARENT = 1;
export const [LEFT, RIGHT] = [7, 8];

export class SplitLab {
  readonly world: SimWorld;
  readonly nodes = new Map<number, SplitNode>();
  readonly #members: readonly number[];
  readonly #maxLogBytes: number;
  isLost: (from: number, to: number, group: number) => boolean = () => false;

  constructor(seed: number, members: readonly number[], maxLogBytes = 1024 * 1024) {
    this.world = new SimWorld(seed);
    this.#members = members;
    this.#maxLogBytes = maxLogBytes;
  }

  async boot(
    id: number,
    disk: SimDisk,
    fault: SimFileSystemOptions['fault'] = () => undefined,
  ): Promise<SplitNode> {
    const { scheduler, random } = this.world;
    const process = this.world.start(`n${id}`, disk, {
      latency: () => scheduler.sleep(random.float()),
      fault,
    });
    process.fs.makeDirectory('/data');
    const failures: RaftreeError[] = [];
    const histories = new HistoryBudget(process.env.clock);
    const engine = lsmEngine({ treeLog: 'none', writeBufferBytes: 64 * 1024, blockCacheBytes: 64 * 1024 });
    const deliver = (to: number, group: number, receive: (target: KvStore) => void) => {
      if (this.isLost(id, to, group)) return;
      scheduler.after(random.float() * 2, () => {
        const target = this.nodes.get(to);
        if (target?.isRunning && !this.isLost(id, to, group)) receive(target.store);
      });
    };
    let isOpen = false;
    const openAll = async (restarted: boolean) => {
      for (;;) {
        const next = store.storedGroups.find((group) => !store.group(group));
        if (next === undefined) break;
        await store.openGroup(next, { restarted });
      }
      isOpen = true;
    };
    const store: KvStore = Store.open<KvStateMachine, CommandResult>(
      {
        directory: '/data',
        raft: { id, ...LAB_RAFT },
        quietAfterMs: 0,
        snapshots: {
          maxChunkBytes: 2000,
          maxBytesPerSecond: 10_000_000,
          stallTimeoutMs: 400,
          maxConcurrent: 2,
        },
        raftLog: LAB_RAFT_LOG,
        logLimits: { maxLogBytes: this.#maxLogBytes, maxSnapshotLogBytes: 0, trailingEntries: 2 },
      },
      {
        env: process.env,
        logger: silentLogger,
        openStateMachine: (context) => {
          const owner = {
            id: context.group,
            by: 'range' as const,
            born: context.group === PARENT ? BORN : undefined,
          };
          return openKvStateMachine(
            { env: process.env, logger: silentLogger, owner, histories },
            engine,
            context,
          );
        },
        transport: {
          send: (to, group, message) => {
            const copy = taken(message);
            deliver(to, group, (target) => target.receive(id, group, copy));
          },
          sendAlive: (to, epoch) => deliver(to, 0, (target) => target.receiveAlive(id, epoch)),
        },
        host: {
          statusChanged() {},
          configurationChanged() {},
          succeeded: (group, successors) => {
            if (!isOpen) return;
            const opening = successors.map((successor) => store.openGroup(successor, { restarted: false }));
            void Promise.all(opening).then(
              (opened) => {
                if (store.group(group)?.replica.role !== 'leader') return;
                for (const { replica } of opened) replica.campaign();
              },
              (error) => void failures.push(error),
            );
          },
          accompanied: (companion) => {
            if (!isOpen) return;
            store
              .openGroup(companion, { restarted: false })
              .then(({ replica }) => {
                if (store.group(PARENT)?.replica.role === 'leader') replica.campaign();
              })
              .catch((error) => void failures.push(error));
          },
          groupFailed: (_group, error) => void failures.push(error),
          failed: (error) => void failures.push(error),
        },
      },
    );
    const node = { id, disk, process, store, failures, isRunning: true };
    this.nodes.set(id, node);
    const restarted = store.incarnationOf(PARENT) !== undefined;
    const base = { ...FIRST_BASE, configuration: configurationOf(this.#members) };
    if (!restarted) await scheduler.run(store.createGroup(PARENT, base, 'ab'.repeat(16)));
    await scheduler.run(openAll(restarted));
    store.removeUnnamed();
    return node;
  }

  stop(id: number): SimDisk {
    const node = this.nodes.get(id) as SplitNode;
    node.isRunning = false;
    node.process.kill();
    node.disk.powerCut(this.world.random);
    return node.disk;
  }

  get running(): SplitNode[] {
    return [...this.nodes.values()].filter(({ isRunning }) => isRunning);
  }

  groupsOf(group: number): KvGroup[] {
    return this.running.flatMap(({ store }) => store.group(group) ?? []);
  }

  leaderOf(group: number): KvGroup | undefined {
    const leaders = this.groupsOf(group).filter(({ replica }) => replica.role === 'leader');
    return leaders.sort((a, b) => b.replica.term - a.replica.term)[0];
  }

  async until(condition: () => boolean, limitMs = 20_000): Promise<void> {
    const { scheduler } = this.world;
    if (!(await scheduler.runUntil(condition, scheduler.nowMs() + limitMs)))
      throw new Error(`never: ${condition}`);
  }

  untilLed(...groups: number[]): Promise<void> {
    return this.until(() =>
      groups.every((group) => {
        const replica = this.leaderOf(group)?.replica;
        return replica !== undefined && replica.appliedIndex === replica.lastIndex;
      }),
    );
  }

  /** What a leader's state machine says to it. */
  async propose(group: number, body: Uint8Array): Promise<CommandResult> {
    const leader = this.leaderOf(group);
    if (!leader) throw new Error(`nobody leads ${group}`);
    return (await this.world.scheduler.run(leader.replica.propose(body))).result;
  }

  put(
    group: number,
    key: string,
    value: string,
    session?: { id: number; sequence: number },
  ): Promise<CommandResult> {
    return this.propose(
      group,
      encodeWrite(1000, write([operation('put', key, value)], session), { nowMs: () => 0 }),
    );
  }

  openSession(group: number, id?: number): Promise<CommandResult> {
    return this.propose(group, encodeOpenSession(8, id));
  }

  split(key: string): Promise<CommandResult> {
    return this.#proposeTablet(encodeSplitEntry({ left: LEFT, right: RIGHT, point: Buffer.from(key) }));
  }

  /** `configuration`: the index of the one whose members have promised. */
  beginMap(configuration = 0): Promise<CommandResult> {
    return this.#proposeTablet(encodeMapEntry(configuration));
  }

  /** Of a merge. */
  step(group: number, step: MergeStep): Promise<CommandResult> {
    return this.#proposeTablet(encodeMergeStep(step), group);
  }

  #proposeTablet(body: Uint8Array, group = PARENT): Promise<CommandResult> {
    const leader = this.leaderOf(group);
    if (!leader) throw new Error('nobody leads');
    return this.world.scheduler.run(leader.replica.proposeTablet(body).then(({ result }) => result));
  }
}

export function shownIn({ stateMachine }: KvGroup, key: string): string | undefined {
  const found = stateMachine.get(Buffer.from(key));
  return found && `${found.value} ${found.version}`;
}
