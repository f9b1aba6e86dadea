/**
 * Limits how many bytes of large writes are in the log and not yet applied. Further large writes wait, in order. A
 * small write does not wait here. It has at most this many bytes of large writes before it in the log, however many
 * clients send large ones.
 */

import type { Write } from './requests.js';

/** A write whose command is longer is large. */
const LARGE_BYTES = 64 * 1024;
/** Bytes of large writes that are proposed and not applied. One write alone may be larger. */
const MAX_BYTES_UNDER_WAY = 8 * 1024 * 1024;

/** Of an operation beside its key and values, with its share of what a command has beside the operations. */
const MAX_OPERATION_BYTES = 128;

export function isLarge(commandBytes: number): boolean {
  return commandBytes > LARGE_BYTES;
}

/** Whether the command of a write may be large. */
export function isLargeWrite(operations: Write['operations']): boolean {
  let sizeBytes = 0;
  for (const { key, value, conditionValue } of operations)
    sizeBytes += MAX_OPERATION_BYTES + key.length + value.length + conditionValue.length;
  return isLarge(sizeBytes);
}

export class LargeWrites {
  readonly #waiting: { readonly sizeBytes: number; readonly go: () => void }[] = [];
  #bytesUnderWay = 0;

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Runs the work of a large write when it may begin. */
  async run<T>(sizeBytes: number, work: () => Promise<T>): Promise<T> {
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
