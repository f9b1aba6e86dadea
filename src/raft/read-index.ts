/**
 * Linearizable reads without log entries (dissertation, section 6.4). A read takes the commit index of a leader that
 * has committed an entry of its own term, and waits until a quorum has answered a heartbeat round sent *after* the
 * read arrived. Rounds are the leader's own monotonic counter, so a retried or reordered answer never confirms a
 * later read. All reads of one turn share a round.
 */
interface PendingRead {
  readonly id: number;
  readonly index: number;
  readonly round: number;
}

export class ReadIndex {
  #round = 0;
  /** Arrived, and not yet given an index and a round. */
  #arrived: number[] = [];
  #waiting: PendingRead[] = [];

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

  add(id: number): void {
    this.#arrived.push(id);
  }

  /** A plain heartbeat is a round too. */
  nextRound(): number {
    return ++this.#round;
  }

  /** Gives the reads that have arrived the commit index and a new round, to be sent to all followers now. */
  beginRound(commitIndex: number): number {
    const round = this.nextRound();
    for (const id of this.#arrived) this.#waiting.push({ id, index: commitIndex, round });
    this.#arrived = [];
    return round;
  }

  /** Takes the reads whose round a quorum has answered. */
  confirmed(answeredRound: number): { id: number; index: number }[] {
    let count = 0;
    while ((this.#waiting[count]?.round ?? Number.POSITIVE_INFINITY) <= answeredRound) count++;
    return this.#waiting.splice(0, count);
  }

  /** Takes all reads: they cannot be confirmed any more. */
  fail(): number[] {
    const ids = [...this.#waiting.map((read) => read.id), ...this.#arrived];
    this.#waiting = [];
    this.#arrived = [];
    return ids;
  }
}
