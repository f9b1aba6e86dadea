/**
 * One replica of one Raft group: the core, its log, its state machine and its peers, driven together.
 *
 * Inputs are stepped as they arrive. At the end of the turn everything they caused is taken from the core at once:
 * the batch goes to the log, messages to the peers, committed entries to the state machine, answers to the callers.
 * Batching under load comes from that loop alone.
 */
import type { Env, Logger, Timer } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { Raft } from '../raft/raft.js';
import type {
  AppendBatch,
  AppendMessage,
  Entry,
  Envelope,
  Input,
  Message,
  NodeId,
  Output,
  PeerStatus,
  RaftOptions,
  Role,
  RoleStatus,
} from '../raft/types.js';
import type { GroupLog } from '../raft-log/raft-log.js';
import type { StateMachine } from './state-machine.js';

export interface Transport {
  /** Sends, or drops: Raft repeats what matters. The entries' bytes must be taken over before it returns. */
  send(to: NodeId, message: Message): void;
}

export interface ReplicaOptions {
  readonly raft: Omit<RaftOptions, 'configuration' | 'random'>;
  /** How often the core is told that time has passed. */
  readonly tickMs: number;
  /** A log larger than this makes the state machine flush, so that it can be cut. */
  readonly maxLogBytes: number;
  /** How long to wait before trying again to write to a full disk. */
  readonly diskFullRetryMs: number;
}

export interface ReplicaParts<Result> {
  readonly env: Env;
  readonly log: GroupLog;
  readonly stateMachine: StateMachine<Result>;
  readonly transport: Transport;
  readonly logger: Logger;
  /** True if this node has run before. */
  readonly restarted: boolean;
  readonly onStatus: (status: RoleStatus) => void;
  /** The replica cannot go on: its disk failed or an invariant broke. Called once. */
  readonly onFailure: (error: RaftreeError) => void;
}

export interface Applied<Result> {
  readonly index: number;
  readonly result: Result;
}

interface PendingProposal<Result> {
  readonly term: number;
  readonly resolve: (applied: Applied<Result>) => void;
  readonly reject: (error: RaftreeError) => void;
}

interface PendingRead {
  readonly resolve: (index: number) => void;
  readonly reject: (error: RaftreeError) => void;
}

/** The log is cut when this many entries can go, fewer of a log above its limit: each cut costs a synced record. */
const MIN_COMPACT_ENTRIES = 4096;
/** How long a stopping replica waits for its state machine. */
const STOP_PATIENCE_MS = 5000;
/** A drain ends after this many rounds; what is left waits for the next turn. */
const MAX_ROUNDS_PER_TURN = 8;

export class Replica<Result> {
  readonly #parts: ReplicaParts<Result>;
  readonly #options: ReplicaOptions;
  readonly #raft: Raft;
  readonly #proposals = new Map<number, PendingProposal<Result>>();
  readonly #reads = new Map<number, PendingRead>();
  /** Confirmed reads whose index is not applied yet, ordered by index. */
  #waitingReads: { readonly index: number; readonly read: PendingRead }[] = [];
  #nextReadId = 1;
  /** Given to the log and not yet durable, in order. */
  #unpersisted: AppendBatch[] = [];
  #diskFull: Timer | undefined;
  #drainScheduled = false;
  #tickTimer: Timer | undefined;
  #applying: Promise<void> | undefined;
  #flushing = false;
  #allMatchedIndex = 0;
  #stopped: RaftreeError | undefined;

  constructor(options: ReplicaOptions, parts: ReplicaParts<Result>) {
    this.#options = options;
    this.#parts = parts;
    const { env, log, stateMachine, restarted } = parts;
    this.#raft = new Raft(
      {
        ...options.raft,
        configuration: log.base.configuration,
        random: () => env.random.float(),
      },
      {
        hardState: log.hardState,
        base: { index: log.base.index, term: log.base.term },
        entries: log.entrySizes(),
        applied: stateMachine.appliedIndex,
        restarted,
      },
      env.clock.nowMs(),
    );
    this.#tick();
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

  peers(): PeerStatus[] {
    return this.#raft.peers();
  }

  /**
   * Replicates a command; resolves with the state machine's result once it is applied here.
   * Rejects with `NOT_LEADER` (info: leader), `OVERLOADED`: certainly not committed; `LEADERSHIP_LOST`,
   * `REPLICA_STOPPED`: unknown, unless info.outcome says `notCommitted`.
   */
  propose(body: Uint8Array): Promise<Applied<Result>> {
    if (this.#stopped) return Promise.reject(stopped('notCommitted', this.#stopped));
    return new Promise((resolve, reject) => {
      const result = this.#step({ type: 'propose', bodies: [body] });
      if (!result) reject(stopped('notCommitted', this.#stopped));
      else if (!result.accepted) reject(refused(result.refusal, result.leader));
      else this.#proposals.set(result.index, { term: result.term, resolve, reject });
    });
  }

  /**
   * Resolves, with an index, when the state machine holds everything that was committed when this was called.
   * Rejects with `NOT_LEADER`, `OVERLOADED`, `LEADERSHIP_LOST` or `REPLICA_STOPPED`; a read has no outcome to be unsure of.
   */
  readIndex(): Promise<number> {
    if (this.#stopped) return Promise.reject(stopped('notCommitted', this.#stopped));
    return new Promise((resolve, reject) => {
      const id = this.#nextReadId++;
      const result = this.#step({ type: 'read', id });
      if (!result) reject(stopped('notCommitted', this.#stopped));
      else if (!result.accepted) reject(refused(result.refusal, result.leader));
      else this.#reads.set(id, { resolve, reject });
    });
  }

  receive(from: NodeId, message: Message): void {
    this.#step({ type: 'message', from, message });
  }

  unreachable(node: NodeId): void {
    this.#step({ type: 'unreachable', node });
  }

  /**
   * Stops taking part; callers that still wait are told that their outcome is unknown. Lets an `apply` that is under
   * way end, but not for ever: it may be waiting for space on a full disk, and fails when the machine is closed.
   */
  async stop(): Promise<void> {
    this.#halt(new RaftreeError('REPLICA_STOPPED', 'this node is shutting down'));
    if (!this.#applying) return;
    let timer: Timer | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = this.#parts.env.timers.after(STOP_PATIENCE_MS, resolve);
    });
    await Promise.race([this.#applying, patience]);
    timer?.cancel();
  }

  #tick(): void {
    this.#step({ type: 'tick' });
    this.#compact();
    if (!this.#stopped)
      this.#tickTimer = this.#parts.env.timers.after(this.#options.tickMs, () => this.#tick());
  }

  #step(input: Input): ReturnType<Raft['step']> | undefined {
    if (this.#stopped) return undefined;
    try {
      const result = this.#raft.step(this.#parts.env.clock.nowMs(), input);
      this.#scheduleDrain();
      return result;
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
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
        if (!output) return;
        this.#carryOut(output);
        if (round === MAX_ROUNDS_PER_TURN) {
          this.#scheduleDrain();
          return;
        }
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #carryOut(output: Output): void {
    this.#allMatchedIndex = output.allMatchedIndex;
    if (output.append) {
      this.#unpersisted.push(output.append);
      if (this.#diskFull) this.#parts.log.hold(output.append);
      else this.#append(output.append);
    }
    for (const envelope of output.send) this.#parts.transport.send(envelope.to, this.#fill(envelope));
    for (const id of output.failedReads) this.#takeRead(id)?.reject(leadershipLost('notCommitted'));
    for (const { id, index } of output.reads) {
      const read = this.#takeRead(id);
      if (read) this.#waitingReads.push({ index, read });
    }
    if (output.reads.length > 0) this.#answerReads();
    if (output.status) this.#statusChanged(output.status);
    if (output.apply) this.#apply(output.apply.first, output.apply.last);
  }

  #fill({ message }: Envelope): Message {
    if (message.type !== 'append') return message;
    const { first, last, ...header } = message;
    const filled: AppendMessage = {
      ...header,
      entries: last < first ? [] : this.#parts.log.entries(first, last),
    };
    return filled;
  }

  #append(batch: AppendBatch): void {
    this.#parts.log.append(batch).then(
      () => {
        if (this.#unpersisted[0] === batch) this.#unpersisted.shift();
        this.#step({ type: 'persisted', batch: batch.batch });
      },
      (error: unknown) => {
        if (errorCode(error) === 'LOG_NO_SPACE') this.#waitForSpace(error);
        else this.#fail(error);
      },
    );
  }

  /** Nothing that failed was written, nor anything after it: all of it is given to the log again, in order. */
  #waitForSpace(error: unknown): void {
    if (this.#diskFull || this.#stopped) return;
    this.#parts.logger.error(
      { code: errorCode(error) },
      `the Raft log cannot be written: ${errorMessage(error)}`,
    );
    this.#diskFull = this.#parts.env.timers.after(this.#options.diskFullRetryMs, () => {
      this.#diskFull = undefined;
      for (const batch of [...this.#unpersisted]) this.#append(batch);
    });
  }

  #apply(first: number, last: number): void {
    const entries = this.#parts.log.entries(first, last);
    const results = this.#parts.stateMachine.apply(first, entries);
    if (!(results instanceof Promise)) {
      this.#applied(first, entries, results);
      return;
    }
    this.#applying = results
      .then((late) => this.#applied(first, entries, late))
      .catch((error: unknown) => this.#fail(error));
  }

  #applied(first: number, entries: readonly Entry[], results: readonly Result[]): void {
    this.#step({ type: 'applied', index: first + entries.length - 1 });
    entries.forEach((entry, i) => {
      const index = first + i;
      const proposal = this.#proposals.get(index);
      if (!proposal) return;
      this.#proposals.delete(index);
      if (proposal.term === entry.term) proposal.resolve({ index, result: results[i] as Result });
      // Another leader's entry was committed in its place.
      else proposal.reject(leadershipLost('notCommitted'));
    });
    this.#answerReads();
  }

  #takeRead(id: number): PendingRead | undefined {
    const read = this.#reads.get(id);
    this.#reads.delete(id);
    return read;
  }

  #answerReads(): void {
    let count = 0;
    for (const { index, read } of this.#waitingReads) {
      if (index > this.#raft.appliedIndex) break;
      read.resolve(index);
      count++;
    }
    if (count > 0) this.#waitingReads.splice(0, count);
  }

  #statusChanged(status: RoleStatus): void {
    if (status.role !== 'leader') this.#rejectProposals(leadershipLost('unknown'));
    this.#parts.onStatus(status);
  }

  #rejectProposals(error: RaftreeError): void {
    for (const proposal of this.#proposals.values()) proposal.reject(error);
    this.#proposals.clear();
  }

  /** Cuts the log up to what every member holds and the state machine keeps without it. */
  #compact(): void {
    if (this.#stopped) return;
    const { log, stateMachine } = this.#parts;
    const { durableIndex, appliedIndex } = stateMachine;
    const isLarge = log.sizeBytes > this.#options.maxLogBytes;
    // Where a member is behind, the log cannot be cut and a flush would be in vain.
    if (isLarge && durableIndex < Math.min(this.#allMatchedIndex, appliedIndex)) this.#flush();
    const target = Math.min(this.#allMatchedIndex, durableIndex);
    const held = log.lastIndex - log.base.index;
    const leastEntries = isLarge ? Math.min(MIN_COMPACT_ENTRIES, Math.ceil(held / 8)) : MIN_COMPACT_ENTRIES;
    if (target - log.base.index < Math.max(1, leastEntries)) return;
    log.compact(target).catch((error: unknown) => {
      if (errorCode(error) !== 'LOG_NO_SPACE') this.#fail(error);
    });
    this.#step({ type: 'compacted', index: target });
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
    this.#diskFull?.cancel();
    this.#rejectProposals(stopped('unknown', error));
    const reads = [...this.#reads.values(), ...this.#waitingReads.map(({ read }) => read)];
    for (const read of reads) read.reject(stopped('notCommitted', error));
    this.#reads.clear();
    this.#waitingReads = [];
  }
}

type Outcome = 'notCommitted' | 'unknown';

function refused(refusal: 'notLeader' | 'overloaded', leader: NodeId): RaftreeError {
  const info = { leader, outcome: 'notCommitted' };
  return refusal === 'notLeader'
    ? new RaftreeError('NOT_LEADER', 'this node does not lead', { info })
    : new RaftreeError('OVERLOADED', 'too much is in flight; try again in a moment', { info });
}

function leadershipLost(outcome: Outcome): RaftreeError {
  return new RaftreeError('LEADERSHIP_LOST', 'this node stopped leading before the answer was known', {
    info: { outcome },
  });
}

function stopped(outcome: Outcome, cause: RaftreeError | undefined): RaftreeError {
  return new RaftreeError('REPLICA_STOPPED', cause?.message ?? 'this node is shutting down', {
    info: { outcome },
  });
}
