/**
 * The handlers of one channel, in order, after netty. Received events pass from the first handler to the last. Writes
 * pass from the last to the first and end at the socket. A handler implements only the events that it needs; it passes
 * an event on by calling the same method of its context.
 *
 *     socket -> FrameDecoder -> MessageDecoder -> Handshake -> the room's handler -> tail
 *     socket <- FrameEncoder <- MessageEncoder <-------------- the room's handler
 *
 * If a handler throws during a received event, the error goes as `failed` to the handlers behind it. If none of them
 * handles it, the tail aborts the channel. An error thrown by `write` reaches the caller of `write`.
 *
 * The types say what passes between two handlers. `add` takes a handler only if it reads what the handlers before it
 * pass on, and passes on to them what they write.
 */
import type { Channel } from './channel.js';

/** What the socket takes. */
export type Bytes = Uint8Array | readonly Uint8Array[];

/**
 * `Read` is what arrives at this handler, and `PassesOn` what it gives to the next. `Written` is what the next handler
 * writes to it, and `Sends` what it writes towards the socket.
 */
export interface Handler<Read = unknown, Written = unknown, PassesOn = Read, Sends = Written> {
  /** Connected, and the handlers before this one are ready. Called once, before any `read`. */
  active?(context: HandlerContext<PassesOn, Sends>): void;
  read?(context: HandlerContext<PassesOn, Sends>, message: Read): void;
  /** Reading continues after a pause: a handler that held received messages back passes them on. */
  resumed?(context: HandlerContext<PassesOn, Sends>): void;
  /** Closed, with the reason if it was an error. The last event. */
  inactive?(context: HandlerContext<PassesOn, Sends>, error: Error | undefined): void;
  failed?(context: HandlerContext<PassesOn, Sends>, error: Error): void;
  /** The unsent bytes rose above the high water mark (false) or fell to the low one (true). */
  writabilityChanged?(context: HandlerContext<PassesOn, Sends>, writable: boolean): void;
  write?(context: HandlerContext<PassesOn, Sends>, message: Written): void;
}

/** A handler's position in its pipeline. */
export class HandlerContext<PassesOn = unknown, Sends = unknown> {
  readonly channel: Channel;
  readonly handler: Handler;
  next: HandlerContext | undefined;
  previous: HandlerContext | undefined;

  constructor(channel: Channel, handler: Handler) {
    this.channel = channel;
    this.handler = handler;
  }

  active(): void {
    for (let at = this.next; at; at = at.next) {
      if (!at.handler.active) continue;
      try {
        at.handler.active(at);
      } catch (error) {
        at.failed(error);
      }
      return;
    }
  }

  read(message: PassesOn): void {
    for (let at = this.next; at; at = at.next) {
      if (!at.handler.read) continue;
      try {
        at.handler.read(at, message);
      } catch (error) {
        at.failed(error);
      }
      return;
    }
  }

  resumed(): void {
    for (let at = this.next; at; at = at.next) {
      if (!at.handler.resumed) continue;
      try {
        at.handler.resumed(at);
      } catch (error) {
        at.failed(error);
      }
      return;
    }
  }

  inactive(error: Error | undefined): void {
    for (let at = this.next; at; at = at.next) {
      if (!at.handler.inactive) continue;
      try {
        at.handler.inactive(at, error);
      } catch (failure) {
        at.failed(failure);
      }
      return;
    }
  }

  writabilityChanged(writable: boolean): void {
    for (let at = this.next; at; at = at.next) {
      if (!at.handler.writabilityChanged) continue;
      try {
        at.handler.writabilityChanged(at, writable);
      } catch (error) {
        at.failed(error);
      }
      return;
    }
  }

  failed(thrown: unknown): void {
    let error = thrown instanceof Error ? thrown : new Error(String(thrown));
    for (let at = this.next; at; at = at.next) {
      if (!at.handler.failed) continue;
      try {
        at.handler.failed(at, error);
        return;
      } catch (another) {
        // The handler's `failed` threw as well: its error replaces the first one.
        error = another instanceof Error ? another : new Error(String(another));
      }
    }
    this.channel.abort(error);
  }

  /** Towards the socket. Throws what a handler on the way throws. */
  write(message: Sends): void {
    for (let at = this.previous; at; at = at.previous) {
      if (!at.handler.write) continue;
      at.handler.write(at, message);
      return;
    }
    this.channel.enqueue(message);
  }
}

/** What is added next reads `Read`, and writes `Written`. */
export interface PipelineEnd<Read, Written> {
  /** Adds a handler at the end, next to the application. Returns the new end. */
  add<PassesOn = Read, Takes = Written>(
    handler: Handler<Read, Takes, PassesOn, Written>,
  ): PipelineEnd<PassesOn, Takes>;
}

class End<Read, Written> implements PipelineEnd<Read, Written> {
  readonly #append: (handler: Handler) => void;

  constructor(append: (handler: Handler) => void) {
    this.#append = append;
  }

  add<PassesOn = Read, Takes = Written>(
    handler: Handler<Read, Takes, PassesOn, Written>,
  ): PipelineEnd<PassesOn, Takes> {
    this.#append(handler);
    return new End<PassesOn, Takes>(this.#append);
  }
}

export class Pipeline implements PipelineEnd<Buffer, Bytes> {
  readonly #head: HandlerContext;
  readonly #tail: HandlerContext;

  constructor(channel: Channel) {
    this.#head = new HandlerContext(channel, {});
    this.#tail = new HandlerContext(channel, {});
    this.#head.next = this.#tail;
    this.#tail.previous = this.#head;
  }

  /**
   * Adds a handler at the end, next to the application. It reads and writes bytes, as all that were added in this way
   * before; a chain of `add` goes on with what the handler before it passes on.
   */
  add<PassesOn = Buffer, Takes = Bytes>(
    handler: Handler<Buffer, Takes, PassesOn, Bytes>,
  ): PipelineEnd<PassesOn, Takes> {
    return new End<Buffer, Bytes>((added) => this.#append(added)).add(handler);
  }

  #append(handler: Handler): void {
    const context = new HandlerContext(this.#head.channel, handler);
    const before = this.#tail.previous ?? this.#head;
    context.previous = before;
    context.next = this.#tail;
    before.next = context;
    this.#tail.previous = context;
  }

  /** Removes a handler. An event that it is passing on still reaches the next handler. */
  remove(handler: Handler): void {
    for (let at = this.#head.next; at; at = at.next) {
      if (at.handler !== handler || !at.previous || !at.next) continue;
      at.previous.next = at.next;
      at.next.previous = at.previous;
      return;
    }
  }

  /** The socket's end: received events start here. */
  get head(): HandlerContext {
    return this.#head;
  }

  /** The application's end: writes start here. */
  get tail(): HandlerContext {
    return this.#tail;
  }
}
