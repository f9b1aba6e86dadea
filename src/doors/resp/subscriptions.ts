/**
 * The subscriptions of one connection: SUBSCRIBE, PSUBSCRIBE and their opposites, and the messages that follow. The
 * forms are those of Redis: arrays in RESP2, pushes in RESP3.
 */
import { RaftreeClientError } from '../../client/client-error.js';
import { RaftreeError } from '../../env/errors.js';
import { PushReply, type Reply, SeveralReplies } from './codec/reply.js';
import { CommandError } from './command-error.js';
import { globPrefix } from './glob.js';
import type { Notifications, Subscriber, Subscription } from './notifications.js';

const MAX_SUBSCRIPTIONS = 1024;
const MAX_NAME_BYTES = 8 * 1024;
/** Each is compared with the channels of every change. */
const MAX_PATTERNS = 64;
/** Behind its literal beginning. */
const MAX_PATTERN_BYTES = 128;
/** Messages until the answer to SUBSCRIBE has been sent. */
const MAX_HELD_MESSAGES = 4096;
/** Memory of a subscription beside its name. */
const COST_BYTES = 512;

export interface SubscriptionsParts {
  readonly notifications: Notifications;
  readonly send: (message: Reply) => void;
  /** Closes the connection. */
  readonly cutOff: (reason: RaftreeError) => void;
}

interface Own {
  readonly subscription: Subscription;
  readonly remove: () => void;
}

export class Subscriptions implements Subscriber {
  readonly #parts: SubscriptionsParts;
  readonly #channels = new Map<string, Own>();
  readonly #patterns = new Map<string, Own>();
  #isClosed = false;
  /** What is told before the client knows that it has subscribed. */
  #held: Reply[] | undefined;
  /** What it keeps in memory. */
  bytes = 0;

  constructor(parts: SubscriptionsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#channels.size + this.#patterns.size;
  }

  /** The answer to SUBSCRIBE was sent: messages follow it. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const message of held) this.#parts.send(message);
  }

  /**
   * Call `release` when it is answered. Throws a CommandError: those before it in the command are subscribed to all
   * the same.
   */
  async add(names: readonly Buffer[], isPattern: boolean): Promise<Reply> {
    this.#held ??= [];
    const of = isPattern ? this.#patterns : this.#channels;
    const replies: Reply[] = [];
    for (const given of names) {
      const name = Buffer.from(given);
      const text = name.toString('latin1');
      if (!of.has(text)) {
        this.#check(name, isPattern);
        const subscription = { name, isPattern };
        const remove = await this.#parts.notifications.add(this, subscription).catch(refused);
        if (this.#isClosed) remove();
        else {
          of.set(text, { subscription, remove });
          this.bytes += 2 * name.length + COST_BYTES;
        }
      }
      replies.push(new PushReply([isPattern ? 'psubscribe' : 'subscribe', name, this.size]));
    }
    return new SeveralReplies(replies);
  }

  #check(name: Buffer, isPattern: boolean): void {
    if (this.size >= MAX_SUBSCRIPTIONS)
      throw new CommandError(`ERR a connection has at most ${MAX_SUBSCRIPTIONS} subscriptions`);
    if (name.length > MAX_NAME_BYTES)
      throw new CommandError(`ERR a channel has at most ${MAX_NAME_BYTES} bytes`);
    if (!isPattern) return;
    if (this.#patterns.size >= MAX_PATTERNS)
      throw new CommandError(`ERR a connection has at most ${MAX_PATTERNS} patterns`);
    if (name.length - globPrefix(name).length > MAX_PATTERN_BYTES)
      throw new CommandError('ERR pattern is too long');
  }

  /** Without names: all. */
  remove(names: readonly Buffer[], isPattern: boolean): Reply {
    const of = isPattern ? this.#patterns : this.#channels;
    const word = isPattern ? 'punsubscribe' : 'unsubscribe';
    const gone = names.length > 0 ? names : [...of.values()].map(({ subscription }) => subscription.name);
    if (gone.length === 0) return new PushReply([word, null, this.size]);
    return new SeveralReplies(
      gone.map((name) => {
        const text = name.toString('latin1');
        const own = of.get(text);
        if (own) {
          own.remove();
          of.delete(text);
          this.bytes -= 2 * name.length + COST_BYTES;
        }
        return new PushReply([word, name, this.size]);
      }),
    );
  }

  clear(): void {
    for (const { remove } of [...this.#channels.values(), ...this.#patterns.values()]) remove();
    this.#channels.clear();
    this.#patterns.clear();
    this.bytes = 0;
  }

  close(): void {
    this.#isClosed = true;
    this.clear();
  }

  message({ name, isPattern }: Subscription, channel: Buffer, text: Buffer): void {
    const message = new PushReply(isPattern ? ['pmessage', name, channel, text] : ['message', channel, text]);
    if (!this.#held) this.#parts.send(message);
    else if (this.#held.length < MAX_HELD_MESSAGES) this.#held.push(message);
    else this.missed(new RaftreeError('SLOW_READER', `${MAX_HELD_MESSAGES} messages wait for an answer`));
  }

  missed(reason: RaftreeError): void {
    this.#parts.cutOff(reason);
  }
}

function refused(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  throw error instanceof RaftreeClientError ? error : new CommandError(`TRYAGAIN ${message}`);
}
