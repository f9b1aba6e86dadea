/**
 * One node of a script: a core, and a host that does its work only when a command says so.
 *
 *   - `pull` takes what the core has to do and keeps it: what etcd calls a Ready that waits.
 *   - `processReady` does it: writes, sends, applies. What the core has held back until something is durable leaves in
 *     the same turn, as etcd's does; what has become possible only now waits for the next.
 *   - With asynchronous storage writes and applies wait further, for the append thread and the apply thread.
 *
 * A batch that holds only term and vote counts as durable at once, and what was handed over before it too, though that
 * is still to be written: etcd's answers that need no more than a term leave at once, ours when it is durable.
 */
import {
  type ConfigurationChange,
  configurationOf,
  isVoter,
  membersOf,
} from '../../../src/raft/configuration.js';
import { Raft } from '../../../src/raft/raft.js';
import {
  type AppendBatch,
  EMPTY_HARD_STATE,
  type Entry,
  type Envelope,
  type Input,
  type Message,
  NOBODY,
  type NodeId,
  type Output,
  type RaftOptions,
  type RaftState,
  type SnapshotBase,
  type StepResult,
} from '../../../src/raft/types.js';
import { LogCopy } from './log-copy.js';
import { NodeClock, TICK_MS } from './node-clock.js';
import { printEntry } from './printing.js';
import { type InTransit, isHeldBack, type PassedProposal, type Proposal } from './transit.js';

export interface ScriptNodeOptions {
  readonly preVote: boolean;
  readonly checkQuorum: boolean;
  readonly asynchronousStorage: boolean;
  /** A leader that is removed leaves without an heir, where ours transfers leadership. */
  readonly stepsDownOnRemoval: boolean;
  readonly readsByLease: boolean;
  readonly maxInflightMessages: number;
  readonly maxApplyBytes: number | undefined;
}

export type MakeCore = (options: RaftOptions, state: RaftState, nowMs: number) => Raft;

const NO_LIMIT = 2 ** 40;

interface Ready {
  readonly batch: AppendBatch | undefined;
  readonly sent: readonly InTransit[];
}

export class ScriptNode {
  readonly id: NodeId;
  readonly options: ScriptNodeOptions;
  readonly raft: Raft;
  /** As the core has handed it over. */
  readonly log: LogCopy;
  /** As far as it is written. */
  readonly disk: LogCopy;
  /** Every entry that was given out as committed, as printed. */
  readonly committed: string[] = [];
  readonly appendWork: (readonly AppendBatch[])[] = [];
  /** The last index of each range that is to be applied. */
  readonly applyWork: number[] = [];
  /** It is being sent again what was lost. */
  isRecovering = false;
  readonly #clock: NodeClock;
  #waiting: Ready[] = [];
  /**
   * A change that waits until this leader has applied the entry that opened its term: etcd's proposes it before, our
   * host proposes it again.
   */
  #waitingChange: ConfigurationChange | undefined;
  #given: number;
  #permitted: number;
  #writtenCommit: number;
  #leads: { readonly term: number; readonly members: ReadonlySet<NodeId> } | undefined;
  #hasTransferred = false;
  #forgotInTerm: number | undefined;
  readonly #heard = new Map<NodeId, number>();
  readonly #snapshots = new Map<NodeId, number>();

  constructor(
    id: NodeId,
    base: SnapshotBase | undefined,
    options: ScriptNodeOptions,
    makeCore: MakeCore = (...from) => new Raft(...from),
  ) {
    this.id = id;
    this.options = options;
    const start = base ?? { index: 0, term: 0, configuration: configurationOf([]) };
    this.log = new LogCopy(start.index);
    this.disk = new LogCopy(start.index);
    this.#given = start.index;
    this.#permitted = start.index;
    this.#writtenCommit = start.index;
    const clock = new NodeClock(options.checkQuorum);
    this.#clock = clock;
    this.raft = makeCore(
      {
        id,
        heartbeatMs: TICK_MS,
        electionTimeoutMinMs: clock.electionTimeoutMinMs,
        electionTimeoutMaxMs: clock.electionTimeoutMaxMs,
        maxClockDrift: 0.1,
        maxEntryBytes: NO_LIMIT,
        maxAppendBytes: NO_LIMIT,
        maxApplyBytes: options.maxApplyBytes ?? NO_LIMIT,
        maxInflightMessages: options.maxInflightMessages,
        maxInflightBytes: NO_LIMIT,
        maxUncommittedBytes: NO_LIMIT,
        maxPendingReads: 100,
        confirmsChanges: false,
        random: () => clock.drawTimeout(),
      },
      {
        hardState: { ...EMPTY_HARD_STATE, commit: start.index },
        base: start,
        entries: [],
        applied: start.index,
        restarted: false,
      },
      this.#clock.nowMs,
    );
  }

  step(input: Input): StepResult {
    const wasRemovedLeader = this.isRemovedLeader;
    const result = this.raft.step(this.#clock.nowMs, input);
    const { role, term, configuration } = this.raft;
    if (wasRemovedLeader && role !== 'leader') this.#hasTransferred = true;
    if (role === 'leader' && this.#leads?.term !== term) {
      this.#leads = { term, members: new Set(membersOf(configuration)) };
    }
    return result;
  }

  get isRemovedLeader(): boolean {
    return this.raft.role === 'leader' && !isVoter(this.raft.configuration, this.id);
  }

  /** It was removed, and has made another one leader; or it still leads, where in etcd it would not any more. */
  get hasTransferred(): boolean {
    return this.options.stepsDownOnRemoval ? this.isRemovedLeader : this.#hasTransferred;
  }

  /**
   * In etcd it would follow nobody now. Here silence ends its loyalty: that of an election timeout, by its own clock.
   */
  forgetLeader(): void {
    this.#forgotInTerm = this.raft.term;
    if (this.options.checkQuorum) this.#clock.letLoyaltyPass();
  }

  get shouldHaveNoLeader(): boolean {
    return this.#forgotInTerm === this.raft.term;
  }

  // Time

  /** One tick of its clock. A leader's heartbeats of each tick are its own messages. */
  tick(): void {
    const isOverdue = this.#clock.tick(this.raft.term);
    if (isOverdue) this.letElectionDeadlinePass();
    if (isOverdue && this.raft.role !== 'leader') return;
    this.step({ type: 'tick' });
    this.pull();
  }

  setElectionTimeout(ticks: number): void {
    this.#clock.setElectionTimeout(ticks, this.raft.term);
  }

  /**
   * It campaigns, if it may. Where a script has no pre-vote, everybody is taken to have granted it: what follows is the
   * election itself, and that is held as the votes of the others have it.
   */
  letElectionDeadlinePass(): void {
    if (this.raft.role === 'leader') return;
    this.#clock.letDeadlinePass();
    // The first tick after such a leap is late, and judges nobody's silence.
    this.step({ type: 'tick' });
    this.step({ type: 'tick' });
    if (this.options.preVote || this.raft.role !== 'preCandidate') return;
    const { voters, outgoing } = this.raft.configuration;
    for (const voter of new Set([...voters, ...outgoing])) {
      const term = this.raft.term + 1;
      if (voter === this.id || this.raft.role !== 'preCandidate') continue;
      const message: Message = {
        ...{ type: 'voteReply', term, preVote: true, granted: true },
        ...{ commitIndex: 0, commitTerm: 0 },
      };
      this.step({ type: 'message', from: voter, message });
    }
  }

  // Proposals

  /** Whether it is taken; a follower passes it on. Each goes out in messages of its own. */
  propose(proposal: Proposal): boolean {
    const { raft } = this;
    if (raft.role === 'follower' && raft.leader !== NOBODY) {
      const message: PassedProposal = { type: 'proposal', proposal };
      this.#waiting.push({ batch: undefined, sent: [{ from: this.id, to: raft.leader, message }] });
      return true;
    }
    if (!(proposal instanceof Uint8Array)) return this.#proposeChange(proposal);
    const { accepted } = this.step({ type: 'propose', bodies: [proposal] });
    this.pull();
    return accepted;
  }

  #proposeChange(change: ConfigurationChange): boolean {
    const result = this.step({ type: 'changeConfiguration', change });
    this.pull();
    if (result.accepted) return true;
    if (result.refusal === 'notLeader' || result.refusal === 'transferring') return false;
    if (result.refusal === 'changePending' && !this.#hasChangeToApply) {
      this.#waitingChange = change;
      return true;
    }
    // In etcd an empty entry takes the place of a change that cannot be made.
    return this.propose(new Uint8Array(0));
  }

  /** Proposes a change that was waiting; returns whether one was, and waits no more. */
  retryChange(): boolean {
    const change = this.#waitingChange;
    if (!change) return false;
    this.#waitingChange = undefined;
    this.#proposeChange(change);
    return this.#waitingChange === undefined;
  }

  /** Whether a change of membership is in its log that it has not applied. */
  get #hasChangeToApply(): boolean {
    const { appliedIndex, lastIndex } = this.raft;
    return this.log.slice(appliedIndex + 1, lastIndex).some(({ kind }) => kind === 'configuration');
  }

  // Messages

  receive(from: NodeId, message: Message | PassedProposal): void {
    if (message.type === 'proposal') {
      this.propose(message.proposal);
      return;
    }
    this.step({ type: 'message', from, message });
    const isFromLeader =
      message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot';
    if (isFromLeader && message.term === this.raft.term) this.#forgotInTerm = undefined;
    const isReply = message.type === 'appendReply' || message.type === 'heartbeatReply';
    if (!isReply || message.term !== this.raft.term) return;
    this.#heard.set(from, message.term);
    const index = this.#snapshots.get(from);
    if (message.type === 'appendReply' && index !== undefined) {
      this.#snapshots.delete(from);
      this.step({ type: 'snapshotSent', node: from, index, ok: message.accepted });
    }
  }

  /** Whether a member has answered this leader in its term; who came in later is given credit, as etcd has it. */
  hasHeardFrom(id: NodeId): boolean {
    return this.#heard.get(id) === this.raft.term || this.#leads?.members.has(id) === false;
  }

  snapshotSentTo(id: NodeId): number | undefined {
    return this.#snapshots.get(id);
  }

  /** A snapshot of all that is applied. */
  makeSnapshot(to: NodeId): InTransit {
    const { raft } = this;
    const index = raft.appliedIndex;
    const snapshot = { index, term: raft.termAt(index) ?? 0, configuration: raft.configuration };
    this.#snapshots.set(to, index);
    return { from: this.id, to, message: { type: 'snapshot', term: raft.term, snapshot } };
  }

  // Work

  /** Takes what the core has to do, and keeps it. */
  pull(): void {
    const { raft } = this;
    for (let output = raft.take(this.#clock.nowMs); output; output = raft.take(this.#clock.nowMs)) {
      const { append } = output;
      if (append?.snapshot) this.log.reset(append.snapshot.index);
      if (append) this.log.write(append.first, append.entries);
      this.#permitted = Math.max(this.#permitted, output.apply?.last ?? 0);
      this.#waiting.push({ batch: append, sent: this.#messagesOf(output) });
    }
  }

  get hasReady(): boolean {
    this.#pullWithCommit();
    const hasWork = this.#waiting.some(({ batch, sent }) => batch !== undefined || sent.length > 0);
    return hasWork || this.#committedThrough(this.raft.commitIndex) > this.#given;
  }

  /** A leader tells of its commits at a tick: here it may at any time. */
  #pullWithCommit(): void {
    if (this.raft.role === 'leader') this.step({ type: 'tick' });
    this.pull();
  }

  processReady(): InTransit[] {
    const commit = this.raft.commitIndex;
    this.#pullWithCommit();
    const readies = this.#waiting.splice(0);
    const batches = readies.flatMap(({ batch }) => batch ?? []);
    const sent = readies.flatMap((ready) => ready.sent);
    const isAsynchronous = this.options.asynchronousStorage;
    const answers = sent.some(
      ({ message }) => message.type === 'appendReply' || message.type === 'voteReply',
    );
    if (!isAsynchronous) for (const batch of batches) this.#write(batch);
    else if (batches.length > 0 || answers || commit !== this.#writtenCommit) {
      // etcd writes a commit index that has moved, and answers, in their order: commands count those too.
      this.appendWork.push(batches);
      const last = batches.at(-1);
      const isHardStateOnly = batches.every((batch) => batch.entries.length === 0 && !batch.snapshot);
      if (last && isHardStateOnly) this.step({ type: 'persisted', batch: last.batch });
    }
    this.#writtenCommit = commit;
    sent.push(...this.#released());
    this.#giveOut(commit);
    if (!isAsynchronous) while (this.applyWork.length > 0) this.processApply();
    return sent;
  }

  /** Writes what one turn has handed over; returns what that lets go. */
  processAppend(): InTransit[] {
    for (const batch of this.appendWork.shift() ?? []) this.#write(batch);
    return this.#released();
  }

  processApply(): void {
    const through = this.applyWork.shift() ?? 0;
    while (this.raft.appliedIndex < through) {
      if (this.#permitted <= this.raft.appliedIndex) this.pull();
      if (this.#permitted <= this.raft.appliedIndex) throw new Error(`${through} may not be applied yet`);
      this.step({ type: 'applied', index: Math.min(through, this.#permitted) });
    }
  }

  compact(index: number): void {
    this.log.compactTo(index);
    this.disk.compactTo(index);
    this.step({ type: 'compacted', index });
  }

  #write(batch: AppendBatch): void {
    const { snapshot } = batch;
    if (snapshot) this.disk.reset(snapshot.index);
    this.disk.write(batch.first, batch.entries);
    this.step({ type: 'persisted', batch: batch.batch });
    if (!snapshot) return;
    this.#given = snapshot.index;
    this.step({ type: 'applied', index: snapshot.index });
  }

  /** What the core has let go because something is durable; whatever else it has to do waits for the next turn. */
  #released(): InTransit[] {
    const before = this.#waiting.splice(0);
    this.pull();
    const now = this.#waiting.splice(0);
    this.#waiting = [
      ...before,
      ...now.map(({ batch, sent }) => ({ batch, sent: sent.filter((item) => !isHeldBack(item)) })),
    ];
    return now.flatMap(({ sent }) => sent.filter(isHeldBack));
  }

  #committedThrough(commit: number): number {
    const through = Math.min(commit, this.raft.stableIndex);
    return this.options.maxApplyBytes === undefined ? through : Math.min(through, this.#permitted);
  }

  #giveOut(commit: number): void {
    const through = this.#committedThrough(commit);
    if (through <= this.#given) return;
    for (let index = this.#given + 1; index <= through; index++) {
      this.committed.push(printEntry(index, this.log.at(index) as Entry));
    }
    this.#given = through;
    this.applyWork.push(through);
  }

  #messagesOf(output: Output): InTransit[] {
    return [
      ...output.send.flatMap((envelope) => this.#fill(envelope)),
      ...output.snapshotsNeeded.map((to) => this.makeSnapshot(to)),
    ];
  }

  #fill({ to, message }: Envelope): InTransit[] {
    if (message.type === 'append') return [{ from: this.id, to, message: this.log.filled(message) }];
    const isTransfer = message.type === 'timeoutNow' && !isVoter(this.raft.configuration, this.id);
    if (isTransfer && this.options.stepsDownOnRemoval) return [];
    if (message.type !== 'requestVote') return [{ from: this.id, to, message }];
    // Where a script has no pre-vote, nobody is asked for one; without check-quorum nobody is loyal to a leader.
    if (message.preVote && !this.options.preVote) return [];
    const force = message.force || !this.options.checkQuorum;
    return [{ from: this.id, to, message: { ...message, force } }];
  }
}
