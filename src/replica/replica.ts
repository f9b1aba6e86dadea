/**
 * One replica of one Raft group: the core, its log, its state machine and its peers, driven together.
 *
 * Inputs are stepped as they arrive. At the end of the turn everything they caused is taken from the core at once:
 * the batch goes to the log, messages to the peers, committed entries to the state machine, answers to the callers.
 * Batching under load comes from that loop alone.
 */
import { DiskSpace } from '../env/disk-space.js';
import type { Env, Logger, Timer } from '../env/env.js';
import { errorCode, errorMessage, isNoSpace, RaftreeError } from '../env/errors.js';
import { OnceAMinute } from '../env/once-a-minute.js';
import type { Configuration, ConfigurationChange } from '../raft/configuration.js';
import { Raft } from '../raft/raft.js';
import { isAnswer } from '../raft/senders.js';
import {
  type AppendBatch,
  type Entry,
  type Envelope,
  type Input,
  type MessageRefusal,
  NOBODY,
  type NodeId,
  type Output,
  type PeerStatus,
  type RaftOptions,
  type ReadLevel,
  type Role,
  type RoleStatus,
  type SnapshotBase,
  type WireMessage,
} from '../raft/types.js';
import type { GroupLog } from '../raft-log/raft-log.js';
import { Applier } from './applier.js';
import { type LogLimits, planCompaction } from './log-compaction.js';
import { LogWriter } from './log-writer.js';
import { type Applied, PendingProposals } from './pending-proposals.js';
import { PendingReads } from './pending-reads.js';
import { diskFull, leadershipLost, refused, stopped, transferFailed } from './refusals.js';
import { SnapshotHolds } from './snapshot-holds.js';
import type { ReplicaMessage, Transport } from './snapshot-messages.js';
import { SnapshotReceiver, stateDirectoryName } from './snapshot-receiver.js';
import { type SnapshotLimits, SnapshotSender } from './snapshot-sender.js';
import type { StateMachine } from './state-machine.js';

export interface ReplicaOptions extends LogLimits {
  readonly raft: Omit<RaftOptions, 'random'>;
  /** Where the directories of the state machine and of snapshots are. */
  readonly directory: string;
  readonly snapshots: SnapshotLimits;
  /** How often the core is told that time has passed. */
  readonly tickMs: number;
  /** How long to wait before trying again to write to a full disk. */
  readonly diskFullRetryMs: number;
}

export interface ReplicaParts<Result> {
  readonly env: Env;
  readonly log: GroupLog;
  readonly stateMachine: StateMachine<Result>;
  readonly transport: Transport;
  readonly logger: Logger;
  /** Of the node; without it the replica has one of its own. */
  readonly diskSpace?: DiskSpace;
  /** True if this node has run before … */
  readonly restarted: boolean;
  /** … and may have promised for so long not to vote. */
  readonly promisedMs?: number;
  readonly onStatus: (status: RoleStatus) => void;
  /** The first one, and then in each step that puts another in force. */
  readonly onConfiguration: (configuration: Configuration) => void;
  /** The replica cannot go on: its disk failed or an invariant broke. Called once. */
  readonly onFailure: (error: RaftreeError) => void;
}

const REFUSED_BECAUSE: Readonly<Record<Exclude<MessageRefusal, 'notLeader'>, string>> = {
  stranger: 'it is no member as far as this node knows; stop it, or add it with `raftree member add`',
  termTooFar:
    'no cluster reaches such a term; that node is damaged, or it is none of ours: stop it, and look who reaches the peer port',
  secondLeader:
    'it leads a term in which another node leads. Two leaders in one term are two histories: stop it, and look whether a data ' +
    'folder was copied or restored',
  malformed: 'it contradicts itself; that node is damaged, or it is none of ours',
};

interface PendingTransfer {
  readonly to: NodeId;
  readonly resolve: () => void;
  readonly reject: (error: RaftreeError) => void;
  readonly timer: Timer;
}

/** How long a stopping replica waits for its state machine. */
const STOP_PATIENCE_MS = 5000;
/** A drain ends after this many rounds; what is left waits for the next turn. */
const MAX_ROUNDS_PER_TURN = 8;

export class Replica<Result> {
  readonly #parts: ReplicaParts<Result>;
  readonly #options: ReplicaOptions;
  readonly #raft: Raft;
  readonly #writer: LogWriter;
  readonly #applier: Applier<Result>;
  readonly #diskSpace: DiskSpace;
  readonly #proposals = new PendingProposals<Result>();
  readonly #reads = new PendingReads();
  #nextReadId = 1;
  #drainScheduled = false;
  /** Undefined before the first drain. */
  #told: Configuration | undefined;
  #tickTimer: Timer | undefined;
  readonly #sender: SnapshotSender;
  readonly #holds = new SnapshotHolds();
  readonly #receiver: SnapshotReceiver;
  /** A snapshot that has arrived whole and that the core is asked about. */
  #arrived: { readonly snapshot: SnapshotBase; readonly name: string } | undefined;
  /**
   * Directories of snapshots that the log has, or is writing, and that are not taken over yet: a crash may need any of
   * them.
   */
  readonly #installed: string[] = [];
  #restoring: Promise<void> = Promise.resolve();
  #transfer: PendingTransfer | undefined;
  #handover: { readonly term: number; readonly resolve: () => void; readonly timer: Timer } | undefined;
  #flushing = false;
  #allMatchedIndex = 0;
  #stopped: RaftreeError | undefined;
  readonly #refusals: OnceAMinute;
  #refusedMessages = 0;

  constructor(options: ReplicaOptions, parts: ReplicaParts<Result>) {
    this.#options = options;
    this.#parts = parts;
    const { env, log, stateMachine, restarted, promisedMs } = parts;
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
    this.#refusals = new OnceAMinute(env.clock);
    const { transport, logger } = parts;
    const { directory } = options;
    this.#applier = new Applier({
      log,
      stateMachine,
      applied: (first, entries, results) => this.#applied(first, entries, results),
      failed: (error) => this.#fail(error),
    });
    this.#diskSpace = parts.diskSpace ?? new DiskSpace(logger);
    // Others may have space. Tried again with every write that fails.
    this.#diskSpace.onFull = () => this.#step({ type: 'handOver' });
    this.#writer = new LogWriter({
      env,
      diskSpace: this.#diskSpace,
      log,
      diskFullRetryMs: options.diskFullRetryMs,
      install: (batch, snapshot) => this.#install(batch, snapshot),
      persisted: (batch) => this.#step({ type: 'persisted', batch }),
      failed: (error) => this.#fail(error),
    });
    this.#sender = new SnapshotSender({
      env,
      logger,
      directory,
      limits: options.snapshots,
      // It is stopped at the end of the turn in which this node loses the lead: until then the term may be another's.
      transport: {
        send: (to, message) => {
          if (this.role === 'leader') transport.send(to, message);
        },
      },
      term: () => this.term,
      checkpoint: (target) => this.#checkpoint(target),
      check: (made) => parts.stateMachine.check(made),
      // It is tried again with the next snapshot, if this node leads still.
      damaged: () => this.#step({ type: 'handOver' }),
      hopeless: (error) => this.#fail(error),
      offered: (node, index) => this.#holds.hold(node, index),
      sent: (node, index, ok) => {
        if (!ok) this.#holds.release(node);
        this.#step({ type: 'snapshotSent', node, index, ok });
      },
    });
    this.#receiver = new SnapshotReceiver({
      env,
      logger,
      directory,
      transport,
      commitIndex: () => this.commitIndex,
      check: (received) => parts.stateMachine.check(received),
      received: (from, term, snapshot, name) => this.#snapshotArrived(from, term, snapshot, name),
    });
    // What a crash left.
    this.#removeUnused(/^(state|send|receive)-/, log.base.directory);
    this.#tick();
  }

  /** In force: of everything that is applied. */
  get configuration(): Configuration {
    return this.#raft.configuration;
  }

  /** As Raft's: what a leader answers for when it says that a change of members is done. */
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

  get commitIndex(): number {
    return this.#raft.commitIndex;
  }

  get appliedIndex(): number {
    return this.#raft.appliedIndex;
  }

  get lastIndex(): number {
    return this.#raft.lastIndex;
  }

  get durableIndex(): number {
    return this.#parts.stateMachine.durableIndex;
  }

  /** Messages of others that did not count, since the start: of strangers, of absurd terms, of second leaders. */
  get refusedMessages(): number {
    return this.#refusedMessages;
  }

  peers(): PeerStatus[] {
    return this.#raft.peers();
  }

  /** Of a leader: up to where that member's log is known to equal this one, durably; 0 if nothing is known. */
  matchIndexOf(node: NodeId): number {
    return this.#raft.matchIndexOf(node);
  }

  /**
   * Replicates a command; resolves with the state machine's result once it is applied here.
   * Rejects with `NOT_LEADER` (info: leader), `OVERLOADED`, `DISK_FULL`: certainly not committed; `LEADERSHIP_LOST`,
   * `REPLICA_STOPPED`: unknown, unless info.outcome says `notCommitted`.
   */
  propose(body: Uint8Array): Promise<Applied<Result>> {
    return this.#propose({ type: 'propose', bodies: [body] });
  }

  #propose(input: Input): Promise<Applied<Result>> {
    if (this.#stopped) return Promise.reject(stopped('notCommitted', this.#stopped));
    // Before anything is appended: what the log already holds may have been sent, and its outcome is not known.
    if (this.role === 'leader' && this.#diskSpace.isFull) return Promise.reject(diskFull());
    return new Promise((resolve, reject) => {
      const result = this.#step(input);
      if (!result) reject(stopped('notCommitted', this.#stopped));
      else if (!result.accepted) reject(refused(result.refusal, result.leader));
      else this.#proposals.add(result.index, { term: result.term, resolve, reject });
    });
  }

  /**
   * Changes the membership; resolves with the index of the change once it is applied here. A joint change resolves when
   * it is entered; it is left by itself unless the change says otherwise. Rejects as `propose`, or with
   * `CHANGE_PENDING`, `CHANGE_INVALID`, or `CHANGE_CONFLICT` if the configuration in force has another index than the
   * expected one: not committed.
   */
  changeConfiguration(change: ConfigurationChange, expectedIndex?: number): Promise<Applied<Result>> {
    return this.#propose({ type: 'changeConfiguration', change, expectedIndex });
  }

  /**
   * Hands leadership to a voter; resolves when it leads. Rejects with `NOT_LEADER`, `CHANGE_INVALID` (no voter), or
   * `TRANSFER_FAILED` if it does not lead within two election timeouts.
   */
  transferLeadership(to: NodeId): Promise<void> {
    return new Promise((resolve, reject) => {
      const result = this.#step({ type: 'transfer', to });
      if (!result) reject(stopped('notCommitted', this.#stopped));
      else if (!result.accepted) reject(refused(result.refusal, result.leader));
      else if (to === this.#options.raft.id) resolve();
      else {
        this.#endTransfer();
        const timer = this.#parts.env.timers.after(2 * this.#options.raft.electionTimeoutMaxMs, () =>
          this.#endTransfer(),
        );
        this.#transfer = { to, resolve, reject, timer };
      }
    });
  }

  /**
   * Resolves, with an index, when the state machine holds everything that was committed when this was called. Rejects
   * with `NOT_LEADER`, `OVERLOADED`, `LEADERSHIP_LOST` or `REPLICA_STOPPED`; a read has no outcome to be unsure of.
   */
  readIndex(level: ReadLevel): Promise<number> {
    if (this.#stopped) return Promise.reject(stopped('notCommitted', this.#stopped));
    return new Promise((resolve, reject) => {
      const id = this.#nextReadId++;
      const result = this.#step({ type: 'read', id, level });
      if (!result) reject(stopped('notCommitted', this.#stopped));
      else if (!result.accepted) reject(refused(result.refusal, result.leader));
      else this.#reads.add(id, { resolve, reject });
    });
  }

  /** This node is about to stop: from now on it does not campaign, nor when a leader asks it to. */
  stopCampaigning(): void {
    this.#step({ type: 'stopCampaigning' });
  }

  /**
   * A leader hands over to the voter that holds most of its log. Resolves when another leads, when nobody is there to
   * take over, or after an election timeout: at the latest then it may stop. At once if this node does not lead.
   */
  handOver(): Promise<void> {
    if (this.role !== 'leader') return Promise.resolve();
    this.#step({ type: 'handOver' });
    return new Promise((resolve) => {
      this.#endHandover();
      const timer = this.#parts.env.timers.after(this.#options.raft.electionTimeoutMaxMs, () =>
        this.#endHandover(),
      );
      this.#handover = { term: this.term, resolve, timer };
      this.#lookAtHandover();
    });
  }

  receive(from: NodeId, message: ReplicaMessage): void {
    if (this.#stopped) return;
    const refusal = this.#raft.refusalOf(this.#parts.env.clock.nowMs(), from, message);
    if (refusal !== undefined) {
      this.#sayRefused(from, message, refusal);
      return;
    }
    switch (message.type) {
      case 'snapshotOffer':
        // An old leader's does not count; the message that follows the last chunk is the core's to judge.
        if (message.term >= this.term) this.#receiver.offered(from, message);
        break;
      case 'snapshotChunk':
        this.#receiver.chunk(from, message);
        break;
      case 'snapshotWanted':
        this.#sender.wanted(from, message);
        break;
      default:
        this.#step({ type: 'message', from, message });
    }
  }

  /** What nobody says in good order must not go unnoticed, however often it comes. */
  #sayRefused(from: NodeId, { type, term }: ReplicaMessage, refusal: MessageRefusal): void {
    // It only came late.
    if (refusal === 'notLeader') return;
    this.#refusedMessages++;
    const { logger } = this.#parts;
    if (!this.#refusals.isDue(`${from} ${refusal} ${isAnswer(type)}`)) return;
    const fields = { from, type, term, refusal, ownTerm: this.term, refusedMessages: this.#refusedMessages };
    const text = `a message of node ${from} does not count: ${REFUSED_BECAUSE[refusal]}`;
    // Answers of one that was removed may still be on their way.
    if (refusal === 'stranger' && isAnswer(type)) logger.debug(fields, text);
    else if (refusal === 'stranger') logger.warn(fields, text);
    else logger.error(fields, text);
  }

  unreachable(node: NodeId): void {
    this.#step({ type: 'unreachable', node });
  }

  /**
   * Stops taking part; callers that still wait are told that their outcome is unknown. Lets an `apply`, a checkpoint or
   * a takeover that is under way end, but not for ever: it may be waiting for space on a full disk, and fails when the
   * machine is closed.
   */
  async stop(): Promise<void> {
    this.#halt(new RaftreeError('REPLICA_STOPPED', 'this node is shutting down'));
    await this.#receiver.close();
    const done = Promise.all([this.#sender.close(), this.#restoring, this.#applier.applying]);
    let timer: Timer | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = this.#parts.env.timers.after(STOP_PATIENCE_MS, resolve);
    });
    await Promise.race([done, patience]);
    timer?.cancel();
  }

  #tick(): void {
    if (this.#stopped) return;
    this.#step({ type: 'tick' });
    // A leader gets to what it has committed; a follower may have been removed, or cut off.
    if (this.role !== 'leader') {
      const patienceMs = 2 * this.#options.raft.electionTimeoutMaxMs;
      const sinceMs = this.#parts.env.clock.nowMs() - patienceMs;
      this.#reads.rejectConfirmedBefore(sinceMs, () => leadershipLost('notCommitted'));
    }
    this.#receiver.forgetUnneeded();
    this.#compact();
    if (this.#stopped) return;
    const { timers } = this.#parts.env;
    // A process that has stood still runs its timers before it reads its sockets: what lies there is not silence.
    this.#tickTimer = timers.after(this.#options.tickMs, () => timers.endOfTurn(() => this.#tick()));
  }

  #step(input: Input): ReturnType<Raft['step']> | undefined {
    if (this.#stopped) return undefined;
    try {
      const result = this.#raft.step(this.#parts.env.clock.nowMs(), input);
      if (this.#told) this.#tellConfiguration();
      this.#scheduleDrain();
      return result;
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** At once: no message that comes later in this turn may count for another member of the same id. */
  #tellConfiguration(): void {
    const { configuration } = this.#raft;
    if (configuration === this.#told) return;
    this.#told = configuration;
    this.#parts.onConfiguration(configuration);
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
        this.#forgetArrived();
        if (round === MAX_ROUNDS_PER_TURN) {
          this.#scheduleDrain();
          break;
        }
      }
      this.#lookAtHandover();
    } catch (error) {
      this.#fail(error);
    }
  }

  #carryOut(output: Output): void {
    this.#allMatchedIndex = output.allMatchedIndex;
    if (output.append) this.#writer.write(output.append);
    if (output.configuration) this.#tellConfiguration();
    for (const node of output.snapshotsNeeded) this.#sender.begin(node, this.#parts.log.base.index);
    for (const envelope of output.send) this.#parts.transport.send(envelope.to, this.#fill(envelope));
    for (const id of output.failedReads) this.#reads.reject(id, leadershipLost('notCommitted'));
    for (const { id, index } of output.reads) this.#reads.confirm(id, index, this.#parts.env.clock.nowMs());
    if (output.reads.length > 0) this.#reads.answerThrough(this.appliedIndex);
    if (output.status) this.#statusChanged(output.status);
    if (output.apply) this.#applier.apply(output.apply.first, output.apply.last);
  }

  #fill({ message }: Envelope): WireMessage {
    if (message.type !== 'append') return message;
    const { first, last, ...header } = message;
    return { ...header, entries: last < first ? [] : this.#parts.log.entries(first, last) };
  }

  /** All of the snapshot's bytes are safe; whether it is of use the core decides with the next output. */
  #snapshotArrived(from: NodeId, term: number, snapshot: SnapshotBase, name: string): void {
    this.#forgetArrived();
    this.#arrived = { snapshot, name };
    this.#step({ type: 'message', from, message: { type: 'snapshot', term, snapshot } });
  }

  /** The core has taken the snapshot over, or it has no use for it: then its directory is in the way. */
  #forgetArrived(): void {
    const arrived = this.#arrived;
    this.#arrived = undefined;
    if (arrived && arrived.name !== this.#parts.log.base.directory) this.#removeDirectory(arrived.name);
  }

  /** The record that names the directory is the commit point; the state machine follows it when it can. */
  #install(batch: AppendBatch, snapshot: SnapshotBase): Promise<void> {
    const { log } = this.#parts;
    const name = stateDirectoryName(snapshot);
    const installed = log.install({ ...snapshot, directory: name }, batch);
    this.#applier.pause();
    this.#applier.forgetWaiting();
    this.#installed.push(name);
    // A slow disk may install several before the first is taken over: one after the other.
    const before = this.#restoring;
    this.#restoring = installed
      .then(() => before)
      .then(() => this.#restore(snapshot, name))
      .catch((error: unknown) => {
        // Installed again when there is space.
        if (errorCode(error) === 'LOG_NO_SPACE') this.#applier.resume();
        else this.#fail(error);
      })
      .then(() => before);
    return installed;
  }

  async #restore(snapshot: SnapshotBase, name: string): Promise<void> {
    const { stateMachine, logger } = this.#parts;
    await this.#applier.alone(() => this.#replaceState(name));
    if (this.#stopped) return;
    if (stateMachine.appliedIndex !== snapshot.index) {
      throw new RaftreeError(
        'CORRUPTION',
        `the snapshot of entry ${snapshot.index} holds the state of entry ${stateMachine.appliedIndex}`,
      );
    }
    logger.info({ index: snapshot.index }, 'took over a snapshot');
    this.#installed.splice(0, this.#installed.indexOf(name) + 1);
    this.#removeUnused(/^state-/, name);
    this.#applier.resume();
    this.#step({ type: 'applied', index: snapshot.index });
    this.#reads.answerThrough(this.appliedIndex);
  }

  async #replaceState(name: string): Promise<void> {
    const { stateMachine, logger } = this.#parts;
    while (!this.#stopped) {
      try {
        await stateMachine.restore(`${this.#options.directory}/${name}`);
        return;
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        logger.error({ error: errorMessage(error) }, 'a snapshot is taken over when there is space');
        await this.#pause(this.#options.diskFullRetryMs);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#parts.env.timers.after(ms, resolve));
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

  #removeDirectory(name: string): void {
    const { env, logger } = this.#parts;
    try {
      env.fs.removeTree(`${this.#options.directory}/${name}`);
    } catch (error) {
      logger.warn({ error: errorMessage(error) }, `${name} could not be removed`);
    }
  }

  /**
   * Removes the directories of that kind but for those of the state machine, of the log and of what has just arrived.
   */
  #removeUnused(kind: RegExp, ofStateMachine: string): void {
    const { env, log } = this.#parts;
    const used = [ofStateMachine, log.base.directory, this.#arrived?.name, ...this.#installed];
    for (const name of env.fs.list(this.#options.directory)) {
      if (kind.test(name) && !used.includes(name)) this.#removeDirectory(name);
    }
  }

  #applied(first: number, entries: readonly Entry[], results: readonly Result[]): void {
    this.#step({ type: 'applied', index: first + entries.length - 1 });
    this.#proposals.applied(first, entries, results);
    this.#reads.answerThrough(this.appliedIndex);
  }

  #statusChanged(status: RoleStatus): void {
    if (status.role !== 'leader') {
      this.#proposals.rejectAll(leadershipLost('unknown'));
      this.#sender.stop();
    }
    if (this.#transfer && status.leader !== NOBODY) this.#endTransfer(status.leader);
    this.#parts.onStatus(status);
  }

  #lookAtHandover(): void {
    const isWithSuccessor = this.role !== 'leader' && this.leader !== NOBODY;
    // Or it stepped down by itself, in its own term.
    const isWithout = this.#raft.transferTarget === undefined && this.term === this.#handover?.term;
    if (isWithSuccessor || isWithout || this.#stopped) this.#endHandover();
  }

  #endHandover(): void {
    this.#handover?.timer.cancel();
    this.#handover?.resolve();
    this.#handover = undefined;
  }

  #endTransfer(leader = NOBODY): void {
    const transfer = this.#transfer;
    if (!transfer) return;
    this.#transfer = undefined;
    transfer.timer.cancel();
    if (leader === transfer.to) transfer.resolve();
    else transfer.reject(transferFailed(transfer.to));
  }

  #compact(): void {
    if (this.#stopped || this.#applier.isPaused) return;
    const { log, stateMachine } = this.#parts;
    const { sizeBytes } = log;
    const { cutThrough, needsFlush } = planCompaction(
      {
        baseIndex: log.base.index,
        lastIndex: log.lastIndex,
        sizeBytes,
        allMatchedIndex: this.#allMatchedIndex,
        appliedIndex: stateMachine.appliedIndex,
        durableIndex: stateMachine.durableIndex,
        heldIndex: this.#heldIndex(),
      },
      this.#options,
    );
    if (needsFlush) this.#flush();
    if (cutThrough === undefined) return;
    log.compact(cutThrough).catch((error: unknown) => {
      if (errorCode(error) !== 'LOG_NO_SPACE') this.#fail(error);
    });
    this.#step({ type: 'compacted', index: cutThrough });
    this.#giveUpSnapshots(cutThrough, sizeBytes);
  }

  /** Members that are given a snapshot, or have had one and are catching up, need the log after this entry. */
  #heldIndex(): number | undefined {
    if (this.#holds.isEmpty) return undefined;
    const peers = this.#raft.peers();
    // Something else brought it to the log.
    for (const { id, state } of peers) if (state === 'replicate') this.#sender.end(id, true);
    const { snapshots, trailingEntries } = this.#options;
    const sinceMs = this.#parts.env.clock.nowMs() - snapshots.stallTimeoutMs;
    return this.#holds.review(peers, this.lastIndex - trailingEntries, sinceMs);
  }

  /** To members whose snapshot ends before what was cut it is of no use any more: they need another. */
  #giveUpSnapshots(cutThrough: number, logBytes: number): void {
    for (const node of this.#holds.cutThrough(cutThrough)) {
      const { maxSnapshotLogBytes } = this.#options;
      this.#parts.logger.warn(
        { node, ...this.#sender.progressOf(node), logBytes, maxSnapshotLogBytes },
        `node ${node} needs another snapshot: the log outgrew maxSnapshotLogBytes before it had caught up; ` +
          'raise maxSnapshotLogBytes or snapshotBytesPerSecond, or write less',
      );
      this.#sender.end(node, false);
    }
  }

  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#parts.stateMachine
      .flush()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#flushing = false;
      });
  }

  #fail(cause: unknown): void {
    if (this.#stopped) return;
    const error = new RaftreeError('REPLICA_FAILED', `this replica stopped: ${errorMessage(cause)}`, {
      cause,
      ...(cause instanceof RaftreeError ? { info: cause.info } : {}),
    });
    this.#halt(error);
    this.#parts.onFailure(error);
  }

  #halt(error: RaftreeError): void {
    if (this.#stopped) return;
    this.#stopped = error;
    this.#tickTimer?.cancel();
    this.#writer.close();
    this.#applier.close();
    this.#endTransfer();
    this.#endHandover();
    this.#proposals.rejectAll(stopped('unknown', error));
    this.#reads.rejectAll(stopped('notCommitted', error));
  }
}
