/**
 * All groups of a node: one Raft log, one scheduler of ticks, one disk, and for each group a replica and its state
 * machine.
 *
 *     data folder
 *       raft/               the Raft log of all groups
 *       groups/N/state-…    the state machine of group N: the one directory that the Raft log names
 *
 * Messages between nodes carry the id of their group; `receive` gives each to its replica. A group that fails is closed
 * and answers with errors; the other groups go on. Only a failure of the Raft log, which all groups share, ends them
 * all.
 */
import { DiskSpace } from '../env/disk-space.js';
import type { Env, Logger } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import type { Configuration } from '../raft/configuration.js';
import { MAX_TERM } from '../raft/senders.js';
import {
  FIRST_BASE,
  type NodeId,
  type RaftOptions,
  type RoleStatus,
  type SnapshotBase,
} from '../raft/types.js';
import { type GroupLog, RaftLog } from '../raft-log/raft-log.js';
import { describeDiscarded } from '../record/recovery.js';
import type { GroupStateMachine, Succession } from '../replica/group-state-machine.js';
import type { LogLimits } from '../replica/log-compaction.js';
import { stopped } from '../replica/refusals.js';
import { Replica } from '../replica/replica.js';
import type { ReplicaMessage } from '../replica/snapshot-messages.js';
import { SnapshotPace } from '../replica/snapshot-pace.js';
import type { SnapshotLimits } from '../replica/snapshot-sender.js';
import { type NodeSnapshotTurns, SnapshotTurns } from '../replica/snapshot-turns.js';
import { stateDirectoryName } from '../replica/state-directories.js';
import { LogBudget } from './log-budget.js';
import { QuietGroups } from './quiet-groups.js';
import { TickScheduler } from './tick-scheduler.js';

export type GroupId = number;

export interface StoreOptions {
  /** The data folder, which exists and belongs to this process. */
  readonly directory: string;
  /** For every group. */
  readonly raft: Omit<RaftOptions, 'random' | 'quiet'>;
  /** A group without work for so long falls quiet (raft/quiet.ts). 0: never. */
  readonly quietAfterMs: number;
  readonly snapshots: SnapshotLimits & {
    /** So many are sent, and so many received, at the same time: of all groups together. */
    readonly maxConcurrent: number;
  };
  readonly raftLog: {
    readonly maxSegmentBytes: number;
    readonly maxGroupCommitBytes: number;
    /** For all groups together. */
    readonly maxCachedBytes: number;
    readonly preallocateBytes: number;
    /** Told how long each durable write took. */
    readonly madeDurable?: ((durationMs: number, sizeBytes: number) => void) | undefined;
  };
  /** For all groups together. */
  readonly logLimits: LogLimits;
}

export interface GroupTransport {
  /** Sends or drops the message. It must copy the bytes, or send them, before it returns. */
  send(to: NodeId, group: GroupId, message: ReplicaMessage): void;
  /** Sends that this node is alive, in this epoch, or drops it. `receiveAlive` takes it. */
  sendAlive(to: NodeId, epoch: number): void;
}

/** The context in which a state machine opens. */
export interface StateMachineContext {
  readonly group: GroupId;
  /** Exists; empty for a new group. */
  readonly directory: string;
  /** The applied index of an empty state machine of this group. */
  readonly emptyAt: number;
  /** The Raft log lacks the entries up to here: the state machine must hold them. */
  readonly baseIndex: number;
  readonly diskSpace: DiskSpace;
}

/** The events that a store reports to its owner. */
export interface StoreHost {
  statusChanged(group: GroupId, status: RoleStatus): void;
  configurationChanged(group: GroupId, configuration: Configuration): void;
  /** The groups exist that follow from this one, durably, and are not open. It is open, or is being opened. */
  succeeded(group: GroupId, successors: readonly GroupId[]): void;
  /** This group exists, durably, beside another one that is open, or is being opened. It is not open. */
  accompanied?(companion: GroupId): void;
  /** This group takes no part until the store is opened again. Others go on. */
  groupFailed(group: GroupId, error: RaftreeError): void;
  /** No group can go on: the Raft log has failed, or the last group. Called at most once. */
  failed(error: RaftreeError): void;
}

export interface StoreParts<Machine> {
  readonly env: Env;
  readonly logger: Logger;
  readonly transport: GroupTransport;
  readonly host: StoreHost;
  readonly openStateMachine: (context: StateMachineContext) => Promise<Machine>;
}

export interface GroupStart {
  /** This node may have taken part in the group before. */
  readonly restarted: boolean;
  /** How long an earlier process may have promised not to vote. */
  readonly promisedMs?: number;
}

/** One group, open. */
export interface Group<Machine extends GroupStateMachine<Result>, Result> {
  readonly id: GroupId;
  readonly replica: Replica<Result>;
  readonly stateMachine: Machine;
  /** Why the group has failed; undefined while it takes part. */
  readonly failure: RaftreeError | undefined;
}

interface OpenGroup<Machine extends GroupStateMachine<Result>, Result> extends Group<Machine, Result> {
  readonly log: GroupLog;
  failure: RaftreeError | undefined;
  closing: Promise<void> | undefined;
}

/** How many ticks a leader has in a heartbeat interval. */
const TICKS_PER_HEARTBEAT = 5;

export class Store<Machine extends GroupStateMachine<Result>, Result> {
  readonly #options: StoreOptions;
  readonly #parts: StoreParts<Machine>;
  readonly #raftLog: RaftLog;
  readonly #diskSpace: DiskSpace;
  readonly #ticks: TickScheduler;
  readonly #tickMs: number;
  readonly #budget: LogBudget;
  readonly #quiet: QuietGroups;
  readonly #snapshotPace: SnapshotPace;
  readonly #snapshotTurns: NodeSnapshotTurns;
  readonly #groups = new Map<GroupId, OpenGroup<Machine, Result>>();
  #strayMessages = 0;
  /** Groups whose state machines are being opened. */
  readonly #opening = new Set<GroupId>();
  /** They are being made: the Raft log does not name them yet. */
  readonly #beginning = new Set<GroupId>();
  #hasFailed = false;
  #closed = false;

  /** Opens the Raft log. Its groups are opened one by one. Throws `CORRUPTION`, or the system's error. */
  static open<Machine extends GroupStateMachine<Result>, Result>(
    options: StoreOptions,
    parts: StoreParts<Machine>,
  ): Store<Machine, Result> {
    return new Store<Machine, Result>(options, parts);
  }

  private constructor(options: StoreOptions, parts: StoreParts<Machine>) {
    this.#options = options;
    this.#parts = parts;
    const { env, logger } = parts;
    const { heartbeatMs } = options.raft;
    this.#tickMs = Math.max(1, Math.floor(heartbeatMs / TICKS_PER_HEARTBEAT));
    this.#diskSpace = new DiskSpace(logger, env);
    this.#ticks = new TickScheduler({ ...env, tickMs: this.#tickMs, heartbeatMs });
    this.#budget = new LogBudget(env.clock, options.logLimits);
    this.#snapshotPace = new SnapshotPace(env.clock, options.snapshots.maxBytesPerSecond);
    const turns = () => new SnapshotTurns(env.timers, options.snapshots.maxConcurrent);
    this.#snapshotTurns = { sending: turns(), receiving: turns() };
    this.#quiet = new QuietGroups({
      ...{ ...env, heartbeatMs, electionTimeoutMinMs: options.raft.electionTimeoutMinMs },
      ticks: this.#ticks,
      sendAlive: (to, epoch) => parts.transport.sendAlive(to, epoch),
      wake: (group, isSilent) => this.#groups.get(group)?.replica.wake(isSilent),
    });
    const directory = `${options.directory}/raft`;
    env.fs.makeDirectory(directory);
    this.#raftLog = RaftLog.open({ env, directory, ...options.raftLog });
    const { discarded } = this.#raftLog.recovery;
    if (discarded) {
      logger.warn(
        { path: discarded.path, offset: discarded.at.offset, bytes: discarded.bytes },
        `the end of the Raft log is ${describeDiscarded(discarded)}; it was cut off`,
      );
    }
  }

  /** The incarnation of a group that the Raft log holds, or held; undefined if it never did. */
  incarnationOf(group: GroupId): string | undefined {
    // All groups of a folder are of one cluster.
    const [any = group] = this.#raftLog.isGone(group) ? this.#raftLog.groupIds : [];
    return this.#raftLog.group(any)?.base.incarnation;
  }

  /** The groups in the Raft log, open or not. */
  get storedGroups(): readonly GroupId[] {
    return this.#raftLog.groupIds;
  }

  /** An open group, failed or not. */
  group(id: GroupId): Group<Machine, Result> | undefined {
    return this.#groups.get(id);
  }

  /** All open groups, failed ones too. */
  get groups(): readonly Group<Machine, Result>[] {
    return [...this.#groups.values()];
  }

  /** Syncs of the Raft log since the start. */
  get logSyncs(): number {
    return this.#raftLog.syncs;
  }

  /** How many groups are quiet on this node. */
  get quietGroups(): number {
    return this.#quiet.count;
  }

  /** Messages of groups that are not open here, since the start. */
  get strayMessages(): number {
    return this.#strayMessages;
  }

  /**
   * Begins a group with an empty log after a base. Resolves when that is durable. A state machine begins in
   * `state-0-0`. `comesBack`: it may have been here before. Throws `INVALID_OPTION` if the Raft log holds the group, or
   * (without `comesBack`) held it.
   */
  async createGroup(id: GroupId, base: SnapshotBase, incarnation: string, comesBack = false): Promise<void> {
    if (this.#raftLog.group(id) || (this.#raftLog.isGone(id) && !comesBack))
      throw new RaftreeError('INVALID_OPTION', `group ${id} is in the Raft log already`);
    await this.#raftLog.createGroup(id, { ...base, directory: 'state-0-0', incarnation });
  }

  /**
   * Opens a group that the Raft log holds, and takes part in it. Rejects with `INVALID_OPTION` if there is none or it
   * is open, with `REPLICA_STOPPED` if the store is closed meanwhile, and with what the state machine rejects with.
   */
  async openGroup(id: GroupId, { restarted, promisedMs }: GroupStart): Promise<Group<Machine, Result>> {
    const log = this.#raftLog.group(id);
    if (!log || this.#groups.has(id) || this.#opening.has(id))
      throw new RaftreeError(
        'INVALID_OPTION',
        `group ${id} is ${log ? 'open already' : 'not in the Raft log'}`,
      );
    this.#warnOfTerm(id, log);
    const { env, logger, transport, host, openStateMachine } = this.#parts;
    const directory = `${this.#options.directory}/groups/${id}`;
    const stateDirectory = `${directory}/${log.base.directory}`;
    env.fs.makeDirectory(stateDirectory);
    this.#opening.add(id);
    const stateMachine = await openStateMachine({
      group: id,
      directory: stateDirectory,
      emptyAt: Math.min(log.base.index, FIRST_BASE.index),
      baseIndex: log.base.index,
      diskSpace: this.#diskSpace,
    }).finally(() => this.#opening.delete(id));
    if (this.#closed) {
      await stateMachine.close();
      throw stopped('notCommitted', undefined);
    }
    const succeed = () => this.#succeed(id, log, stateMachine);
    // What it absorbs may not be open yet.
    const isAlone = stateMachine.succession?.absorbed === undefined || log.isRetired;
    if (isAlone && (stateMachine.succession ?? stateMachine.companion)) {
      try {
        await succeed();
      } catch (error) {
        await stateMachine.close();
        throw error;
      }
    }
    const { raft, quietAfterMs, snapshots } = this.#options;
    const epoch = () => this.#quiet.epoch;
    let group: OpenGroup<Machine, Result> | undefined;
    let earlyFailure: RaftreeError | undefined;
    try {
      const replica = new Replica<Result>(
        {
          ...{ snapshots, directory, tickMs: this.#tickMs },
          raft: quietAfterMs > 0 ? { ...raft, quiet: { afterMs: quietAfterMs, epoch } } : raft,
          logLimits: () => this.#budget.limitsOf(log),
        },
        {
          ...{ env, log, stateMachine, logger, restarted, succeed },
          ...{ ticks: this.#ticks, diskSpace: this.#diskSpace },
          snapshotPace: this.#snapshotPace,
          snapshotTurns: this.#snapshotTurns,
          ...(promisedMs === undefined ? {} : { promisedMs }),
          transport: { send: (to, message) => transport.send(to, id, message) },
          host: {
            statusChanged: (status) => host.statusChanged(id, status),
            configurationChanged: (configuration) => host.configurationChanged(id, configuration),
            quietnessChanged: (quietness) => this.#quiet.changed(id, quietness),
            failed: (error) => {
              if (group) this.#failed(group, error);
              else earlyFailure = error;
            },
          },
        },
      );
      group = { id, log, replica, stateMachine, failure: undefined, closing: undefined };
    } catch (error) {
      await stateMachine.close();
      throw error;
    }
    this.#groups.set(id, group);
    this.#budget.add(log);
    if (earlyFailure) this.#failed(group, earlyFailure);
    if (!isAlone) this.#succeedLater(group, succeed);
    return group;
  }

  /** What failed once fails this group, as it does when an entry is applied. */
  #succeedLater(group: OpenGroup<Machine, Result>, succeed: () => Promise<void>): void {
    group.replica.alone(succeed).catch((cause: unknown) => {
      if (this.#closed || group.closing) return;
      const message = `group ${group.id} cannot be followed: ${errorMessage(cause)}`;
      this.#failed(group, new RaftreeError('REPLICA_FAILED', message, { cause }));
    });
  }

  /**
   * The state machine of another group, when it has applied that entry. It is frozen, and stays as it is. Rejects with
   * `REPLICA_STOPPED` when this one ends before.
   */
  async #absorbed(
    { group: id, index }: NonNullable<Succession['absorbed']>,
    by: GroupId,
  ): Promise<Group<Machine, Result>> {
    for (;;) {
      if (this.#closed || this.#groups.get(by)?.closing) throw stopped('notCommitted', undefined);
      const group = this.#groups.get(id);
      if (group && !group.failure && group.stateMachine.appliedIndex >= index) return group;
      await new Promise<void>((resolve) => this.#parts.env.timers.after(this.#tickMs, resolve));
    }
  }

  /**
   * Ends a group for ever: closes it, and removes its log and its files. Rejects as the state machine or the log does.
   */
  async removeGroup(id: GroupId): Promise<void> {
    await this.closeGroup(id);
    await this.#diskSpace.untilWritten(`the removal of group ${id}`, () => this.#raftLog.removeGroup(id));
    this.#removeFiles(`${id}`);
  }

  /** Removes what groups have left that the Raft log does not hold. */
  removeUnnamed(): void {
    const { fs } = this.#parts.env;
    const directory = `${this.#options.directory}/groups`;
    if (!fs.exists(directory)) return;
    for (const name of fs.list(directory))
      if (/^[0-9]+$/.test(name) && !this.#raftLog.group(Number(name)) && !this.#beginning.has(Number(name)))
        this.#removeFiles(name);
  }

  #removeFiles(group: string): void {
    try {
      this.#parts.env.fs.removeTree(`${this.#options.directory}/groups/${group}`);
    } catch (error) {
      this.#parts.logger.warn({ group, error: errorMessage(error) }, 'files of a group could not be removed');
    }
  }

  /** Whether groups follow from this one, durably: it takes part only for members that lack its log. */
  isRetired(id: GroupId): boolean {
    return this.#raftLog.group(id)?.isRetired ?? false;
  }

  /**
   * The state machine of a group says that others follow from it. Gives each its state in a directory with its final
   * name, and then makes all of them exist by one record. Until that is durable, nothing of it counts: after a crash it
   * is done again, since the state machine says it again. Does nothing if it is done.
   */
  async #succeed(id: GroupId, log: GroupLog, stateMachine: Machine): Promise<void> {
    await this.#accompany(id, stateMachine);
    const { succession } = stateMachine;
    if (!succession || log.isRetired) return;
    const { host } = this.#parts;
    const { groups, index, term, absorbed } = succession;
    const directory = stateDirectoryName(succession);
    const other = absorbed && (await this.#absorbed(absorbed, id));
    const succeed = () =>
      this.#diskSpace.untilWritten(`the groups after ${id}`, async () => {
        try {
          for (const { id: group } of groups)
            await this.#begin(group, directory, stateMachine, other?.stateMachine);
        } catch (error) {
          // No record names them yet.
          for (const { id: group } of groups) this.#removeFiles(String(group));
          throw error;
        }
        if (this.#closed) throw stopped('notCommitted', undefined);
        await this.#raftLog.succeed(
          id,
          groups.map(({ id: group, configuration }) => ({
            id: group,
            base: { index, term, configuration, directory },
          })),
          other ? [other.id] : [],
        );
      });
    for (const { id: group } of groups) this.#beginning.add(group);
    try {
      // Nothing replaces its state meanwhile.
      await (other ? other.replica.alone(succeed) : succeed());
    } finally {
      for (const { id: group } of groups) this.#beginning.delete(group);
    }
    host.succeeded(
      id,
      groups.map(({ id: group }) => group),
    );
  }

  /** Gives a group the state with which it begins. An earlier attempt may have left something. */
  async #begin(
    group: GroupId,
    directory: string,
    stateMachine: Machine,
    absorbed: Machine | undefined,
  ): Promise<void> {
    const { fs, timers } = this.#parts.env;
    const path = `${this.#options.directory}/groups/${group}`;
    const workDirectory = `${path}/${directory}.begins`;
    fs.makeDirectory(path);
    for (const left of [`${path}/${directory}`, workDirectory]) fs.removeTree(left);
    const turn = () => new Promise<void>((resolve) => timers.endOfTurn(resolve));
    await stateMachine.begin?.(group, `${path}/${directory}`, { absorbed, workDirectory, turn });
    fs.removeTree(workDirectory);
  }

  /** Makes the group exist that begins beside this one. A crash before that is durable does it again. */
  async #accompany(id: GroupId, stateMachine: Machine): Promise<void> {
    const { companion } = stateMachine;
    if (!companion || this.#raftLog.group(companion.group)) return;
    const { group } = companion;
    const base = { ...companion, directory: stateDirectoryName(companion) };
    await this.#diskSpace.untilWritten(`the group beside ${id}`, async () => {
      await this.#begin(group, base.directory, stateMachine, undefined);
      if (this.#closed) throw stopped('notCommitted', undefined);
      await this.#raftLog.accompany(id, { id: group, base });
    });
    this.#parts.host.accompanied?.(group);
  }

  /** A message of another node. One for a group that is not open here is dropped. */
  receive(from: NodeId, group: GroupId, message: ReplicaMessage): void {
    if (message.type === 'quietOffer') this.#quiet.heard(from, message.epoch);
    const open = this.#groups.get(group);
    if (open) open.replica.receive(from, message);
    else this.#strayMessages++;
  }

  /** Another node is alive, in this epoch. */
  receiveAlive(from: NodeId, epoch: number): void {
    this.#quiet.heard(from, epoch);
  }

  /** The connection with a node broke. */
  unreachable(node: NodeId): void {
    for (const { replica } of this.#groups.values()) replica.unreachable(node);
  }

  /** This node is about to stop: no group campaigns here any more. */
  stopCampaigning(): void {
    for (const { replica } of this.#groups.values()) replica.stopCampaigning();
  }

  /** Transfers the leadership of all groups. Resolves when all replicas may stop. */
  async transferBeforeStop(): Promise<void> {
    await Promise.all([...this.#groups.values()].map(({ replica }) => replica.transferBeforeStop()));
  }

  /** Closes a group until it is opened again. Rejects as the state machine does. */
  async closeGroup(id: GroupId): Promise<void> {
    const group = this.#groups.get(id);
    if (!group) return;
    const closing = this.#close(group);
    // The replica has ended already, and to close its state machine may take long.
    if (!this.#closed) this.#quiet.beginEpoch();
    try {
      await closing;
    } finally {
      this.#groups.delete(id);
      this.#budget.remove(group.log);
    }
  }

  /** Closes all groups, then the Raft log. Closes the others if one rejects, and rejects with the first error. */
  async close(): Promise<void> {
    this.#closed = true;
    const ids = [...this.#groups.keys()];
    const closed = await Promise.allSettled(ids.map((id) => this.closeGroup(id)));
    this.#quiet.close();
    closed.push(...(await Promise.allSettled([this.#raftLog.close()])));
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }

  #close(group: OpenGroup<Machine, Result>): Promise<void> {
    group.closing ??= group.replica.stop().then(() => group.stateMachine.close());
    return group.closing;
  }

  #failed(group: OpenGroup<Machine, Result>, error: RaftreeError): void {
    const { host, logger } = this.#parts;
    const { id } = group;
    group.failure = error;
    // Its log is not cut any more: the others keep their shares.
    this.#budget.remove(group.log);
    const isLast = [...this.#groups.values()].every(({ failure }) => failure !== undefined);
    // All groups write to this log: the others would notice at their next write.
    if (isLast || errorCode(error.cause) === 'LOG_FAILED') {
      if (!this.#hasFailed) host.failed(error);
      this.#hasFailed = true;
      return;
    }
    // Followers on other nodes may be quiet because of it.
    this.#quiet.beginEpoch();
    // Its files and memory are freed for the others. `close` rejects with the same error.
    this.#close(group).catch((failure: unknown) => {
      logger.warn({ group: id, error: errorMessage(failure) }, `group ${id} could not be closed`);
    });
    host.groupFailed(id, error);
  }

  #warnOfTerm(group: GroupId, { hardState: { term } }: GroupLog): void {
    if (term < MAX_TERM) return;
    this.#parts.logger.error(
      { group, term, highestTerm: MAX_TERM },
      `the term ${term} in the Raft log leaves no room for another: no leader can be elected. No cluster comes so far by itself; ` +
        'save what this one holds with `raftree export --stale`, and begin a new one',
    );
  }
}
