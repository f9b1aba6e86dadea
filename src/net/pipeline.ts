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
 */
import type { Channel } from './channel.js';

export interface Handler {
  /** Connected, and the handlers before this one are ready. Called once, before any `read`. */
  active?(context: HandlerContext): void;
  read?(context: HandlerContext, message: unknown): void;
  /** Reading continues after a pause: a handler that held received messages back passes them on. */
  resumed?(context: HandlerContext): void;
  /** Closed, with the reason if it was an error. The last event. */
  inactive?(context: HandlerContext, error: Error | undefined): void;
  failed?(context: HandlerContext, error: Error): void;
  /** The unsent bytes rose above the high water mark (false) or fell to the low one (true). */
  writabilityChanged?(context: HandlerContext, writable: boolean): void;
  write?(context: HandlerContext, message: unknown): void;
}

/** A handler's position in its pipeline. */
export class HandlerContext {
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

  read(message: unknown): void {
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
  write(message: unknown): void {
    for (let at = this.previous; at; at = at.previous) {
      if (!at.handler.write) continue;
      at.handler.write(at, message);
      return;
    }
    this.channel.enqueue(message);
  }
}

export class Pipeline {
  readonly #head: HandlerContext;
  readonly #tail: HandlerContext;

  constructor(channel: Channel) {
    this.#head = new HandlerContext(channel, {});
    this.#tail = new HandlerContext(channel, {});
    this.#head.next = this.#tail;
    this.#tail.previous = this.#head;
  }

  /** Adds handlers at the end, next to the application. */
  add(...handlers: readonly Handler[]): this {
    for (const handler of handlers) {
      const context = new HandlerContext(this.#head.channel, handler);
      const before = this.#tail.previous ?? this.#head;
      context.previous = before;
      context.next = this.#tail;
      before.next = context;
      this.#tail.previous = context;
    }
    return this;
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
