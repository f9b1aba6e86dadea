/**
 * A store for Keyv (https://keyv.org, version 5): its keys are keys of a cluster, behind a prefix.
 *
 *     const keyv = new Keyv({ store: new KeyvRaftree({ endpoints: ['127.0.0.1:7001'] }), namespace: 'sessions' });
 *     await keyv.set('ada', { admin: true }, 60_000);      // the key keyv/sessions:ada, for 60 s
 *
 * A time to live is that of the cluster, and is counted by its replicated time. Keyv itself also keeps a time by the
 * wall clock in each value, and looks at it when it reads.
 *
 * Give each Keyv a store of its own; stores may share a client. Keyv tells a store its namespace once, and not with
 * each call. So a store that was told several refuses `clear`, which would take the keys of another.
 *
 * Methods reject with a RaftreeClientError. Keyv passes on what its own methods emit as `error`, or throws with
 * `throwOnErrors`; errors of `get`, which it would hide, are emitted by the store.
 */
import { EventEmitter } from 'node:events';
import { RaftreeClient } from '../client/client.js';
import { RaftreeClientError } from '../client/client-error.js';
import type { ClientOptions, ReadLevel } from '../client/client-options.js';
import { MAX_TTL_MS } from '../kv/replicated-time.js';

export interface KeyvRaftreeSettings {
  /** Before every key. Default: `keyv/`. `clear` and iterators see no other keys. */
  readonly prefix?: string;
  /** Of reads. Default: linearizable. */
  readonly level?: ReadLevel;
}

export type KeyvRaftreeOptions = ClientOptions & KeyvRaftreeSettings;

interface Entry {
  readonly key: string;
  readonly value: unknown;
  /** In ms. */
  readonly ttl?: number | undefined;
}

/** Requests of one call that are under way at once. */
const MAX_UNDER_WAY = 64;

export class KeyvRaftree extends EventEmitter {
  /** Keyv 5 iterates only over stores whose dialect it knows; this is the nearest. */
  readonly opts = { dialect: 'etcd', url: '' };
  readonly #client: RaftreeClient;
  readonly #ownsClient: boolean;
  readonly #prefix: string;
  readonly #read: { readonly level: ReadLevel };
  #namespace: string | undefined;
  #hadOther = false;

  /** A client, which is not closed with the store; or the options of one. Throws `INVALID_REQUEST`. */
  constructor(given: RaftreeClient | KeyvRaftreeOptions, settings: KeyvRaftreeSettings = {}) {
    super();
    this.#ownsClient = !(given instanceof RaftreeClient);
    const { prefix = 'keyv/', level = 'linearizable' } =
      given instanceof RaftreeClient ? settings : { ...given, ...settings };
    this.#client = given instanceof RaftreeClient ? given : new RaftreeClient(given);
    this.#prefix = prefix;
    this.#read = { level };
  }

  /** Set by Keyv. Keys come with it already. */
  get namespace(): string | undefined {
    return this.#namespace;
  }

  set namespace(namespace: string | undefined) {
    if (this.#namespace !== undefined && namespace !== this.#namespace) this.#hadOther = true;
    this.#namespace = namespace;
  }

  async get(key: string): Promise<string | undefined> {
    try {
      return await this.#get(key);
    } catch (error) {
      if (this.listenerCount('error') > 0) this.emit('error', error);
      throw error;
    }
  }

  getMany(keys: readonly string[]): Promise<(string | undefined)[]> {
    return eachOf(keys, (key) => this.#get(key));
  }

  async has(key: string): Promise<boolean> {
    return (await this.#client.ttl(this.#keyOf(key), this.#read)) !== undefined;
  }

  hasMany(keys: readonly string[]): Promise<boolean[]> {
    return eachOf(keys, (key) => this.has(key));
  }

  /** `ttl` in ms. */
  async set(key: string, value: unknown, ttl?: number): Promise<true> {
    if (typeof value !== 'string')
      throw new RaftreeClientError(
        'INVALID_REQUEST',
        `a value comes as text, not as ${typeof value}: leave serialize and deserialize of Keyv as they are, or give others that make texts`,
        'notCommitted',
      );
    if (ttl !== undefined && ttl <= 0) await this.#client.delete(this.#keyOf(key));
    else await this.#client.put(this.#keyOf(key), value, lifeOf(ttl));
    return true;
  }

  /** Each by itself, in any order; of several with one key the last one counts. Rejects if any failed. */
  setMany(entries: readonly Entry[]): Promise<boolean[]> {
    return eachOf(entries, ({ key, value, ttl }) => this.set(key, value, ttl));
  }

  /** Whether the key was there. */
  async delete(key: string): Promise<boolean> {
    return (await this.#client.delete(this.#keyOf(key))).existed;
  }

  /** Whether all keys were there. */
  async deleteMany(keys: readonly string[]): Promise<boolean> {
    return (await eachOf(keys, (key) => this.delete(key))).every(Boolean);
  }

  /**
   * Deletes the keys of the namespace, page by page; without a namespace all keys behind the prefix. Keys that are
   * written meanwhile may stay.
   */
  async clear(): Promise<void> {
    if (this.#hadOther)
      throw new RaftreeClientError(
        'INVALID_REQUEST',
        'this store was given several namespaces, and cannot tell which one to clear: give each Keyv a store of its own',
        'notCommitted',
      );
    const prefix = this.#keyOf(this.#namespace === undefined ? '' : `${this.#namespace}:`);
    await eachOf(this.#client.scan({ prefix, keysOnly: true }), ({ key }) => this.#client.delete(key), false);
  }

  /** Keys, without the prefix, and values, of the namespace; in the order of the keys. */
  async *iterator(namespace: string | undefined = this.#namespace): AsyncGenerator<[string, string], void> {
    const prefix = this.#keyOf(namespace === undefined ? '' : `${namespace}:`);
    const skipped = Buffer.byteLength(this.#prefix);
    for await (const { key, value } of this.#client.scan({ prefix, ...this.#read }))
      yield [key.subarray(skipped).toString(), value.toString()];
  }

  /** Closes the client that the store has made. */
  async disconnect(): Promise<void> {
    if (this.#ownsClient) await this.#client.close();
  }

  async #get(key: string): Promise<string | undefined> {
    return (await this.#client.get(this.#keyOf(key), this.#read))?.value.toString();
  }

  #keyOf(key: string): string {
    return this.#prefix + key;
  }
}

/** A longer life than the cluster takes is none: Keyv looks at the time itself. */
function lifeOf(ttl: number | undefined): { ttlMs?: number } {
  return ttl === undefined || ttl > MAX_TTL_MS ? {} : { ttlMs: Math.ceil(ttl) };
}

/**
 * Works on each, on a few at a time, and begins in order; the results are in order, too. When one fails no more are
 * begun, and it rejects when those under way have ended.
 */
async function eachOf<Item, Result>(
  items: Iterable<Item> | AsyncIterable<Item>,
  work: (item: Item) => Promise<Result>,
  keepsResults = true,
): Promise<Result[]> {
  const results: Result[] = [];
  const underWay = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  let count = 0;
  try {
    for await (const item of items) {
      const at = count++;
      const done = work(item)
        .then((result) => {
          if (keepsResults) results[at] = result;
        })
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => underWay.delete(done));
      underWay.add(done);
      if (underWay.size >= MAX_UNDER_WAY) await Promise.race(underWay);
      if (failure) break;
    }
  } finally {
    await Promise.all(underWay);
  }
  if (failure) throw failure.error;
  return results;
}
