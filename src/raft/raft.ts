/**
 * The consensus core of one group: a pure state machine without I/O, clock or promises.
 *
 *     raft.step(nowMs, input)   processes one input; returns whether a proposal or a read was accepted
 *     raft.take(nowMs)          returns what is to be done, and nothing twice; undefined if there is nothing
 *
 * The host writes `append`, sends `send` and applies `apply`, and reports with `persisted` and `applied`. Each may take
 * its time, and they may run in parallel. After all inputs of a turn the host calls `take` until it gives nothing: that
 * batches proposals, messages and reads.
 *
 * After Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), and Ongaro's dissertation.
 * Pre-vote: section 9.6, check-quorum: 6.2, read index: 6.4, the leader's disk write in parallel: 10.2.1.
 *
 * Rules that keep it safe with asynchronous storage:
 *
 * - No message of a term is sent before that term and vote are durable here. Votes, vote requests and acknowledgements
 *   are held back until `persisted`. A leader's term is durable before it leads, so it may send entries of that term
 *   before its own disk has them.
 * - The leader's own acknowledgement counts from `persisted`, like any other.
 * - `apply` holds only entries that are committed and durable here.
 */
import type { Configuration } from './configuration.js';
import { Election } from './election.js';
import { FollowerReads } from './follower-reads.js';
import { checkInvariants, EMPTY_VIEW, type RaftView } from './invariants.js';
import { Leadership } from './leadership.js';
import { LocalState } from './local-state.js';
import { ReadAnswers } from './read-answers.js';
import { ReadIndex } from './read-index.js';
import { isSound, refusalOf, type TransferType } from './senders.js';
import {
  type AppendMessage,
  type Heartbeat,
  type Input,
  type Message,
  type MessageRefusal,
  NOBODY,
  type NodeId,
  type Output,
  type PeerStatus,
  type Quietness,
  type QuietOffer,
  type RaftOptions,
  type RaftState,
  type ReadIndexReply,
  type ReadIndexRequest,
  type ReadMethod,
  type Refusal,
  type RequestVote,
  type Role,
  type SnapshotMessage,
  type StepResult,
  type TimeoutNow,
  type VoteReply,
} from './types.js';

/** Inputs that wake a quiet leader. */
const WAKING: ReadonlySet<Input['type']> = new Set([
  ...([
    'propose',
    'proposeTablet',
    'changeConfiguration',
    'transfer',
    'read',
    'unreachable',
    'wake',
  ] as const),
]);
/** Messages of which the sender leads its term. */
const OF_LEADERS: ReadonlySet<Message['type']> = new Set(['append', 'heartbeat', 'quietOffer', 'snapshot']);

/** Messages that decide themselves whether they wake a quiet follower. */
const OF_QUIET: ReadonlySet<Message['type']> = new Set(['heartbeat', 'quietOffer']);

type Writable<View> = { -readonly [Field in keyof View]: View[Field] };

/** For the step that runs. All cores share them, for no step runs inside another: they are no state of a core. */
const BEFORE: Writable<RaftView> = { ...EMPTY_VIEW };
const AFTER: Writable<RaftView> = { ...EMPTY_VIEW };

export class Raft {
  readonly #options: RaftOptions;
  readonly #local: LocalState;
  readonly #election: Election;
  /** The current term's leadership, while this node leads. */
  #leadership: Leadership | undefined;
  readonly #reads = new ReadIndex();
  readonly #followerReads: FollowerReads;
  readonly #answers = new ReadAnswers();
  #configurationChanged = true;
  #settledConfiguration = 0;
  #lastTickMs: number;
  /** Whether the last tick came late. */
  #wasLate = false;

  constructor(options: RaftOptions, state: RaftState, nowMs: number) {
    this.#options = options;
    this.#local = new LocalState(options.id, state);
    this.#election = new Election(options, this.#local, state, nowMs);
    this.#followerReads = new FollowerReads(options.random);
    this.#lastTickMs = nowMs;
  }

  /** The configuration in force: that of all applied entries. */
  get configuration(): Configuration {
    return this.#local.configuration;
  }

  /**
   * Index of the newest configuration that this node, as leader, knows to be settled: a quorum of its voters stores an
   * entry that shows the change to be committed. So no restart can lead back to the members before it.
   */
  get settledConfiguration(): number {
    return Math.max(this.#settledConfiguration, this.#leadership?.settledConfiguration ?? 0);
  }

  /** For a leader: whether a configuration change is pending or not settled. */
  get hasPendingChange(): boolean {
    return this.#leadership?.hasPendingChange ?? false;
  }

  get term(): number {
    return this.#local.term;
  }

  get role(): Role {
    return this.#election.role;
  }

  get leader(): NodeId {
    return this.#election.leader;
  }

  /** Whether this node leads, or its leader is there. A learner that was removed may name a leader for ever. */
  hasLeader(nowMs: number): boolean {
    return this.#election.hasLeader(nowMs);
  }

  get commitIndex(): number {
    return this.#local.commit;
  }

  get appliedIndex(): number {
    return this.#local.applied;
  }

  get lastIndex(): number {
    return this.#local.log.lastIndex;
  }

  get stableIndex(): number {
    return this.#local.stability.stableIndex;
  }

  get vote(): NodeId {
    return this.#local.vote;
  }

  /** The term of an entry; undefined outside the log. */
  termAt(index: number): number | undefined {
    return this.#local.log.termAt(index);
  }

  /**
   * The earliest time at which a tick has an effect, unless another input comes before, or there is work: a leader with
   * work needs ticks a few times per heartbeat interval.
   */
  get tickDueMs(): number {
    if (this.#leadership) return this.#leadership.tickDueMs;
    return Math.min(this.#election.deadlineMs, this.#followerReads.deadlineMs);
  }

  /** What this replica relies on while it is quiet; the same object as long as that lasts. Undefined if it is not. */
  get quietness(): Quietness | undefined {
    return this.#leadership ? this.#leadership.quietness : this.#election.quietness;
  }

  /** For a leader: the target of a leadership transfer in progress. */
  get transferTarget(): NodeId | undefined {
    return this.#leadership?.transferTarget;
  }

  /** For a leader: what it knows about the other members. */
  peers(): PeerStatus[] {
    return this.#leadership?.replication.peers() ?? [];
  }

  /**
   * Why a message does not count; undefined if it does. `step` asks this of every message. A host asks it of the parts
   * of a snapshot, which it keeps itself.
   */
  refusalOf(
    nowMs: number,
    from: NodeId,
    message: Message | { readonly type: TransferType; readonly term: number },
  ): MessageRefusal | undefined {
    const { termLeader, leader } = this.#election;
    const heard = { termLeader, leader, hasLeader: this.#election.hasLeader(nowMs) };
    const refusal = refusalOf(from, message, this.#local, heard);
    return refusal ?? (isSound(message) ? undefined : 'malformed');
  }

  /** For a leader: up to which index another member's log is known to match its own; 0 if unknown. */
  matchIndexOf(node: NodeId): number {
    return this.#leadership?.replication.progressOf(node)?.match ?? 0;
  }

  /**
   * Processes one input. Proposals, reads, configuration changes and `transfer` can be refused. Throws
   * `RAFT_INVARIANT` if the state violates an invariant: the host must then stop this replica.
   */
  step(nowMs: number, input: Input): StepResult {
    this.#look(BEFORE);
    const result = this.#step(nowMs, input);
    this.#look(AFTER);
    checkInvariants(BEFORE, AFTER);
    return result;
  }

  /** All that is to be done now; undefined if there is nothing. */
  take(nowMs: number): Output | undefined {
    const snapshotsNeeded = this.#leadership?.replicate(nowMs) ?? [];
    const append = this.#local.takeBatch(nowMs);
    const apply = this.#local.takeApply(this.#options.maxApplyBytes);
    const { outbox, allMatchedIndex } = this.#local;
    const idle =
      !append &&
      !apply &&
      !this.#election.hasChanged &&
      !this.#configurationChanged &&
      outbox.isEmpty &&
      snapshotsNeeded.length === 0 &&
      this.#answers.isEmpty;
    if (idle) return undefined;
    const configuration = this.#configurationChanged ? this.configuration : undefined;
    this.#configurationChanged = false;
    return {
      append,
      apply,
      send: outbox.take(),
      ...this.#answers.take(),
      status: this.#election.takeChanged()
        ? { role: this.role, term: this.term, leader: this.leader }
        : undefined,
      allMatchedIndex,
      snapshotsNeeded,
      configuration,
    };
  }

  #step(nowMs: number, input: Input): StepResult {
    if (WAKING.has(input.type)) this.#leadership?.wake(nowMs);
    switch (input.type) {
      case 'tick':
        this.#tick(nowMs, input.isLate);
        break;
      case 'message':
        return this.#receive(nowMs, input.from, input.message);
      case 'propose':
        return this.#leadership?.propose(input.bodies) ?? this.#refused('notLeader');
      case 'proposeTablet':
        return this.#leadership?.proposeTablet(input.body) ?? this.#refused('notLeader');
      case 'campaign':
        // A pre-candidate asks again: when it asked first, others may not have had the group yet.
        if (
          (this.role === 'follower' || this.role === 'preCandidate') &&
          this.leader === NOBODY &&
          this.#election.campaign(nowMs)
        )
          this.#tally(nowMs);
        break;
      case 'changeConfiguration':
        return this.#leadership?.changeConfiguration(input) ?? this.#refused('notLeader');
      case 'transfer':
        return this.#leadership?.transfer(nowMs, input.to) ?? this.#refused('notLeader');
      case 'stopCampaigning':
        this.#election.stopCampaigning();
        break;
      case 'read':
        return this.#read(nowMs, input.id, input.method);
      case 'persisted':
        this.#persisted(nowMs, input.batch);
        break;
      case 'applied':
        this.#appliedThrough(nowMs, input.index);
        break;
      case 'compacted':
        this.#local.log.compactTo(input.index);
        break;
      case 'unreachable':
        this.#leadership?.unreachable(nowMs, input.node);
        break;
      case 'wake':
        if (!this.#leadership) this.#wakeFollower(nowMs, input.isSilent);
        break;
      case 'snapshotSent':
        this.#leadership?.replication.snapshotSent(input.node, input.index, input.ok);
        break;
    }
    return this.#accepted();
  }

  #tick(nowMs: number, isHostLate = nowMs - this.#lastTickMs > this.#options.heartbeatMs): void {
    // A late tick shows that this process was paused. Messages that arrived meanwhile are still unread. So silence of
    // others is not judged now, but at the next tick, late or not.
    const isLate = !this.#wasLate && isHostLate;
    this.#wasLate = isLate;
    this.#lastTickMs = nowMs;
    if (isLate) {
      this.#leadership?.lateTick(nowMs);
      return;
    }
    this.#answers.fail(this.#followerReads.overdue(nowMs));
    if (this.#leadership) {
      if (this.#leadership.tick(nowMs)) this.#becomeFollower(nowMs, this.term, NOBODY);
    } else if (this.#election.isOverdue(nowMs) && this.#election.campaign(nowMs)) {
      this.#tally(nowMs);
    }
  }

  // Roles

  #tally(nowMs: number): void {
    const result = this.#election.result();
    if (result === 'lost') this.#becomeFollower(nowMs, this.term, NOBODY);
    else if (result === 'won' && this.role === 'preCandidate') this.#becomeCandidate(nowMs, false);
    else if (result === 'won' && this.role === 'candidate') this.#becomeLeader(nowMs);
  }

  #becomeCandidate(nowMs: number, force: boolean): void {
    this.#answers.fail(this.#followerReads.fail());
    this.#election.stand(nowMs, force);
  }

  #becomeLeader(nowMs: number): void {
    this.#election.lead();
    this.#leadership = new Leadership(this.#options, this.#local, this.#reads, this.#answers, nowMs);
  }

  #becomeFollower(nowMs: number, term: number, leader: NodeId): void {
    if (term > this.term) this.#answers.fail(this.#followerReads.fail());
    this.#settledConfiguration = this.settledConfiguration;
    this.#leadership?.end();
    this.#leadership = undefined;
    this.#election.follow(nowMs, term, leader);
  }

  // Messages

  #receive(nowMs: number, from: NodeId, message: Message): StepResult {
    const ignored = this.refusalOf(nowMs, from, message);
    if (ignored !== undefined) return { ...this.#accepted(), ignored };
    const wasQuiet = this.#election.quietness !== undefined;
    if (message.type === 'requestVote') this.#receiveRequestVote(nowMs, from, message);
    else this.#receiveOfTerm(nowMs, from, message);
    // What its leader sends wakes it by itself. A leader that has stepped down asks for votes like any other node.
    if (wasQuiet && !OF_QUIET.has(message.type)) this.#wakeFollower(nowMs, false);
    return this.#accepted();
  }

  /** Its leader is told, so that it sends heartbeats before this election timeout is over. */
  #wakeFollower(nowMs: number, leaderIsSilent: boolean): void {
    if (!this.#election.quietness) return;
    this.#election.wake(nowMs, leaderIsSilent);
    this.#local.sendForTerm(this.leader, { type: 'quietReply', term: this.term, round: 0, isQuiet: false });
  }

  #receiveOfTerm(nowMs: number, from: NodeId, message: Exclude<Message, RequestVote>): void {
    const grantedPreVote = message.type === 'voteReply' && message.preVote && message.granted;
    if (message.term > this.term && !grantedPreVote) {
      this.#becomeFollower(nowMs, message.term, OF_LEADERS.has(message.type) ? from : NOBODY);
    }
    const leadership = message.term === this.term ? this.#leadership : undefined;
    switch (message.type) {
      case 'voteReply':
        this.#receiveVoteReply(nowMs, from, message);
        break;
      case 'append':
        this.#receiveAppend(nowMs, from, message);
        break;
      case 'heartbeat':
        this.#receiveHeartbeat(nowMs, from, message);
        break;
      case 'appendReply':
        if (leadership?.receiveAppendReply(nowMs, from, message)) {
          this.#becomeFollower(nowMs, this.term, NOBODY);
        }
        break;
      case 'heartbeatReply':
        leadership?.receiveHeartbeatReply(nowMs, from, message);
        break;
      case 'quietOffer':
        this.#receiveQuietOffer(nowMs, from, message);
        break;
      case 'quietReply':
        leadership?.receiveQuietReply(nowMs, from, message);
        break;
      case 'snapshot':
        this.#receiveSnapshot(nowMs, from, message);
        break;
      case 'timeoutNow':
        this.#receiveTimeoutNow(nowMs, message);
        break;
      case 'readIndex':
        this.#receiveReadIndex(nowMs, from, message);
        break;
      case 'readIndexReply':
        this.#receiveReadIndexReply(message);
        break;
    }
  }

  #receiveRequestVote(nowMs: number, from: NodeId, message: RequestVote): void {
    // The candidate misses its leader: heartbeats show it.
    this.#leadership?.wake(nowMs);
    if (!this.#election.listensTo(nowMs, message)) return;
    if (message.term > this.term && !message.preVote) this.#becomeFollower(nowMs, message.term, NOBODY);
    this.#election.answer(nowMs, from, message);
  }

  #receiveVoteReply(nowMs: number, from: NodeId, message: VoteReply): void {
    const { log } = this.#local;
    if (!this.#leadership && log.termAt(message.commitIndex) === message.commitTerm)
      this.#local.commitTo(message.commitIndex);
    if (this.#election.count(from, message)) this.#tally(nowMs);
  }

  #receiveTimeoutNow(nowMs: number, message: TimeoutNow): void {
    if (message.term !== this.term || this.role !== 'follower') return;
    if (this.#election.mayCampaign(nowMs)) this.#becomeCandidate(nowMs, true);
  }

  #receiveAppend(nowMs: number, from: NodeId, message: AppendMessage): void {
    const local = this.#local;
    if (message.term < local.term) {
      this.#refuse(from, message);
      return;
    }
    this.#heardFromLeader(nowMs, from);
    local.allMatchedIndex = Math.max(local.allMatchedIndex, message.allMatchedIndex);
    if (message.previousIndex < local.commit) {
      local.checkCommitted(message.previousIndex, message.previousTerm);
      for (const [i, { term }] of message.entries.entries())
        local.checkCommitted(message.previousIndex + 1 + i, term);
      this.#acknowledge(from, local.commit);
      return;
    }
    if (local.log.termAt(message.previousIndex) !== message.previousTerm) {
      this.#refuse(from, message);
      return;
    }
    let index = message.previousIndex;
    for (const entry of message.entries) {
      index++;
      const present = local.log.termAt(index);
      if (present === entry.term) continue;
      if (present !== undefined) local.truncateFrom(index);
      local.append(entry);
    }
    local.commitTo(Math.min(message.commitIndex, index));
    this.#acknowledge(from, index);
  }

  #receiveHeartbeat(nowMs: number, from: NodeId, message: Heartbeat): void {
    const local = this.#local;
    if (message.term === local.term && !this.#election.restsSince(message.round)) {
      this.#heardFromLeader(nowMs, from);
      // The leader never sends more than the index up to which this log is known to match.
      local.commitTo(Math.min(message.commitIndex, local.log.lastIndex));
    }
    // The answer tells a leader of an old term about the new term.
    local.sendForTerm(from, {
      type: 'heartbeatReply',
      term: local.term,
      round: message.round,
      promisedMs: this.#options.electionTimeoutMinMs,
    });
  }

  #receiveQuietOffer(nowMs: number, from: NodeId, { term, index, round, epoch }: QuietOffer): void {
    const { log, stability, applied, membership, isTermDurable } = this.#local;
    if (term < this.term) return;
    this.#heardFromLeader(nowMs, from);
    const isDone = log.lastIndex === index && stability.stableIndex === index && applied === index;
    const isBusy = this.#followerReads.count > 0 || membership.lastPendingIndex > applied || !isTermDurable;
    if (!isDone || isBusy) return;
    this.#election.rest(round, epoch);
    this.#local.sendForTerm(from, { type: 'quietReply', term, round, isQuiet: true });
  }

  #receiveSnapshot(nowMs: number, from: NodeId, { term, snapshot }: SnapshotMessage): void {
    const local = this.#local;
    if (term < local.term) return;
    this.#heardFromLeader(nowMs, from);
    const { index } = snapshot;
    if (index > local.commit) {
      // If the log already holds the snapshot's last entry, it only needed to learn the commit index.
      if (local.log.termAt(index) === snapshot.term) local.commitTo(index);
      else {
        local.restore(snapshot);
        this.#configurationChanged = true;
      }
    }
    this.#acknowledge(from, local.commit);
  }

  #receiveReadIndex(nowMs: number, from: NodeId, message: ReadIndexRequest): void {
    if (message.term !== this.term) return;
    this.#leadership?.wake(nowMs);
    if (this.#reads.pendingCount >= this.#options.maxPendingReads) return;
    this.#leadership?.read(nowMs, { from, id: message.id }, 'index');
  }

  #receiveReadIndexReply(message: ReadIndexReply): void {
    if (message.term !== this.term) return;
    const id = this.#followerReads.answered(message.id);
    if (id !== undefined) this.#answers.confirm(id, message.index);
  }

  #heardFromLeader(nowMs: number, from: NodeId): void {
    if (this.role !== 'follower') this.#becomeFollower(nowMs, this.term, from);
    this.#election.heardFromLeader(nowMs, from);
  }

  #acknowledge(to: NodeId, matchIndex: number): void {
    this.#local.sendForEntries(matchIndex, to, {
      type: 'appendReply',
      term: this.term,
      accepted: true,
      matchIndex,
      rejectedIndex: 0,
      hintIndex: 0,
      hintTerm: 0,
    });
  }

  #refuse(to: NodeId, message: AppendMessage): void {
    const hint = this.#local.log.lastNotAfter(message.previousIndex, message.previousTerm);
    this.#local.sendForTerm(to, {
      type: 'appendReply',
      term: this.term,
      accepted: false,
      matchIndex: 0,
      rejectedIndex: message.previousIndex,
      hintIndex: hint.index,
      hintTerm: hint.term,
    });
  }

  // Host

  #read(nowMs: number, id: number, method: ReadMethod): StepResult {
    if (this.#reads.pendingCount + this.#followerReads.count >= this.#options.maxPendingReads) {
      return this.#refused('overloaded');
    }
    if (this.#leadership) this.#leadership.read(nowMs, { from: this.#local.id, id }, method);
    else if (method !== 'follower' || this.leader === NOBODY) return this.#refused('notLeader');
    // The request to the leader could wait for the disk without a time limit.
    else if (!this.#local.isTermDurable) return this.#refused('notLeader');
    else {
      this.#wakeFollower(nowMs, false);
      const wireId = this.#followerReads.add(id, nowMs + this.#options.electionTimeoutMinMs);
      this.#local.sendForTerm(this.leader, { type: 'readIndex', term: this.term, id: wireId });
    }
    return this.#accepted();
  }

  #persisted(nowMs: number, batch: number): void {
    for (const message of this.#local.persisted(batch)) {
      if (message.type === 'voteReply') this.#receiveVoteReply(nowMs, this.#local.id, message);
    }
    this.#leadership?.replication.advanceCommit();
  }

  #appliedThrough(nowMs: number, index: number): void {
    if (this.#local.appliedThrough(index)) {
      this.#configurationChanged = true;
      if (this.#leadership) this.#leadership.configurationApplied(nowMs);
      else if (this.role !== 'follower') this.#tally(nowMs);
    }
    this.#leadership?.leaveJoint();
  }

  #accepted(): Extract<StepResult, { accepted: true }> {
    return { accepted: true, index: this.#local.log.lastIndex, term: this.term };
  }

  #refused(refusal: Refusal): StepResult {
    return { accepted: false, refusal, leader: this.leader };
  }

  /** Into the same memory for each step. */
  #look(view: Writable<RaftView>): void {
    const { id, term, vote, log, stability, commit, applied, applying } = this.#local;
    const replication = this.#leadership?.replication;
    view.id = id;
    view.role = this.role;
    view.term = term;
    view.vote = vote;
    view.leader = this.leader;
    view.baseIndex = log.baseIndex;
    view.lastIndex = log.lastIndex;
    view.stableIndex = stability.stableIndex;
    view.commit = commit;
    view.applied = applied;
    view.applying = applying;
    view.isQuiet = this.quietness !== undefined;
    view.termStart = replication?.termStart ?? 0;
    view.uncommittedBytes = replication?.uncommittedBytes ?? 0;
  }
}
