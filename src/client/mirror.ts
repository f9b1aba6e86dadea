/**
 * A mirror: a local copy of the keys with a prefix, in order, that follows the cluster and says how fresh it is. Reads
 * are answered at once, from memory.
 *
 *     const flags = client.mirror('flags/', { maxBytes: 1024 * 1024 });
 *     await flags.ready;
 *     flags.get('flags/dark')?.value;
 *
 * How it is filled, so that it neither lacks a change nor has one twice:
 *
 *     1. A watch begins. All changes from its first version F on will be told.
 *     2. All keys are read, linearizably: so each page shows a state at F - 1 or later. Changes that are told meanwhile
 *        wait; the last of each key is enough.
 *     3. They are applied. What a page has shown already is applied once more: the last change of each key counts.
 *     4. A page may have shown later states than the watch has come to. So the nodes are asked what is committed now.
 *        When the watch has come to that, each key has its last change, whatever came before. The copy is the state of
 *        one moment in each tablet, and readers get it.
 *
 * From then on writes are applied whole, each in one go. When no node keeps a change any more that is needed, all
 * begins again; readers keep the old copy until the new one is whole.
 */
import { SortedMap } from '../engines/sorted-map.js';
import type { Timer } from '../env/env.js';
import { errorMessage } from '../env/errors.js';
import { backoffDelayMs } from './backoff.js';
import { HistoryGoneError, RaftreeClientError } from './client-error.js';
import { type ClientEnv, type ClientSettings, invalid } from './client-options.js';
import { type Bytes, toBytes } from './operations.js';
import type { ScanEntry } from './results.js';
import type { WatchChange } from './tablet-watch.js';
import type { Watch, WatchOptions, WatchPosition } from './watch.js';

export interface MirrorOptions {
  /**
   * The most memory that the copy takes: its keys and values, and 100 bytes for each. Above it the mirror ends with
   * MIRROR_TOO_LARGE. While it is filled anew there are two copies. Default: 67 108 864.
   */
  readonly maxBytes?: number;
  /** How often the nodes are asked what is committed, for `freshness`. Default: 1 000. */
  readonly syncEveryMs?: number;
  /** Ends the mirror with ABORTED. */
  readonly signal?: AbortSignal;
}

/** Key and value are the memory of the mirror: do not change them. */
export interface MirrorEntry {
  readonly key: Buffer;
  readonly value: Buffer;
  /** The version of its last change. */
  readonly version: number;
}

export interface MirrorChange extends WatchChange {
  /** What the key had before. Undefined: it was absent. */
  readonly previous: MirrorEntry | undefined;
}

export interface Freshness {
  /** The copy has every write that was acknowledged so long ago. Infinity: it is not whole yet. */
  readonly ageMs: number;
  /** For each of its keys a node is connected that tells its changes. */
  readonly isConnected: boolean;
  /** It is being filled, for the first time or anew. */
  readonly isLoading: boolean;
  /** From where a watch of these keys tells what the copy does not have. Undefined: it is not whole yet. */
  readonly resumeFrom: WatchPosition | undefined;
}

export interface MirrorRange {
  /** The first key, inclusive. */
  readonly from?: Bytes;
  /** The last key, exclusive. */
  readonly to?: Bytes;
  readonly reverse?: boolean;
}

/** What a mirror needs of its client. */
export interface MirrorSource {
  readonly settings: ClientSettings;
  watch(options: WatchOptions): Watch;
  scan(options: {
    readonly prefix: Uint8Array;
    readonly level: 'follower';
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
  }): AsyncIterable<ScanEntry>;
}

const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
const ENTRY_OVERHEAD_BYTES = 100;
/** While a copy is not whole, the nodes are asked so often. */
const SYNC_WHILE_LOADING_MS = 50;

export class Mirror {
  /** Resolves when the copy is whole for the first time. Rejects if the mirror ends before. */
  readonly ready: Promise<void>;
  /** Resolves when the mirror has ended: with the reason, or undefined after `close`. */
  readonly ended: Promise<RaftreeClientError | undefined>;
  readonly #source: MirrorSource;
  readonly #env: ClientEnv;
  readonly #prefix: Buffer;
  readonly #signal: AbortSignal | undefined;
  readonly #maxBytes: number;
  readonly #syncEveryMs: number;
  readonly #listeners = new Set<(change: MirrorChange) => void>();
  /** What readers see. Undefined: nothing is whole yet. */
  #copy: Copy | undefined;
  /** What is filled, or follows. */
  #filling: Filling | undefined;
  /** Of the copy that readers see, when it follows no more. */
  #last: Pick<Freshness, 'resumeFrom'> & { readonly syncedMs: number } = {
    resumeFrom: undefined,
    syncedMs: Number.NEGATIVE_INFINITY,
  };
  #isClosed = false;
  #end: RaftreeClientError | undefined;
  #wake: () => void = () => {};
  #isReady: () => void = () => {};
  #isNotReady: (error: unknown) => void = () => {};

  /** Throws `INVALID_REQUEST`. */
  constructor(source: MirrorSource, prefix: Bytes, options: MirrorOptions) {
    const { maxBytes = DEFAULT_MAX_BYTES, syncEveryMs = 1000, signal } = options;
    if (!(Number.isSafeInteger(maxBytes) && maxBytes > 0))
      throw invalid(`maxBytes must be a whole number of bytes above 0, got ${maxBytes}`);
    if (!(Number.isFinite(syncEveryMs) && syncEveryMs > 0))
      throw invalid(`syncEveryMs must be a number of milliseconds above 0, got ${syncEveryMs}`);
    this.#source = source;
    this.#env = source.settings.env;
    this.#prefix = Buffer.from(toBytes(prefix));
    this.#signal = signal;
    this.#maxBytes = maxBytes;
    this.#syncEveryMs = syncEveryMs;
    this.ready = new Promise((resolve, reject) => {
      this.#isReady = resolve;
      this.#isNotReady = reject;
    });
    // Who waits only for the end learns it there.
    this.ready.catch(() => {});
    this.ended = this.#run();
  }

  /** Throws `MIRROR_NOT_READY`, or the reason for which the mirror has ended. So do the other reads. */
  get(key: Bytes): MirrorEntry | undefined {
    return this.#whole.entries.get(toBytes(key));
  }

  has(key: Bytes): boolean {
    return this.get(key) !== undefined;
  }

  /** How many keys there are. */
  get size(): number {
    return this.#whole.entries.size;
  }

  /** What the copy takes, as `maxBytes` counts it. */
  get sizeBytes(): number {
    return this.#whole.sizeBytes;
  }

  /** The entries in the order of their keys, as they are now: what changes meanwhile is not seen. */
  entries({ from, to, reverse = false }: MirrorRange = {}): Generator<MirrorEntry, void, undefined> {
    const first = from === undefined ? {} : { gte: toBytes(from) };
    const last = to === undefined ? {} : { lt: toBytes(to) };
    return valuesOf(this.#whole.entries.entries({ ...first, ...last, reverse }));
  }

  [Symbol.iterator](): Generator<MirrorEntry, void, undefined> {
    return this.entries();
  }

  get freshness(): Freshness {
    const filling = this.#filling;
    const isFollowing = filling?.isWhole ?? false;
    const syncedMs = (isFollowing ? filling?.watch.syncedMs : undefined) ?? this.#last.syncedMs;
    return {
      ageMs: this.#env.clock.nowMs() - syncedMs,
      isConnected: isFollowing && (filling?.watch.isConnected ?? false),
      isLoading: !isFollowing && !this.#isClosed,
      resumeFrom: isFollowing ? filling?.watch.resumeFrom : this.#last.resumeFrom,
    };
  }

  /**
   * Calls `listener` for each change of the copy that readers see, directly after it: in order for each key, all of a
   * write in a row. When the copy was filled anew, for what differs from the old one. Returns how to end that.
   */
  onChange(listener: (change: MirrorChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ends the mirror: its memory is let go. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#filling?.stop();
    this.#wake();
    await this.ended;
  }

  get #whole(): Copy {
    if (this.#end) throw this.#end;
    if (this.#isClosed) throw new RaftreeClientError('CLIENT_CLOSED', 'the mirror is closed', 'notCommitted');
    if (this.#copy) return this.#copy;
    throw new RaftreeClientError(
      'MIRROR_NOT_READY',
      'the mirror is being filled: wait for its ready',
      'notCommitted',
    );
  }

  async #run(): Promise<RaftreeClientError | undefined> {
    let error: unknown;
    let failures = 0;
    while (!this.#isClosed) {
      const { end, wasWhole } = await this.#fill();
      error = end;
      // Otherwise it would only come to the same end.
      if (!(end instanceof HistoryGoneError)) break;
      failures = wasWhole ? 0 : failures + 1;
      await this.#pause(failures);
    }
    const isAsked = this.#isClosed;
    this.#isClosed = true;
    this.#copy = undefined;
    this.#listeners.clear();
    this.#end = isAsked ? undefined : asClientError(error);
    this.#isNotReady(
      this.#end ?? new RaftreeClientError('CLIENT_CLOSED', 'the mirror is closed', 'notCommitted'),
    );
    return this.#end;
  }

  /** Fills a copy and follows the changes, until that ends: why. */
  async #fill(): Promise<{ readonly end: unknown; readonly wasWhole: boolean }> {
    const signal = this.#signal ? { signal: this.#signal } : {};
    const watch = this.#source.watch({ prefix: this.#prefix, ...signal });
    const filling = new Filling(watch, {
      env: this.#env,
      maxBytes: this.#maxBytes,
      syncEveryMs: this.#syncEveryMs,
      scan: (ending) =>
        this.#source.scan({
          ...({ prefix: this.#prefix, level: 'follower', signal: ending } as const),
          timeoutMs: Number.POSITIVE_INFINITY,
        }),
      whole: (copy) => this.#replace(copy),
      changed: (changes) => this.#tell(changes),
    });
    this.#filling = filling;
    const end = await filling.run();
    if (filling.isWhole) {
      const { resumeFrom, syncedMs = this.#last.syncedMs } = watch;
      this.#last = { resumeFrom, syncedMs };
    }
    this.#filling = undefined;
    return { end, wasWhole: filling.isWhole };
  }

  #replace(copy: Copy): void {
    const old = this.#copy;
    this.#copy = copy;
    this.#isReady();
    if (old && this.#listeners.size > 0) this.#tell(differences(old, copy));
  }

  #tell(changes: Iterable<MirrorChange>): void {
    if (this.#listeners.size === 0) return;
    for (const change of changes)
      for (const listener of this.#listeners) {
        try {
          listener(change);
        } catch (error) {
          // It is the program's fault, and not a reason to miss changes.
          this.#env.timers.after(0, () => {
            throw error;
          });
        }
      }
  }

  async #pause(failures: number): Promise<void> {
    const { backoffMs, maxBackoffMs, env } = this.#source.settings;
    if (this.#isClosed) return;
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = this.#env.timers.after(backoffDelayMs(failures, backoffMs, maxBackoffMs, env.random), resolve);
    });
    timer?.cancel();
  }
}

/** The keys and values of one copy. */
class Copy {
  readonly entries = new SortedMap<MirrorEntry>();
  sizeBytes = 0;

  put(entry: MirrorEntry): void {
    this.#count(this.entries.get(entry.key), -1);
    this.entries.set(entry.key, entry);
    this.#count(entry, 1);
  }

  /** Returns what the change has changed; undefined: nothing, because the key was absent before. */
  apply(change: WatchChange): MirrorChange | undefined {
    const { type, key, value, version } = change;
    const previous = this.entries.get(key);
    if (type === 'put') this.put({ key, value, version });
    else if (previous) {
      this.entries.delete(key);
      this.#count(previous, -1);
    } else return undefined;
    return { ...change, previous };
  }

  #count(entry: MirrorEntry | undefined, sign: 1 | -1): void {
    if (entry) this.sizeBytes += sign * sizeOf(entry);
  }
}

interface FillingParts {
  readonly env: ClientEnv;
  readonly maxBytes: number;
  readonly syncEveryMs: number;
  /** All keys, read from now on, until the signal ends that. */
  readonly scan: (ending: AbortSignal) => AsyncIterable<ScanEntry>;
  /** The copy is whole. */
  readonly whole: (copy: Copy) => void;
  /** A write was applied to it since. */
  readonly changed: (changes: readonly MirrorChange[]) => void;
}

/** A copy from the beginning of its watch to the end of that. */
class Filling {
  readonly watch: Watch;
  readonly #parts: FillingParts;
  readonly #copy = new Copy();
  readonly #ending = new AbortController();
  /** While keys are read: the last change of each, by its bytes as text. */
  #waiting: Map<string, WatchChange> | undefined = new Map();
  #waitingBytes = 0;
  /** What was told of a write that is not complete. */
  #write: WatchChange[] = [];
  /** When all keys were read. */
  #readMs = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;
  #isWhole = false;
  /** Why it ends, if not because the watch does. */
  #failure: unknown;

  constructor(watch: Watch, parts: FillingParts) {
    this.watch = watch;
    this.#parts = parts;
  }

  /** Readers see the copy. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Resolves when it has ended: with the reason, undefined after `stop`. */
  async run(): Promise<unknown> {
    try {
      await this.watch.ready;
      const reading = this.#read();
      for await (const change of this.watch) {
        this.#take(change);
        if (this.watch.isBetweenWrites) this.#apply();
      }
      await reading;
    } catch (error) {
      this.#failure ??= error;
    }
    this.stop();
    return this.#failure;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#ending.abort();
    void this.watch.return();
  }

  /** Reads all keys. Never rejects. */
  async #read(): Promise<void> {
    try {
      for await (const { key, value, version } of this.#parts.scan(this.#ending.signal)) {
        this.#copy.put({ key, value, version });
        this.#checkSize(this.#copy.sizeBytes);
      }
      for (const change of this.#waiting?.values() ?? []) this.#copy.apply(change);
      this.#waiting = undefined;
      this.#readMs = this.#parts.env.clock.nowMs();
      await this.#sync();
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      this.#failure ??= error;
      void this.watch.return();
    }
  }

  #take(change: WatchChange): void {
    if (!this.#waiting) {
      this.#write.push(change);
      return;
    }
    const name = change.key.toString('latin1');
    const before = this.#waiting.get(name);
    this.#waiting.set(name, change);
    this.#waitingBytes += sizeOf(change) - (before ? sizeOf(before) : 0);
    this.#checkSize(this.#waitingBytes);
  }

  /** A write is complete. */
  #apply(): void {
    const changes: MirrorChange[] = [];
    for (const change of this.#write.splice(0)) {
      const changed = this.#copy.apply(change);
      if (changed) changes.push(changed);
    }
    this.#checkSize(this.#copy.sizeBytes);
    if (this.#isWhole) this.#parts.changed(changes);
    else this.#maybeWhole();
  }

  #maybeWhole(): void {
    const { syncedMs = Number.NEGATIVE_INFINITY, isBetweenWrites } = this.watch;
    if (this.#isWhole || syncedMs < this.#readMs || !isBetweenWrites || this.#write.length > 0) return;
    this.#isWhole = true;
    this.#parts.whole(this.#copy);
  }

  /** Asks what is committed, again and again. */
  async #sync(): Promise<void> {
    await this.watch.sync();
    if (this.#ending.signal.aborted) return;
    this.#maybeWhole();
    const afterMs = this.#isWhole ? this.#parts.syncEveryMs : SYNC_WHILE_LOADING_MS;
    this.#timer = this.#parts.env.timers.after(afterMs, () => void this.#sync());
  }

  /** Throws `MIRROR_TOO_LARGE`. */
  #checkSize(sizeBytes: number): void {
    const { maxBytes } = this.#parts;
    if (sizeBytes <= maxBytes) return;
    const reason = `the keys to mirror take more than ${maxBytes} bytes (maxBytes): mirror a longer prefix, or allow more`;
    throw new RaftreeClientError('MIRROR_TOO_LARGE', reason, 'notCommitted');
  }
}

function sizeOf({ key, value }: { readonly key: Buffer; readonly value: Buffer }): number {
  return key.length + value.length + ENTRY_OVERHEAD_BYTES;
}

function* valuesOf<Value>(entries: Iterable<readonly [Buffer, Value]>): Generator<Value, void, undefined> {
  for (const [, value] of entries) yield value;
}

/** What a reader of the old copy has to be told to know the new one. */
function* differences(old: Copy, copy: Copy): Generator<MirrorChange> {
  for (const [key, previous] of old.entries.entries({}))
    if (!copy.entries.get(key))
      yield { type: 'delete', key, value: NOTHING, version: previous.version, previous };
  for (const [key, entry] of copy.entries.entries({})) {
    const previous = old.entries.get(key);
    if (previous?.version !== entry.version) yield { type: 'put', ...entry, previous };
  }
}

const NOTHING = Buffer.alloc(0);

function asClientError(error: unknown): RaftreeClientError {
  if (error instanceof RaftreeClientError) return error;
  return new RaftreeClientError(
    'INTERNAL',
    `the mirror has failed: ${errorMessage(error)}`,
    'notCommitted',
    error,
  );
}
