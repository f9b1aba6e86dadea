/**
 * Memory for the values of one engine batch. It is used again for the next batch: new memory for each value would keep
 * the collector busy.
 */
const FIRST_BYTES = 64 * 1024;
/** Batches with more bytes of values get some new memory each time. */
const MOST_BYTES = 2 * 1024 * 1024;

export class BatchMemory {
  #bytes: Buffer = Buffer.alloc(0);
  #used = 0;

  /** The bytes are good until `clear`. */
  readonly allocate = (sizeBytes: number): Buffer => {
    const from = this.#used;
    this.#used += sizeBytes;
    if (this.#used <= this.#bytes.length) return this.#bytes.subarray(from, this.#used);
    return Buffer.allocUnsafe(sizeBytes);
  };

  /** The engine has taken the batch. */
  clear(): void {
    // What did not fit will fit the next time.
    if (this.#used > this.#bytes.length && this.#bytes.length < MOST_BYTES) {
      this.#bytes = Buffer.allocUnsafeSlow(Math.min(MOST_BYTES, Math.max(FIRST_BYTES, 2 * this.#used)));
    }
    this.#used = 0;
  }
}
