/**
 * Lets so many bytes of large writes into the log at a time; the others wait, in order. Whatever is in the log has to
 * be written and replicated before what comes behind it: a small write finds no more than this in front of it, however
 * many clients send large ones.
 */

/** A request above this is large. */
const LARGE_BYTES = 64 * 1024;
/** Of large writes that are proposed and not applied; one goes always. */
const MAX_BYTES_UNDER_WAY = 8 * 1024 * 1024;

export class LargeWrites {
  readonly #waiting: { readonly sizeBytes: number; readonly go: () => void }[] = [];
  #bytesUnderWay = 0;

  /** Runs the work when it may begin; small ones at once. */
  async run<T>(sizeBytes: number, work: () => Promise<T>): Promise<T> {
    if (sizeBytes <= LARGE_BYTES) return work();
    if (this.#waiting.length > 0 || !this.#fits(sizeBytes)) {
      await new Promise<void>((go) => this.#waiting.push({ sizeBytes, go }));
    } else this.#bytesUnderWay += sizeBytes;
    try {
      return await work();
    } finally {
      this.#bytesUnderWay -= sizeBytes;
      for (let [next] = this.#waiting; next && this.#fits(next.sizeBytes); [next] = this.#waiting) {
        this.#waiting.shift();
        this.#bytesUnderWay += next.sizeBytes;
        next.go();
      }
    }
  }

  #fits(sizeBytes: number): boolean {
    return this.#bytesUnderWay === 0 || this.#bytesUnderWay + sizeBytes <= MAX_BYTES_UNDER_WAY;
  }
}
