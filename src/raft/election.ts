/**
 * Leader election: this replica's role, the leader it follows, its vote, and when it campaigns.
 *
 *     follower --timeout--> preCandidate --would win--> candidate --wins--> leader
 *        ^---- hears from a leader, sees a newer term, or loses -------------'
 *
 * Raft paper, section 5.2. Pre-vote: dissertation, section 9.6. A node that hears from a leader ignores vote requests:
 * section 4.2.3. A restarted node may have forgotten that it supports a leader's lease. So it neither votes nor
 * campaigns for one maximum election timeout, nor for as long as it promised before the restart.
 */
import { isVoter } from './configuration.js';
import type { LocalState } from './local-state.js';
import { quorumVoteResult, type VoteResult } from './quorum.js';
import { MAX_TERM } from './senders.js';
import {
  NOBODY,
  type NodeId,
  type Quietness,
  type RaftOptions,
  type RaftState,
  type RequestVote,
  type Role,
  type VoteReply,
} from './types.js';

export class Election {
  readonly #options: RaftOptions;
  readonly #local: LocalState;
  readonly #silentUntilMs: number;
  readonly #restartCommit: number;
  #role: Role = 'follower';
  #leader: NodeId = NOBODY;
  /** Kept also when that leader is no longer followed. */
  #termLeader: NodeId = NOBODY;
  #votes = new Map<NodeId, boolean>();
  #deadlineMs: number;
  #lastLeaderContactMs = Number.NEGATIVE_INFINITY;
  #changed = true;
  #campaigns = true;
  #quietness: Quietness | undefined;
  /** The round of the offer that was accepted. */
  #quietRound = 0;

  constructor(
    options: RaftOptions,
    local: LocalState,
    { restarted, promisedMs = 0 }: Pick<RaftState, 'restarted' | 'promisedMs'>,
    nowMs: number,
  ) {
    this.#options = options;
    this.#local = local;
    this.#restartCommit = local.commit;
    const alone = local.membership.isAlone(options.id);
    const silentMs = restarted && !alone ? Math.max(options.electionTimeoutMaxMs, promisedMs) : 0;
    this.#silentUntilMs = nowMs + silentMs;
    this.#deadlineMs = alone ? nowMs : this.#silentUntilMs + this.#randomTimeoutMs();
  }

  get role(): Role {
    return this.#role;
  }

  get leader(): NodeId {
    return this.#leader;
  }

  /** The leader of the current term, as far as this node knows, even if it no longer leads. */
  get termLeader(): NodeId {
    return this.#termLeader;
  }

  /** Whether this node leads, or has heard from its leader within an election timeout. */
  hasLeader(nowMs: number): boolean {
    return this.#leader !== NOBODY && this.#isLoyal(nowMs);
  }

  /** Whether role, leader or term have changed since the last `takeChanged`. */
  get hasChanged(): boolean {
    return this.#changed;
  }

  takeChanged(): boolean {
    const changed = this.#changed;
    this.#changed = false;
    return changed;
  }

  /** When the election timeout ends. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  isOverdue(nowMs: number): boolean {
    return nowMs >= this.#deadlineMs;
  }

  mayCampaign(nowMs: number): boolean {
    const { membership, configuration, applied, commit, id } = this.#local;
    return (
      this.#campaigns &&
      isVoter(configuration, id) &&
      nowMs >= this.#silentUntilMs &&
      this.#local.term < MAX_TERM &&
      // Entries committed before the restart, or since, may hold an unapplied configuration change. A node with an
      // unapplied committed change does not campaign.
      applied >= this.#restartCommit &&
      !membership.hasPending(applied, commit)
    );
  }

  /** Undefined while this follower is not quiet. */
  get quietness(): Quietness | undefined {
    return this.#quietness;
  }

  /** The leader has offered that: no election timeout until something is heard, or the host wakes it. */
  rest(round: number, epoch: number): void {
    this.#quietRound = round;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#quietness = { nodes: [this.#leader], epoch };
  }

  /** A heartbeat that was sent no later than the accepted offer, and arrived after it, changes nothing. */
  restsSince(round: number): boolean {
    return this.#quietness !== undefined && round <= this.#quietRound;
  }

  /**
   * If its leader's node was silent for a minimum election timeout, that counts as a part of the election timeout. Two
   * heartbeat intervals are left, in which the leader may still answer.
   */
  wake(nowMs: number, leaderIsSilent: boolean): void {
    if (!this.#quietness) return;
    const { electionTimeoutMinMs, heartbeatMs } = this.#options;
    this.#restartTimer(leaderIsSilent ? nowMs - electionTimeoutMinMs + 2 * heartbeatMs : nowMs);
  }

  stopCampaigning(): void {
    this.#campaigns = false;
  }

  /** The election timeout has passed. Returns whether a pre-vote was started. Its `result` may be decided at once. */
  campaign(nowMs: number): boolean {
    this.#restartTimer(nowMs);
    if (!this.mayCampaign(nowMs)) return false;
    // A pre-candidate follows no leader. Otherwise it would refuse the pre-votes of others in favour of that leader.
    this.#setLeader(NOBODY);
    this.#setRole('preCandidate');
    this.#votes = new Map([[this.#local.id, true]]);
    this.#requestVotes(true, this.#local.term + 1, false);
    return true;
  }

  /** Becomes candidate in a new term. `force`: the leader asked for it (TimeoutNow). */
  stand(nowMs: number, force: boolean): void {
    const { id } = this.#local;
    this.#enterTerm(this.#local.term + 1, id);
    this.#setRole('candidate');
    this.#votes = new Map();
    this.#restartTimer(nowMs);
    this.#requestVotes(false, this.#local.term, force);
    // The own vote counts once it is durable, like any other vote.
    this.#local.sendForTerm(id, {
      type: 'voteReply',
      term: this.#local.term,
      preVote: false,
      granted: true,
      ...this.#local.known(),
    });
  }

  /** Result of the votes received so far as candidate or pre-candidate. */
  result(): VoteResult {
    return quorumVoteResult(this.#local.configuration, this.#votes);
  }

  lead(): void {
    this.#setRole('leader');
    this.#leader = this.#local.id;
    this.#termLeader = this.#local.id;
  }

  follow(nowMs: number, term: number, leader: NodeId): void {
    if (term > this.#local.term) this.#enterTerm(term, NOBODY);
    this.#votes = new Map();
    this.#setRole('follower');
    this.#setLeader(leader);
    this.#restartTimer(nowMs);
  }

  /** A follower heard from the leader of its term. */
  heardFromLeader(nowMs: number, leader: NodeId): void {
    this.#setLeader(leader);
    this.#lastLeaderContactMs = nowMs;
    this.#restartTimer(nowMs);
  }

  /** Whether a vote request is processed. If not, it gets no answer and its term is ignored. */
  listensTo(nowMs: number, message: RequestVote): boolean {
    if (nowMs < this.#silentUntilMs) return false;
    return message.term <= this.#local.term || !this.#isLoyal(nowMs) || message.force;
  }

  /**
   * A node that has heard from a leader within the minimum election timeout, which it promised in its heartbeat
   * answers, votes for no other node: leases rely on that. This also holds if a message of a later term, other than a
   * vote request, has since made it leave that leader. A quiet follower is loyal until it is woken.
   */
  #isLoyal(nowMs: number): boolean {
    if (this.#role === 'leader' || this.#quietness) return true;
    return nowMs - this.#lastLeaderContactMs < this.#options.electionTimeoutMinMs;
  }

  /** Answers a vote request. If it is not a pre-vote, its term has already been entered. */
  answer(nowMs: number, from: NodeId, message: RequestVote): void {
    const { log, term, vote } = this.#local;
    const upToDate = log.isUpToDate(message.lastIndex, message.lastTerm);
    const free = message.preVote
      ? message.term > term
      : message.term === term && (vote === from || (vote === NOBODY && this.#leader === NOBODY));
    const granted = free && upToDate && (message.force || !this.#isLoyal(nowMs));
    if (granted && !message.preVote) {
      this.#local.voteFor(from);
      this.#restartTimer(nowMs);
    }
    this.#local.sendForTerm(from, {
      type: 'voteReply',
      // A granted pre-vote carries the term it was asked for. A refusal carries this node's term: the candidate may not
      // know it yet.
      term: granted ? message.term : term,
      preVote: message.preVote,
      granted,
      ...this.#local.known(),
    });
  }

  /** Counts a vote. Returns whether it belongs to the current campaign. */
  count(from: NodeId, message: VoteReply): boolean {
    const { term } = this.#local;
    if (message.preVote) {
      if (this.#role !== 'preCandidate') return false;
      if (message.granted && message.term !== term + 1) return false;
    } else if (this.#role !== 'candidate' || message.term !== term) return false;
    if (!this.#votes.has(from)) this.#votes.set(from, message.granted);
    return true;
  }

  #requestVotes(preVote: boolean, term: number, force: boolean): void {
    const { configuration, log, id } = this.#local;
    for (const voter of new Set([...configuration.voters, ...configuration.outgoing])) {
      if (voter === id) continue;
      this.#local.sendForTerm(voter, {
        type: 'requestVote',
        term,
        preVote,
        force,
        lastIndex: log.lastIndex,
        lastTerm: log.lastTerm,
      });
    }
  }

  #enterTerm(term: number, vote: NodeId): void {
    this.#local.enterTerm(term, vote);
    this.#leader = NOBODY;
    this.#termLeader = NOBODY;
    this.#changed = true;
  }

  #setRole(role: Role): void {
    if (this.#role !== role) this.#changed = true;
    this.#role = role;
  }

  #setLeader(leader: NodeId): void {
    if (this.#leader !== leader) this.#changed = true;
    this.#leader = leader;
    if (leader !== NOBODY) this.#termLeader = leader;
  }

  #restartTimer(nowMs: number): void {
    this.#quietness = undefined;
    this.#deadlineMs = nowMs + this.#randomTimeoutMs();
  }

  #randomTimeoutMs(): number {
    const { electionTimeoutMinMs: min, electionTimeoutMaxMs: max, random } = this.#options;
    return min + random() * (max - min);
  }
}
