/** The groups that hold keys: what the store needs to know of them, and of the node's settings. */
import type { EngineKind } from '../engines/storage-engine.js';
import type { Env, Logger } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { joinChecker } from '../kv/join-checker.js';
import { type CommandResult, KvStateMachine, type TabletOwner } from '../kv/kv-state-machine.js';
import { DEFAULT_KV_LIMITS, type KvLimits } from '../kv/limits.js';
import { ChangeHistory } from '../kv/watch/change-history.js';
import type { HistoryBudget } from '../kv/watch/history-budget.js';
import { MetaMachine } from '../meta/meta-machine.js';
import { META_GROUP, type PlacedReplica } from '../placement/placement.js';
import { contextsOf } from '../placement/replica-context.js';
import { configurationOf } from '../raft/configuration.js';
import { FIRST_BASE, type SnapshotBase } from '../raft/types.js';
import type { Group, StateMachineContext, Store, StoreOptions } from '../store/store.js';
import type { Founder } from './birth.js';
import type { NodeConfig } from './config.js';
import { encodeMemberContext } from './member-context.js';
import { MeasuredStateMachine, type NodeMetrics } from './metrics.js';

export type KvGroup = Group<KvStateMachine, CommandResult>;
export type KvStore = Store<KvStateMachine, CommandResult>;

const MIB = 1024 * 1024;

export function storeOptionsOf(
  { nodeId, raft: { quietAfterMs, ...raft }, limits, storage }: NodeConfig,
  directory: string,
  metrics?: NodeMetrics,
): StoreOptions {
  return {
    directory,
    raft: {
      id: nodeId,
      ...raft,
      maxClockDrift: 0.1,
      maxEntryBytes: limits.maxRequestBytes + MIB,
      maxAppendBytes: MIB,
      maxApplyBytes: MIB,
      maxInflightMessages: 256,
      maxInflightBytes: 16 * MIB,
      maxUncommittedBytes: limits.maxUncommittedBytes,
      maxPendingReads: limits.maxPendingRequests,
    },
    quietAfterMs,
    raftLog: {
      maxSegmentBytes: storage.raftSegmentBytes,
      maxGroupCommitBytes: 4 * MIB,
      maxCachedBytes: 16 * MIB,
      preallocateBytes: Math.min(MIB, Math.floor(storage.raftSegmentBytes / 4)),
      madeDurable: metrics?.madeDurable,
    },
    logLimits: {
      maxLogBytes: storage.maxRaftLogBytes,
      maxSnapshotLogBytes: storage.maxSnapshotLogBytes,
      trailingEntries: storage.trailingEntries,
    },
    snapshots: {
      maxChunkBytes: storage.snapshotChunkBytes,
      maxBytesPerSecond: storage.snapshotBytesPerSecond,
      stallTimeoutMs: 5 * raft.electionTimeoutMaxMs,
      maxConcurrent: storage.maxConcurrentSnapshots,
    },
  };
}

export function kvLimitsOf({ limits }: NodeConfig): KvLimits {
  const { maxValueBytes, maxRequestBytes, maxPendingRequests } = limits;
  return { ...DEFAULT_KV_LIMITS, maxValueBytes, maxRequestBytes, maxPendingRequests };
}

/** Where the log of the group begins. A node that joins begins in no entry: it gets a snapshot. */
export function firstBaseOf({ join, nodes }: NodeConfig, founders: readonly Founder[]): SnapshotBase {
  if (join) return EMPTY_BASE;
  const storeIds = new Map(founders.map(({ id, storeId }) => [id, storeId]));
  const contexts = Object.fromEntries(
    nodes.map((node) => [node.id, encodeMemberContext({ ...node, storeId: storeIds.get(node.id) })]),
  );
  const ids = nodes.map((node) => node.id);
  return { ...FIRST_BASE, configuration: configurationOf(ids, contexts) };
}

/** Of a replica that is not of the birth: it begins in no entry, and gets a snapshot. */
export const EMPTY_BASE: SnapshotBase = { index: 0, term: 0, configuration: configurationOf([]) };

/** Where the log of a tablet of the birth begins. */
export function firstTabletBase(replicas: readonly PlacedReplica[]): SnapshotBase {
  const nodes = replicas.map(({ node }) => node);
  return { ...FIRST_BASE, configuration: configurationOf(nodes, contextsOf(replicas)) };
}

/** Opens the state machine of a group in an engine of this kind. Rejects as the engine does, or with `CORRUPTION`. */
export async function openKvStateMachine(
  {
    env,
    logger,
    metrics,
    owner,
    histories,
  }: {
    readonly env: Env;
    readonly logger: Logger;
    readonly metrics?: NodeMetrics | undefined;
    /** Which tablet the group is. */
    readonly owner: TabletOwner | undefined;
    /** What watchers are told from. */
    readonly histories: HistoryBudget;
  },
  kind: EngineKind,
  { group, directory, emptyAt, baseIndex, diskSpace }: StateMachineContext,
): Promise<KvStateMachine> {
  const openEngine = (path: string) => {
    env.fs.makeDirectory(path);
    return kind.open(path, { env, logger, diskSpace, replayed: joinChecker() });
  };
  const onVoid = (index: number, reason: string) =>
    logger.error(
      { group, index },
      `entry ${index} can be applied by no replica, and changed nothing: ${reason}`,
    );
  const engine = await openEngine(directory);
  const history = new ChangeHistory(histories);
  const close = () => {
    history.close();
    return engine.close();
  };
  return closedOnFailure(close, () => {
    const stateMachine = machineOf(group, metrics, [engine, openEngine, emptyAt, onVoid, owner, history]);
    const { appliedIndex } = stateMachine;
    if (appliedIndex >= baseIndex) return stateMachine;
    throw new RaftreeError(
      'CORRUPTION',
      `the storage engine "${kind.name}" holds the entries up to ${appliedIndex} only, and the Raft log has let ` +
        `go of those up to ${baseIndex}, which the engine had called durable: it, or the disk, loses what it has ` +
        'synced. Remove this node from the cluster, and add it again with an empty folder',
    );
  });
}

function machineOf(
  group: number,
  metrics: NodeMetrics | undefined,
  parts: ConstructorParameters<typeof KvStateMachine>,
): KvStateMachine {
  if (group === META_GROUP) return new MetaMachine(...parts);
  return metrics ? new MeasuredStateMachine(metrics, ...parts) : new KvStateMachine(...parts);
}

async function closedOnFailure<T>(close: () => Promise<void>, use: () => T): Promise<T> {
  try {
    return use();
  } catch (error) {
    await close();
    throw error;
  }
}
