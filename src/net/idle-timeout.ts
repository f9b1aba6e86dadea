/** Closes a connection on which nothing was received for a long time. Any message counts, also a ping. */
import type { Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { Handler, HandlerContext } from './pipeline.js';

export class IdleTimeout<Read, Written> implements Handler<Read, Written> {
  readonly #timeoutMs: number;
  readonly #mayBeSilent: () => boolean;
  #lastReceivedMs = 0;
  #timer: Timer | undefined;

  /** `mayBeSilent`: the other side waits for us to say something. */
  constructor(timeoutMs: number, mayBeSilent: () => boolean = () => false) {
    this.#timeoutMs = timeoutMs;
    this.#mayBeSilent = mayBeSilent;
  }

  active(context: HandlerContext<Read, Written>): void {
    this.#lastReceivedMs = context.channel.env.clock.nowMs();
    this.#watch(context, this.#timeoutMs);
    context.active();
  }

  read(context: HandlerContext<Read, Written>, message: Read): void {
    this.#lastReceivedMs = context.channel.env.clock.nowMs();
    context.read(message);
  }

  inactive(context: HandlerContext<Read, Written>, error: Error | undefined): void {
    this.#timer?.cancel();
    context.inactive(error);
  }

  #watch(context: HandlerContext<Read, Written>, delayMs: number): void {
    const { env } = context.channel;
    this.#timer = env.timers.after(delayMs, () => {
      // While we do not read, silence is not the other side's fault.
      if (context.channel.isPaused || this.#mayBeSilent()) this.#lastReceivedMs = env.clock.nowMs();
      const restMs = this.#lastReceivedMs + this.#timeoutMs - env.clock.nowMs();
      if (restMs > 0) this.#watch(context, restMs);
      else context.failed(new RaftreeError('IDLE_TIMEOUT', `nothing was received for ${this.#timeoutMs} ms`));
    });
  }
}
