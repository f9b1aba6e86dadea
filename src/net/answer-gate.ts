/**
 * Bounds the unsent answers of one channel. A small request may have a large answer, and hundreds of requests may
 * arrive in one chunk. So an answer is made only while the channel is writable and when the channel has its turn. Until
 * then the requests wait, in order. An answer's size is known only once it is made: if it is large and the node's
 * budget has no room for it, it is dropped, and made again when there is room.
 *
 * So at most the high water mark and one answer are unsent. The caller must bound the number of waiting requests by not
 * reading (`Channel.pauseReading`). The handler that owns the gate calls `writable` from its `writabilityChanged`.
 */
import type { Channel } from './channel.js';
import type { Turns, Weight } from './turns.js';

export interface Answer<Message = unknown> {
  readonly message: Message;
  readonly sizeBytes: number;
}

/** An answer up to this size needs no reservation, and its connection counts as light. */
const SMALL_ANSWER_BYTES = 64 * 1024;

interface Waiting<Message> {
  readonly make: () => Answer<Message> | undefined;
  readonly written: () => void;
}

export class AnswerGate<Message = unknown> {
  readonly #channel: Channel<Message>;
  readonly #turns: Turns;
  readonly #waiting: Waiting<Message>[] = [];
  /** The first waiting request has been given to `Turns`, or waits for room in the budget. */
  #isCalled = false;
  #weight: Weight = 'light';

  /** `turns` is shared by all channels. */
  constructor(channel: Channel<Message>, turns: Turns) {
    this.#channel = channel;
    this.#turns = turns;
  }

  /** Answers that wait to be written. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Makes the answer when its turn has come, perhaps more than once, and writes it; undefined: there is none. If `make`
   * throws, the channel is aborted with that error. If the channel is not open, nothing is made or written.
   */
  run(make: () => Answer<Message> | undefined, written: () => void): void {
    this.#waiting.push({ make, written });
    this.writable();
  }

  /** Called when the channel may have become writable. */
  writable(): void {
    if (!this.#channel.isOpen) this.#waiting.length = 0;
    if (this.#isCalled || this.#waiting.length === 0 || !this.#channel.isWritable) return;
    this.#isCalled = true;
    this.#turns.run(() => this.#take(false), this.#weight);
  }

  /** Returns the size of the answer that was made. */
  #take(hasRoom: boolean): number {
    const [first] = this.#waiting;
    if (!first || !this.#channel.isOpen) return 0;
    let sizeBytes = 0;
    try {
      const answer = first.make();
      sizeBytes = answer?.sizeBytes ?? 0;
      this.#weight = sizeBytes > SMALL_ANSWER_BYTES ? 'heavy' : 'light';
      if (!hasRoom && !this.#hasRoom(sizeBytes)) return sizeBytes;
      if (answer) this.#channel.write(answer.message);
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
