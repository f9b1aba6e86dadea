/**
 * Reads that this node forwarded to its leader. The leader confirms an index as for its own reads, and this node
 * answers once it has applied that index. A read fails if the leader does not answer in time, or if the leader changes.
 */
interface ForwardedRead {
  /** The host's id. */
  readonly id: number;
  readonly deadlineMs: number;
}

/** Upper limit of the first id on the wire. Above it there is room for all reads of one process. */
const FIRST_WIRE_IDS = 2 ** 52;

export class FollowerReads {
  /** By id on the wire, in the order of forwarding, which is also the order of the deadlines. */
  readonly #waiting = new Map<number, ForwardedRead>();
  #nextWireId: number;

  /**
   * `random` is uniform in [0, 1). Ids on the wire start at a random number: a late answer to a read of the process
   * before a restart must not confirm a read of this process.
   */
  constructor(random: () => number) {
    this.#nextWireId = Math.floor(random() * FIRST_WIRE_IDS);
  }

  get count(): number {
    return this.#waiting.size;
  }

  /** The first deadline; infinite if no read waits. */
  get deadlineMs(): number {
    const [first] = this.#waiting.values();
    return first?.deadlineMs ?? Number.POSITIVE_INFINITY;
  }

  /** Returns the id on the wire. */
  add(id: number, deadlineMs: number): number {
    const wireId = this.#nextWireId++;
    this.#waiting.set(wireId, { id, deadlineMs });
    return wireId;
  }

  /** Removes and returns the read that was answered; undefined if no read has this id. */
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
