/**
 * Lets writes in, in the order in which they came: at once while there is room, later while flush and compaction are
 * behind. Whoever calls `enter` looks at `waitingBytes` first, so that what waits is bounded.
 */
interface Waiting {
  readonly sizeBytes: number;
  readonly admit: () => void;
  readonly refuse: (error: unknown) => void;
}

export class Admission {
  readonly #isStalled: () => boolean;
  #queue: Waiting[] = [];
  #waitingBytes = 0;

  constructor(isStalled: () => boolean) {
    this.#isStalled = isStalled;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Whether a write may go on now, without overtaking one that waits. */
  get isOpen(): boolean {
    return this.#queue.length === 0 && !this.#isStalled();
  }

  /** Waits for its turn; `enter` then runs at once. Rejects as `refuseAll` says. */
  enter<T>(sizeBytes: number, enter: () => T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waitingBytes += sizeBytes;
      this.#queue.push({
        sizeBytes,
        admit: () => {
          try {
            resolve(enter());
          } catch (error) {
            reject(error);
          }
        },
        refuse: reject,
      });
    });
  }

  /** To be called when there may be room again. */
  admitWaiting(): void {
    let admitted = 0;
    while (admitted < this.#queue.length && !this.#isStalled()) {
      const next = this.#queue[admitted++] as Waiting;
      this.#waitingBytes -= next.sizeBytes;
      next.admit();
    }
    if (admitted > 0) this.#queue = this.#queue.slice(admitted);
  }

  refuseAll(error: unknown): void {
    const queue = this.#queue;
    this.#queue = [];
    this.#waitingBytes = 0;
    for (const waiting of queue) waiting.refuse(error);
  }
}
