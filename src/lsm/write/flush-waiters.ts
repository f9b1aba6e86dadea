/** The calls that wait until everything up to a sequence is in durable tables. */
interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class FlushWaiters {
  #waiters: Waiter[] = [];

  wait(sequence: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ sequence, resolve, reject });
    });
  }

  /** Whether a call waits for this sequence or a later one. */
  wants(sequence: number): boolean {
    return this.#waiters.some((waiter) => waiter.sequence >= sequence);
  }

  reached(flushedSequence: number): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => waiter.sequence > flushedSequence);
    for (const waiter of waiters) if (waiter.sequence <= flushedSequence) waiter.resolve();
  }

  refuseAll(error: unknown): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }
}
