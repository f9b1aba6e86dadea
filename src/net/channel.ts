/**
 * A connection with a pipeline. The channel owns its socket: no other code writes to it, pauses it or closes it.
 *
 * The writes of one turn of the event loop are sent together. Unsent output is bounded: above the high water mark the
 * channel is not writable, and the server side also stops reading, so that no new requests produce new output. If that
 * lasts too long, or the hard limit is reached, the channel is aborted with `SLOW_READER`.
 */
import type { Env, Socket, Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { AccountKind, BufferAccount } from './buffer-account.js';
import type { BufferBudget } from './buffer-budget.js';
import { type ChannelOptions, channelOptions } from './channel-options.js';
import { OutputQueue } from './output-queue.js';
import { Pipeline } from './pipeline.js';

/** The parts of `Env` that a channel needs. */
export type ChannelEnv = Pick<Env, 'clock' | 'timers'>;

/** Why reading is paused: by the application, or by the node's budget. */
export type ReadHold = 'application' | 'budget';

/** Output up to this size waits for the end of the turn uncounted. */
const SMALL_OUTPUT_BYTES = 4096;

type State = 'new' | 'open' | 'closing' | 'aborted' | 'closed';

/** `Written`: what the handler at the end of the pipeline takes. */
export class Channel<Written = unknown> {
  readonly env: ChannelEnv;
  readonly remote: string;
  readonly pipeline: Pipeline;
  /** Resolves when the socket is closed, with the reason if it was an error. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  readonly #socket: Socket;
  readonly #options: ChannelOptions;
  readonly #output = new OutputQueue();
  #state: State = 'new';
  #writable = true;
  readonly #readHolds = new Set<ReadHold>();
  #buffers: BufferAccount | undefined;
  #flushScheduled = false;
  #slowReaderTimer: Timer | undefined;
  #closeTimer: Timer | undefined;
  #reason: Error | undefined;
  #resolveClosed: (reason: Error | undefined) => void = () => {};

  /** Throws `INVALID_OPTION`. Nothing is read before `start`. */
  constructor(env: ChannelEnv, socket: Socket, options: Partial<ChannelOptions> = {}) {
    this.env = env;
    this.remote = socket.remote;
    this.#socket = socket;
    this.#options = channelOptions(options);
    this.pipeline = new Pipeline(this);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  /** Whether writes are still accepted. */
  get isOpen(): boolean {
    return this.#state === 'open' || this.#state === 'new';
  }

  get #heldByOutput(): boolean {
    return !this.#writable && !this.#options.readsWhileNotWritable;
  }

  get isWritable(): boolean {
    return this.isOpen && this.#writable;
  }

  /** Whether received bytes are held back: by the water marks, by `pauseReading`, or because the channel closes. */
  get isPaused(): boolean {
    return this.#readHolds.size > 0 || this.#heldByOutput || !this.isOpen;
  }

  /** Bytes written here that the system has not taken yet. */
  get unsentBytes(): number {
    return this.#output.sizeBytes + this.#socket.bufferedBytes;
  }

  /** This connection's account in the node's budget, if there is a budget. */
  get buffers(): BufferAccount | undefined {
    return this.#buffers;
  }

  /** Call it before `start`: counts this connection's buffers in a budget. */
  chargeTo(budget: BufferBudget, kind: AccountKind): void {
    this.#buffers = budget.open(
      kind,
      () => this.unsentBytes,
      (reason) => {
        // The other side does not read, so an error message would not reach it either.
        if (this.unsentBytes > 0) this.abort(reason);
        else this.pipeline.head.failed(reason);
      },
    );
  }

  /** Called once, when the pipeline is complete. */
  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'open';
    this.pipeline.head.active();
    this.#socket.handle({
      data: (chunk) => {
        if (this.#state === 'open') this.pipeline.head.read(chunk);
      },
      drained: () => this.#checkWaterMarks(),
      closed: (error) => this.#finish(error),
    });
    if (this.#state === 'open' && this.isPaused) this.#socket.pause();
  }

  /**
   * Sends a message through the whole pipeline, from its end. Returns whether the channel is writable afterwards. If
   * the channel is not open, the message is dropped. Throws what an encoder throws.
   */
  write(message: Written): boolean {
    if (this.isOpen) this.pipeline.tail.write(message);
    return this.isWritable;
  }

  /** The socket end of the pipeline. Takes bytes only. */
  enqueue(message: unknown): void {
    if (!this.isOpen) return;
    if (message instanceof Uint8Array) this.#output.add(message);
    else if (Array.isArray(message)) for (const chunk of message) this.#output.add(chunk);
    else throw new TypeError('no handler of this pipeline turned the written message into bytes');
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      this.env.timers.endOfTurn(() => {
        this.#flushScheduled = false;
        this.flush();
      });
    }
    const { highWaterBytes, maxBufferedBytes } = this.#options;
    // A little more than nothing is looked at and counted when it is flushed, in this turn.
    if (this.#writable && this.#output.sizeBytes <= Math.min(SMALL_OUTPUT_BYTES, highWaterBytes / 4)) return;
    // First hand the bytes over: the system may take them all at once.
    if (this.#output.sizeBytes > highWaterBytes) this.flush();
    if (this.unsentBytes > maxBufferedBytes) {
      this.abort(
        new RaftreeError('SLOW_READER', `${this.remote} left more than ${maxBufferedBytes} bytes unread`),
      );
    } else if (this.#writable) {
      this.#checkWaterMarks();
    } else this.#buffers?.hold('unsent', this.unsentBytes);
  }

  /** Hands all written bytes to the system, without waiting for the end of this turn. */
  flush(): void {
    if (!this.isOpen) return;
    if (this.#output.sizeBytes > 0) this.#socket.write(this.#output.take());
    this.#checkWaterMarks();
  }

  /** Stops reading: backpressure. */
  pauseReading(by: ReadHold = 'application'): void {
    this.#readHolds.add(by);
    this.#socket.pause();
  }

  resumeReading(by: ReadHold = 'application'): void {
    if (this.#readHolds.delete(by)) this.#resumeSocket();
  }

  /** Sends what is written, then closes. Bytes that still arrive are ignored. `closed` resolves with the reason. */
  close(reason?: Error): void {
    if (!this.isOpen) return;
    if (this.#state === 'new') {
      this.abort(reason);
      return;
    }
    this.flush();
    if (!this.isOpen) return;
    this.#state = 'closing';
    this.#reason = reason;
    this.#slowReaderTimer?.cancel();
    this.#closeTimer = this.env.timers.after(this.#options.closeTimeoutMs, () => this.abort());
    this.#socket.end();
    // Without reading, the socket would not notice that the other side has closed too.
    this.#socket.resume();
  }

  /** Closes at once; unsent bytes are lost. The first reason given is kept. */
  abort(reason?: Error): void {
    if (this.#state === 'aborted' || this.#state === 'closed') return;
    const unstarted = this.#state === 'new';
    this.#state = 'aborted';
    this.#reason ??= reason;
    this.#output.clear();
    this.#buffers?.close();
    this.#cancelTimers();
    if (unstarted) this.#socket.handle({ data() {}, drained() {}, closed: (error) => this.#finish(error) });
    this.#socket.destroy();
  }

  #finish(error: Error | undefined): void {
    if (this.#state === 'closed') return;
    const reason = this.#reason ?? (this.#state === 'open' ? error : undefined);
    this.#state = 'closed';
    this.#output.clear();
    this.#buffers?.close();
    this.#cancelTimers();
    this.pipeline.head.inactive(reason);
    this.#resolveClosed(reason);
  }

  #cancelTimers(): void {
    this.#slowReaderTimer?.cancel();
    this.#closeTimer?.cancel();
  }

  #resumeSocket(): void {
    if (this.isPaused || this.#state !== 'open') return;
    this.pipeline.head.resumed();
    // The handlers that just resumed may have filled the output again.
    if (!this.isPaused && this.#state === 'open') this.#socket.resume();
  }

  #checkWaterMarks(): void {
    if (this.#state !== 'open') return;
    const unsentBytes = this.unsentBytes;
    this.#buffers?.hold('unsent', unsentBytes);
    // The budget may have cut this connection.
    if (!this.isOpen) return;
    if (this.#writable && unsentBytes > this.#options.highWaterBytes) {
      this.#writable = false;
      if (this.#heldByOutput) this.#socket.pause();
      this.#slowReaderTimer = this.env.timers.after(this.#options.slowReaderTimeoutMs, () => {
        this.#checkWaterMarks();
        if (this.#writable || this.#state !== 'open') return;
        this.abort(
          new RaftreeError(
            'SLOW_READER',
            `${this.remote} left ${this.unsentBytes} bytes unread for ${this.#options.slowReaderTimeoutMs} ms`,
          ),
        );
      });
      this.pipeline.head.writabilityChanged(false);
    } else if (!this.#writable && unsentBytes <= this.#options.lowWaterBytes) {
      const wasHeld = this.#heldByOutput;
      this.#writable = true;
      this.#slowReaderTimer?.cancel();
      this.pipeline.head.writabilityChanged(true);
      if (wasHeld) this.#resumeSocket();
    }
  }
}
