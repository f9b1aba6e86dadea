/**
 * Keeps the answers of one channel within what it may buffer. A request that is small on its way in may have an answer
 * that is large on its way out, and hundreds of them may arrive in one chunk. So an answer is made only while the channel
 * is writable, when the largest possible one fits into the budget of the node, and when its turn has come; until then it
 * waits, in order.
 *
 * So at most the high water mark and one answer are unsent. The number of answers that wait is the caller's to bound, by
 * not reading (`Channel.pauseReading`). The handler that owns the gate calls `writable` from its `writabilityChanged`.
 */
import type { Channel } from './channel.js';
import type { Turns } from './turns.js';

export interface AnswerGateOptions {
  /** The largest answer that there may be. */
  readonly maxAnswerBytes: number;
  /** Of all channels together. */
  readonly turns: Turns;
}

export class AnswerGate {
  readonly #channel: Channel;
  readonly #options: AnswerGateOptions;
  readonly #waiting: (() => unknown)[] = [];
  /** The first of those that wait has been given a turn, or waits for room in the budget. */
  #isCalled = false;

  constructor(channel: Channel, options: AnswerGateOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  /** Answers that wait to be made. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Makes the answer as soon as it fits, and writes it. If making it throws, the channel is cut off with that error. On a
   * channel that is not open answers that wait are never made.
   */
  run(answer: () => unknown): void {
    this.#waiting.push(answer);
    this.writable();
  }

  /** The channel may have room again. */
  writable(): void {
    if (!this.#channel.isOpen) this.#waiting.length = 0;
    if (this.#isCalled || this.#waiting.length === 0 || !this.#channel.isWritable) return;
    this.#isCalled = true;
    const { maxAnswerBytes, turns } = this.#options;
    const take = () => turns.run(() => this.#make());
    if (this.#channel.buffers?.reserve('unsent', maxAnswerBytes, take) ?? true) take();
  }

  /** Returns the bytes that were written. */
  #make(): number {
    this.#isCalled = false;
    const answer = this.#channel.isOpen ? this.#waiting.shift() : undefined;
    const before = this.#channel.writtenBytes;
    try {
      if (answer) this.#channel.write(answer());
    } catch (error) {
      this.#channel.abort(error instanceof Error ? error : new Error(String(error)));
    }
    this.writable();
    return this.#channel.writtenBytes - before;
  }
}
