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
import { checkInvariants, type RaftView } from './invariants.js';
import { LogView } from './log-view.js';
import { Progress } from './progress.js';
import { reachedByMajority, voteResult } from './quorum.js';
import { ReadIndex } from './read-index.js';
import { Stability } from './stability.js';
import {
  type AppendBatch,
  type AppendMessage,
  type AppendReply,
  type Entry,
  type EntryKind,
  type Envelope,
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
  type RequestVote,
  type Role,
  type StepResult,
  type VoteReply,
} from './types.js';

interface HeldMessage extends Envelope {
  /** Leaves when this batch is persisted. */
  readonly batch: number;
}

const NO_BODY = new Uint8Array(0);

export class Raft {
  readonly #options: RaftOptions;
  readonly #id: NodeId;
  readonly #voters: readonly NodeId[];
  readonly #log: LogView;
  readonly #stability: Stability;
  readonly #reads = new ReadIndex();

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
  #uncommittedBytes = 0;

  /** Entries to be handed over with the next batch, from `#unsavedFirst` on. */
  #unsaved: Entry[] = [];
  #unsavedFirst = 0;
  #hardStateChanged = false;
  #ready: Envelope[] = [];
  #held: HeldMessage[] = [];
  #confirmedReads: { id: number; index: number }[] = [];
  #failedReads: number[] = [];
  #statusChanged = true;
  #heartbeatNeeded = false;

  constructor(options: RaftOptions, state: RaftState, nowMs: number) {
    this.#options = options;
    this.#id = options.id;
    this.#voters = options.configuration.voters;
    this.#log = new LogView(state.base);
    for (const entry of state.entries) this.#log.append(entry.term, entry.sizeBytes);
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
    const alone = this.#voters.length === 1;
    this.#silentUntilMs = state.restarted && !alone ? nowMs + options.electionTimeoutMaxMs : nowMs;
    this.#electionDeadlineMs = alone ? nowMs : this.#silentUntilMs + this.#randomTimeoutMs();
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

  /** Of a leader: what it knows of the others. */
  peers(): PeerStatus[] {
    return [...this.#progress.values()].map((progress) => ({
      id: progress.id,
      matchIndex: progress.match,
      nextIndex: progress.next,
      state: progress.state,
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
    const output: Output = {
      append,
      apply,
      send: this.#ready,
      reads: this.#confirmedReads,
      failedReads: this.#failedReads,
      status: this.#statusChanged ? { role: this.#role, term: this.#term, leader: this.#leader } : undefined,
      allMatchedIndex: this.#allMatchedIndex,
    };
    const idle =
      !append &&
      !apply &&
      !this.#statusChanged &&
      this.#ready.length === 0 &&
      this.#confirmedReads.length === 0 &&
      this.#failedReads.length === 0;
    if (idle) return undefined;
    this.#ready = [];
    this.#confirmedReads = [];
    this.#failedReads = [];
    this.#statusChanged = false;
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
      case 'read':
        return this.#read(input.id);
      case 'persisted':
        this.#persisted(nowMs, input.batch);
        break;
      case 'applied':
        this.#applied = Math.max(this.#applied, input.index);
        break;
      case 'compacted':
        this.#log.compactTo(input.index);
        break;
      case 'unreachable': {
        const progress = this.#progress.get(input.node);
        if (progress?.state === 'replicate') progress.probe();
        else if (progress) progress.awaitsAnswer = false;
        break;
      }
    }
    return this.#accepted();
  }

  // Time

  #tick(nowMs: number): void {
    if (this.#role === 'leader') this.#tickLeader(nowMs);
    else if (nowMs >= this.#electionDeadlineMs) this.#campaign(nowMs);
  }

  #tickLeader(nowMs: number): void {
    const limitMs = this.#options.electionTimeoutMinMs;
    const quorumHeardMs = reachedByMajority(this.#voters, (voter) =>
      voter === this.#id ? nowMs : (this.#progress.get(voter)?.lastHeardMs ?? Number.NEGATIVE_INFINITY),
    );
    // Check-quorum; and a leader whose disk hangs steps down, though its heartbeats would still go out.
    const diskHangs =
      this.#voters.length > 1 && this.#stability.oldestAgeMs(nowMs) > 2 * this.#options.electionTimeoutMaxMs;
    if (nowMs - quorumHeardMs > limitMs || diskHangs) {
      this.#becomeFollower(nowMs, this.#term, NOBODY);
      return;
    }
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

  #campaign(nowMs: number): void {
    this.#electionDeadlineMs = nowMs + this.#randomTimeoutMs();
    const mayCampaign =
      this.#voters.includes(this.#id) &&
      nowMs >= this.#silentUntilMs &&
      // What was committed before the restart may hold a change of membership.
      this.#applied >= this.#restartCommit;
    if (!mayCampaign) return;
    // A pre-candidate has given up its leader, or it would refuse the others' pre-votes on its behalf.
    this.#leader = NOBODY;
    this.#setRole('preCandidate');
    this.#votes = new Map([[this.#id, true]]);
    this.#requestVotes(true, this.#term + 1);
    this.#tally(nowMs);
  }

  #becomeCandidate(nowMs: number): void {
    this.#setTerm(this.#term + 1);
    this.#vote = this.#id;
    this.#setRole('candidate');
    this.#votes = new Map();
    this.#electionDeadlineMs = nowMs + this.#randomTimeoutMs();
    this.#requestVotes(false, this.#term);
    // Its own vote counts once it is durable, like everybody's.
    this.#holdForTerm(this.#id, { type: 'voteReply', term: this.#term, preVote: false, granted: true });
  }

  #requestVotes(preVote: boolean, term: number): void {
    for (const voter of this.#voters) {
      if (voter === this.#id) continue;
      this.#holdForTerm(voter, {
        type: 'requestVote',
        term,
        preVote,
        lastIndex: this.#log.lastIndex,
        lastTerm: this.#log.lastTerm,
      });
    }
  }

  #tally(nowMs: number): void {
    const result = voteResult(this.#voters, this.#votes);
    if (result === 'lost') this.#becomeFollower(nowMs, this.#term, NOBODY);
    else if (result === 'won' && this.#role === 'preCandidate') this.#becomeCandidate(nowMs);
    else if (result === 'won' && this.#role === 'candidate') this.#becomeLeader(nowMs);
  }

  #becomeLeader(nowMs: number): void {
    this.#setRole('leader');
    this.#leader = this.#id;
    this.#progress = new Map();
    for (const voter of this.#voters) {
      if (voter === this.#id) continue;
      this.#progress.set(voter, new Progress(voter, this.#log.lastIndex + 1, nowMs, this.#options));
    }
    this.#uncommittedBytes = 0;
    this.#heartbeatDueMs = nowMs + this.#options.heartbeatMs;
    this.#termStart = this.#log.lastIndex + 1;
    this.#appendOwn('noop', NO_BODY);
  }

  #becomeFollower(nowMs: number, term: number, leader: NodeId): void {
    if (term > this.#term) {
      this.#setTerm(term);
      this.#vote = NOBODY;
    }
    if (this.#role === 'leader') {
      this.#failedReads.push(...this.#reads.fail());
      this.#progress = new Map();
    }
    this.#votes = new Map();
    this.#setRole('follower');
    this.#setLeader(leader);
    this.#electionDeadlineMs = nowMs + this.#randomTimeoutMs();
  }

  // Messages

  #receive(nowMs: number, from: NodeId, message: Message): void {
    if (!this.#voters.includes(from)) return;
    if (message.type === 'requestVote') {
      this.#receiveRequestVote(nowMs, from, message);
      return;
    }
    const grantedPreVote = message.type === 'voteReply' && message.preVote && message.granted;
    if (message.term > this.#term && !grantedPreVote) {
      const leads = message.type === 'append' || message.type === 'heartbeat';
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
    }
  }

  #receiveRequestVote(nowMs: number, from: NodeId, message: RequestVote): void {
    if (nowMs < this.#silentUntilMs) return;
    // Whoever hears from a leader helps nobody to depose it (dissertation, section 4.2.3).
    const hasLeader =
      this.#role === 'leader' ||
      (this.#leader !== NOBODY && nowMs - this.#lastLeaderContactMs < this.#options.electionTimeoutMinMs);
    if (message.term > this.#term && hasLeader) return;
    if (message.term > this.#term && !message.preVote) this.#becomeFollower(nowMs, message.term, NOBODY);
    const upToDate = this.#log.isUpToDate(message.lastIndex, message.lastTerm);
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
    this.#holdForTerm(from, {
      type: 'voteReply',
      // A granted pre-vote speaks of the term it was asked for; a refusal tells what the asker may not know.
      term: granted ? message.term : this.#term,
      preVote: message.preVote,
      granted,
    });
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
    this.#holdForTerm(from, { type: 'heartbeatReply', term: this.#term, round: message.round });
  }

  #receiveAppendReply(nowMs: number, from: NodeId, message: AppendReply): void {
    const progress = this.#heardFromFollower(nowMs, from, message.term);
    if (!progress) return;
    if (message.accepted) {
      if (message.matchIndex > this.#log.lastIndex) return;
      progress.accepted(message.matchIndex, nowMs);
      this.#advanceCommit();
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
    if (matchIndex <= this.#stability.stableIndex) this.#holdForTerm(to, message);
    else this.#hold(to, message, this.#stability.batchFor(this.#hasUnsaved()));
  }

  #refuse(to: NodeId, message: AppendMessage): void {
    const hint = this.#log.lastNotAfter(message.previousIndex, message.previousTerm);
    this.#holdForTerm(to, {
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
    let sizeBytes = 0;
    for (const body of bodies) sizeBytes += body.length;
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

  #read(id: number): StepResult {
    if (this.#role !== 'leader') return this.#refused('notLeader');
    if (this.#reads.pendingCount >= this.#options.maxPendingReads) return this.#refused('overloaded');
    this.#reads.add(id);
    return this.#accepted();
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
    this.#unsaved.length = Math.max(0, Math.min(this.#unsaved.length, index - this.#unsavedFirst));
  }

  #persisted(nowMs: number, batch: number): void {
    this.#stability.persisted(batch);
    const { persistedBatch } = this.#stability;
    const released = this.#held.filter((held) => held.batch <= persistedBatch);
    this.#held = this.#held.filter((held) => held.batch > persistedBatch);
    for (const { to, message } of released) {
      if (to !== this.#id) this.#ready.push({ to, message });
      else if (message.type === 'voteReply') this.#receiveVoteReply(nowMs, to, message);
    }
    if (this.#role === 'leader') this.#advanceCommit();
  }

  #advanceCommit(): void {
    const reached = reachedByMajority(this.#voters, (voter) =>
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

  #commitTo(index: number): void {
    this.#commit = Math.max(this.#commit, index);
  }

  #takeBatch(nowMs: number): AppendBatch | undefined {
    if (!this.#hasUnsaved()) return undefined;
    const entries = this.#unsaved;
    const first = this.#unsavedFirst;
    this.#unsaved = [];
    this.#hardStateChanged = false;
    const batch = this.#stability.issue(first, entries.length, nowMs);
    return {
      batch,
      // Never beyond the entries of this batch and those before it, so what is durable covers its own commit index.
      hardState: { term: this.#term, vote: this.#vote, commit: this.#commit },
      first,
      entries,
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
      const round = this.#reads.beginRound(this.#commit);
      for (const progress of this.#progress.values()) this.#sendHeartbeat(progress, round);
      this.#confirmReads();
    }
    if (this.#heartbeatNeeded) {
      this.#heartbeatNeeded = false;
      this.#heartbeatDueMs = nowMs + this.#options.heartbeatMs;
      const round = this.#reads.nextRound();
      for (const progress of this.#progress.values()) this.#sendHeartbeat(progress, round);
    }
    for (const progress of this.#progress.values()) this.#sendEntries(progress, nowMs);
  }

  #sendEntries(progress: Progress, nowMs: number): void {
    // A probe goes out even without entries: it is how `match` is found.
    while (progress.canSend() && (progress.next <= this.#log.lastIndex || progress.state === 'probe')) {
      const first = progress.next;
      const previousIndex = first - 1;
      const previousTerm = this.#log.termAt(previousIndex);
      // Behind the start of this log: nothing here can help it.
      if (previousTerm === undefined) return;
      const { last, sizeBytes } =
        first <= this.#log.lastIndex
          ? this.#log.lastWithin(first, this.#log.lastIndex, this.#options.maxAppendBytes)
          : { last: previousIndex, sizeBytes: 0 };
      this.#ready.push({
        to: progress.id,
        message: {
          type: 'append',
          term: this.#term,
          previousIndex,
          previousTerm,
          commitIndex: this.#commit,
          allMatchedIndex: this.#allMatchedIndex,
          first,
          last,
        },
      });
      progress.toldCommit = Math.max(progress.toldCommit, Math.min(this.#commit, last));
      progress.sent(last, sizeBytes, nowMs);
    }
  }

  #sendHeartbeat(progress: Progress, round: number): void {
    const commitIndex = Math.min(this.#commit, progress.match);
    progress.toldCommit = Math.max(progress.toldCommit, commitIndex);
    this.#ready.push({
      to: progress.id,
      message: { type: 'heartbeat', term: this.#term, commitIndex, round },
    });
  }

  #confirmReads(): void {
    const round = reachedByMajority(this.#voters, (voter) =>
      voter === this.#id ? this.#reads.round : (this.#progress.get(voter)?.answeredRound ?? 0),
    );
    this.#confirmedReads.push(...this.#reads.confirmed(round));
  }

  // Holding back what must not leave before it is durable

  #holdForTerm(to: NodeId, message: OutgoingMessage): void {
    this.#hold(to, message, this.#stability.termBatch);
  }

  #hold(to: NodeId, message: OutgoingMessage, batch: number): void {
    if (batch <= this.#stability.persistedBatch) this.#ready.push({ to, message });
    else this.#held.push({ to, message, batch });
  }

  #hasUnsaved(): boolean {
    return this.#hardStateChanged || this.#unsaved.length > 0;
  }

  // Small changes of state

  #setTerm(term: number): void {
    this.#term = term;
    this.#leader = NOBODY;
    this.#hardStateChanged = true;
    this.#statusChanged = true;
    this.#stability.termChanged();
    // What was held back speaks for a term that is over.
    this.#held = [];
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

  #refused(refusal: 'notLeader' | 'overloaded'): StepResult {
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
