/**
 * Keeps the answers of one channel within what it may buffer. A request that is small on its way in may have an answer
 * that is large on its way out, and hundreds of them may arrive in one chunk. So an answer is made only while the
 * channel is writable and when its turn has come; until then it waits, in order. A large one for which the budget of
 * the node has no room is dropped, and made again when there is room: nobody knows how large it is before.
 *
 * So at most the high water mark and one answer are unsent. The number of answers that wait is the caller's to bound,
 * by not reading (`Channel.pauseReading`). The handler that owns the gate calls `writable` from its
 * `writabilityChanged`.
 */
import type { Channel } from './channel.js';
import type { Turns, Weight } from './turns.js';

export interface Answer {
  readonly message: unknown;
  readonly sizeBytes: number;
}

/** An answer up to this size asks for no room, and makes its connection a light one. */
const SMALL_ANSWER_BYTES = 64 * 1024;

interface Waiting {
  readonly make: () => Answer;
  readonly written: () => void;
}

export class AnswerGate {
  readonly #channel: Channel;
  readonly #turns: Turns;
  readonly #waiting: Waiting[] = [];
  /** The first of those that wait is to have a turn, or waits for room in the budget. */
  #isCalled = false;
  #weight: Weight = 'light';

  /** `turns`: of all channels together. */
  constructor(channel: Channel, turns: Turns) {
    this.#channel = channel;
    this.#turns = turns;
  }

  /** Answers that wait to be written. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Makes an answer when its turn has come, perhaps more than once, and writes it. If making it throws, the channel is
   * cut off with that error. On a channel that is not open nothing is made or written.
   */
  run(make: () => Answer, written: () => void): void {
    this.#waiting.push({ make, written });
    this.writable();
  }

  /** The channel may have room again. */
  writable(): void {
    if (!this.#channel.isOpen) this.#waiting.length = 0;
    if (this.#isCalled || this.#waiting.length === 0 || !this.#channel.isWritable) return;
    this.#isCalled = true;
    this.#turns.run(() => this.#take(false), this.#weight);
  }

  /** Returns the bytes that were made. */
  #take(hasRoom: boolean): number {
    const [first] = this.#waiting;
    if (!first || !this.#channel.isOpen) return 0;
    let sizeBytes = 0;
    try {
      const answer = first.make();
      sizeBytes = answer.sizeBytes;
      this.#weight = sizeBytes > SMALL_ANSWER_BYTES ? 'heavy' : 'light';
      if (!hasRoom && !this.#hasRoom(sizeBytes)) return sizeBytes;
      this.#channel.write(answer.message);
    } catch (error) {
      this.#channel.abort(error instanceof Error ? error : new Error(String(error)));
    }
    this.#waiting.shift();
    this.#isCalled = false;
    first.written();
    this.writable();
    return sizeBytes;
  }

  #hasRoom(sizeBytes: number): boolean {
    const { buffers } = this.#channel;
    if (!buffers || sizeBytes <= SMALL_ANSWER_BYTES) return true;
    return buffers.reserve(
      'unsent',
      sizeBytes,
      () => this.#turns.run(() => this.#take(true), this.#weight),
      sizeBytes * this.#waiting.length,
    );
  }
}
