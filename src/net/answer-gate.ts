/**
 * Keeps the answers of one channel within what it may buffer. A request that is small on its way in may have an answer
 * that is large on its way out, and hundreds of them may arrive in one chunk: started all at once, their answers would
 * together pass `maxBufferedBytes` before the other side had a chance to read one. So work with large answers is
 * started here only when its largest possible answer still fits; until then it waits, in order.
 *
 *     unsent bytes + (running + 1) * maxAnswerBytes <= budgetBytes
 *
 * One always runs when the channel is writable, however large its answer. The number of those that wait is the
 * caller's to bound, by not reading (`Channel.pauseReading`). The handler that owns the gate calls `writable` from its
 * `writabilityChanged`.
 */
import type { Channel } from './channel.js';

export interface AnswerGateOptions {
  /** The largest answer that may come of one piece of work. */
  readonly maxAnswerBytes: number;
  /** What answers may take together, sent to the system or still to come; well below `maxBufferedBytes`. */
  readonly budgetBytes: number;
}

export class AnswerGate {
  readonly #channel: Channel;
  readonly #options: AnswerGateOptions;
  readonly #waiting: (() => Promise<unknown>)[] = [];
  #running = 0;

  constructor(channel: Channel, options: AnswerGateOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  /** Work that is started and has not answered. */
  get running(): number {
    return this.#running;
  }

  /** Work that waits to be started. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Starts the work as soon as its answer fits, and writes the answer. Work that rejects cuts the channel off with its
   * error. On a channel that is not open work that waits is never started.
   */
  run(work: () => Promise<unknown>): void {
    this.#waiting.push(work);
    this.writable();
  }

  /** The channel may have room again. */
  writable(): void {
    if (!this.#channel.isOpen) this.#waiting.length = 0;
    while (this.#waiting.length > 0 && this.#hasRoom()) {
      const work = this.#waiting.shift();
      if (work) void this.#start(work);
    }
  }

  #hasRoom(): boolean {
    if (this.#running === 0) return this.#channel.isWritable;
    const { maxAnswerBytes, budgetBytes } = this.#options;
    return this.#channel.unsentBytes + (this.#running + 1) * maxAnswerBytes <= budgetBytes;
  }

  async #start(work: () => Promise<unknown>): Promise<void> {
    this.#running++;
    try {
      const answer = await work();
      this.#channel.write(answer);
    } catch (error) {
      this.#channel.abort(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#running--;
      this.writable();
    }
  }
}
