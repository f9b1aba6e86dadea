/**
 * A group without work falls quiet: its leader sends no heartbeats, and its followers have no election timeout. The
 * hosts watch each other instead, once for all their groups.
 *
 *     leader    offers quiet with its heartbeats, once it had no work for `afterMs`; quiet when *all* members are
 *     follower  accepts if its log ends where the leader's does and all of it is applied
 *
 * What a host promises, and what it does:
 * - While a replica is quiet, its host lets the nodes of `Quietness.nodes` hear of it, with its epoch, a few times per
 *   election timeout.
 * - A host begins a new epoch with each process, and whenever one of its replicas ends: what led a group may be gone.
 * - A follower is quiet under the epoch of the offer. When its leader's node is silent for a minimum election timeout,
 *   or has another epoch, its host wakes it. A leader is woken when any member's node is silent or has another epoch.
 *
 * Why no group stays without a leader. Let F be quiet, following L in a term.
 * - L leads, and is quiet or not: nothing is missing. Work at L wakes L, and its messages wake F.
 * - The node of L is dead, cut off or restarted, or L's replica has ended: F's host wakes F.
 * - L has stepped down and its replica goes on: that was because of another term, or because no quorum answered. So L
 *   was not quiet any more, or is not now, and has an election timeout. It hears from another leader, who sends to all
 *   members and so to F, or it campaigns, and asks F. Any message that counts wakes F, but for an offer of its leader.
 * - An offer is late: L leads, and its next heartbeat wakes F; or one of the cases above.
 *
 * What stays safe. Votes and terms do not depend on timers. Leases do: a lease lasts from a round of heartbeats that a
 * quorum answered, and a quiet leader sends no rounds. So its lease runs out, and reads begin a new round, which wakes
 * all. A quiet follower is loyal (election.ts): it votes for nobody until it is woken, which only makes votes rarer.
 * Check-quorum rests while the leader is quiet. It counts from the waking.
 */
import { isJoint } from './configuration.js';
import type { LocalState } from './local-state.js';
import type { Progress } from './progress.js';
import type { NodeId, Quietness, RaftOptions } from './types.js';

/** What a leader that may fall quiet knows. */
export class QuietLeader {
  readonly #options: NonNullable<RaftOptions['quiet']>;
  readonly #local: LocalState;
  #workedMs: number;
  /** The round of the first offer since there was work. */
  #firstRound: number | undefined;
  /** Members that have accepted since. */
  readonly #accepted = new Set<NodeId>();
  #quietness: Quietness | undefined;

  constructor(options: NonNullable<RaftOptions['quiet']>, local: LocalState, nowMs: number) {
    this.#options = options;
    this.#local = local;
    this.#workedMs = nowMs;
  }

  /** Undefined while the leader is not quiet. */
  get quietness(): Quietness | undefined {
    return this.#quietness;
  }

  /** There is work, or there may be some. Returns whether the leader was quiet. */
  wake(nowMs: number): boolean {
    const wasQuiet = this.#quietness !== undefined;
    this.#quietness = undefined;
    this.#workedMs = nowMs;
    this.#firstRound = undefined;
    this.#accepted.clear();
    return wasQuiet;
  }

  /**
   * Whether nothing is left to do in the group. `heardSinceMs`: all members were heard from since then, or they could
   * not accept.
   */
  mayRest(nowMs: number, members: Iterable<Progress>, heardSinceMs: number): boolean {
    const { log, commit, applied, stability, configuration } = this.#local;
    const { lastIndex } = log;
    if (nowMs - this.#workedMs < this.#options.afterMs || isJoint(configuration)) return false;
    if (commit !== lastIndex || applied !== lastIndex || stability.stableIndex !== lastIndex) return false;
    for (const { state, match, isUnreachable, lastHeardMs } of members) {
      if (state !== 'replicate' || match !== lastIndex || isUnreachable) return false;
      if (lastHeardMs < heardSinceMs) return false;
    }
    return true;
  }

  /** The offer to send with this round. */
  offer(round: number) {
    this.#firstRound ??= round;
    const { term, log } = this.#local;
    return { type: 'quietOffer', term, index: log.lastIndex, round, epoch: this.#options.epoch() } as const;
  }

  /** A member has accepted. An answer to an offer from before the last work does not count. */
  accepted(node: NodeId, round: number, members: readonly NodeId[]): void {
    if (this.#firstRound === undefined || round < this.#firstRound) return;
    this.#accepted.add(node);
    this.restIfAllAccepted(members);
  }

  restIfAllAccepted(members: readonly NodeId[]): void {
    if (this.#quietness || !members.every((member) => this.#accepted.has(member))) return;
    this.#quietness = { nodes: members, epoch: undefined };
  }
}
