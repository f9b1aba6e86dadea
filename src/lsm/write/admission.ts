/**
 * Admits writes in the order of their arrival: at once while there is room, later while flush and compaction are
 * behind. The caller of `enter` checks `waitingBytes` first, so that the waiting writes are bounded.
 */
interface Waiting {
  readonly sizeBytes: number;
  readonly admit: () => void;
  readonly refuse: (error: unknown) => void;
}

export class Admission {
  readonly #mayEnter: (sizeBytes: number) => boolean;
  #queue: Waiting[] = [];
  #waitingBytes = 0;

  /** `mayEnter` is called for the next write. If it returns true, the write proceeds. */
  constructor(mayEnter: (sizeBytes: number) => boolean) {
    this.#mayEnter = mayEnter;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Whether a write may proceed now, without overtaking a waiting one. */
  enterNow(sizeBytes: number): boolean {
    return this.#queue.length === 0 && this.#mayEnter(sizeBytes);
  }

  /** Waits until the write is next; `enter` then runs at once. Rejects with the error given to `refuseAll`. */
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

  /** Must be called when there may be room again. */
  admitWaiting(): void {
    let admitted = 0;
    for (let next = this.#queue[0]; next; next = this.#queue[admitted]) {
      if (!this.#mayEnter(next.sizeBytes)) break;
      admitted++;
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
