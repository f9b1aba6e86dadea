/**
 * Notices that the other side of a connection is gone without a word: its machine lost power, or the network drops
 * everything. Whatever arrives shows that it is there; after a time of silence it is asked with a `ping`.
 *
 * Silence is counted in checks, not by the clock: a process that stood still itself counts one check when it goes on,
 * and reads what waits in its sockets before the next.
 *
 *     check         1        2        3        4        5
 *     after silence          ping     ping     ping     LINK_SILENT
 *                                     isSilent
 *
 * A side that does not ask (a node, of a client) watches only another that has promised to speak again.
 */
import type { Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { MessageContext, MessageHandler, ReceivedMessage } from './message-handlers.js';

export interface LinkWatchOptions {
  /** The time from one check to the next; without it the other side is not asked. */
  readonly checkEveryMs?: number;
  /** What a ping promises: that this side speaks again within this time. */
  readonly nextWithinMs?: number;
}

const PING_AT_CHECK = 2;
const SILENT_AT_CHECK = 3;
const LOST_AT_CHECK = 5;
/** Whatever is promised, there is no check sooner than this. */
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

  /** A ping has found no answer yet. */
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
    // What we do not read we cannot have heard.
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
