/**
 * A watch: the changes of some keys, in the order in which they were applied, each once. Any node tells them. When the
 * connection or the node is lost, the watch goes on with another node from the version that it has come to.
 *
 *     for await (const { type, key, value, version } of client.watch({ prefix: 'colour/' })) { ... }
 *
 * Changes of one version were made by one write, and may come in several messages. So the watch counts what it has of a
 * version that is not complete yet: it asks another node for that version again, and leaves out so many changes. Every
 * node tells the changes of a version in the same order.
 *
 *     complete up to    here        got of the next version    next
 *     ... 17 17 18 ]               [ 20 20                     20 20 21 ...
 *
 * The client holds at most `bufferBytes` of changes, or one, that were not taken: the node has no more credit then. If
 * that lasts until no node keeps the next change any more, the watch ends with HISTORY_GONE, and says from which
 * version on changes are kept. It never leaves out a change in silence.
 */
import { RaftreeError } from '../env/errors.js';
import type { ChangeType } from '../kv/watch/change-history.js';
import { CHANGE_OVERHEAD_BYTES } from '../kv/watch/watcher.js';
import type { MessageOf } from '../protocol/messages.js';
import { Call } from './call.js';
import { HistoryGoneError, RaftreeClientError } from './client-error.js';
import { addressOf, type ClientSettings, invalid } from './client-options.js';
import type { CallUser } from './direct-call.js';
import type { NodeConnection, WatchTaker } from './node-connection.js';
import { type Bytes, toBytes } from './operations.js';
import type { FailedAttempt, Router, Target } from './router.js';
import { isEmptyRange, type ScanRange, scanRange } from './scan-range.js';
import type { TabletCache } from './tablet-cache.js';
import { unexpected } from './unexpected.js';

export interface WatchChange {
  /** `expire`: the key's deadline has passed. */
  readonly type: ChangeType;
  readonly key: Buffer;
  /** Empty unless it is a put. */
  readonly value: Buffer;
  /** The log index of the change. Changes of one version were made by one write. */
  readonly version: number;
}

/** Which keys: one, those with a prefix, those in a range, or all. */
export interface WatchOptions {
  readonly key?: Bytes;
  readonly prefix?: Bytes;
  /** From the first key, inclusive, to the last key, exclusive. */
  readonly range?: { readonly from?: Bytes; readonly to?: Bytes };
  /** The first version that is told. Default: the next change. */
  readonly from?: number;
  /** The node to ask. Default: any of the client's endpoints, and another one when that is lost. */
  readonly endpoint?: string;
  /** Ends the watch with ABORTED. */
  readonly signal?: AbortSignal;
  /** What the client holds of changes that were not taken yet. Default: 262 144. */
  readonly bufferBytes?: number;
}

const DEFAULT_BUFFER_BYTES = 256 * 1024;
/** How long another node is asked for what one does not keep any more. */
const ANOTHER_TIMEOUT_MS = 3000;

/** A change that was received, and what it counts. */
interface Received {
  readonly change: WatchChange;
  readonly sizeBytes: number;
}

interface Waiting {
  readonly resolve: (result: IteratorResult<WatchChange, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/** How a stream of one node has ended. */
type StreamEnd =
  | RaftreeError
  | { readonly code: string; readonly message: string; readonly fromVersion?: number };

export class Watch implements AsyncIterableIterator<WatchChange> {
  /** Resolves when the watch has begun: changes that are made from now on are told. Rejects if it ends before. */
  readonly ready: Promise<void>;
  readonly #settings: ClientSettings;
  readonly #router: Router;
  readonly #user: CallUser;
  readonly #tablets: TabletCache;
  /** The one that owns all watched keys. */
  #tablet = 0;
  readonly #call: Call;
  readonly #range: ScanRange;
  readonly #endpoint: string | undefined;
  readonly #bufferBytes: number;
  readonly #signal: AbortSignal | undefined;
  /** Everything before it was received. Undefined: it is not known yet where the watch begins. */
  #nextVersion: number | undefined;
  /** So many changes of #nextVersion were received. */
  #receivedOfNext = 0;
  /** Of those, how many the present stream will repeat. */
  #toSkip = 0;
  #queue: Received[] = [];
  #head = 0;
  #queuedBytes = 0;
  /** Taken, and not given back to the node as credit. */
  #takenBytes = 0;
  readonly #waiting: Waiting[] = [];
  #stream: { readonly connection: NodeConnection; readonly id: number } | undefined;
  #isEnded = false;
  #error: unknown;
  #isReady: () => void = () => {};
  #isNotReady: (error: unknown) => void = () => {};

  /** Throws `INVALID_REQUEST`. */
  constructor(user: CallUser, router: Router, tablets: TabletCache, options: WatchOptions) {
    this.#settings = user.settings;
    this.#user = user;
    this.#router = router;
    this.#tablets = tablets;
    this.#range = watchedRange(options);
    this.#nextVersion = checkedVersion(options.from);
    this.#bufferBytes = checkedBuffer(options.bufferBytes ?? DEFAULT_BUFFER_BYTES);
    this.#endpoint = options.endpoint;
    if (options.endpoint !== undefined) addressOf(options.endpoint);
    this.#signal = options.signal;
    this.ready = new Promise((resolve, reject) => {
      this.#isReady = resolve;
      this.#isNotReady = reject;
    });
    // Who only iterates learns it there.
    this.ready.catch(() => {});
    this.#call = this.#newCall(Number.POSITIVE_INFINITY);
    void this.#run();
  }

  /**
   * From which version another watch goes on, without a gap, after all changes that were taken; undefined until it is
   * known where the watch begins. If only some changes of a version were taken, that watch repeats them.
   */
  get resumeFrom(): number | undefined {
    return this.#queue[this.#head]?.change.version ?? this.#nextVersion;
  }

  next(): Promise<IteratorResult<WatchChange, undefined>> {
    const received = this.#take();
    if (received) return Promise.resolve({ done: false, value: received });
    if (this.#isEnded) {
      const error = this.#error;
      this.#error = undefined;
      return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Ends the watch. */
  return(): Promise<IteratorResult<WatchChange, undefined>> {
    this.#nextVersion = this.resumeFrom;
    this.#queue = [];
    this.#head = 0;
    this.#end(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #newCall(timeoutMs: number): Call {
    const { settings, calls, aborts } = this.#user;
    const options = this.#signal ? { timeoutMs, signal: this.#signal } : { timeoutMs };
    const call = new Call(settings.env, aborts, timeoutMs, options);
    calls.add(call);
    return call;
  }

  /** One stream after the other, until the watch ends. */
  async #run(): Promise<void> {
    if (isEmptyRange(this.#range)) {
      this.#isReady();
      await this.#call.untilEnd().catch(() => this.#end(this.#call.endError()));
      return;
    }
    /** Nodes that do not keep what is needed, with the version from which on they are complete. */
    const gone = new Map<string, number>();
    let last: FailedAttempt | undefined;
    try {
      while (!this.#isEnded) {
        const another = gone.size > 0 ? this.#endpoints.find((endpoint) => !gone.has(endpoint)) : undefined;
        if (gone.size > 0 && another === undefined) throw historyGone(Math.min(...gone.values()));
        const before = this.#nextVersion;
        const { endpoint, end } = await this.#follow(another, last);
        if (this.#nextVersion !== before) gone.clear();
        const oldest = 'fromVersion' in end ? end.fromVersion : undefined;
        // While others do not keep what is needed, one that ends without telling anything is of no use either.
        if (oldest !== undefined) gone.set(endpoint, oldest);
        else if (gone.size > 0) gone.set(endpoint, Math.min(...gone.values()));
        last = {
          endpoint,
          error: end instanceof RaftreeError ? end : new RaftreeError(end.code, end.message),
        };
      }
    } catch (error) {
      this.#end(this.#call.isEnded ? this.#call.endError() : error);
    } finally {
      this.#leave();
      this.#call.finish();
      this.#user.calls.remove(this.#call);
    }
  }

  get #endpoints(): readonly string[] {
    return this.#endpoint === undefined ? this.#settings.endpoints : [this.#endpoint];
  }

  /** Follows one stream to its end. `another`: of this node, since others do not keep what is needed. */
  async #follow(
    another: string | undefined,
    last: FailedAttempt | undefined,
  ): Promise<{ readonly endpoint: string; readonly end: StreamEnd }> {
    let ended: Promise<StreamEnd> = new Promise(() => {});
    const build = (connection: NodeConnection) => {
      this.#leave();
      let isOver: (end: StreamEnd) => void = () => {};
      ended = new Promise((resolve) => {
        isOver = resolve;
      });
      this.#toSkip = this.#receivedOfNext;
      this.#takenBytes = 0;
      const watchId = connection.openWatch(this.#taker(isOver));
      this.#stream = { connection, id: watchId };
      const { from, to } = this.#range;
      const creditBytes = Math.max(0, this.#bufferBytes - this.#queuedBytes);
      return {
        ...({ type: 'watch', tablet: this.#tablet, watchId, from, to } as const),
        ...{ fromVersion: this.#nextVersion, creditBytes },
      };
    };
    const asked = another ?? this.#endpoint;
    const target: Target = asked === undefined ? 'any' : { endpoint: asked };
    const isShort = another !== undefined;
    const call = isShort ? this.#newCall(ANOTHER_TIMEOUT_MS) : this.#call;
    try {
      let failed = isShort ? undefined : last;
      const answer = await this.#tablets.withMap(call, () => {
        this.#tablet = this.#tablets.ownerOfRange(this.#range);
        const first = failed;
        failed = undefined;
        return this.#router.ask(build, call, target, first);
      });
      if (answer.type !== 'watching') throw unexpected(answer.type, 'watch');
      this.#nextVersion ??= answer.fromVersion;
      this.#isReady();
    } catch (error) {
      this.#leave();
      const isNotThere = isShort && error instanceof RaftreeClientError && !this.#call.isEnded;
      if (!isNotThere) throw error;
      return { endpoint: another, end: { code: error.code, message: error.message } };
    } finally {
      if (isShort) {
        call.finish();
        this.#user.calls.remove(call);
      }
    }
    const endpoint = this.#stream?.connection.endpoint ?? '';
    const end = await this.#call.race(ended);
    this.#stream = undefined;
    return { endpoint, end };
  }

  #taker(isOver: (end: StreamEnd) => void): WatchTaker {
    return {
      tablet: this.#tablet,
      changes: (message) => this.#received(message),
      progress: (throughVersion) => this.#complete(throughVersion, 0),
      ended: ({ code, message, fromVersion }) =>
        isOver(fromVersion === undefined ? { code, message } : { code, message, fromVersion }),
      lost: isOver,
    };
  }

  #received({ changes, throughVersion }: MessageOf<'changes'>): void {
    let skippedBytes = 0;
    let ofIncomplete = 0;
    for (const { type, key, value, version } of changes) {
      const sizeBytes = key.length + value.length + CHANGE_OVERHEAD_BYTES;
      if (version > throughVersion) ofIncomplete++;
      if (this.#toSkip > 0) {
        this.#toSkip--;
        skippedBytes += sizeBytes;
        continue;
      }
      this.#receivedOfNext++;
      // Copies: otherwise a kept change would keep the whole received chunk in memory.
      const change = { type, key: Buffer.from(key), value: Buffer.from(value), version };
      this.#queue.push({ change, sizeBytes });
      this.#queuedBytes += sizeBytes;
    }
    this.#complete(throughVersion, ofIncomplete);
    if (skippedBytes > 0) this.#credit(skippedBytes);
    while (this.#waiting.length > 0) {
      const change = this.#take();
      if (!change) return;
      this.#waiting.shift()?.resolve({ done: false, value: change });
    }
  }

  /** Everything up to this version was received, and so many changes of the next. */
  #complete(throughVersion: number, ofNext: number): void {
    if (this.#nextVersion !== undefined && throughVersion < this.#nextVersion) return;
    this.#nextVersion = throughVersion + 1;
    this.#receivedOfNext = ofNext;
  }

  #take(): WatchChange | undefined {
    const received = this.#queue[this.#head];
    if (!received) return undefined;
    this.#head++;
    this.#queuedBytes -= received.sizeBytes;
    if (this.#head === this.#queue.length || this.#head > 1024) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    this.#credit(received.sizeBytes);
    return received.change;
  }

  /** So much was taken. The node is told now and then. */
  #credit(sizeBytes: number): void {
    this.#takenBytes += sizeBytes;
    if (!this.#stream || this.#takenBytes < this.#bufferBytes / 2) return;
    const { connection, id } = this.#stream;
    connection.post({ type: 'watchCredit', watchId: id, bytes: this.#takenBytes });
    this.#takenBytes = 0;
  }

  /** Lets the present stream go. */
  #leave(): void {
    this.#stream?.connection.closeWatch(this.#stream.id);
    this.#stream = undefined;
  }

  #end(error: unknown): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#leave();
    // The other streams, and whatever is waited for, end with it.
    this.#call.end('CLIENT_CLOSED');
    this.#isNotReady(error ?? new RaftreeClientError('ABORTED', 'the watch was ended', 'notCommitted'));
    const [first, ...others] = this.#waiting.splice(0);
    if (error !== undefined && first) first.reject(error);
    else {
      this.#error = error;
      first?.resolve({ done: true, value: undefined });
    }
    for (const waiting of others) waiting.resolve({ done: true, value: undefined });
  }
}

function historyGone(fromVersion: number): HistoryGoneError {
  return new HistoryGoneError(
    `the changes up to version ${fromVersion - 1} are not kept any more: read the keys anew, and watch from version ` +
      `${fromVersion} on`,
    fromVersion,
  );
}

/** Throws `INVALID_REQUEST`. */
function watchedRange({ key, prefix, range }: WatchOptions): ScanRange {
  const given = [key, prefix, range].filter((each) => each !== undefined);
  if (given.length > 1) throw invalid('a watch is of a key, a prefix or a range: give one of them');
  if (key === undefined) return scanRange(prefix === undefined ? (range ?? {}) : { prefix });
  const from = Buffer.from(toBytes(key));
  if (from.length === 0) throw invalid('a key has at least one byte');
  return { from, to: Buffer.concat([from, Buffer.of(0)]) };
}

function checkedVersion(from: number | undefined): number | undefined {
  if (from === undefined || (Number.isSafeInteger(from) && from > 0)) return from;
  throw invalid(`from must be a version, which is a whole number from 1 on, not ${from}`);
}

function checkedBuffer(bufferBytes: number): number {
  if (Number.isSafeInteger(bufferBytes) && bufferBytes > 0 && bufferBytes <= 0xffff_ffff) return bufferBytes;
  throw invalid(`bufferBytes must be a whole number of bytes above 0, got ${bufferBytes}`);
}
