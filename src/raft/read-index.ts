/**
 * Linearizable reads without log entries (dissertation, section 6.4).
 *
 *   - A read takes the commit index of a leader that has committed an entry of its own term, and waits until a quorum has
 *     answered a heartbeat round that was sent *after* the read arrived. Rounds are the leader's own monotonic counter,
 *     so a retried or reordered answer never confirms a later read. All reads of one turn share a round.
 *   - A round that a quorum has answered is also a lease: nobody else can be elected for the shortest election timeout,
 *     less what clocks may drift, counted from when the round was *sent*. Until then reads need no round of their own.
 */
import type { NodeId } from './types.js';

/** Who asked: this node's host, or another node's on behalf of its own. */
export interface ReadRequest {
  readonly from: NodeId;
  readonly id: number;
}

export interface ConfirmedRead extends ReadRequest {
  readonly index: number;
}

interface PendingRead extends ConfirmedRead {
  readonly round: number;
}

export class ReadIndex {
  #round = 0;
  /** Arrived, and not yet given an index and a round. */
  #arrived: ReadRequest[] = [];
  #waiting: PendingRead[] = [];
  /** When the rounds were sent that no quorum has answered yet, oldest first. */
  #sent: { readonly round: number; readonly atMs: number }[] = [];
  #quorumSentMs = Number.NEGATIVE_INFINITY;

  get pendingCount(): number {
    return this.#arrived.length + this.#waiting.length;
  }

  /** The last round begun. */
  get round(): number {
    return this.#round;
  }

  get hasArrived(): boolean {
    return this.#arrived.length > 0;
  }

  /** When the newest round was sent that a quorum has answered. */
  get quorumSentMs(): number {
    return this.#quorumSentMs;
  }

  add(request: ReadRequest): void {
    this.#arrived.push(request);
  }

  /** A plain heartbeat is a round too. */
  nextRound(nowMs: number): number {
    const round = ++this.#round;
    this.#sent.push({ round, atMs: nowMs });
    return round;
  }

  /** Gives the reads that have arrived the commit index and a new round, to be sent to all followers now. */
  beginRound(nowMs: number, commitIndex: number): number {
    const round = this.nextRound(nowMs);
    for (const request of this.#arrived) this.#waiting.push({ ...request, index: commitIndex, round });
    this.#arrived = [];
    return round;
  }

  /** Takes the reads whose round a quorum has answered. */
  confirmed(answeredRound: number): ConfirmedRead[] {
    let answered = 0;
    while ((this.#sent[answered]?.round ?? Number.POSITIVE_INFINITY) <= answeredRound) answered++;
    for (const { atMs } of this.#sent.splice(0, answered)) this.#quorumSentMs = atMs;
    let count = 0;
    while ((this.#waiting[count]?.round ?? Number.POSITIVE_INFINITY) <= answeredRound) count++;
    return this.#waiting.splice(0, count);
  }

  /** Takes all reads: they cannot be confirmed any more. Leases end. */
  fail(): ReadRequest[] {
    const requests = [...this.#waiting, ...this.#arrived];
    this.#waiting = [];
    this.#arrived = [];
    this.endLease();
    return requests;
  }

  /** The next lease begins with the next round. */
  endLease(): void {
    this.#sent = [];
    this.#quorumSentMs = Number.NEGATIVE_INFINITY;
  }
}
