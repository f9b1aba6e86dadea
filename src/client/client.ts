/**
 * The client of a cluster. It finds the leader and follows it, and repeats what is safe to repeat. Every write is: it
 * goes through a session and is applied at most once. When the client gives up, it says exactly what is known.
 *
 *     const client = new RaftreeClient({ endpoints: ['127.0.0.1:7001', '127.0.0.1:7002'] });
 *     await client.put('colour/apple', 'red');
 *     (await client.get('colour/apple'))?.value.toString();   // 'red'
 *     for await (const { key, value } of client.scan({ prefix: 'colour/' })) { ... }
 *     await client.close();
 *
 * Every method may throw a RaftreeClientError (`client-error.ts` lists the codes). Returned buffers belong to the
 * caller.
 *
 * Order: writes of one client to one key take effect in the order of the calls, awaited or not: `put(k, 1); put(k, 2)`
 * leaves 2. A batch counts as a write to each of its keys. Concurrent writes to different keys, and concurrent reads,
 * take effect in any order. Await a call to order it before the next.
 */
import { realEnv } from '../env/real/real-env.js';
import type { WriteResult as NodeResult } from '../kv/sessions.js';
import type { TabletMap } from '../placement/tablet-map.js';
import type { MessageOf, OutboundOf, OutboundOperation } from '../protocol/messages.js';
import { AbortWatch } from './abort-watch.js';
import { Call, CallEnded } from './call.js';
import { Calls } from './calls.js';
import { RaftreeClientError } from './client-error.js';
import {
  addressOf,
  type CallOptions,
  type ClientOptions,
  type ClientSettings,
  clientSettings,
  invalid,
  type ReadLevel,
  type ReadOptions,
} from './client-options.js';
import { Connections } from './connections.js';
import type { CallUser } from './direct-call.js';
import { GetCall, type ReadFrom, targetOf } from './get-call.js';
import type { Lane } from './key-order.js';
import { isInForce, type MemberChange, type MembersChanged, toMemberChange } from './member-changes.js';
import { Mirror, type MirrorOptions } from './mirror.js';
import {
  type BatchOperation,
  type Bytes,
  type Condition,
  type ExpireCondition,
  type LifeOptions,
  toBytes,
  toOperation,
} from './operations.js';
import {
  type BatchResult,
  batchResult,
  type ExpireResult,
  expireResult,
  type GetResult,
  getResult,
  type IncrementResult,
  incrementResult,
  nodeResult,
  type PutResult,
  putResult,
  type ScanEntry,
  type TabletSplitResult,
  type TtlResult,
  ttlResult,
  type WriteResult,
  withinLimits,
  withLife,
  writeResult,
} from './results.js';
import { Router } from './router.js';
import { type ScanRange, scanRange } from './scan-range.js';
import { SessionWriter, WriteCall, type WriteReply } from './session-writer.js';
import { isWrongTablet, type LocatedTablets, TabletCache } from './tablet-cache.js';
import { scanTablets } from './tablet-scan.js';
import { unexpected } from './unexpected.js';
import { Watch, type WatchOptions } from './watch.js';

/** Options of a call that writes a value. */
export type WriteOptions = CallOptions & LifeOptions;

export interface ScanOptions extends ReadOptions {
  /** The first key, inclusive. */
  readonly from?: Bytes;
  /** The last key, exclusive. */
  readonly to?: Bytes;
  readonly prefix?: Bytes;
  /** Largest number of entries in total. */
  readonly limit?: number;
  /** Whether to go from the last key to the first. */
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
}

/**
 * A node's view of its cluster. PROTOCOL.md, Status, says what each field means.
 * @interface
 */
export type NodeStatus = Omit<MessageOf<'statusReply'>, 'type' | 'requestId'>;

/**
 * What the balancer sees, what it has begun (`underWay`), and what it would do next; each step with its reason.
 * @interface
 */
export type BalanceStatus = Omit<MessageOf<'balanceReply'>, 'type' | 'requestId'>;

type Unasked<Request> = Omit<Request, 'requestId'>;
type MapOrder =
  | Unasked<OutboundOf<'moveReplica'>>
  | Unasked<OutboundOf<'mergeTablets'>>
  | Unasked<OutboundOf<'drainNode'>>;

/**
 * What a node carries: requests by kind that it has carried out, whatever came of them, through all its doors, since
 * its process was started; requests under way; memory and processor time of the process.
 * @interface
 */
export type NodeLoad = Omit<MessageOf<'loadReply'>, 'type' | 'requestId'>;

export class RaftreeClient {
  readonly #settings: ClientSettings;
  readonly #connections: Connections;
  readonly #router: Router;
  readonly #tablets: TabletCache;
  readonly #writer: SessionWriter;
  readonly #user: CallUser;
  #readsUnderWay = 0;
  #closing: Promise<void> | undefined;

  /** Does not connect yet. Throws `INVALID_REQUEST`. */
  constructor(options: ClientOptions) {
    this.#settings = clientSettings(options, options.env ?? realEnv());
    this.#connections = new Connections(this.#settings);
    this.#router = new Router(this.#settings, this.#connections);
    const { env } = this.#settings;
    this.#user = { settings: this.#settings, calls: new Calls(env), aborts: new AbortWatch() };
    this.#tablets = new TabletCache(this.#user, this.#router);
    this.#writer = new SessionWriter(this.#user, this.#router, this.#tablets);
  }

  /** Sets the value, whether or not the key exists. Takes a deadline away unless `ttlMs` or `keepTtl` is given. */
  put(key: Bytes, value: Bytes, options: WriteOptions = {}): Promise<PutResult> {
    const { ttlMs, keepTtl } = options;
    return this.#write([{ action: 'put', key, value, ttlMs, keepTtl }], options, putResult);
  }

  /** Sets the value if the key does not exist. */
  insert(key: Bytes, value: Bytes, options: WriteOptions = {}): Promise<WriteResult> {
    return this.#putIf(key, value, { exists: false }, options);
  }

  /** Sets the value if the key exists. */
  update(key: Bytes, value: Bytes, options: WriteOptions = {}): Promise<WriteResult> {
    return this.#putIf(key, value, { exists: true }, options);
  }

  /** Appends to the value. A key that does not exist counts as empty. A deadline stays unless `ttlMs` is given. */
  append(key: Bytes, value: Bytes, options: WriteOptions = {}): Promise<WriteResult> {
    const { ttlMs, keepTtl } = options;
    return this.#write([{ action: 'append', key, value, ttlMs, keepTtl }], options, writeResult);
  }

  /**
   * Adds `by` (1 if it is not given) to the number that the value is in decimal text, and gives the sum; a key that
   * does not exist counts as 0. `ttlMs` is for a key that is created by that. Numbers have 64 bits with sign:
   * `NOT_A_NUMBER` and `NUMBER_OVERFLOW` changed nothing.
   */
  increment(
    key: Bytes,
    options: CallOptions & { readonly by?: number | bigint; readonly ttlMs?: number } = {},
  ): Promise<IncrementResult> {
    const { by, ttlMs } = options;
    return this.#write([{ action: 'increment', key, by, ttlMs }], options, incrementResult);
  }

  /**
   * Gives an existing key `ttlMs` to live, from when the leader takes the request; with 0 it is gone at once. With
   * `when`, only if its deadline is so. Value and version stay as they are.
   */
  expire(
    key: Bytes,
    ttlMs: number,
    options: CallOptions & { readonly when?: ExpireCondition } = {},
  ): Promise<ExpireResult> {
    const { when } = options;
    return this.#write([{ action: 'expire', key, ttlMs, when }], options, expireResult);
  }

  /** Takes the deadline of a key away. */
  persist(key: Bytes, options: CallOptions = {}): Promise<ExpireResult> {
    return this.#write([{ action: 'persist', key }], options, expireResult);
  }

  /** Sets the value if the current value, or its version, is the expected one. */
  cas(
    key: Bytes,
    value: Bytes,
    expected: { readonly expectedValue: Bytes } | { readonly expectedVersion: number },
    options: WriteOptions = {},
  ): Promise<WriteResult> {
    return this.#putIf(key, value, expected, options);
  }

  /** Removes the key. `existed` says whether it existed. */
  delete(key: Bytes, options: CallOptions = {}): Promise<WriteResult> {
    return this.#write([{ action: 'delete', key }], options, writeResult);
  }

  /**
   * Applies all operations, or none if a condition is not met. Conditions are checked against the state before the
   * batch. Then the operations take effect in order; each sees the changes of those before it.
   */
  batch(operations: readonly BatchOperation[], options: CallOptions = {}): Promise<BatchResult> {
    return this.#write(operations, options, (answer) => batchResult(withinLimits(answer), operations));
  }

  /**
   * Applies operations in the form of the node's own, and gives its result as it is: for doors (src/doors). Other
   * programs call `batch`. With a lane it keeps the order of the lane, and not that of its keys.
   */
  write(
    operations: readonly OutboundOperation[],
    options: CallOptions = {},
    lane?: Lane,
  ): Promise<NodeResult> {
    try {
      this.#checkOpen();
      const call = new WriteCall(this.#user, this.#writer, operations, options, nodeResult, lane);
      this.#writer.begin(call);
      return call.promise;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The value and its version, or undefined if the key does not exist. */
  async get(key: Bytes, options: ReadOptions = {}): Promise<GetResult | undefined> {
    return this.#get(key, options, false, getResult);
  }

  /** How long the key still lives, or undefined if it does not exist. */
  async ttl(key: Bytes, options: ReadOptions = {}): Promise<TtlResult | undefined> {
    return this.#get(key, options, true, ttlResult);
  }

  async #get<Result>(
    key: Bytes,
    options: ReadOptions,
    omitValue: boolean,
    resultOf: (answer: MessageOf<'getReply'>) => Result,
  ): Promise<Result> {
    const { from, consistency } = readFrom(options);
    this.#beginRead();
    try {
      this.#checkOpen();
      const request = {
        type: 'get',
        requestId: 0,
        consistency,
        key: toBytes(key),
        omitValue,
      } as const;
      const call = new GetCall(this.#user, this.#router, this.#tablets, request, from, options, resultOf);
      call.begin();
      return await call.promise;
    } finally {
      this.#readsUnderWay--;
    }
  }

  /**
   * The keys of a range in order, fetched in pages. Each page is as consistent as a `get`; all pages together are not
   * one snapshot. `timeoutMs` applies to each page.
   */
  async *scan(options: ScanOptions = {}): AsyncGenerator<ScanEntry, void, undefined> {
    const { reverse = false, keysOnly = false } = options;
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    if (!(limit >= 0)) throw invalid(`limit must not be negative, got ${limit}`);
    const parts = scanTablets<MessageOf<'scanReply'>['entries'][number]>({
      ...{ range: scanRange(options), limit, reverse, readsAhead: true },
      pageEntries: this.#settings.pageEntries,
      map: () => this.#tablets.map,
      page: (tablet, range, most) => this.#page(tablet, range, { limit: most, reverse, keysOnly }, options),
      isRefreshed: (error, used, repetitions) => this.#isRefreshed(error, used, repetitions, options),
    });
    for await (const entries of parts) {
      for (const { key, value, version, remainingMs } of entries) {
        // Copies: otherwise a kept entry would keep the whole received chunk in memory.
        yield withLife({ key: Buffer.from(key), value: Buffer.from(value), version }, remainingMs);
      }
    }
  }

  /**
   * The changes of a key, of the keys with a prefix or in a range, as they are applied: in order, each once, without
   * gaps, also when the node that tells them is lost. It goes on until it is ended: by `break` in a `for await`, by
   * `return()`, or by `signal`.
   *
   * With `from`, changes since that version come first. Nodes keep them for some time; if none keeps them any more, the
   * watch throws a `HistoryGoneError`, which says from which version on they are kept.
   */
  watch(options: WatchOptions = {}): Watch {
    this.#checkOpen();
    return new Watch(this.#user, this.#router, this.#tablets, options);
  }

  /**
   * A local copy of the keys with a prefix that follows the cluster: reads are answered from memory, and `freshness`
   * says how old they may be. It goes on until `close`, or until it is larger than it may be.
   */
  mirror(prefix: Bytes, options: MirrorOptions = {}): Mirror {
    this.#checkOpen();
    const source = {
      settings: this.#settings,
      watch: (watched: WatchOptions) => this.watch(watched),
      scan: (scanned: ScanOptions) => this.scan(scanned),
    };
    return new Mirror(source, prefix, options);
  }

  /** The tablets of the cluster, in the order of their ranges, and where they are. */
  tablets(options: CallOptions = {}): Promise<LocatedTablets> {
    return this.#read(options, (call) => this.#tablets.locateWithLeaders(call));
  }

  /**
   * A page of the keys of one tablet (0: the only one) in a range: for doors (src/doors). `WRONG_TABLET` has refreshed
   * the map. Other programs call `scan`.
   */
  tabletPage(
    tablet: number,
    range: ScanRange,
    how: Pick<OutboundOf<'scan'>, 'limit' | 'reverse' | 'keysOnly'>,
    options: ReadOptions = {},
  ): Promise<MessageOf<'scanReply'>> {
    return this.#page(tablet, range, how, options);
  }

  /** A node's view of its cluster: of the node at `endpoint`, or of any node that answers. */
  async status(endpoint?: string, options: CallOptions = {}): Promise<NodeStatus> {
    if (endpoint !== undefined) addressOf(endpoint);
    return this.#read(options, async (call) => {
      const target = endpoint === undefined ? 'any' : { endpoint };
      const answer = await this.#router.ask(() => ({ type: 'status', tablet: 0 }), call, target);
      if (answer.type !== 'statusReply') throw unexpected(answer.type, 'status');
      const { type: _type, requestId: _requestId, frameBytes: _frameBytes, ...status } = answer;
      return status;
    });
  }

  /** What the node at `endpoint` carries, or any node that answers. */
  async load(endpoint?: string, options: CallOptions = {}): Promise<NodeLoad> {
    if (endpoint !== undefined) addressOf(endpoint);
    return this.#read(options, async (call) => {
      const target = endpoint === undefined ? 'any' : { endpoint };
      const answer = await this.#router.ask(() => ({ type: 'load' }), call, target);
      if (answer.type !== 'loadReply') throw unexpected(answer.type, 'load');
      const { type: _type, requestId: _requestId, frameBytes: _frameBytes, ...load } = answer;
      return load;
    });
  }

  /**
   * Changes the cluster's members, all at once. Resolves when the new configuration is in force.
   *
   * While another change is pending, this one is retried (`CHANGE_PENDING`). The change is bound to the index of the
   * configuration that the leader reports first. So it can be sent again after an attempt with unknown outcome: it
   * cannot undo what another operator has changed since. If the members were changed since, and not as requested, it
   * fails with `CHANGE_CONFLICT`.
   *
   * Refused, and not committed: `ALREADY_MEMBER`, `NOT_A_MEMBER`, `CHANGE_INVALID`. `QUORUM_AT_RISK`,
   * `MEMBER_UNREACHABLE` and `MEMBER_BEHIND` are refused too, but with `force` they are only warnings. After such a
   * change the cluster may lose its quorum forever.
   */
  changeMembers(
    changes: readonly MemberChange[],
    { force = false, ...options }: CallOptions & { readonly force?: boolean } = {},
  ): Promise<MembersChanged> {
    return this.#call(options, async (call) => {
      if (changes.length === 0) throw invalid('changeMembers needs at least one change');
      const wanted = changes.map(toMemberChange);
      for (;;) {
        const { configurationIndex: expectedIndex } = await this.#settledMembers(call);
        const request = { type: 'changeMembers', expectedIndex, force, changes: wanted } as const;
        try {
          const answer = await this.#router.ask(() => request, call, 0);
          if (answer.type !== 'done') throw unexpected(answer.type, request.type);
          const { index, changed, warnings } = answer;
          return { index, changed, warnings };
        } catch (error) {
          if (!(error instanceof RaftreeClientError) || error.code !== 'CHANGE_CONFLICT') throw error;
        }
        if (!call.uncertain) {
          // Another operator was faster, and nothing of this call is in a log: start again.
          await call.pause(this.#settings.backoffMs);
          continue;
        }
        // Exactly one change was made since: this one, or another one, after which this one can never be committed.
        const now = await this.#settledMembers(call);
        if (isInForce(now, wanted))
          return { index: now.configurationIndex, changed: undefined, warnings: [] };
        throw new RaftreeClientError(
          'CHANGE_CONFLICT',
          'another operator changed the members, and they are not as requested; look at them before you try again',
          'unknown',
        );
      }
    });
  }

  /**
   * Transfers leadership to a voter: of one tablet, or of all that it holds, one after the other. Resolves when that
   * voter leads. `TRANSFER_FAILED` if it does not take over in time.
   */
  transferLeadership(
    node: number,
    { tablet, ...options }: CallOptions & { readonly tablet?: number } = {},
  ): Promise<void> {
    return this.#call(options, (call) =>
      this.#tablets.withMap(call, async () => {
        for (const each of tablet === undefined ? await this.#tabletsOn(node, call) : [tablet]) {
          const request = { type: 'transferLeader', tablet: each, nodeId: node } as const;
          const answer = await this.#router.ask(() => request, call, each);
          if (answer.type !== 'done') throw unexpected(answer.type, request.type);
        }
      }),
    );
  }

  /** The tablets of which a node has a replica. If there are none, all: who leads them says what is wrong. */
  async #tabletsOn(node: number, call: Call): Promise<readonly number[]> {
    if (!this.#tablets.map) return [0];
    const { tablets } = await this.#tablets.locate(call);
    const held = tablets.filter(({ replicas }) => replicas.includes(node));
    return (held.length > 0 ? held : tablets).map(({ id }) => id);
  }

  /**
   * Splits the tablet that owns a key, so that the key begins the second part; by hash, its place on the ring does.
   * Reads and writes go on. `CHANGE_INVALID` if a tablet begins there already; `CHANGE_PENDING` while something else is
   * under way with the tablet. A cluster that keeps no map yet needs all members for it, of this version: otherwise
   * `MEMBER_UNREACHABLE` or `CHANGE_INVALID`. If the outcome is unknown, ask again: what was done is not done twice.
   */
  splitTablet(key: Bytes, options: CallOptions = {}): Promise<TabletSplitResult> {
    return this.#call(options, (call) =>
      this.#tablets.withMap(call, async () => {
        const bytes = toBytes(key);
        const tablet = this.#tablets.ownerOf(bytes);
        const request = { type: 'splitTablet', tablet, key: bytes } as const;
        const answer = await this.#router.ask(() => request, call, tablet);
        if (answer.type !== 'tabletSplit') throw unexpected(answer.type, request.type);
        return { tablet: answer.tablet, children: [answer.left, answer.right] };
      }),
    );
  }

  /**
   * Moves the replica of a tablet from one node to another. Resolves when the map has it, with whether anything was
   * changed. `CHANGE_PENDING` with outcome `unknown`: it goes on by itself.
   */
  moveReplica(
    { tablet, from, to }: { readonly tablet: number; readonly from: number; readonly to: number },
    options: CallOptions = {},
  ): Promise<boolean> {
    return this.#order({ type: 'moveReplica', tablet, from, to }, options);
  }

  /**
   * Merges two tablets that lie side by side, on the same nodes, all of which must take part. Resolves when the map has
   * the new one. Their clients wait meanwhile. `CHANGE_CONFLICT`: it was given up, and nothing was changed.
   * `CHANGE_PENDING` with outcome `unknown`: it goes on by itself.
   */
  async mergeTablets(left: number, right: number, options: CallOptions = {}): Promise<void> {
    await this.#order({ type: 'mergeTablets', left, right }, options);
  }

  /** A node gives all its tablets to others and gets none, or (`isDraining` false) takes part again. */
  drainNode(nodeId: number, isDraining = true, options: CallOptions = {}): Promise<boolean> {
    return this.#order({ type: 'drainNode', nodeId, isDraining }, options);
  }

  /**
   * Switches the balancer, which moves replicas and leaders without being asked, `on` or `off`. Resolves with what it
   * sees, and with what it does next, or (off) would do. Nodes that drain are emptied also while it is off.
   */
  balance(action: 'show' | 'on' | 'off' = 'show', options: CallOptions = {}): Promise<BalanceStatus> {
    return this.#call(options, async (call) => {
      const answer = await this.#router.ask(() => ({ type: 'balance', action }), call, 'any');
      if (answer.type !== 'balanceReply') throw unexpected(answer.type, 'balance');
      const { type: _type, requestId: _requestId, ...status } = answer;
      return status;
    });
  }

  #order(request: MapOrder, options: CallOptions): Promise<boolean> {
    return this.#call(options, async (call) => {
      const answer = await this.#router.ask(() => request, call, 'any');
      if (answer.type !== 'done') throw unexpected(answer.type, request.type);
      return answer.changed;
    });
  }

  /**
   * Ends every call in progress with CLIENT_CLOSED and closes all connections. Afterwards nothing of the client runs. A
   * connect in progress may delay this by connectTimeoutMs.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#user.calls.endAll('CLIENT_CLOSED');
    await this.#connections.close();
  }

  #putIf(key: Bytes, value: Bytes, condition: Condition, options: WriteOptions): Promise<WriteResult> {
    const { ttlMs, keepTtl } = options;
    return this.#write([{ action: 'put', key, value, condition, ttlMs, keepTtl }], options, writeResult);
  }

  #write<Result>(
    operations: readonly BatchOperation[],
    options: CallOptions,
    resultOf: (answer: WriteReply) => Result,
  ): Promise<Result> {
    try {
      this.#checkOpen();
      if (operations.length === 0) throw invalid('a batch needs at least one operation');
      const call = new WriteCall(this.#user, this.#writer, operations.map(toOperation), options, resultOf);
      this.#writer.begin(call);
      return call.promise;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The members that the leader reports, outside a joint configuration. */
  async #settledMembers(call: Call): Promise<MessageOf<'statusReply'>> {
    for (;;) {
      const answer = await this.#router.ask(() => ({ type: 'status', tablet: 0 }), call, 0);
      if (answer.type !== 'statusReply') throw unexpected(answer.type, 'status');
      if (answer.outgoing.length === 0) return answer;
      await call.pause(this.#settings.backoffMs);
    }
  }

  async #page(
    tablet: number,
    { from, to }: ScanRange,
    how: Pick<OutboundOf<'scan'>, 'limit' | 'reverse' | 'keysOnly'>,
    options: ReadOptions,
  ): Promise<MessageOf<'scanReply'>> {
    const { from: source, consistency } = readFrom(options);
    return this.#read(options, async (call) => {
      const request = { type: 'scan', tablet, consistency, from, to, ...how } as const;
      const answer = await this.#router.ask(() => request, call, targetOf(source, tablet));
      if (answer.type !== 'scanReply') throw unexpected(answer.type, 'scan');
      return answer;
    });
  }

  async #isRefreshed(
    error: unknown,
    used: TabletMap | undefined,
    repetitions: number,
    options: CallOptions,
  ): Promise<boolean> {
    if (!isWrongTablet(error)) return false;
    await this.#read(options, async (call) => {
      call.lastFailure = error;
      await this.#tablets.refresh(call, used, repetitions);
    });
    return true;
  }

  async #read<T>(options: CallOptions, work: (call: Call) => Promise<T>): Promise<T> {
    this.#beginRead();
    try {
      return await this.#call(options, work);
    } finally {
      this.#readsUnderWay--;
    }
  }

  /** Throws `CLIENT_OVERLOADED`. */
  #beginRead(): void {
    if (this.#readsUnderWay >= this.#settings.maxQueuedRequests) {
      throw new RaftreeClientError(
        'CLIENT_OVERLOADED',
        `${this.#readsUnderWay} reads are under way already (maxQueuedRequests)`,
        'notCommitted',
      );
    }
    this.#readsUnderWay++;
  }

  /** Throws `CLIENT_CLOSED`. */
  #checkOpen(): void {
    if (this.#closing) throw new RaftreeClientError('CLIENT_CLOSED', 'the client is closed', 'notCommitted');
  }

  async #call<T>(options: CallOptions, work: (call: Call) => Promise<T>): Promise<T> {
    this.#checkOpen();
    const { settings, calls, aborts } = this.#user;
    const call = new Call(settings.env, aborts, settings.timeoutMs, options);
    calls.add(call);
    try {
      return await work(call);
    } catch (error) {
      throw error instanceof CallEnded ? call.endError() : error;
    } finally {
      call.finish();
      calls.remove(call);
    }
  }
}

function readFrom(options: ReadOptions): { readonly from: ReadFrom; readonly consistency: ReadLevel } {
  const { stale = false, endpoint } = options;
  const consistency = options.level ?? (stale ? 'stale' : 'linearizable');
  if (stale && consistency !== 'stale') throw invalid(`stale contradicts level ${consistency}`);
  const anywhere = consistency === 'follower' || consistency === 'stale';
  if (endpoint === undefined) return { from: anywhere ? 'holder' : 'leader', consistency };
  if (!anywhere)
    throw invalid('endpoint needs level follower or stale: other reads are answered by the leader');
  addressOf(endpoint);
  return { from: { endpoint }, consistency };
}
