/**
 * Reads that this node forwarded to its leader: the leader confirms an index as it does for its own reads, and this
 * node answers when it has applied it. A read that the leader does not answer in time, or that outlives it, fails.
 */
interface ForwardedRead {
  /** The host's. */
  readonly id: number;
  readonly deadlineMs: number;
}

/** Where ids on the wire may begin: room is left for all that one process can ask. */
const FIRST_WIRE_IDS = 2 ** 52;

export class FollowerReads {
  /** By id on the wire, in the order in which they were forwarded, and so of their deadlines. */
  readonly #waiting = new Map<number, ForwardedRead>();
  #nextWireId: number;

  /**
   * `random` is uniform in [0, 1). Ids on the wire begin at a random place: an answer that was meant for the process
   * before a restart, and comes late, must not confirm a read of this one.
   */
  constructor(random: () => number) {
    this.#nextWireId = Math.floor(random() * FIRST_WIRE_IDS);
  }

  get count(): number {
    return this.#waiting.size;
  }

  /** Returns the id under which to ask. */
  add(id: number, deadlineMs: number): number {
    const wireId = this.#nextWireId++;
    this.#waiting.set(wireId, { id, deadlineMs });
    return wireId;
  }

  /** Takes the read that an answer is for; undefined if none waits for it. */
  answered(wireId: number): number | undefined {
    const read = this.#waiting.get(wireId);
    this.#waiting.delete(wireId);
    return read?.id;
  }

  overdue(nowMs: number): number[] {
    const ids: number[] = [];
    for (const [wireId, { id, deadlineMs }] of this.#waiting) {
      if (nowMs < deadlineMs) break;
      ids.push(id);
      this.#waiting.delete(wireId);
    }
    return ids;
  }

  fail(): number[] {
    const ids = [...this.#waiting.values()].map(({ id }) => id);
    this.#waiting.clear();
    return ids;
  }
}
