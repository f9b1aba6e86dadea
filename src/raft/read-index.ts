/**
 * Linearizable reads without log entries (dissertation, section 6.4).
 *
 * - ReadIndex: the leader must have committed an entry of its own term. A read takes the commit index and waits until a
 *   quorum has answered a heartbeat round that was sent *after* the read arrived. Rounds are numbered by a monotonic
 *   counter of the leader, so a repeated or reordered answer never confirms a later read. All reads of one turn share a
 *   round.
 * - Lease: after a quorum has answered a round, no other node can be elected for the shortest election timeout, less
 *   the clock drift, counted from the time the round was *sent*. Until then reads need no round of their own.
 */
import type { NodeId } from './types.js';

/** `from` is this node for its host's reads, or another member for forwarded ones. */
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
  /** Reads without an index and a round yet. */
  #arrived: ReadRequest[] = [];
  #waiting: PendingRead[] = [];
  /** Send times of the rounds that no quorum has answered yet, oldest first. */
  #sent: { readonly round: number; readonly atMs: number }[] = [];
  #quorumSentMs = Number.NEGATIVE_INFINITY;

  get pendingCount(): number {
    return this.#arrived.length + this.#waiting.length;
  }

  /** The last round started. */
  get round(): number {
    return this.#round;
  }

  get hasArrived(): boolean {
    return this.#arrived.length > 0;
  }

  /** When the newest round that a quorum has answered was sent. */
  get quorumSentMs(): number {
    return this.#quorumSentMs;
  }

  add(request: ReadRequest): void {
    this.#arrived.push(request);
  }

  /** Every heartbeat is a round. */
  nextRound(nowMs: number): number {
    const round = ++this.#round;
    this.#sent.push({ round, atMs: nowMs });
    return round;
  }

  /** Gives the arrived reads the commit index and a new round, which the caller sends to all followers now. */
  beginRound(nowMs: number, commitIndex: number): number {
    const round = this.nextRound(nowMs);
    for (const request of this.#arrived) this.#waiting.push({ ...request, index: commitIndex, round });
    this.#arrived = [];
    return round;
  }

  /** Removes and returns the reads whose round a quorum has answered. */
  confirmed(answeredRound: number): ConfirmedRead[] {
    let answered = 0;
    while ((this.#sent[answered]?.round ?? Number.POSITIVE_INFINITY) <= answeredRound) answered++;
    for (const { atMs } of this.#sent.splice(0, answered)) this.#quorumSentMs = atMs;
    let count = 0;
    while ((this.#waiting[count]?.round ?? Number.POSITIVE_INFINITY) <= answeredRound) count++;
    return this.#waiting.splice(0, count);
  }

  /** Removes and returns all reads, which can no longer be confirmed. Ends the lease. */
  fail(): ReadRequest[] {
    const requests = [...this.#waiting, ...this.#arrived];
    this.#waiting = [];
    this.#arrived = [];
    this.endLease();
    return requests;
  }

  /** Ends the lease. The next round starts a new one. */
  endLease(): void {
    this.#sent = [];
    this.#quorumSentMs = Number.NEGATIVE_INFINITY;
  }
}
