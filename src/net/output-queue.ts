/**
 * The bytes that a channel was given in this turn. `take` copies runs of small chunks into one, because an entry in the
 * list of a writev call costs more than a short copy. Large chunks stay as they are.
 */
const SMALL_BYTES = 4096;
const BLOCK_BYTES = 64 * 1024;

export class OutputQueue {
  #chunks: Uint8Array[] = [];
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  add(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
  }

  clear(): void {
    this.#chunks = [];
    this.#sizeBytes = 0;
  }

  /** All chunks, in order. The queue is empty afterwards. */
  take(): Uint8Array[] {
    const chunks = this.#chunks;
    this.clear();
    if (chunks.length === 1) return chunks;
    const taken: Uint8Array[] = [];
    let run: Uint8Array[] = [];
    let runBytes = 0;
    const endRun = () => {
      const first = run[0];
      if (first) taken.push(run.length === 1 ? first : Buffer.concat(run, runBytes));
      run = [];
      runBytes = 0;
    };
    for (const chunk of chunks) {
      if (chunk.length > SMALL_BYTES) {
        endRun();
        taken.push(chunk);
        continue;
      }
      if (runBytes + chunk.length > BLOCK_BYTES) endRun();
      run.push(chunk);
      runBytes += chunk.length;
    }
    endRun();
    return taken;
  }
}
