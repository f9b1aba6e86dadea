/**
 * Keyspace notifications: what SUBSCRIBE and PSUBSCRIBE tell, made of the changes that a watch of the client library
 * gives. There are two channels for a change; others may be subscribed to, and nothing is told there.
 *
 *     __keyspace@0__:KEY      what happened to the key: set, del, expired
 *     __keyevent@0__:EVENT    the key to which that happened
 *
 * All connections of the door share the watches: one for each range of keys that somebody needs. A watch is never kept
 * waiting for a connection: one that does not read is cut off (connection.ts).
 */
import { RaftreeError } from '../../env/errors.js';
import { GlobSearch, globPrefix } from './glob.js';

export type Happening = 'set' | 'del' | 'expired';

interface KeyChange {
  readonly type: 'put' | 'delete' | 'expire';
  readonly key: Buffer;
}

/** As of the client library. */
export interface ChangeStream extends AsyncIterable<KeyChange> {
  readonly ready: Promise<void>;
  return(): Promise<unknown>;
}

type WatchedKeys = { readonly key: Buffer } | { readonly prefix: Buffer };

export interface Subscription {
  /** The channel or the pattern. */
  readonly name: Buffer;
  readonly isPattern: boolean;
}

/** Told what the channels tell that a subscription is about. */
export interface Subscriber {
  message(subscription: Subscription, channel: Buffer, text: Buffer): void;
  /** Something was missed: nothing more is told. */
  missed(reason: RaftreeError): void;
}

/** Ranges that are watched for all connections together. */
const MAX_WATCHES = 4096;
const READY_MS = 10_000;
const KEYSPACE = Buffer.from('__keyspace@0__:');
const KEYEVENT = Buffer.from('__keyevent@0__:');
const HAPPENINGS: Readonly<Record<KeyChange['type'], Happening>> = {
  put: 'set',
  delete: 'del',
  expire: 'expired',
};

/** Which keys a subscription is about, and which of the two channels of a change it takes. */
export interface Interest {
  /** Undefined: nothing is ever told. */
  readonly keys: WatchedKeys | undefined;
  readonly matches: (channel: Buffer) => boolean;
  readonly takes: 'keyspace' | 'keyevent' | 'both';
}

export function interestOf({ name, isPattern }: Subscription): Interest {
  const literal = isPattern ? globPrefix(name) : name;
  const search = isPattern ? new GlobSearch(name, { endOfTurn: () => {} }) : undefined;
  const matches = (channel: Buffer) =>
    search ? begins(channel, literal) && search.matches(channel) : channel.equals(name);
  if (begins(literal, KEYSPACE)) {
    const rest = literal.subarray(KEYSPACE.length);
    const keys = isPattern ? { prefix: rest } : rest.length > 0 ? { key: rest } : undefined;
    return { keys, matches, takes: 'keyspace' };
  }
  if (begins(literal, KEYEVENT)) {
    const isKnown =
      isPattern ||
      Object.values(HAPPENINGS).some(
        (each) => KEYEVENT.length + each.length === name.length && name.toString('latin1').endsWith(each),
      );
    return { keys: isKnown ? ALL : undefined, matches, takes: 'keyevent' };
  }
  const mayMatch = isPattern && (begins(KEYSPACE, literal) || begins(KEYEVENT, literal));
  return { keys: mayMatch ? ALL : undefined, matches, takes: 'both' };
}

const ALL: WatchedKeys = { prefix: Buffer.alloc(0) };

function begins(text: Buffer, start: Buffer): boolean {
  return Buffer.compare(text.subarray(0, start.length), start) === 0;
}

interface Listener {
  readonly subscriber: Subscriber;
  readonly subscription: Subscription;
  readonly interest: Interest;
}

interface SharedWatch {
  readonly stream: ChangeStream;
  readonly listeners: Set<Listener>;
}

export class Notifications {
  readonly #watch: (keys: WatchedKeys) => ChangeStream;
  readonly #after: (delayMs: number, run: () => void) => { cancel(): void };
  readonly #shared = new Map<string, SharedWatch>();

  constructor(
    watch: (keys: WatchedKeys) => ChangeStream,
    after: (delayMs: number, run: () => void) => { cancel(): void },
  ) {
    this.#watch = watch;
    this.#after = after;
  }

  get watches(): number {
    return this.#shared.size;
  }

  /**
   * Tells the subscriber what happens from when the promise resolves on, until the function that it gives is called.
   * Rejects if it cannot be told now.
   */
  async add(subscriber: Subscriber, subscription: Subscription): Promise<() => void> {
    const interest = interestOf(subscription);
    if (!interest.keys) return () => {};
    const name = nameOf(interest.keys);
    let shared = this.#shared.get(name);
    if (!shared) {
      if (this.#shared.size >= MAX_WATCHES)
        throw new RaftreeError('OVERLOADED', `${MAX_WATCHES} ranges of keys are watched already`);
      shared = { stream: this.#watch(interest.keys), listeners: new Set() };
      this.#shared.set(name, shared);
      void this.#tell(name, shared);
    }
    const { stream, listeners } = shared;
    const listener = { subscriber, subscription, interest };
    listeners.add(listener);
    const remove = () => {
      listeners.delete(listener);
      if (listeners.size > 0) return;
      if (this.#shared.get(name)?.stream === stream) this.#shared.delete(name);
      void stream.return();
    };
    try {
      await this.#within(stream.ready);
    } catch (error) {
      remove();
      throw error;
    }
    return remove;
  }

  async #tell(name: string, { stream, listeners }: SharedWatch): Promise<void> {
    try {
      for await (const change of stream) for (const listener of listeners) tell(listener, change);
    } catch (error) {
      if (this.#shared.get(name)?.stream === stream) this.#shared.delete(name);
      const reason =
        error instanceof RaftreeError ? error : new RaftreeError('INTERNAL', 'the watch has ended');
      for (const { subscriber } of [...listeners]) subscriber.missed(reason);
    }
  }

  #within(ready: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#after(READY_MS, () =>
        reject(new RaftreeError('TIMEOUT', `no node tells changes within ${READY_MS} ms`)),
      );
      ready.then(resolve, reject).finally(() => timer.cancel());
    });
  }
}

function tell({ subscriber, subscription, interest }: Listener, { type, key }: KeyChange): void {
  const happening = Buffer.from(HAPPENINGS[type]);
  const { takes, matches } = interest;
  if (takes !== 'keyevent') {
    const channel = Buffer.concat([KEYSPACE, key]);
    if (matches(channel)) subscriber.message(subscription, channel, happening);
  }
  if (takes !== 'keyspace') {
    const channel = Buffer.concat([KEYEVENT, happening]);
    if (matches(channel)) subscriber.message(subscription, channel, key);
  }
}

function nameOf(keys: WatchedKeys): string {
  return 'key' in keys ? `key ${keys.key.toString('latin1')}` : `prefix ${keys.prefix.toString('latin1')}`;
}
