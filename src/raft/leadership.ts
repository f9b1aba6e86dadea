/**
 * A leader's term of office. It accepts proposals and configuration changes, shows by heartbeat rounds that it still
 * leads (reads and leases rely on them), and transfers leadership. Created when a candidate wins, dropped when the
 * leader steps down.
 *
 * Check-quorum: dissertation, section 6.2. Transfer: 3.10. Reads: 6.4. A leader that is removed: 4.2.2.
 */
import { applyChange, isJoint, isVoter, membersOf } from './configuration.js';
import { encodeChange } from './configuration-codec.js';
import { LeaderTransfer } from './leader-transfer.js';
import type { LocalState } from './local-state.js';
import type { Progress } from './progress.js';
import { QuietLeader } from './quiet.js';
import type { ReadAnswers } from './read-answers.js';
import type { ConfirmedRead, ReadIndex, ReadRequest } from './read-index.js';
import { Replication } from './replication.js';
import type {
  AppendReply,
  HeartbeatReply,
  Input,
  NodeId,
  Quietness,
  QuietReply,
  RaftOptions,
  ReadMethod,
  Refusal,
  StepResult,
} from './types.js';

type ChangeConfiguration = Extract<Input, { type: 'changeConfiguration' }>;

const NO_BODY = new Uint8Array(0);

export class Leadership {
  readonly replication: Replication;
  readonly #options: RaftOptions;
  readonly #local: LocalState;
  readonly #reads: ReadIndex;
  readonly #answers: ReadAnswers;
  readonly #transfer = new LeaderTransfer();
  readonly #quiet: QuietLeader | undefined;
  #heartbeatDueMs: number;
  #heartbeatNeeded = false;
  /**
   * An entry after the change that made the current configuration. A member that stores this entry knows durably that
   * the change is committed. Until a quorum stores it, a restart of all members may lead back to the previous
   * configuration.
   */
  #confirmation: { readonly entry: number; readonly configuration: number };
  #settledConfiguration = 0;
  /** This leader was removed. It still leads until the confirmation is committed. */
  #isLeaving = false;
  /** The newest entry of this term that may end the group: the members must stay as they are until it is applied. */
  #tabletIndex = 0;
  /** The transfer is to the best voter, and goes on to the next best if that one cannot be reached. */
  #transfersToBest = false;

  constructor(
    options: RaftOptions,
    local: LocalState,
    reads: ReadIndex,
    answers: ReadAnswers,
    nowMs: number,
  ) {
    this.#options = options;
    this.#local = local;
    this.#reads = reads;
    this.#answers = answers;
    this.replication = new Replication(options, local, nowMs);
    this.#heartbeatDueMs = nowMs + options.heartbeatMs;
    if (options.quiet) this.#quiet = new QuietLeader(options.quiet, local, nowMs);
    this.replication.append('noop', NO_BODY);
    this.#confirmation = { entry: this.replication.termStart, configuration: local.configuration.index };
  }

  /** Index of the newest configuration that a quorum of its own voters durably knows to be committed. */
  get settledConfiguration(): number {
    if (this.#local.commit >= this.#confirmation.entry)
      this.#settledConfiguration = this.#confirmation.configuration;
    return this.#settledConfiguration;
  }

  /**
   * Whether a newer configuration may exist than the current one. As long as nothing is committed in this term, an
   * earlier leader's change may still become committed (raft-dev, 2015). A client that repeats a change must also not
   * be told that it is in force before it is settled.
   */
  get hasPendingChange(): boolean {
    const { membership, applied, commit } = this.#local;
    const isSettled = applied >= this.replication.termStart && commit >= this.#confirmation.entry;
    return this.#tabletIndex > applied || membership.lastPendingIndex > applied || !isSettled;
  }

  /** The target of a transfer in progress. */
  get transferTarget(): NodeId | undefined {
    return this.#transfer.target;
  }

  /** Undefined while this leader is not quiet. */
  get quietness(): Quietness | undefined {
    return this.#quiet?.quietness;
  }

  /** When the next tick has something to do, unless there is work before. */
  get tickDueMs(): number {
    if (this.quietness) return Number.POSITIVE_INFINITY;
    return this.transferTarget === undefined ? this.#heartbeatDueMs : Number.NEGATIVE_INFINITY;
  }

  /** There is work, or a member is not quiet any more. */
  wake(nowMs: number): void {
    if (!this.#quiet?.wake(nowMs)) return;
    // Silence counts from now: nobody was to answer until now.
    for (const progress of this.replication.all()) progress.lastHeardMs = nowMs;
    // Many groups may wake at the same time.
    this.#heartbeatDueMs = nowMs + this.#options.random() * this.#options.heartbeatMs;
  }

  /** Returns whether the leader must step down. */
  tick(nowMs: number): boolean {
    if (this.quietness) return false;
    if (!this.#isHeardByQuorum(nowMs) || this.#diskHangs(nowMs)) return true;
    if (this.#transfer.isOverdue(nowMs)) this.#transfer.giveUp();
    this.lateTick(nowMs);
    return false;
  }

  /** Sends what is due, but does not conclude anything from missing answers. */
  lateTick(nowMs: number): void {
    if (this.quietness) return;
    if (nowMs >= this.#heartbeatDueMs) this.#heartbeatNeeded = true;
    else this.replication.tellCommit(this.#reads.round);
  }

  propose(bodies: readonly Uint8Array[]): StepResult {
    if (this.#isTransferring()) return this.#refused('transferring');
    let sizeBytes = 0;
    for (const body of bodies) {
      if (body.length > this.#options.maxEntryBytes) return this.#refused('tooLarge');
      sizeBytes += body.length;
    }
    const { uncommittedBytes } = this.replication;
    if (uncommittedBytes > 0 && uncommittedBytes + sizeBytes > this.#options.maxUncommittedBytes) {
      return this.#refused('overloaded');
    }
    const index = this.#local.log.lastIndex + 1;
    for (const body of bodies) this.replication.append('command', body);
    return { accepted: true, index, term: this.#local.term };
  }

  proposeTablet(body: Uint8Array): StepResult {
    if (this.#isTransferring()) return this.#refused('transferring');
    const { hasPendingChange } = this;
    const { configuration } = this.#local;
    if (hasPendingChange) return this.#refused('changePending');
    if (isJoint(configuration) || membersOf(configuration).length > configuration.voters.length)
      return this.#refused('changeInvalid');
    this.replication.append('tablet', body);
    this.#tabletIndex = this.#local.log.lastIndex;
    return this.#accepted();
  }

  changeConfiguration({ change, expectedIndex }: ChangeConfiguration): StepResult {
    if (this.#isTransferring()) return this.#refused('transferring');
    const { configuration } = this.#local;
    if (this.hasPendingChange) return this.#refused('changePending');
    if (expectedIndex !== undefined && expectedIndex !== configuration.index)
      return this.#refused('changeConflict');
    try {
      applyChange(configuration, change);
    } catch {
      return this.#refused('changeInvalid');
    }
    this.replication.append('configuration', encodeChange(change));
    return this.#accepted();
  }

  /** To that voter; without `to`, to the best one. */
  transfer(nowMs: number, to: NodeId | undefined): StepResult {
    if (to === undefined) return this.#transferToBest(nowMs);
    if (to === this.#local.id) return this.#accepted();
    if (!this.replication.progressOf(to) || !isVoter(this.#local.configuration, to)) {
      return this.#refused('changeInvalid');
    }
    if (this.#transfer.target !== undefined && this.#transfer.target !== to)
      return this.#refused('transferring');
    this.#transfersToBest = false;
    return this.#beginTransfer(nowMs, to);
  }

  /**
   * Transfers to the voter with the longest matching log among those heard from recently. A leader that was removed may
   * do this too, before a quorum knows of the removal: it may have no other way to tell them.
   */
  #transferToBest(nowMs: number): StepResult {
    if (this.#transfer.target !== undefined) return this.#refused('transferring');
    this.#transfersToBest = true;
    return this.#offerToBest(nowMs);
  }

  unreachable(nowMs: number, node: NodeId): void {
    this.replication.unreachable(node);
    if (!this.#transfersToBest || node !== this.#transfer.target) return;
    this.#transfer.giveUp();
    this.#offerToBest(nowMs);
  }

  read(nowMs: number, request: ReadRequest, method: ReadMethod): void {
    if (method === 'lease' && this.#hasLease(nowMs))
      this.#answerRead({ ...request, index: this.#local.commit });
    else this.#reads.add(request);
  }

  /** Returns whether the leader must step down because it was removed and a quorum of the others knows that durably. */
  receiveAppendReply(nowMs: number, from: NodeId, message: AppendReply): boolean {
    const progress = this.#heardFrom(nowMs, from);
    if (!progress || !this.replication.receiveAppendReply(nowMs, progress, message)) return false;
    if (from === this.#transfer.target) this.#offerLeadership();
    if (!this.#isLeaving || this.#local.commit < this.#confirmation.entry) return false;
    this.#nameSuccessor();
    return true;
  }

  receiveHeartbeatReply(nowMs: number, from: NodeId, message: HeartbeatReply): void {
    const progress = this.#heardFrom(nowMs, from);
    // A round that was never sent confirms nothing, now or later.
    if (!progress || message.round > this.#reads.round) return;
    this.replication.receiveHeartbeatReply(nowMs, progress, message);
    this.#confirmReads();
    // The target ignores TimeoutNow while it has an unapplied configuration change. So it is sent again.
    if (from === this.#transfer.target) this.#offerLeadership();
  }

  receiveQuietReply(nowMs: number, from: NodeId, { round, isQuiet }: QuietReply): void {
    if (!this.#heardFrom(nowMs, from) || round > this.#reads.round) return;
    if (!isQuiet) this.wake(nowMs);
    else if (this.#mayRest(nowMs)) this.#quiet?.accepted(from, round, this.replication.members);
  }

  /** A new configuration is in force. */
  configurationApplied(nowMs: number): void {
    const { configuration, id, log } = this.#local;
    this.replication.followMembers(nowMs);
    const { target } = this.#transfer;
    if (target !== undefined && !isVoter(configuration, target)) this.#transfer.giveUp();
    // A joint configuration that is left at once needs no entry of its own: the entry that leaves it is the
    // confirmation.
    if (!isJoint(configuration) || !configuration.autoLeave) {
      const confirms = this.#options.confirmsChanges ?? true;
      if (confirms) this.replication.append('noop', NO_BODY);
      const entry = confirms ? log.lastIndex : configuration.index;
      this.#confirmation = { entry, configuration: configuration.index };
    }
    // The previous members granted the lease. A new member may have promised a shorter time.
    this.#reads.endLease();
    // A removed leader leads on until the others know of its removal: without its vote they could not find out.
    this.#isLeaving = !isVoter(configuration, id);
    // The new quorum may have stored more entries than the old one.
    this.replication.advanceCommit();
  }

  /** Leaves a joint configuration with `autoLeave` once it is applied. */
  leaveJoint(): void {
    const { configuration, membership, applied } = this.#local;
    const mayLeave = isJoint(configuration) && configuration.autoLeave;
    if (mayLeave && membership.lastPendingIndex <= applied && applied >= this.replication.termStart) {
      this.replication.append('configuration', encodeChange({ changes: [], transition: 'auto' }));
    }
  }

  /** Sends what this turn has caused. Returns the members that newly need a snapshot. */
  replicate(nowMs: number): NodeId[] {
    if (this.#reads.hasArrived && this.#local.commit >= this.replication.termStart) {
      this.replication.sendHeartbeats(this.#reads.beginRound(nowMs, this.#local.commit));
      this.#confirmReads();
    }
    if (this.#heartbeatNeeded) {
      this.#heartbeatNeeded = false;
      this.#heartbeatDueMs = nowMs + this.#options.heartbeatMs;
      const round = this.#reads.nextRound(nowMs);
      this.replication.sendHeartbeats(round);
      if (this.#mayRest(nowMs)) this.#offerQuiet(round);
      this.#confirmReads();
    }
    return this.replication.sendEntries(nowMs);
  }

  /** The leader has stepped down: reads that are not confirmed fail. */
  end(): void {
    const own = this.#reads.fail().filter(({ from }) => from === this.#local.id);
    this.#answers.fail(own.map(({ id }) => id));
  }

  /** Check-quorum: whether a quorum has answered within an election timeout. */
  #isHeardByQuorum(nowMs: number): boolean {
    const lastHeardMs = (progress: Progress) => progress.lastHeardMs;
    const heardMs = this.replication.reachedByQuorum(nowMs, lastHeardMs, Number.NEGATIVE_INFINITY);
    return nowMs - heardMs <= this.#options.electionTimeoutMinMs;
  }

  /** A leader whose disk hangs must step down, because its heartbeats would continue. */
  #diskHangs(nowMs: number): boolean {
    const limitMs = 2 * this.#options.electionTimeoutMaxMs;
    return !this.replication.isAlone && this.#local.stability.oldestAgeMs(nowMs) > limitMs;
  }

  #mayRest(nowMs: number): boolean {
    const isBusy = this.#isTransferring() || this.hasPendingChange || this.#reads.pendingCount > 0;
    const heardSinceMs = nowMs - 2 * this.#options.heartbeatMs;
    return !isBusy && (this.#quiet?.mayRest(nowMs, this.replication.all(), heardSinceMs) ?? false);
  }

  #offerQuiet(round: number): void {
    const offer = this.#quiet?.offer(round);
    if (!offer) return;
    for (const member of this.replication.members) this.#local.outbox.send(member, offer);
    // A group of one has nobody to ask.
    this.#quiet?.restIfAllAccepted(this.replication.members);
  }

  #isTransferring(): boolean {
    return this.#transfer.target !== undefined || this.#isLeaving;
  }

  #heardFrom(nowMs: number, node: NodeId): Progress | undefined {
    const progress = this.replication.progressOf(node);
    if (!progress) return undefined;
    progress.lastHeardMs = nowMs;
    progress.isUnreachable = false;
    return progress;
  }

  /** Sends TimeoutNow as soon as the target stores the whole log. */
  #offerLeadership(): void {
    const { target } = this.#transfer;
    if (target === undefined) return;
    if (this.replication.progressOf(target)?.match !== this.#local.log.lastIndex) return;
    this.#local.outbox.send(target, { type: 'timeoutNow', term: this.#local.term });
  }

  #beginTransfer(nowMs: number, to: NodeId): StepResult {
    this.#transfer.begin(to, nowMs + this.#options.electionTimeoutMinMs);
    this.#offerLeadership();
    return this.#accepted();
  }

  #offerToBest(nowMs: number): StepResult {
    const sinceMs = nowMs - this.#options.electionTimeoutMinMs;
    const best = this.#bestVoter((progress) => progress.lastHeardMs >= sinceMs && !progress.isUnreachable);
    return best ? this.#beginTransfer(nowMs, best.id) : this.#refused('noSuccessor');
  }

  /** The others know of the removal: makes the best of them campaign at once. */
  #nameSuccessor(): void {
    const { outbox, term } = this.#local;
    const best = this.#bestVoter(() => true);
    if (best) outbox.send(best.id, { type: 'timeoutNow', term });
  }

  /** The voter with the longest matching log. */
  #bestVoter(isEligible: (progress: Progress) => boolean): Progress | undefined {
    let best: Progress | undefined;
    for (const progress of this.replication.all()) {
      if (!isVoter(this.#local.configuration, progress.id) || !isEligible(progress)) continue;
      if (progress.match > (best?.match ?? -1)) best = progress;
    }
    return best;
  }

  #hasLease(nowMs: number): boolean {
    const { electionTimeoutMinMs, maxClockDrift } = this.#options;
    // A pending change may already be in force elsewhere. By it another node may be the only voter, which becomes
    // leader without asking anyone.
    const { membership, applied } = this.#local;
    if (this.#isLeaving || membership.lastPendingIndex > applied) return false;
    // Election timeouts may differ between nodes: the shortest promise counts.
    const promisedMs = Math.min(electionTimeoutMinMs, this.replication.leastPromisedMs());
    return (
      this.#local.commit >= this.replication.termStart &&
      !this.#transfer.attempted &&
      nowMs < this.#reads.quorumSentMs + promisedMs * (1 - maxClockDrift)
    );
  }

  #answerRead({ from, id, index }: ConfirmedRead): void {
    const { outbox, term } = this.#local;
    if (from === this.#local.id) this.#answers.confirm(id, index);
    else outbox.send(from, { type: 'readIndexReply', term, id, index });
  }

  #confirmReads(): void {
    for (const read of this.#reads.confirmed(this.#answeredByQuorum())) this.#answerRead(read);
  }

  /** The newest round that a quorum has answered. */
  #answeredByQuorum(): number {
    return this.replication.reachedByQuorum(this.#reads.round, (progress) => progress.answeredRound);
  }

  #accepted(): StepResult {
    return { accepted: true, index: this.#local.log.lastIndex, term: this.#local.term };
  }

  #refused(refusal: Refusal): StepResult {
    return { accepted: false, refusal, leader: this.#local.id };
  }
}
