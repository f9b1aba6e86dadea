/** Closes a connection on which nothing was received for a long time. Any message counts, also a ping. */
import type { Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { Handler, HandlerContext } from './pipeline.js';

export class IdleTimeout implements Handler {
  readonly #timeoutMs: number;
  #lastReceivedMs = 0;
  #timer: Timer | undefined;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  active(context: HandlerContext): void {
    this.#lastReceivedMs = context.channel.env.clock.nowMs();
    this.#watch(context, this.#timeoutMs);
    context.active();
  }

  read(context: HandlerContext, message: unknown): void {
    this.#lastReceivedMs = context.channel.env.clock.nowMs();
    context.read(message);
  }

  inactive(context: HandlerContext, error: Error | undefined): void {
    this.#timer?.cancel();
    context.inactive(error);
  }

  #watch(context: HandlerContext, delayMs: number): void {
    const { env } = context.channel;
    this.#timer = env.timers.after(delayMs, () => {
      // While we do not read, silence is not the other side's fault.
      if (context.channel.isPaused) this.#lastReceivedMs = env.clock.nowMs();
      const restMs = this.#lastReceivedMs + this.#timeoutMs - env.clock.nowMs();
      if (restMs > 0) this.#watch(context, restMs);
      else context.failed(new RaftreeError('IDLE_TIMEOUT', `nothing was received for ${this.#timeoutMs} ms`));
    });
  }
}
