/**
 * The leader's log replication: what each follower has, what to send to it, and what the answers commit. Created when a
 * leader's term starts, dropped when it ends.
 *
 * Raft paper, sections 5.3 and 5.4.2. The leader's own disk counts like any other: dissertation, section 10.2.1.
 */
import { membersOf } from './configuration.js';
import type { LocalState } from './local-state.js';
import { Progress } from './progress.js';
import { reachedByQuorum } from './quorum.js';
import {
  type AppendReply,
  type EntryKind,
  entrySizeBytes,
  type HeartbeatReply,
  type NodeId,
  type PeerStatus,
  type RaftOptions,
} from './types.js';

export class Replication {
  /** Index of the term's first entry, a noop. */
  readonly termStart: number;
  readonly #options: RaftOptions;
  readonly #local: LocalState;
  readonly #progress = new Map<NodeId, Progress>();
  #uncommittedBytes = 0;
  #snapshotsNeeded: NodeId[] = [];

  constructor(options: RaftOptions, local: LocalState, nowMs: number) {
    this.#options = options;
    this.#local = local;
    this.termStart = local.log.lastIndex + 1;
    this.followMembers(nowMs);
  }

  /** Bytes proposed in this term and not committed. */
  get uncommittedBytes(): number {
    return this.#uncommittedBytes;
  }

  get isAlone(): boolean {
    return this.#progress.size === 0;
  }

  /** All other members. */
  get members(): NodeId[] {
    return [...this.#progress.keys()];
  }

  progressOf(node: NodeId): Progress | undefined {
    return this.#progress.get(node);
  }

  all(): Iterable<Progress> {
    return this.#progress.values();
  }

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
   * The highest value that a quorum has reached. `own` is this node's value; a voter without progress has `unknown`.
   */
  reachedByQuorum(own: number, reached: (progress: Progress) => number, unknown = 0): number {
    return reachedByQuorum(this.#local.configuration, (voter) => {
      if (voter === this.#local.id) return own;
      const progress = this.#progress.get(voter);
      return progress ? reached(progress) : unknown;
    });
  }

  /** Sets the replication targets to the members of the configuration. */
  followMembers(nowMs: number): void {
    const { id: self, configuration, log } = this.#local;
    const members = membersOf(configuration);
    for (const id of [...this.#progress.keys()]) if (!members.includes(id)) this.#progress.delete(id);
    for (const id of members) {
      if (id === self || this.#progress.has(id)) continue;
      this.#progress.set(id, new Progress(id, log.lastIndex + 1, nowMs, this.#options));
    }
  }

  append(kind: EntryKind, body: Uint8Array): void {
    const entry = { term: this.#local.term, kind, body };
    this.#uncommittedBytes += entrySizeBytes(entry);
    this.#local.append(entry);
  }

  advanceCommit(): void {
    const { log, stability, commit, term } = this.#local;
    const reached = this.reachedByQuorum(stability.stableIndex, (progress) => progress.match);
    // A leader commits by counting replicas only entries of its own term (Raft paper, section 5.4.2).
    if (reached > commit && log.termAt(reached) === term) {
      for (let index = Math.max(commit + 1, this.termStart); index <= reached; index++) {
        this.#uncommittedBytes -= log.sizeAt(index);
      }
      this.#local.commitTo(reached);
    }
    let allMatched = stability.stableIndex;
    for (const progress of this.#progress.values()) allMatched = Math.min(allMatched, progress.match);
    const known = Math.min(allMatched, this.#local.commit);
    this.#local.allMatchedIndex = Math.max(this.#local.allMatchedIndex, known);
  }

  /** Returns whether the follower's log is known to match up to the acknowledged index. */
  receiveAppendReply(nowMs: number, progress: Progress, message: AppendReply): boolean {
    const { log } = this.#local;
    if (!message.accepted) {
      const agreed = log.lastNotAfter(message.hintIndex, message.hintTerm);
      progress.refused(message.rejectedIndex, Math.max(agreed.index, log.baseIndex) + 1);
      return false;
    }
    if (message.matchIndex > log.lastIndex) return false;
    // A snapshot, or something else, brought the follower to an index that this log has. The answer says where that is.
    const matched = Math.max(progress.match, message.matchIndex);
    if (progress.state === 'snapshot' && log.termAt(matched) !== undefined) progress.probe();
    progress.accepted(message.matchIndex, nowMs);
    this.advanceCommit();
    return true;
  }

  /** The shortest `promisedMs` among all followers that have answered a heartbeat, in ms of their own clocks. */
  leastPromisedMs(): number {
    let leastMs = Number.POSITIVE_INFINITY;
    for (const { promisedMs } of this.#progress.values()) leastMs = Math.min(leastMs, promisedMs);
    return leastMs;
  }

  receiveHeartbeatReply(nowMs: number, progress: Progress, { round, promisedMs }: HeartbeatReply): void {
    progress.answeredRound = Math.max(progress.answeredRound, round);
    progress.promisedMs = Math.min(progress.promisedMs, promisedMs);
    // The follower is alive: if the answer to a probe was lost, the probe may be sent again.
    if (progress.state === 'probe') progress.awaitsAnswer = false;
    if (progress.isDoubtful(nowMs, this.#options.heartbeatMs)) this.#askForWindow(progress, nowMs);
  }

  unreachable(node: NodeId): void {
    const progress = this.#progress.get(node);
    if (!progress) return;
    progress.isUnreachable = true;
    if (progress.state === 'probe') progress.awaitsAnswer = false;
    else progress.probe();
  }

  snapshotSent(node: NodeId, index: number, ok: boolean): void {
    const progress = this.#progress.get(node);
    if (progress?.state !== 'snapshot') return;
    // The follower's own answer may be lost: probe after the snapshot, or it needs another snapshot.
    progress.probe();
    if (ok) progress.next = Math.max(progress.next, index + 1);
  }

  /** Sends the commit index to followers that did not get it with entries. */
  tellCommit(round: number): void {
    for (const progress of this.#progress.values()) {
      if (progress.toldCommit < Math.min(this.#local.commit, progress.match)) {
        this.#sendHeartbeat(progress, round);
      }
    }
  }

  sendHeartbeats(round: number): void {
    for (const progress of this.#progress.values()) this.#sendHeartbeat(progress, round);
  }

  /** Sends all entries that the windows allow. Returns the members that newly need a snapshot. */
  sendEntries(nowMs: number): NodeId[] {
    for (const progress of this.#progress.values()) this.#sendEntriesTo(progress, nowMs);
    const needed = this.#snapshotsNeeded;
    this.#snapshotsNeeded = [];
    return needed;
  }

  #sendEntriesTo(progress: Progress, nowMs: number): void {
    const { log } = this.#local;
    // A probe is sent even without entries: it finds `match`.
    while (progress.canSend() && (progress.next <= log.lastIndex || progress.state === 'probe')) {
      const first = progress.next;
      const previousTerm = log.termAt(first - 1);
      if (previousTerm === undefined) {
        this.#needSnapshot(progress, nowMs);
        return;
      }
      const { last, sizeBytes } =
        first <= log.lastIndex
          ? log.lastWithin(first, log.lastIndex, this.#options.maxAppendBytes)
          : { last: first - 1, sizeBytes: 0 };
      this.#sendAppend(progress, previousTerm, first, last);
      progress.sent(last, sizeBytes, nowMs);
    }
  }

  /**
   * The whole window may be lost while nothing more is sent that would show it. So the leader sends an append without
   * entries after the window: the follower rejects it if something is lost, and acknowledges it otherwise. (etcd does
   * so with a full window at every heartbeat answer.)
   */
  #askForWindow(progress: Progress, nowMs: number): void {
    const previousTerm = this.#local.log.termAt(progress.next - 1);
    if (previousTerm === undefined) {
      progress.probe();
      return;
    }
    progress.asked(nowMs);
    this.#sendAppend(progress, previousTerm, progress.next, progress.next - 1);
  }

  #sendAppend(progress: Progress, previousTerm: number, first: number, last: number): void {
    const { term, commit, allMatchedIndex, outbox } = this.#local;
    outbox.send(progress.id, {
      type: 'append',
      term,
      previousIndex: first - 1,
      previousTerm,
      commitIndex: commit,
      allMatchedIndex,
      first,
      last,
    });
    progress.toldCommit = Math.max(progress.toldCommit, Math.min(commit, last));
  }

  /** This log no longer has the entries that the member needs. A member that does not answer gets no snapshot. */
  #needSnapshot(progress: Progress, nowMs: number): void {
    if (nowMs - progress.lastHeardMs > this.#options.electionTimeoutMinMs) return;
    progress.needSnapshot();
    this.#snapshotsNeeded.push(progress.id);
  }

  #sendHeartbeat(progress: Progress, round: number): void {
    // Only up to what the receiver is known to store.
    const commitIndex = Math.min(this.#local.commit, progress.match);
    progress.toldCommit = Math.max(progress.toldCommit, commitIndex);
    this.#local.outbox.send(progress.id, {
      type: 'heartbeat',
      term: this.#local.term,
      commitIndex,
      round,
    });
  }
}
