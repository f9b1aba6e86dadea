/**
 * Reads that this node forwarded to its leader: the leader confirms an index as it does for its own reads, and this node
 * answers when it has applied it. A read that the leader does not answer in time, or that outlives it, fails.
 */
interface ForwardedRead {
  readonly id: number;
  readonly deadlineMs: number;
}

export class FollowerReads {
  /** In the order in which they were forwarded, and so of their deadlines. */
  readonly #waiting = new Map<number, ForwardedRead>();

  get count(): number {
    return this.#waiting.size;
  }

  add(id: number, deadlineMs: number): void {
    this.#waiting.set(id, { id, deadlineMs });
  }

  /** Whether the answer was awaited. */
  answered(id: number): boolean {
    return this.#waiting.delete(id);
  }

  overdue(nowMs: number): number[] {
    const ids: number[] = [];
    for (const { id, deadlineMs } of this.#waiting.values()) {
      if (nowMs < deadlineMs) break;
      ids.push(id);
      this.#waiting.delete(id);
    }
    return ids;
  }

  fail(): number[] {
    const ids = [...this.#waiting.keys()];
    this.#waiting.clear();
    return ids;
  }
}
