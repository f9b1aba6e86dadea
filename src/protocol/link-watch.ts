/**
 * Detects a connection whose other side is gone, although nothing closed it: its machine lost power, or the network
 * drops all packets. Every message shows that the other side is there. After some silence this side sends a `ping`.
 *
 * Silence is counted in checks, not by the clock. A process that was stopped counts one check when it goes on, and
 * reads what waits in its sockets before the next check.
 *
 *     check         1        2        3        4        5
 *     after silence          ping     ping     ping     LINK_SILENT
 *                                     isSilent
 *
 * A node sends a client no pings. It checks a client only if that has promised, in a ping, to send again.
 */
import type { Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { MessageContext, MessageHandler, ReceivedMessage } from './message-handlers.js';

export interface LinkWatchOptions {
  /** The time from one check to the next. Undefined: this side sends no pings. */
  readonly checkEveryMs?: number;
  /** The promise in a ping: this side sends again within this time. */
  readonly nextWithinMs?: number;
}

const PING_AT_CHECK = 2;
const SILENT_AT_CHECK = 3;
const LOST_AT_CHECK = 5;
/** The shortest time between checks, however short the promised time is. */
const MIN_PROMISED_CHECK_MS = 250;

export class LinkWatch implements MessageHandler {
  readonly #options: LinkWatchOptions;
  #checkEveryMs: number | undefined;
  #checks = 0;
  #timer: Timer | undefined;

  constructor(options: LinkWatchOptions = {}) {
    this.#options = options;
    this.#checkEveryMs = options.checkEveryMs;
  }

  /** A ping was sent, and nothing has come since. */
  get isSilent(): boolean {
    return this.#checks >= SILENT_AT_CHECK;
  }

  active(context: MessageContext): void {
    this.#await(context);
    context.active();
  }

  read(context: MessageContext, message: ReceivedMessage): void {
    this.#checks = 0;
    if (message.type === 'pong') return;
    if (message.type !== 'ping') {
      context.read(message);
      return;
    }
    context.write({ type: 'pong' });
    if (this.#options.checkEveryMs !== undefined) return;
    const { nextWithinMs } = message;
    this.#checkEveryMs =
      nextWithinMs === 0 ? undefined : Math.max(MIN_PROMISED_CHECK_MS, nextWithinMs / (LOST_AT_CHECK - 1));
    this.#await(context);
  }

  inactive(context: MessageContext, error: Error | undefined): void {
    this.#timer?.cancel();
    context.inactive(error);
  }

  #await(context: MessageContext): void {
    this.#timer?.cancel();
    if (this.#checkEveryMs === undefined) return;
    this.#timer = context.channel.env.timers.after(this.#checkEveryMs, () => this.#check(context));
  }

  #check(context: MessageContext): void {
    const { channel } = context;
    // While this side does not read, it cannot judge the other side's silence.
    this.#checks = channel.isPaused ? 0 : this.#checks + 1;
    if (this.#checks === LOST_AT_CHECK) {
      const silentMs = Math.round((LOST_AT_CHECK - 1) * (this.#checkEveryMs ?? 0));
      channel.abort(
        new RaftreeError('LINK_SILENT', `${channel.remote} has said nothing for ${silentMs} ms and more`),
      );
      return;
    }
    if (this.#checks >= PING_AT_CHECK && this.#options.checkEveryMs !== undefined) {
      context.write({ type: 'ping', nextWithinMs: this.#options.nextWithinMs ?? 0 });
    }
    this.#await(context);
  }
}
