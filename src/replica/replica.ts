/**
 * One replica of one Raft group: the core, its log, its state machine and its peers, driven together.
 *
 * Inputs are stepped as they arrive. At the end of the turn everything they caused is taken from the core together:
 * the batch goes to the log, messages to the peers, committed entries to the state machine, answers to the callers.
 * Batching under load comes from that loop alone.
 *
 *     log-writer            batches to the log, in order        pending-proposals     callers of propose
 *     applier               entries to the state machine        pending-reads         callers of readIndex
 *     log-cutter            cuts the log                        leadership-transfers  callers of transfers
 *     snapshot-sender, snapshot-receiver, snapshot-installer    snapshots between nodes
 */
import type { DiskSpace } from '../env/disk-space.js';
import type { Env, Logger, Timer } from '../env/env.js';
import { errorMessage, RaftreeError } from '../env/errors.js';
import type { Configuration, ConfigurationChange } from '../raft/configuration.js';
import { Raft } from '../raft/raft.js';
import type {
  Entry,
  Envelope,
  Input,
  NodeId,
  Output,
  PeerStatus,
  Quietness,
  RaftOptions,
  ReadMethod,
  Role,
  RoleStatus,
  SnapshotBase,
  StepResult,
} from '../raft/types.js';
import type { GroupLog } from '../raft-log/raft-log.js';
import { Applier } from './applier.js';
import type { GroupStateMachine } from './group-state-machine.js';
import { IgnoredMessages } from './ignored-messages.js';
import { LeadershipTransfers } from './leadership-transfers.js';
import { LeadershipYields } from './leadership-yields.js';
import type { LogLimits } from './log-compaction.js';
import { LogCutter } from './log-cutter.js';
import { LogWriter } from './log-writer.js';
import { PendingProposals } from './pending-proposals.js';
import { PendingReads } from './pending-reads.js';
import type {
  Applied,
  CommandLog,
  CorePort,
  ReplicaHost,
  TickHandle,
  TickSource,
  Transport,
} from './ports.js';
import { diskFull, leadershipLost, refused, stopped, waitsForSpace } from './refusals.js';
import { SnapshotHolds } from './snapshot-holds.js';
import { SnapshotInstaller } from './snapshot-installer.js';
import {
  isSnapshotTransfer,
  type ReplicaMessage,
  type SnapshotTransferMessage,
} from './snapshot-messages.js';
import type { SnapshotPace } from './snapshot-pace.js';
import { SnapshotReceiver } from './snapshot-receiver.js';
import { type SnapshotLimits, SnapshotSender } from './snapshot-sender.js';
import type { NodeSnapshotTurns } from './snapshot-turns.js';
import { StateDirectories } from './state-directories.js';

export interface ReplicaOptions {
  readonly raft: Omit<RaftOptions, 'random'>;
  /** Where the directories of the state machine and of snapshots are. */
  readonly directory: string;
  readonly snapshots: SnapshotLimits;
  /** The time between two ticks of a replica that has work to do. */
  readonly tickMs: number;
  /** How large the log may grow now. */
  readonly logLimits: () => LogLimits;
}

export interface ReplicaParts<Result> {
  readonly env: Env;
  readonly log: GroupLog;
  readonly stateMachine: GroupStateMachine<Result>;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly host: ReplicaHost;
  readonly ticks: TickSource;
  /** Of the node. */
  readonly snapshotPace: SnapshotPace;
  /** Of the node. */
  readonly snapshotTurns: NodeSnapshotTurns;
  /** The disk of the node. */
  readonly diskSpace: DiskSpace;
  /** Makes the groups exist that follow from this one, whose state machine says that it has ended. */
  readonly succeed: () => Promise<void>;
  /** This node has taken part in the group before. */
  readonly restarted: boolean;
  /** How long an earlier process may have promised not to vote. */
  readonly promisedMs?: number;
}

/** How long a stopping replica waits for its state machine. */
const STOP_PATIENCE_MS = 5000;
/** A drain ends after this many rounds; what is left waits for the next turn. */
const MAX_ROUNDS_PER_TURN = 8;
/** A quiet replica is looked at so rarely: whether its log should be cut. */
const QUIET_REVIEW_MS = 10_000;

export class Replica<Result> implements CommandLog<Result> {
  readonly #parts: ReplicaParts<Result>;
  readonly #options: ReplicaOptions;
  readonly #raft: Raft;
  readonly #writer: LogWriter;
  readonly #applier: Applier<Result>;
  readonly #proposals = new PendingProposals<Result>((index) => this.#raft.termAt(index));
  readonly #reads = new PendingReads();
  readonly #transfers: LeadershipTransfers;
  readonly #yields: LeadershipYields;
  readonly #sender: SnapshotSender;
  readonly #receiver: SnapshotReceiver;
  readonly #installer: SnapshotInstaller;
  readonly #cutter: LogCutter;
  readonly #ignored: IgnoredMessages;
  readonly #endDiskWatch: () => void;
  /** Proposals are refused because the state machine finds no space. */
  #isTreeFull = false;
  /** When the disk was found full, and nothing was applied since. */
  #stuckSinceMs: number | undefined;
  #nextReadId = 1;
  #drainScheduled = false;
  /** The configuration that the host knows; undefined before the first drain. */
  #announced: Configuration | undefined;
  readonly #ticks: TickHandle;
  /** Since the last tick there was work: the next tick must not be late. */
  #isActive = true;
  #allMatchedIndex = 0;
  /** As the host knows it. */
  #quietness: Quietness | undefined;
  #stopped: RaftreeError | undefined;

  constructor(options: ReplicaOptions, parts: ReplicaParts<Result>) {
    this.#options = options;
    this.#parts = parts;
    const { env, logger, log, stateMachine, transport, diskSpace, restarted, promisedMs } = parts;
    this.#raft = new Raft(
      {
        ...options.raft,
        random: () => env.random.float(),
      },
      {
        hardState: log.hardState,
        base: log.base,
        entries: log.entrySizes(),
        applied: stateMachine.appliedIndex,
        restarted,
        promisedMs,
      },
      env.clock.nowMs(),
    );
    const core = this.#corePort();
    const holds = new SnapshotHolds();
    const directories = new StateDirectories(env, logger, options.directory);
    this.#ignored = new IgnoredMessages(env.clock, logger);
    this.#transfers = new LeadershipTransfers(env.timers, options.raft.electionTimeoutMaxMs);
    this.#yields = new LeadershipYields(env.clock, core, options.snapshots.stallTimeoutMs);
    const { succeed } = parts;
    this.#applier = new Applier({
      ...{ timers: env.timers, log, stateMachine, core, succeed },
      proposals: this.#proposals,
    });
    const applier = this.#applier;
    this.#installer = new SnapshotInstaller({
      ...{ logger, log, stateMachine, applier, core, diskSpace, directories, succeed },
    });
    const installer = this.#installer;
    this.#writer = new LogWriter({ diskSpace, log, core, installer });
    this.#sender = new SnapshotSender({
      ...{ env, logger, directories, transport, core, holds },
      yields: this.#yields,
      limits: options.snapshots,
      pace: parts.snapshotPace,
      turns: parts.snapshotTurns.sending,
      source: {
        checkpoint: (directory) => this.#checkpoint(directory),
        check: (directory) => stateMachine.check(directory),
      },
    });
    this.#receiver = new SnapshotReceiver({
      ...{ env, logger, directories, transport, core, stateMachine, installer },
      turns: parts.snapshotTurns.receiving,
      stallTimeoutMs: options.snapshots.stallTimeoutMs,
    });
    this.#cutter = new LogCutter({
      ...{ env, logger, log, stateMachine, core, holds },
      peers: () => this.#raft.peers(),
      transfers: this.#sender,
      stallTimeoutMs: options.snapshots.stallTimeoutMs,
    });
    this.#endDiskWatch = diskSpace.onFull(() => this.#diskFull());
    this.#ticks = parts.ticks.add((isLate) => this.#tick(isLate), env.clock.nowMs() + options.tickMs);
    this.#step({ type: 'tick' });
  }

  /** In force: all changes that are applied. */
  get configuration(): Configuration {
    return this.#raft.configuration;
  }

  /** Index of the newest configuration that no restart can undo, as the core knows it. */
  get settledConfiguration(): number {
    return this.#raft.settledConfiguration;
  }

  /** Of a leader: another change of members would be refused with `CHANGE_PENDING`. */
  get hasPendingChange(): boolean {
    return this.#raft.hasPendingChange;
  }

  get role(): Role {
    return this.#raft.role;
  }

  get term(): number {
    return this.#raft.term;
  }

  get leader(): NodeId {
    return this.#raft.leader;
  }

  /** A write failed last for want of space, or what is applied would have to wait: a leader then takes nothing. */
  get isDiskFull(): boolean {
    const { diskSpace, stateMachine } = this.#parts;
    return diskSpace.isFull || stateMachine.isOutOfSpace === true;
  }

  /** Whether this node leads, or its leader is there. */
  get hasLeader(): boolean {
    return this.#raft.hasLeader(this.#parts.env.clock.nowMs());
  }

  get commitIndex(): number {
    return this.#raft.commitIndex;
  }

  get appliedIndex(): number {
    return this.#raft.appliedIndex;
  }

  get lastIndex(): number {
    return this.#raft.lastIndex;
  }

  /** The log begins behind this entry. */
  get baseIndex(): number {
    return this.#parts.log.base.index;
  }

  get durableIndex(): number {
    return this.#parts.stateMachine.durableIndex;
  }

  /** Messages that the core ignored since the start: of strangers, of absurd terms, of second leaders. */
  get refusedMessages(): number {
    return this.#ignored.count;
  }

  /** Snapshots since the start: those that members have confirmed, and those taken over here. */
  get snapshots(): { readonly sent: number; readonly received: number } {
    return { sent: this.#sender.completed, received: this.#installer.completed };
  }

  peers(): PeerStatus[] {
    return this.#raft.peers();
  }

  /** Of a leader: up to this index the member's log equals this one, durably. 0 if that is not known. */
  matchIndexOf(node: NodeId): number {
    return this.#raft.matchIndexOf(node);
  }

  propose(body: Uint8Array): Promise<Applied<Result>> {
    return this.#propose({ type: 'propose', bodies: [body] });
  }

  /**
   * Proposes an entry of the kind `tablet`. Rejects as `propose`, with `CHANGE_PENDING`, or with `CHANGE_INVALID`
   * while the members are joint or there is a learner.
   */
  proposeTablet(body: Uint8Array): Promise<Applied<Result>> {
    return this.#propose({ type: 'proposeTablet', body });
  }

  /** Campaigns at once if no leader is known. */
  campaign(): void {
    this.#step({ type: 'campaign' });
  }

  /** Every member is known to hold the log up to here. */
  get allMatchedIndex(): number {
    return this.#allMatchedIndex;
  }

  #propose(input: Input): Promise<Applied<Result>> {
    if (this.#stopped) return Promise.reject(stopped('notCommitted', this.#stopped));
    // Refused before it is appended. The outcome of what is in the log already is not known: it may have been sent.
    if (this.role === 'leader' && this.isDiskFull) {
      // A write that fails gives leadership away. None has: the tree will wait for space with the next ones.
      if (!this.#parts.diskSpace.isFull) {
        this.#sayThatTreeIsFull(true);
        this.#yields.yield();
      }
      return Promise.reject(diskFull());
    }
    if (this.#isTreeFull) this.#sayThatTreeIsFull(false);
    return new Promise((resolve, reject) => {
      const result = this.#step(input);
      if (!result) reject(stopped('notCommitted', this.#stopped));
      else if (!result.accepted) reject(refused(result.refusal, result.leader));
      else {
        const isCommand = input.type === 'propose';
        this.#proposals.add(result.index, { term: result.term, isCommand, resolve, reject });
      }
    });
  }

  /** What DiskSpace says when a write has failed. Here none has, since none was begun. */
  #sayThatTreeIsFull(isFull: boolean): void {
    if (isFull === this.#isTreeFull) return;
    this.#isTreeFull = isFull;
    const { logger } = this.#parts;
    if (isFull) logger.error({}, 'the disk is full: writes are refused (tables cannot be written)');
    else logger.info({}, 'the disk can be written again');
  }

  /**
   * Changes the membership; resolves with the index of the change once it is applied here. A joint change resolves when
   * it is entered; it is left by itself unless the change says otherwise. Rejects as `propose`, or with
   * `CHANGE_PENDING`, `CHANGE_INVALID`, or `CHANGE_CONFLICT` if the configuration in force has another index than the
   * expected one: not committed.
   */
  changeConfiguration(change: ConfigurationChange, expectedIndex?: number): Promise<Applied<Result>> {
    // The groups that follow from this one have members of their own.
    const { succession, isHeld } = this.#parts.stateMachine;
    if (succession || isHeld) return Promise.reject(refused('changeConflict', this.leader));
    return this.#propose({ type: 'changeConfiguration', change, expectedIndex });
  }

  /**
   * Transfers leadership to a voter; resolves when it leads. Rejects with `NOT_LEADER`, `CHANGE_INVALID` (no voter), or
   * `TRANSFER_FAILED` if it does not lead within two election timeouts.
   */
  async transferLeadership(to: NodeId): Promise<void> {
    const result = this.#step({ type: 'transfer', to });
    if (!result) throw stopped('notCommitted', this.#stopped);
    if (!result.accepted) throw refused(result.refusal, result.leader);
    if (to !== this.#options.raft.id) await this.#transfers.request(to);
  }

  readIndex(method: ReadMethod): Promise<number> {
    if (this.#stopped) return Promise.reject(stopped('notCommitted', this.#stopped));
    return new Promise((resolve, reject) => {
      const id = this.#nextReadId++;
      const result = this.#step({ type: 'read', id, method: method });
      if (!result) reject(stopped('notCommitted', this.#stopped));
      else if (!result.accepted) reject(refused(result.refusal, result.leader));
      else this.#reads.add(id, { resolve, reject });
    });
  }

  yieldLeadership(): void {
    this.#yields.yield();
  }

  /** This node is about to stop: from now on it does not campaign, and ignores TimeoutNow. */
  stopCampaigning(): void {
    this.#step({ type: 'stopCampaigning' });
  }

  /**
   * A leader transfers leadership to the voter that holds most of its log. Resolves when another node leads, when no
   * voter can take over, or after an election timeout: the replica may stop then. At once if this node does not lead.
   */
  transferBeforeStop(): Promise<void> {
    if (this.#stopped || this.role !== 'leader') return Promise.resolve();
    this.#step({ type: 'transfer' });
    return this.#transfers.beforeStop(this.#leadership);
  }

  receive(from: NodeId, message: ReplicaMessage): void {
    if (this.#stopped) return;
    if (isSnapshotTransfer(message)) {
      this.#receiveTransfer(from, message);
      return;
    }
    const result = this.#step({ type: 'message', from, message });
    if (result?.accepted && result.ignored !== undefined)
      this.#ignored.add(from, message, result.ignored, this.term);
  }

  /** Messages of a snapshot transfer do not reach the core, but the same rules decide whether they count. */
  #receiveTransfer(from: NodeId, message: SnapshotTransferMessage): void {
    const ignored = this.#raft.refusalOf(this.#parts.env.clock.nowMs(), from, message);
    if (ignored !== undefined) {
      this.#ignored.add(from, message, ignored, this.term);
      return;
    }
    switch (message.type) {
      case 'snapshotOffer':
        // An offer of an old leader is ignored. The core judges the snapshot when it has arrived.
        if (message.term >= this.term) this.#receiver.offered(from, message);
        break;
      case 'snapshotChunk':
        this.#receiver.chunk(from, message);
        break;
      case 'snapshotWanted':
        this.#sender.wanted(from, message);
        break;
    }
  }

  unreachable(node: NodeId): void {
    this.#step({ type: 'unreachable', node });
  }

  /** A node that this quiet replica relies on is silent, or has begun a new epoch. */
  wake(isSilent: boolean): void {
    this.#step({ type: 'wake', isSilent });
  }

  /**
   * Stops taking part. Callers that still wait get an error with the outcome `unknown`. An `apply`, a checkpoint or a
   * takeover that is under way may end, within a limit: it may be waiting for space on a full disk, and fails when the
   * state machine is closed.
   */
  async stop(): Promise<void> {
    this.#halt(new RaftreeError('REPLICA_STOPPED', 'this node is shutting down'));
    await this.#receiver.close();
    const done = Promise.all([this.#sender.close(), this.#installer.restoring, this.#applier.applying]);
    let timer: Timer | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = this.#parts.env.timers.after(STOP_PATIENCE_MS, resolve);
    });
    await Promise.race([done, patience]);
    timer?.cancel();
  }

  #tick(isLate: boolean): number {
    // A late tick does not judge silence: the next one must come soon.
    this.#isActive = isLate;
    this.#step({ type: 'tick', isLate });
    // A leader always reaches what it has committed. A follower may have been removed, or be cut off.
    if (this.role !== 'leader') {
      const patienceMs = this.#options.raft.electionTimeoutMaxMs;
      const nowMs = this.#parts.env.clock.nowMs();
      this.#reads.rejectConfirmedBefore(nowMs - 2 * patienceMs, () => leadershipLost('notCommitted'));
      if (isLate) this.#proposals.stoodStill(nowMs);
      this.#proposals.rejectLostBefore(nowMs - patienceMs);
    }
    this.#receiver.forgetUnneeded();
    try {
      if (!this.#stopped && !this.#applier.isPaused)
        this.#cutter.review(this.#allMatchedIndex, this.#options.logLimits());
    } catch (error) {
      this.#fail(error);
    }
    return this.#tickDueMs;
  }

  /** An idle follower needs no tick before its election timeout ends, an idle leader none before its next heartbeat. */
  get #tickDueMs(): number {
    const nextMs = this.#parts.env.clock.nowMs() + this.#options.tickMs;
    const isIdle =
      !this.#isActive &&
      this.#reads.isEmpty &&
      !this.#proposals.waitsForOthers &&
      !this.#receiver.isReceiving &&
      !this.#applier.isPaused &&
      !this.#cutter.isWaiting;
    if (!isIdle) return nextMs;
    return Math.max(nextMs, Math.min(this.#raft.tickDueMs, nextMs + QUIET_REVIEW_MS));
  }

  #step(input: Input): StepResult | undefined {
    if (this.#stopped) return undefined;
    try {
      const result = this.#raft.step(this.#parts.env.clock.nowMs(), input);
      if (this.#raft.role === 'leader') this.#proposals.leads(this.#raft.term);
      if (this.#announced) this.#announceConfiguration();
      if (input.type === 'applied') {
        this.#stuckSinceMs = undefined;
        this.#reads.answerThrough(this.appliedIndex);
      }
      this.#scheduleDrain();
      return result;
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /**
   * At once: a message that comes later in this turn must not count as one of a removed member, if another data folder
   * now has its id.
   */
  #announceConfiguration(): void {
    const { configuration } = this.#raft;
    if (configuration === this.#announced) return;
    this.#announced = configuration;
    this.#parts.host.configurationChanged(configuration);
  }

  #scheduleDrain(): void {
    if (this.#drainScheduled) return;
    this.#drainScheduled = true;
    this.#parts.env.timers.endOfTurn(() => {
      this.#drainScheduled = false;
      this.#drain();
    });
  }

  #drain(): void {
    try {
      for (let round = 0; !this.#stopped; round++) {
        const output = this.#raft.take(this.#parts.env.clock.nowMs());
        if (!output) break;
        this.#carryOut(output);
        this.#installer.decided();
        if (round === MAX_ROUNDS_PER_TURN) {
          this.#scheduleDrain();
          break;
        }
      }
      if (this.#stopped) return;
      this.#transfers.review(this.#leadership);
      this.#reviewQuietness();
      this.#ticks.dueBy(this.#tickDueMs);
    } catch (error) {
      this.#fail(error);
    }
  }

  #reviewQuietness(): void {
    const { quietness } = this.#raft;
    if (quietness === this.#quietness) return;
    this.#quietness = quietness;
    this.#parts.host.quietnessChanged(quietness);
  }

  #carryOut(output: Output): void {
    this.#isActive ||= isWork(output) || output.allMatchedIndex !== this.#allMatchedIndex;
    this.#allMatchedIndex = output.allMatchedIndex;
    if (output.append) this.#writer.write(output.append);
    if (output.configuration) this.#announceConfiguration();
    for (const node of output.snapshotsNeeded) this.#sender.begin(node, () => this.#parts.log.base.index);
    this.#send(output.send);
    for (const id of output.failedReads) this.#reads.reject(id, leadershipLost('notCommitted'));
    for (const { id, index } of output.reads) this.#reads.confirm(id, index, this.#parts.env.clock.nowMs());
    if (output.reads.length > 0) this.#reads.answerThrough(this.appliedIndex);
    if (output.status) this.#statusChanged(output.status);
    if (output.apply) this.#applier.apply(output.apply.first, output.apply.last);
  }

  /** Members that get the same entries get the same array: it is encoded once. */
  #send(envelopes: readonly Envelope[]): void {
    const { log, transport } = this.#parts;
    let filled: { readonly first: number; readonly last: number; readonly entries: Entry[] } | undefined;
    for (const { to, message } of envelopes) {
      if (message.type !== 'append') {
        transport.send(to, message);
        continue;
      }
      const { first, last, ...header } = message;
      if (filled?.first !== first || filled.last !== last)
        filled = { first, last, entries: last < first ? [] : log.entries(first, last) };
      transport.send(to, { ...header, entries: filled.entries });
    }
  }

  /** Runs this while nothing is applied, and no snapshot is taken over. Rejects as it does. */
  alone<T>(run: () => Promise<T>): Promise<T> {
    return this.#applier.alone(run);
  }

  /** A checkpoint of exactly what is applied. */
  async #checkpoint(directory: string): Promise<SnapshotBase> {
    const { stateMachine } = this.#parts;
    if (this.#applier.isPaused) throw new RaftreeError('BUSY', 'a snapshot is being taken over');
    return this.#applier.alone(async () => {
      const index = stateMachine.appliedIndex;
      const term = this.#raft.termAt(index);
      if (term === undefined) throw new RaftreeError('BUSY', `entry ${index} is not in the log`);
      const { configuration } = this.#raft;
      await stateMachine.checkpoint(directory);
      return { index, term, configuration };
    });
  }

  /**
   * A write has failed, perhaps once more. Other nodes may have space. If none of them takes over, whoever waits for
   * what is in the log is told so.
   */
  #diskFull(): void {
    this.#step({ type: 'transfer' });
    const nowMs = this.#parts.env.clock.nowMs();
    const waits = this.commitIndex > this.appliedIndex || this.#writer.isWriting;
    if (!waits || this.role !== 'leader') this.#stuckSinceMs = undefined;
    else this.#stuckSinceMs ??= nowMs;
    const patienceMs = this.#options.raft.electionTimeoutMaxMs;
    if (this.#stuckSinceMs === undefined || nowMs - this.#stuckSinceMs < patienceMs) return;
    this.#proposals.rejectCommands(waitsForSpace());
  }

  #statusChanged(status: RoleStatus): void {
    this.#proposals.statusChanged(status, this.#parts.env.clock.nowMs());
    if (status.role !== 'leader') {
      // Without space nothing is applied here that could tell more.
      if (this.isDiskFull) this.#proposals.rejectAll(leadershipLost('unknown'));
      this.#sender.stop();
    }
    this.#transfers.statusChanged(status.leader);
    this.#parts.host.statusChanged(status);
  }

  get #leadership() {
    const { role, term, leader } = this;
    return { isLeader: role === 'leader', term, leader, transferTarget: this.#raft.transferTarget };
  }

  #corePort(): CorePort {
    const replica = this;
    return {
      get role() {
        return replica.role;
      },
      get term() {
        return replica.term;
      },
      get commitIndex() {
        return replica.commitIndex;
      },
      step: (input) => this.#step(input),
      fail: (cause) => this.#fail(cause),
    };
  }

  #fail(cause: unknown): void {
    if (this.#stopped) return;
    const error = new RaftreeError('REPLICA_FAILED', `this replica stopped: ${errorMessage(cause)}`, {
      cause,
      ...(cause instanceof RaftreeError ? { info: cause.info } : {}),
    });
    this.#halt(error);
    this.#parts.host.failed(error);
  }

  #halt(error: RaftreeError): void {
    if (this.#stopped) return;
    this.#stopped = error;
    if (this.#quietness) this.#parts.host.quietnessChanged(undefined);
    this.#ticks.remove();
    this.#writer.close();
    this.#applier.close();
    this.#installer.close();
    this.#transfers.close();
    this.#endDiskWatch();
    this.#proposals.rejectAll(stopped('unknown', error));
    this.#reads.rejectAll(stopped('notCommitted', error));
  }
}

/** Whether an output has more than heartbeats and votes. */
function isWork({ append, apply, status, reads, snapshotsNeeded }: Output): boolean {
  return (
    append !== undefined ||
    apply !== undefined ||
    status !== undefined ||
    reads.length > 0 ||
    snapshotsNeeded.length > 0
  );
}
