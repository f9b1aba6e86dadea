/**
 * The consensus core of one group, as a pure machine: no I/O, no clock, no promises.
 *
 *     raft.step(nowMs, input)   takes one input; says at once whether a proposal or a read was accepted
 *     raft.take(nowMs)          gives everything there is to do since the last take
 *
 * The host writes `append`, sends `send`, applies `apply`, and reports back with `persisted` and `applied`; it may
 * take its time with each, and do them at the same time. It calls `take` once after all inputs of a turn, which is
 * what batches proposals, messages and reads.
 *
 * After Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), and Ongaro's
 * dissertation; pre-vote: section 9.6, check-quorum: 6.2, read index: 6.4, the leader's disk write in parallel: 10.2.1.
 *
 * What keeps it safe with a storage that answers late:
 *   - No message of a term leaves before that term and vote are durable here. Votes, vote requests and
 *     acknowledgements are held back in here until `persisted` says so; a leader's term is durable before it leads,
 *     so entries of that term are sent ahead of its own disk.
 *   - The leader's own acknowledgement counts from `persisted`, like everybody's.
 *   - `apply` holds only what is committed and durable here.
 */
import { RaftreeError } from '../env/errors.js';
import {
  applyChange,
  type Configuration,
  type ConfigurationChange,
  isJoint,
  isVoter,
  membersOf,
} from './configuration.js';
import { decodeChange, encodeChange } from './configuration-codec.js';
import { FollowerReads } from './follower-reads.js';
import { checkInvariants, type RaftView } from './invariants.js';
import { LeaderTransfer } from './leader-transfer.js';
import { LogView } from './log-view.js';
import { Membership } from './membership.js';
import { Outbox } from './outbox.js';
import { Progress } from './progress.js';
import { quorumVoteResult, reachedByQuorum } from './quorum.js';
import { type ConfirmedRead, ReadIndex, type ReadRequest } from './read-index.js';
import { Stability } from './stability.js';
import {
  type AppendBatch,
  type AppendMessage,
  type AppendReply,
  type Entry,
  type EntryKind,
  entrySizeBytes,
  type Heartbeat,
  type HeartbeatReply,
  type Input,
  type Message,
  NOBODY,
  type NodeId,
  type OutgoingMessage,
  type Output,
  type PeerStatus,
  type RaftOptions,
  type RaftState,
  type ReadIndexReply,
  type ReadIndexRequest,
  type ReadLevel,
  type Refusal,
  type RequestVote,
  type Role,
  type SnapshotBase,
  type SnapshotMessage,
  type StepResult,
  type TimeoutNow,
  type VoteReply,
} from './types.js';

const NO_BODY = new Uint8Array(0);

export class Raft {
  readonly #options: RaftOptions;
  readonly #id: NodeId;
  readonly #membership: Membership;
  readonly #log: LogView;
  readonly #stability: Stability;
  readonly #outbox = new Outbox();
  readonly #reads = new ReadIndex();
  readonly #followerReads = new FollowerReads();
  readonly #transfer = new LeaderTransfer();

  #term: number;
  #vote: NodeId;
  #commit: number;
  #applied: number;
  #applying: number;
  #role: Role = 'follower';
  #leader: NodeId = NOBODY;
  #allMatchedIndex: number;
  readonly #restartCommit: number;

  #electionDeadlineMs: number;
  #lastLeaderContactMs = Number.NEGATIVE_INFINITY;
  readonly #silentUntilMs: number;
  #heartbeatDueMs = 0;

  #votes = new Map<NodeId, boolean>();
  #progress = new Map<NodeId, Progress>();
  /** Index of the entry that opened this leader's term. */
  #termStart = 0;
  /** A leader that was removed: the change that did it, and the round that told a quorum of the others. */
  #leaving: { readonly index: number; round: number | undefined } | undefined;
  #uncommittedBytes = 0;

  /** Entries to be handed over with the next batch, from `#unsavedFirst` on. */
  #unsaved: Entry[] = [];
  #unsavedFirst = 0;
  #hardStateChanged = false;
  /** A snapshot that replaces the log, to be handed over with the next batch. */
  #snapshot: SnapshotBase | undefined;
  #snapshotsNeeded: NodeId[] = [];
  #configurationChanged = true;
  #confirmedReads: { id: number; index: number }[] = [];
  #failedReads: number[] = [];
  #statusChanged = true;
  #heartbeatNeeded = false;

  constructor(options: RaftOptions, state: RaftState, nowMs: number) {
    this.#options = options;
    this.#id = options.id;
    this.#membership = new Membership(state.base.configuration);
    this.#log = new LogView(state.base);
    for (const entry of state.entries) {
      this.#log.append(entry.term, entry.sizeBytes);
      if (entry.change) this.#membership.appended(this.#log.lastIndex, entry.change);
    }
    this.#membership.applied(state.applied);
    this.#stability = new Stability(this.#log.lastIndex);
    this.#term = state.hardState.term;
    this.#vote = state.hardState.vote;
    this.#applied = state.applied;
    this.#applying = state.applied;
    this.#commit = Math.max(state.hardState.commit, state.applied);
    this.#restartCommit = this.#commit;
    this.#allMatchedIndex = state.base.index;
    if (this.#commit > this.#log.lastIndex || this.#applied < this.#log.baseIndex) {
      throw new RaftreeError(
        'CORRUPTION',
        `the log holds entries ${this.#log.baseIndex + 1} to ${this.#log.lastIndex}, but ${this.#commit} are known to be committed and ${this.#applied} applied`,
      );
    }
    const { voters, outgoing } = this.configuration;
    const alone = voters.length === 1 && outgoing.length === 0 && voters[0] === options.id;
    this.#silentUntilMs = state.restarted && !alone ? nowMs + options.electionTimeoutMaxMs : nowMs;
    this.#electionDeadlineMs = alone ? nowMs : this.#silentUntilMs + this.#randomTimeoutMs();
  }

  /** In force: of everything that is applied. */
  get configuration(): Configuration {
    return this.#membership.configuration;
  }

  get term(): number {
    return this.#term;
  }

  get role(): Role {
    return this.#role;
  }

  get leader(): NodeId {
    return this.#leader;
  }

  get commitIndex(): number {
    return this.#commit;
  }

  get appliedIndex(): number {
    return this.#applied;
  }

  get lastIndex(): number {
    return this.#log.lastIndex;
  }

  get stableIndex(): number {
    return this.#stability.stableIndex;
  }

  get vote(): NodeId {
    return this.#vote;
  }

  /** The term of an entry; undefined outside the log. */
  termAt(index: number): number | undefined {
    return this.#log.termAt(index);
  }

  /** Of a leader: what it knows of the others. */
  peers(): PeerStatus[] {
    return [...this.#progress.values()].map((progress) => ({
      id: progress.id,
      matchIndex: progress.match,
      nextIndex: progress.next,
      state: progress.state,
      isPaused: !progress.canSend(),
      inflightMessages: progress.inflightMessages,
      lastHeardMs: progress.lastHeardMs,
    }));
  }

  /**
   * Takes one input. Only proposals and reads can be refused.
   * Throws `RAFT_INVARIANT` if the state is or has become one that must not be: the host must stop this replica.
   */
  step(nowMs: number, input: Input): StepResult {
    const before = this.#view();
    const result = this.#step(nowMs, input);
    checkInvariants(before, this.#view());
    return result;
  }

  /** Everything there is to do now, or undefined. */
  take(nowMs: number): Output | undefined {
    if (this.#role === 'leader') this.#replicate(nowMs);
    const append = this.#takeBatch(nowMs);
    const apply = this.#takeApply();
    const idle =
      !append &&
      !apply &&
      !this.#statusChanged &&
      !this.#configurationChanged &&
      this.#outbox.isEmpty &&
      this.#snapshotsNeeded.length === 0 &&
      this.#confirmedReads.length === 0 &&
      this.#failedReads.length === 0;
    if (idle) return undefined;
    const output: Output = {
      append,
      apply,
      send: this.#outbox.take(),
      reads: this.#confirmedReads,
      failedReads: this.#failedReads,
      status: this.#statusChanged ? { role: this.#role, term: this.#term, leader: this.#leader } : undefined,
      allMatchedIndex: this.#allMatchedIndex,
      snapshotsNeeded: this.#snapshotsNeeded,
      configuration: this.#configurationChanged ? this.configuration : undefined,
    };
    this.#confirmedReads = [];
    this.#failedReads = [];
    this.#snapshotsNeeded = [];
    this.#statusChanged = false;
    this.#configurationChanged = false;
    return output;
  }

  #step(nowMs: number, input: Input): StepResult {
    switch (input.type) {
      case 'tick':
        this.#tick(nowMs);
        break;
      case 'message':
        this.#receive(nowMs, input.from, input.message);
        break;
      case 'propose':
        return this.#propose(input.bodies);
      case 'changeConfiguration':
        return this.#changeConfiguration(input.change);
      case 'transfer':
        return this.#beginTransfer(nowMs, input.to);
      case 'read':
        return this.#read(nowMs, input.id, input.level);
      case 'persisted':
        this.#persisted(nowMs, input.batch);
        break;
      case 'applied':
        this.#appliedThrough(nowMs, input.index);
        break;
      case 'compacted':
        this.#log.compactTo(input.index);
        break;
      case 'unreachable': {
        const progress = this.#progress.get(input.node);
        if (progress?.state === 'probe') progress.awaitsAnswer = false;
        else progress?.probe();
        break;
      }
      case 'snapshotSent': {
        const progress = this.#progress.get(input.node);
        if (progress?.state !== 'snapshot') break;
        // Its own answer may be lost, so the log is tried from there; or another snapshot is needed.
        progress.probe();
        if (input.ok) progress.next = Math.max(progress.next, input.index + 1);
        break;
      }
    }
    return this.#accepted();
  }

  // Time

  #tick(nowMs: number): void {
    this.#failedReads.push(...this.#followerReads.overdue(nowMs));
    if (this.#role === 'leader') this.#tickLeader(nowMs);
    else if (nowMs >= this.#electionDeadlineMs) this.#campaign(nowMs);
  }

  #tickLeader(nowMs: number): void {
    const limitMs = this.#options.electionTimeoutMinMs;
    const quorumHeardMs = reachedByQuorum(this.configuration, (voter) =>
      voter === this.#id ? nowMs : (this.#progress.get(voter)?.lastHeardMs ?? Number.NEGATIVE_INFINITY),
    );
    // Check-quorum; and a leader whose disk hangs steps down, though its heartbeats would still go out.
    const diskHangs =
      this.#progress.size > 0 && this.#stability.oldestAgeMs(nowMs) > 2 * this.#options.electionTimeoutMaxMs;
    if (nowMs - quorumHeardMs > limitMs || diskHangs) {
      this.#becomeFollower(nowMs, this.#term, NOBODY);
      return;
    }
    if (this.#transfer.isOverdue(nowMs)) this.#transfer.giveUp();
    for (const progress of this.#progress.values()) {
      if (progress.hasInflight && nowMs - progress.movedMs > limitMs) progress.probe();
    }
    if (nowMs >= this.#heartbeatDueMs) {
      this.#heartbeatNeeded = true;
      return;
    }
    // Followers learn of a commit with the next entries, or within a tick.
    for (const progress of this.#progress.values()) {
      if (progress.toldCommit < Math.min(this.#commit, progress.match)) {
        this.#sendHeartbeat(progress, this.#reads.round);
      }
    }
  }

  #mayCampaign(nowMs: number): boolean {
    return (
      isVoter(this.configuration, this.#id) &&
      nowMs >= this.#silentUntilMs &&
      // What was committed before the restart, or since, may hold a change of membership.
      this.#applied >= this.#restartCommit &&
      !this.#membership.hasPending(this.#applied, this.#commit)
    );
  }

  #campaign(nowMs: number): void {
    this.#electionDeadlineMs = nowMs + this.#randomTimeoutMs();
    if (!this.#mayCampaign(nowMs)) return;
    // A pre-candidate has given up its leader, or it would refuse the others' pre-votes on its behalf.
    this.#setLeader(NOBODY);
    this.#setRole('preCandidate');
    this.#votes = new Map([[this.#id, true]]);
    this.#requestVotes(true, this.#term + 1, false);
    this.#tally(nowMs);
  }

  #becomeCandidate(nowMs: number, force: boolean): void {
    this.#setTerm(this.#term + 1);
    this.#vote = this.#id;
    this.#setRole('candidate');
    this.#votes = new Map();
    this.#electionDeadlineMs = nowMs + this.#randomTimeoutMs();
    this.#requestVotes(false, this.#term, force);
    // Its own vote counts once it is durable, like everybody's.
    this.#sendForTerm(this.#id, { type: 'voteReply', term: this.#term, preVote: false, granted: true });
  }

  #requestVotes(preVote: boolean, term: number, force: boolean): void {
    const { voters, outgoing } = this.configuration;
    for (const voter of new Set([...voters, ...outgoing])) {
      if (voter === this.#id) continue;
      this.#sendForTerm(voter, {
        type: 'requestVote',
        term,
        preVote,
        force,
        lastIndex: this.#log.lastIndex,
        lastTerm: this.#log.lastTerm,
      });
    }
  }

  #tally(nowMs: number): void {
    const result = quorumVoteResult(this.configuration, this.#votes);
    if (result === 'lost') this.#becomeFollower(nowMs, this.#term, NOBODY);
    else if (result === 'won' && this.#role === 'preCandidate') this.#becomeCandidate(nowMs, false);
    else if (result === 'won' && this.#role === 'candidate') this.#becomeLeader(nowMs);
  }

  #becomeLeader(nowMs: number): void {
    this.#setRole('leader');
    this.#leader = this.#id;
    this.#progress = new Map();
    this.#leaving = undefined;
    this.#followMembers(nowMs);
    this.#uncommittedBytes = 0;
    this.#heartbeatDueMs = nowMs + this.#options.heartbeatMs;
    this.#termStart = this.#log.lastIndex + 1;
    this.#appendOwn('noop', NO_BODY);
  }

  /** Replicates to exactly the members of the configuration. */
  #followMembers(nowMs: number): void {
    const members = membersOf(this.configuration);
    for (const id of [...this.#progress.keys()]) if (!members.includes(id)) this.#progress.delete(id);
    for (const id of members) {
      if (id === this.#id || this.#progress.has(id)) continue;
      this.#progress.set(id, new Progress(id, this.#log.lastIndex + 1, nowMs, this.#options));
    }
  }

  #becomeFollower(nowMs: number, term: number, leader: NodeId): void {
    if (term > this.#term) {
      this.#setTerm(term);
      this.#vote = NOBODY;
    }
    if (this.#role === 'leader') {
      for (const read of this.#reads.fail()) if (read.from === this.#id) this.#failedReads.push(read.id);
      this.#transfer.reset();
      this.#leaving = undefined;
      this.#progress = new Map();
    }
    this.#votes = new Map();
    this.#setRole('follower');
    this.#setLeader(leader);
    this.#electionDeadlineMs = nowMs + this.#randomTimeoutMs();
  }

  // Messages

  #receive(nowMs: number, from: NodeId, message: Message): void {
    // Members that this node has not heard of yet are listened to: a voter's configuration may be behind (etcd's
    // campaign_learner_must_vote). Who may speak at all the host decides.
    if (message.type === 'requestVote') {
      this.#receiveRequestVote(nowMs, from, message);
      return;
    }
    const grantedPreVote = message.type === 'voteReply' && message.preVote && message.granted;
    if (message.term > this.#term && !grantedPreVote) {
      const leads = message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot';
      this.#becomeFollower(nowMs, message.term, leads ? from : NOBODY);
    }
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
        this.#receiveAppendReply(nowMs, from, message);
        break;
      case 'heartbeatReply':
        this.#receiveHeartbeatReply(nowMs, from, message);
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
    if (nowMs < this.#silentUntilMs) return;
    // Whoever hears from a leader helps nobody to depose it (dissertation, section 4.2.3).
    const hasLeader =
      this.#role === 'leader' ||
      (this.#leader !== NOBODY && nowMs - this.#lastLeaderContactMs < this.#options.electionTimeoutMinMs);
    if (message.term > this.#term && hasLeader && !message.force) return;
    if (message.term > this.#term && !message.preVote) this.#becomeFollower(nowMs, message.term, NOBODY);
    const upToDate = this.#log.isUpToDate(message.lastIndex, message.lastTerm, this.#lastVouchedFor());
    const free = message.preVote
      ? message.term > this.#term
      : message.term === this.#term &&
        (this.#vote === from || (this.#vote === NOBODY && this.#leader === NOBODY));
    const granted = free && upToDate;
    if (granted && !message.preVote) {
      if (this.#vote !== from) {
        this.#vote = from;
        this.#stability.termChanged();
        this.#hardStateChanged = true;
      }
      this.#electionDeadlineMs = nowMs + this.#randomTimeoutMs();
    }
    this.#sendForTerm(from, {
      type: 'voteReply',
      // A granted pre-vote speaks of the term it was asked for; a refusal tells what the asker may not know.
      term: granted ? message.term : this.#term,
      preVote: message.preVote,
      granted,
    });
  }

  /**
   * Up to where a candidate's log must be as complete as this one. What a voter holds may have been committed with its
   * help. A node that was removed, and that no change in its log makes a voter again, helped to commit only what it knows
   * to be committed: its leftovers must not keep the others, who may still need its vote, from electing one of themselves.
   */
  #lastVouchedFor(): number {
    return this.#membership.mayBeVoter(this.#id) ? this.#log.lastIndex : this.#commit;
  }

  #receiveVoteReply(nowMs: number, from: NodeId, message: VoteReply): void {
    if (message.preVote) {
      if (this.#role !== 'preCandidate') return;
      if (message.granted && message.term !== this.#term + 1) return;
    } else if (this.#role !== 'candidate' || message.term !== this.#term) return;
    if (!this.#votes.has(from)) this.#votes.set(from, message.granted);
    this.#tally(nowMs);
  }

  #receiveAppend(nowMs: number, from: NodeId, message: AppendMessage): void {
    if (message.term < this.#term) {
      this.#refuse(from, message);
      return;
    }
    this.#heardFromLeader(nowMs, from);
    this.#allMatchedIndex = Math.max(this.#allMatchedIndex, message.allMatchedIndex);
    if (message.previousIndex < this.#commit) {
      this.#acknowledge(from, this.#commit);
      return;
    }
    if (this.#log.termAt(message.previousIndex) !== message.previousTerm) {
      this.#refuse(from, message);
      return;
    }
    let index = message.previousIndex;
    for (const entry of message.entries) {
      index++;
      const present = this.#log.termAt(index);
      if (present === entry.term) continue;
      if (present !== undefined) this.#truncateFrom(index);
      this.#appendEntry(entry);
    }
    this.#commitTo(Math.min(message.commitIndex, index));
    this.#acknowledge(from, index);
  }

  #receiveHeartbeat(nowMs: number, from: NodeId, message: Heartbeat): void {
    if (message.term === this.#term) {
      this.#heardFromLeader(nowMs, from);
      // The leader never names more than what this log is known to match.
      this.#commitTo(Math.min(message.commitIndex, this.#log.lastIndex));
    }
    // An old leader learns of the new term from the answer.
    this.#sendForTerm(from, { type: 'heartbeatReply', term: this.#term, round: message.round });
  }

  #receiveAppendReply(nowMs: number, from: NodeId, message: AppendReply): void {
    const progress = this.#heardFromFollower(nowMs, from, message.term);
    if (!progress) return;
    if (message.accepted) {
      if (message.matchIndex > this.#log.lastIndex) return;
      // A snapshot, or whatever else, brought it to where this log can help again; where that is, this answer says.
      const matched = Math.max(progress.match, message.matchIndex);
      if (progress.state === 'snapshot' && this.#log.termAt(matched) !== undefined) progress.probe();
      progress.accepted(message.matchIndex, nowMs);
      this.#advanceCommit();
      if (from === this.#transfer.target) this.#offerLeadership();
      return;
    }
    const agreed = this.#log.lastNotAfter(message.hintIndex, message.hintTerm);
    progress.refused(message.rejectedIndex, Math.max(agreed.index, this.#log.baseIndex) + 1);
  }

  #receiveHeartbeatReply(nowMs: number, from: NodeId, message: HeartbeatReply): void {
    const progress = this.#heardFromFollower(nowMs, from, message.term);
    if (!progress) return;
    // It is there: a probe whose answer was lost may be sent again.
    if (progress.state === 'probe') progress.awaitsAnswer = false;
    progress.answeredRound = Math.max(progress.answeredRound, message.round);
    this.#confirmReads();
    // It may have been told before it had applied a change of membership, and refused.
    if (from === this.#transfer.target) this.#offerLeadership();
    const told = this.#leaving?.round;
    if (told !== undefined && this.#answeredByQuorum() >= told) this.#leave(nowMs);
  }

  #receiveSnapshot(nowMs: number, from: NodeId, message: SnapshotMessage): void {
    if (message.term < this.#term) return;
    this.#heardFromLeader(nowMs, from);
    const { index, term, configuration } = message.snapshot;
    if (index <= this.#commit) {
      this.#acknowledge(from, this.#commit);
      return;
    }
    if (this.#log.termAt(index) === term) {
      // The log holds all of it: it only needed to know that it is committed.
      this.#commitTo(index);
      this.#acknowledge(from, index);
      return;
    }
    this.#log.reset({ index, term });
    this.#stability.restored(index);
    this.#membership.restored(configuration);
    this.#configurationChanged = true;
    this.#unsaved = [];
    this.#snapshot = message.snapshot;
    this.#commit = index;
    this.#applying = index;
    this.#acknowledge(from, index);
  }

  #receiveTimeoutNow(nowMs: number, message: TimeoutNow): void {
    if (message.term !== this.#term || this.#role !== 'follower' || !this.#mayCampaign(nowMs)) return;
    this.#becomeCandidate(nowMs, true);
  }

  #receiveReadIndex(nowMs: number, from: NodeId, message: ReadIndexRequest): void {
    if (this.#role !== 'leader' || message.term !== this.#term) return;
    if (this.#reads.pendingCount >= this.#options.maxPendingReads) return;
    this.#serveRead(nowMs, { from, id: message.id }, 'index');
  }

  #receiveReadIndexReply(message: ReadIndexReply): void {
    if (message.term !== this.#term || !this.#followerReads.answered(message.id)) return;
    this.#confirmedReads.push({ id: message.id, index: message.index });
  }

  #heardFromLeader(nowMs: number, from: NodeId): void {
    if (this.#role !== 'follower') this.#becomeFollower(nowMs, this.#term, from);
    this.#setLeader(from);
    this.#lastLeaderContactMs = nowMs;
    this.#electionDeadlineMs = nowMs + this.#randomTimeoutMs();
  }

  #heardFromFollower(nowMs: number, from: NodeId, term: number): Progress | undefined {
    if (this.#role !== 'leader' || term !== this.#term) return undefined;
    const progress = this.#progress.get(from);
    if (progress) progress.lastHeardMs = nowMs;
    return progress;
  }

  #acknowledge(to: NodeId, matchIndex: number): void {
    const message: AppendReply = {
      type: 'appendReply',
      term: this.#term,
      accepted: true,
      matchIndex,
      rejectedIndex: 0,
      hintIndex: 0,
      hintTerm: 0,
    };
    if (matchIndex <= this.#stability.stableIndex) this.#sendForTerm(to, message);
    else this.#outbox.sendAfter(this.#stability.batchFor(this.#hasUnsaved()), to, message);
  }

  #refuse(to: NodeId, message: AppendMessage): void {
    const hint = this.#log.lastNotAfter(message.previousIndex, message.previousTerm);
    this.#sendForTerm(to, {
      type: 'appendReply',
      term: this.#term,
      accepted: false,
      matchIndex: 0,
      rejectedIndex: message.previousIndex,
      hintIndex: hint.index,
      hintTerm: hint.term,
    });
  }

  // The log

  #propose(bodies: readonly Uint8Array[]): StepResult {
    if (this.#role !== 'leader') return this.#refused('notLeader');
    if (this.#transfer.target !== undefined || this.#leaving) return this.#refused('transferring');
    let sizeBytes = 0;
    for (const body of bodies) {
      if (body.length > this.#options.maxEntryBytes) return this.#refused('tooLarge');
      sizeBytes += body.length;
    }
    if (
      this.#uncommittedBytes > 0 &&
      this.#uncommittedBytes + sizeBytes > this.#options.maxUncommittedBytes
    ) {
      return this.#refused('overloaded');
    }
    const index = this.#log.lastIndex + 1;
    for (const body of bodies) this.#appendOwn('command', body);
    return { accepted: true, index, term: this.#term };
  }

  #changeConfiguration(change: ConfigurationChange): StepResult {
    if (this.#role !== 'leader') return this.#refused('notLeader');
    if (this.#transfer.target !== undefined || this.#leaving) return this.#refused('transferring');
    // Nothing committed in this term yet: an earlier leader's change might still come to light (raft-dev, 2015).
    const pending = this.#membership.lastPendingIndex > this.#applied || this.#applied < this.#termStart;
    if (pending) return this.#refused('changePending');
    try {
      applyChange(this.configuration, change);
    } catch {
      return this.#refused('changeInvalid');
    }
    this.#appendOwn('configuration', encodeChange(change));
    return { accepted: true, index: this.#log.lastIndex, term: this.#term };
  }

  #beginTransfer(nowMs: number, to: NodeId): StepResult {
    if (this.#role !== 'leader') return this.#refused('notLeader');
    if (to === this.#id) return this.#accepted();
    if (!this.#progress.has(to) || !isVoter(this.configuration, to)) return this.#refused('changeInvalid');
    if (this.#transfer.target !== undefined && this.#transfer.target !== to)
      return this.#refused('transferring');
    this.#transfer.begin(to, nowMs + this.#options.electionTimeoutMinMs);
    this.#offerLeadership();
    return this.#accepted();
  }

  /** As soon as the chosen one holds the whole log. */
  #offerLeadership(): void {
    const { target } = this.#transfer;
    if (target === undefined || this.#progress.get(target)?.match !== this.#log.lastIndex) return;
    this.#outbox.send(target, { type: 'timeoutNow', term: this.#term });
  }

  #read(nowMs: number, id: number, level: ReadLevel): StepResult {
    if (this.#reads.pendingCount + this.#followerReads.count >= this.#options.maxPendingReads) {
      return this.#refused('overloaded');
    }
    if (this.#role === 'leader') this.#serveRead(nowMs, { from: this.#id, id }, level);
    else if (level !== 'follower' || this.#leader === NOBODY) return this.#refused('notLeader');
    else {
      this.#followerReads.add(id, nowMs + this.#options.electionTimeoutMinMs);
      this.#sendForTerm(this.#leader, { type: 'readIndex', term: this.#term, id });
    }
    return this.#accepted();
  }

  #serveRead(nowMs: number, request: ReadRequest, level: ReadLevel): void {
    if (level === 'lease' && this.#hasLease(nowMs)) this.#answerRead({ ...request, index: this.#commit });
    else this.#reads.add(request);
  }

  #hasLease(nowMs: number): boolean {
    const { electionTimeoutMinMs, maxClockDrift } = this.#options;
    return (
      this.#commit >= this.#termStart &&
      !this.#transfer.attempted &&
      nowMs < this.#reads.quorumSentMs + electionTimeoutMinMs * (1 - maxClockDrift)
    );
  }

  #answerRead({ from, id, index }: ConfirmedRead): void {
    if (from === this.#id) this.#confirmedReads.push({ id, index });
    else this.#outbox.send(from, { type: 'readIndexReply', term: this.#term, id, index });
  }

  #appendOwn(kind: EntryKind, body: Uint8Array): void {
    const entry = { term: this.#term, kind, body };
    this.#uncommittedBytes += entrySizeBytes(entry);
    this.#appendEntry(entry);
  }

  #appendEntry(entry: Entry): void {
    this.#log.append(entry.term, entrySizeBytes(entry));
    if (this.#unsaved.length === 0) this.#unsavedFirst = this.#log.lastIndex;
    this.#unsaved.push(entry);
    if (entry.kind === 'configuration') {
      this.#membership.appended(this.#log.lastIndex, decodeChange(entry.body));
    }
  }

  #truncateFrom(index: number): void {
    if (index <= this.#commit) {
      throw new RaftreeError(
        'RAFT_INVARIANT',
        `node ${this.#id} was told to replace entry ${index}, but ${this.#commit} entries are committed`,
        { info: { ...this.#view() } },
      );
    }
    this.#log.truncateFrom(index);
    this.#stability.truncated(index);
    this.#membership.truncatedFrom(index);
    this.#unsaved.length = Math.max(0, Math.min(this.#unsaved.length, index - this.#unsavedFirst));
  }

  #persisted(nowMs: number, batch: number): void {
    this.#stability.persisted(batch);
    for (const message of this.#outbox.persisted(this.#stability.persistedBatch, this.#id)) {
      if (message.type === 'voteReply') this.#receiveVoteReply(nowMs, this.#id, message);
    }
    if (this.#role === 'leader') this.#advanceCommit();
  }

  #advanceCommit(): void {
    const reached = reachedByQuorum(this.configuration, (voter) =>
      voter === this.#id ? this.#stability.stableIndex : (this.#progress.get(voter)?.match ?? 0),
    );
    // Only an entry of the own term commits by counting (Raft, section 5.4.2).
    if (reached > this.#commit && this.#log.termAt(reached) === this.#term) {
      for (let index = Math.max(this.#commit + 1, this.#termStart); index <= reached; index++) {
        this.#uncommittedBytes -= this.#log.sizeAt(index);
      }
      this.#commit = reached;
    }
    let allMatched = this.#stability.stableIndex;
    for (const progress of this.#progress.values()) allMatched = Math.min(allMatched, progress.match);
    this.#allMatchedIndex = Math.max(this.#allMatchedIndex, Math.min(allMatched, this.#commit));
  }

  #appliedThrough(nowMs: number, index: number): void {
    this.#applied = Math.max(this.#applied, index);
    if (this.#membership.applied(this.#applied)) {
      this.#configurationChanged = true;
      if (this.#role === 'leader') this.#configurationApplied(nowMs);
      else if (this.#role !== 'follower') this.#tally(nowMs);
    }
    const { configuration } = this;
    const mayLeave = this.#role === 'leader' && isJoint(configuration) && configuration.autoLeave;
    if (mayLeave && this.#membership.lastPendingIndex <= this.#applied && this.#applied >= this.#termStart) {
      this.#appendOwn('configuration', encodeChange({ changes: [], transition: 'auto' }));
    }
  }

  #configurationApplied(nowMs: number): void {
    this.#followMembers(nowMs);
    const { target } = this.#transfer;
    if (target !== undefined && !isVoter(this.configuration, target)) this.#transfer.giveUp();
    if (isVoter(this.configuration, this.#id)) {
      // Another quorum may have reached more.
      this.#advanceCommit();
      return;
    }
    // It leads on until the others know that it need not: without its vote they could not find out by themselves.
    this.#leaving ??= { index: this.#applied, round: undefined };
    this.#heartbeatNeeded = true;
  }

  /** The others have been told: one of them takes over at once. */
  #leave(nowMs: number): void {
    let best: Progress | undefined;
    for (const progress of this.#progress.values()) {
      if (isVoter(this.configuration, progress.id) && progress.match > (best?.match ?? -1)) best = progress;
    }
    if (best) this.#outbox.send(best.id, { type: 'timeoutNow', term: this.#term });
    this.#becomeFollower(nowMs, this.#term, NOBODY);
  }

  #commitTo(index: number): void {
    this.#commit = Math.max(this.#commit, index);
  }

  #takeBatch(nowMs: number): AppendBatch | undefined {
    if (!this.#hasUnsaved()) return undefined;
    const entries = this.#unsaved;
    const snapshot = this.#snapshot;
    const first = entries.length > 0 ? this.#unsavedFirst : (snapshot?.index ?? 0);
    this.#unsaved = [];
    this.#snapshot = undefined;
    this.#hardStateChanged = false;
    // The snapshot counts as its last entry.
    const carriedFirst = snapshot ? snapshot.index : first;
    const carried = entries.length + (snapshot ? 1 : 0);
    const batch = this.#stability.issue(carriedFirst, carried, nowMs);
    return {
      batch,
      // Never beyond the entries of this batch and those before it, so what is durable covers its own commit index.
      hardState: { term: this.#term, vote: this.#vote, commit: this.#commit },
      first,
      entries,
      snapshot,
    };
  }

  #takeApply(): { first: number; last: number } | undefined {
    if (this.#applying > this.#applied) return undefined;
    const available = Math.min(this.#commit, this.#stability.stableIndex);
    if (available <= this.#applied) return undefined;
    const first = this.#applied + 1;
    const { last } = this.#log.lastWithin(first, available, this.#options.maxApplyBytes);
    this.#applying = last;
    return { first, last };
  }

  // Replication

  #replicate(nowMs: number): void {
    if (this.#reads.hasArrived && this.#commit >= this.#termStart) {
      const round = this.#reads.beginRound(nowMs, this.#commit);
      for (const progress of this.#progress.values()) this.#sendHeartbeat(progress, round);
      this.#confirmReads();
    }
    if (this.#heartbeatNeeded) {
      this.#heartbeatNeeded = false;
      this.#heartbeatDueMs = nowMs + this.#options.heartbeatMs;
      const round = this.#reads.nextRound(nowMs);
      for (const progress of this.#progress.values()) this.#sendHeartbeat(progress, round);
      this.#confirmReads();
      const { index } = this.#leaving ?? { index: Number.POSITIVE_INFINITY };
      const matched = reachedByQuorum(this.configuration, (voter) => this.#progress.get(voter)?.match ?? 0);
      // A heartbeat names no more than what its receiver is known to hold.
      if (this.#leaving && this.#leaving.round === undefined && matched >= index) this.#leaving.round = round;
    }
    for (const progress of this.#progress.values()) this.#sendEntries(progress, nowMs);
  }

  #sendEntries(progress: Progress, nowMs: number): void {
    // A probe goes out even without entries: it is how `match` is found.
    while (progress.canSend() && (progress.next <= this.#log.lastIndex || progress.state === 'probe')) {
      const first = progress.next;
      const previousIndex = first - 1;
      const previousTerm = this.#log.termAt(previousIndex);
      if (previousTerm === undefined) {
        this.#needSnapshot(progress, nowMs);
        return;
      }
      const { last, sizeBytes } =
        first <= this.#log.lastIndex
          ? this.#log.lastWithin(first, this.#log.lastIndex, this.#options.maxAppendBytes)
          : { last: previousIndex, sizeBytes: 0 };
      this.#outbox.send(progress.id, {
        type: 'append',
        term: this.#term,
        previousIndex,
        previousTerm,
        commitIndex: this.#commit,
        allMatchedIndex: this.#allMatchedIndex,
        first,
        last,
      });
      progress.toldCommit = Math.max(progress.toldCommit, Math.min(this.#commit, last));
      progress.sent(last, sizeBytes, nowMs);
    }
  }

  /** The entries that it needs are gone from this log. Nobody makes a snapshot for a member that is away. */
  #needSnapshot(progress: Progress, nowMs: number): void {
    if (nowMs - progress.lastHeardMs > this.#options.electionTimeoutMinMs) return;
    progress.needSnapshot();
    this.#snapshotsNeeded.push(progress.id);
  }

  #sendHeartbeat(progress: Progress, round: number): void {
    const commitIndex = Math.min(this.#commit, progress.match);
    progress.toldCommit = Math.max(progress.toldCommit, commitIndex);
    this.#outbox.send(progress.id, { type: 'heartbeat', term: this.#term, commitIndex, round });
  }

  #confirmReads(): void {
    for (const read of this.#reads.confirmed(this.#answeredByQuorum())) this.#answerRead(read);
  }

  /** The newest round that a quorum has answered. */
  #answeredByQuorum(): number {
    return reachedByQuorum(this.configuration, (voter) =>
      voter === this.#id ? this.#reads.round : (this.#progress.get(voter)?.answeredRound ?? 0),
    );
  }

  /** Sends once the present term and vote are durable. */
  #sendForTerm(to: NodeId, message: OutgoingMessage): void {
    this.#outbox.sendAfter(this.#stability.termBatch, to, message);
  }

  #hasUnsaved(): boolean {
    return this.#hardStateChanged || this.#unsaved.length > 0 || this.#snapshot !== undefined;
  }

  // Small changes of state

  #setTerm(term: number): void {
    this.#term = term;
    this.#leader = NOBODY;
    this.#hardStateChanged = true;
    this.#statusChanged = true;
    this.#stability.termChanged();
    this.#outbox.dropHeld();
    this.#transfer.reset();
    this.#failedReads.push(...this.#followerReads.fail());
  }

  #setRole(role: Role): void {
    if (this.#role !== role) this.#statusChanged = true;
    this.#role = role;
  }

  #setLeader(leader: NodeId): void {
    if (this.#leader !== leader) this.#statusChanged = true;
    this.#leader = leader;
  }

  #randomTimeoutMs(): number {
    const { electionTimeoutMinMs: min, electionTimeoutMaxMs: max, random } = this.#options;
    return min + random() * (max - min);
  }

  #accepted(): StepResult {
    return { accepted: true, index: this.#log.lastIndex, term: this.#term };
  }

  #refused(refusal: Refusal): StepResult {
    return { accepted: false, refusal, leader: this.#leader };
  }

  #view(): RaftView {
    return {
      id: this.#id,
      role: this.#role,
      term: this.#term,
      vote: this.#vote,
      leader: this.#leader,
      baseIndex: this.#log.baseIndex,
      lastIndex: this.#log.lastIndex,
      stableIndex: this.#stability.stableIndex,
      commit: this.#commit,
      applied: this.#applied,
      applying: this.#applying,
      termStart: this.#termStart,
      uncommittedBytes: this.#uncommittedBytes,
    };
  }
}
