/**
 * A watch: the changes of some keys, each once, without a gap. Any node tells them.
 *
 *     for await (const { type, key, value, version } of client.watch({ prefix: 'colour/' })) { ... }
 *
 * Each tablet that owns some of the keys has a stream of its own (tablet-watch.ts). The streams are merged as they
 * come: the changes of a key are in order, those of different tablets in any order. The changes of one write follow
 * each other, also when those of another tablet wait.
 *
 *     tablet 1    17 17 18 . . . 21          17 17 4 18 5 5 21
 *     tablet 2          4 5 5
 *
 * A tablet that owns the keys no more, because it was split or merged, ends its stream. When all changes of it are
 * taken, the tablets that own the keys now go on from the version that it has come to: versions rise along them. Where
 * two were merged, one stream goes on for both, when all changes of both are taken: with the keys of each from where
 * that one has come to (watch-places.ts).
 *
 * The client holds at most `bufferBytes` of changes, or one of each tablet, that were not taken. If that lasts until no
 * node keeps the next change any more, the watch ends with HISTORY_GONE, and says from where on changes are kept.
 */
import { errorCode } from '../env/errors.js';
import { overlap, type TabletMap } from '../placement/tablet-map.js';
import { Call, CallEnded } from './call.js';
import { HistoryGoneError, RaftreeClientError } from './client-error.js';
import { addressOf, invalid } from './client-options.js';
import type { CallUser } from './direct-call.js';
import { type Bytes, toBytes } from './operations.js';
import type { Router } from './router.js';
import { isEmptyRange, isOneKey, type ScanRange, scanRange } from './scan-range.js';
import { partsOf, type TabletCache, type TabletPart } from './tablet-cache.js';
import { PartGone, TabletWatch, type TabletWatchHost, type WatchChange } from './tablet-watch.js';
import {
  isReached,
  joinedPlaces,
  lowestOf,
  type Places,
  placesIn,
  raisedTo,
  unreached,
} from './watch-places.js';
import { checkCluster, decodeToken, encodeToken, placesOf, type WatchToken } from './watch-token.js';

/**
 * Where a watch begins: a version if one tablet owns all of its keys, or a token, which has a version for each tablet
 * and is good after splits and merges. A watch gives it (`resumeFrom`), and another one takes it (`from`). In a cluster
 * that has the one tablet with which it began a watch gives versions, in others it gives tokens.
 */
export type WatchPosition = number | string;

/** Which keys: one, those with a prefix, those in a range, or all. */
export interface WatchOptions {
  readonly key?: Bytes;
  readonly prefix?: Bytes;
  /** From the first key, inclusive, to the last key, exclusive. */
  readonly range?: { readonly from?: Bytes; readonly to?: Bytes };
  /** The first version that is told, or a token. Default: the next change. */
  readonly from?: WatchPosition;
  /** The node to ask. Default: any of the client's endpoints, and another one when that is lost. */
  readonly endpoint?: string;
  /** Ends the watch with ABORTED. */
  readonly signal?: AbortSignal;
  /** What the client holds of changes that were not taken yet. Default: 262 144. */
  readonly bufferBytes?: number;
}

const DEFAULT_BUFFER_BYTES = 256 * 1024;

interface Waiting {
  readonly resolve: (result: IteratorResult<WatchChange, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/** Keys whose tablets are to be found. */
interface Unplanned {
  /** Those of this stream. Undefined: all. */
  readonly before: TabletWatch | undefined;
  /** Of these: no node that holds their tablet keeps what comes next. */
  readonly gone?: PartGone | undefined;
  /** With this map. */
  readonly used: TabletMap | undefined;
  /** So many times the map led to tablets that do not own them. */
  readonly repetitions: number;
}

/** How a stream was found. */
interface Planned {
  readonly used: TabletMap | undefined;
  readonly repetitions: number;
  /** It begins where the watch does, and not where another stream has ended. */
  readonly isFirst: boolean;
}

export class Watch implements AsyncIterableIterator<WatchChange>, TabletWatchHost {
  /** Resolves when the watch has begun: changes that are made from now on are told. Rejects if it ends before. */
  readonly ready: Promise<void>;
  readonly #user: CallUser;
  readonly #router: Router;
  readonly #tablets: TabletCache;
  readonly #range: ScanRange;
  readonly #options: WatchOptions;
  readonly #bufferBytes: number;
  readonly #token: WatchToken | undefined;
  readonly #call: Call;
  readonly #unplanned: Unplanned[] = [];
  #isPlanning = false;
  /** In the order of their ranges. */
  #streams: readonly TabletWatch[] = [];
  readonly #plans = new Map<TabletWatch, Planned>();
  readonly #notBegun = new Set<TabletWatch>();
  /** Of which changes can be taken. Those that were not looked at for longest come first. */
  readonly #full = new Set<TabletWatch>();
  /** Which own the keys no more, or may not. Changes wait to be taken. */
  readonly #retired = new Map<TabletWatch, PartGone | undefined>();
  /** That of which the last change was taken. */
  #current: TabletWatch | undefined;
  readonly #waiting: Waiting[] = [];
  #hasBegun = false;
  #isEnded = false;
  #error: unknown;
  #isReady: () => void = () => {};
  #isNotReady: (error: unknown) => void = () => {};

  /** Throws `INVALID_REQUEST`. */
  constructor(user: CallUser, router: Router, tablets: TabletCache, options: WatchOptions) {
    this.#user = user;
    this.#router = router;
    this.#tablets = tablets;
    this.#options = options;
    this.#range = watchedRange(options);
    this.#token = typeof options.from === 'string' ? decodeToken(options.from) : undefined;
    if (typeof options.from !== 'string') checkVersion(options.from);
    this.#bufferBytes = checkedBuffer(options.bufferBytes ?? DEFAULT_BUFFER_BYTES);
    const { endpoint, signal } = options;
    if (endpoint !== undefined) addressOf(endpoint);
    this.ready = new Promise((resolve, reject) => {
      this.#isReady = resolve;
      this.#isNotReady = reject;
    });
    // Who only iterates learns it there.
    this.ready.catch(() => {});
    const timeoutMs = Number.POSITIVE_INFINITY;
    this.#call = new Call(user.settings.env, user.aborts, timeoutMs, signal ? { timeoutMs, signal } : {});
    user.calls.add(this.#call);
    void this.#begin();
  }

  /**
   * From where another watch of these keys goes on, without a gap, after all changes that were taken; undefined until
   * it is known where the watch begins. If only some changes of a write were taken, that watch repeats them.
   */
  get resumeFrom(): WatchPosition | undefined {
    return this.#positionOf((stream) => stream.resumePlaces);
  }

  /** All changes of the write of which a change was taken last were taken. */
  get isBetweenWrites(): boolean {
    return this.#current?.isBetweenWrites ?? true;
  }

  /** For each watched key a node is connected that tells its changes. */
  get isConnected(): boolean {
    return this.#hasBegun && this.#streams.every(({ isConnected }) => isConnected);
  }

  /** All changes of writes that were acknowledged before this time were taken. Undefined: that is not known. */
  get syncedMs(): number | undefined {
    let oldestMs = Number.POSITIVE_INFINITY;
    for (const { syncedMs = Number.NEGATIVE_INFINITY } of this.#streams)
      oldestMs = Math.min(oldestMs, syncedMs);
    return this.#hasBegun && Number.isFinite(oldestMs) ? oldestMs : undefined;
  }

  /** Asks the nodes what is committed, for `syncedMs`. Never rejects. */
  async sync(): Promise<void> {
    await Promise.all(this.#streams.map((stream) => stream.sync()));
  }

  next(): Promise<IteratorResult<WatchChange, undefined>> {
    const change = this.#take();
    if (change) return Promise.resolve({ done: false, value: change });
    if (this.#isEnded) {
      const error = this.#error;
      this.#error = undefined;
      return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Ends the watch. */
  return(): Promise<IteratorResult<WatchChange, undefined>> {
    for (const stream of this.#streams) stream.close();
    this.#full.clear();
    this.#end(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  // What the streams tell.

  begun(stream: TabletWatch): void {
    this.#notBegun.delete(stream);
    this.#maybeBegun();
  }

  arrived(stream: TabletWatch): void {
    if (stream.head) this.#full.add(stream);
    this.#serve();
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const change = this.#take();
      if (!change) return;
      this.#waiting.shift()?.resolve({ done: false, value: change });
    }
  }

  ended(stream: TabletWatch, error: unknown): void {
    if (this.#isEnded) return;
    const gone = error instanceof PartGone ? error : undefined;
    if (gone && gone.why !== 'not kept by some') this.#end(this.#historyGone(stream, gone));
    else if (!gone && errorCode(error) !== 'WRONG_TABLET') this.#end(error);
    else if (stream.head) this.#retired.set(stream, gone);
    else this.#replace(stream, gone);
  }

  // Finding the tablets.

  async #begin(): Promise<void> {
    if (isEmptyRange(this.#range)) {
      this.#maybeBegun();
      await this.#call.untilEnd().catch(() => this.#end(this.#call.endError()));
    } else this.#plan({ before: undefined, used: undefined, repetitions: 0 });
  }

  #replace(stream: TabletWatch, gone: PartGone | undefined): void {
    const { used, repetitions = 0 } = this.#plans.get(stream) ?? {};
    this.#retired.delete(stream);
    this.#leave(stream);
    this.#plan({ before: stream, gone, used, repetitions: stream.hasBegun ? 1 : repetitions + 1 });
  }

  /** No more of a write comes that was told in part: others may have waited for it. */
  #leave(stream: TabletWatch): void {
    if (this.#current !== stream) return;
    this.#current = undefined;
    this.#serve();
  }

  #plan(keys: Unplanned): void {
    this.#unplanned.push(keys);
    if (this.#isPlanning) return;
    this.#isPlanning = true;
    void this.#planAll();
  }

  /** One after the other: a call waits for one thing at a time. */
  async #planAll(): Promise<void> {
    try {
      for (let keys = this.#unplanned.shift(); keys && !this.#isEnded; keys = this.#unplanned.shift())
        await this.#planKeys(keys);
    } catch (error) {
      this.#end(error instanceof CallEnded ? this.#call.endError() : error);
    } finally {
      this.#isPlanning = false;
    }
  }

  async #planKeys({ before, gone, used, repetitions }: Unplanned): Promise<void> {
    const tablets = this.#tablets;
    const knowsCluster = () => this.#token === undefined || tablets.map !== undefined;
    let isOld = before !== undefined && tablets.map === used;
    for (let i = repetitions; ; i++) {
      // What it was merged with may have taken its keys along.
      if (before && !this.#streams.includes(before)) return;
      const parts = isOld || !knowsCluster() ? undefined : partsOf(tablets.map, this.#range);
      if (parts) {
        this.#follow({ before, gone, used: tablets.map, repetitions }, parts);
        return;
      }
      isOld = false;
      try {
        await tablets.refresh(this.#call, tablets.map, Math.max(0, i - 1));
      } catch (error) {
        // No node answers now.
        if (!PATIENT.has(errorCode(error) ?? '') || this.#call.isEnded) throw error;
      }
    }
  }

  /** `parts`: all that own watched keys now. Throws as `#open` does. */
  #follow(planned: Unplanned, parts: readonly TabletPart[]): void {
    const { before, gone } = planned;
    if (!before) {
      this.#open(parts, [], planned);
      return;
    }
    const { following, ended } = this.#successionOf(before, parts);
    if (gone && following.some(({ tablet }) => tablet === before.part.tablet)) {
      this.#end(this.#historyGone(before, gone));
      return;
    }
    let isTaken = true;
    for (const stream of ended) {
      stream.stop();
      if (!stream.head) {
        this.#leave(stream);
        continue;
      }
      // What it was told comes first. Then all that were merged with it are replaced.
      isTaken = false;
      if (!this.#retired.has(stream)) this.#retired.set(stream, undefined);
    }
    if (isTaken) this.#open(following, ended, planned);
  }

  /**
   * What follows a stream that has ended, and which others end with it: of tablets that were merged with that one, in
   * one step or in several.
   */
  #successionOf(before: TabletWatch, parts: readonly TabletPart[]) {
    let ended: readonly TabletWatch[] = [before];
    for (;;) {
      const following = parts.filter((part) => ended.some((stream) => overlap(part, stream.part)));
      const all = this.#streams.filter(
        (stream) => stream === before || following.some((part) => overlap(part, stream.part)),
      );
      if (all.length === ended.length) return { following, ended };
      ended = all;
    }
  }

  /** Throws `SPANS_TABLETS`, `IDENTITY_MISMATCH`, `INVALID_REQUEST`. */
  #open(
    parts: readonly TabletPart[],
    ended: readonly TabletWatch[],
    { used, repetitions }: Pick<Unplanned, 'used' | 'repetitions'>,
  ): void {
    const { endpoint, signal } = this.#options;
    const others = this.#streams.filter((stream) => !ended.includes(stream));
    const isFirst = ended.every((stream) => !stream.hasBegun && this.#plans.get(stream)?.isFirst === true);
    const planned = { used, repetitions, isFirst };
    const streams = others.length + parts.length;
    const first = isFirst ? parts.map((part) => this.#firstPlacesOf(part, streams)) : undefined;
    const bufferBytes = Math.max(1, Math.floor(this.#bufferBytes / streams));
    const told = isFirst ? [] : ended.flatMap(({ toldParts }) => toldParts);
    const opened = parts.map((part, i) => {
      const options = {
        places: first?.[i] ?? placesBefore(part, ended),
        isPlain: isFirst && typeof this.#options.from === 'number' && !isOneKey(this.#range),
        wasReached: !isFirst || this.#token !== undefined,
        ...{ told, bufferBytes, endpoint, signal },
      };
      const stream = new TabletWatch(this.#user, this.#router, part, options, this);
      this.#plans.set(stream, planned);
      this.#notBegun.add(stream);
      return stream;
    });
    for (const stream of ended) {
      this.#plans.delete(stream);
      this.#notBegun.delete(stream);
      this.#retired.delete(stream);
      this.#full.delete(stream);
    }
    this.#streams = [...others, ...opened].sort((one, other) =>
      Buffer.compare(one.part.start, other.part.start),
    );
  }

  #firstPlacesOf(part: TabletPart, streams: number): Places {
    const { from } = this.#options;
    // One that lies before the split of the only tablet is a place for all of its parts.
    if (typeof from === 'number' && streams > 1 && from > this.#tablets.splitVersionOf(part.tablet) + 1)
      throw new RaftreeClientError('SPANS_TABLETS', SEVERAL, 'notCommitted');
    const { start, end } = part;
    if (!this.#token) {
      const version = typeof from === 'number' ? from : undefined;
      return { pieces: [{ start, version }], end };
    }
    const by = this.#tablets.map?.by ?? 'range';
    checkCluster(this.#token, { cluster: this.#tablets.fingerprint, by });
    const places = placesOf(this.#token, start, end);
    if (places === undefined) throw invalid('the token that from names is of other keys');
    return places;
  }

  #maybeBegun(): void {
    if (this.#hasBegun || this.#notBegun.size > 0) return;
    this.#hasBegun = true;
    this.#isReady();
  }

  // Taking changes.

  #take(): WatchChange | undefined {
    const current = this.#current;
    const stream = current && !current.isBetweenWrites ? current : this.#full.values().next().value;
    const change = stream?.take();
    if (!stream || !change) return undefined;
    this.#current = stream;
    this.#full.delete(stream);
    if (stream.head) this.#full.add(stream);
    else if (this.#retired.has(stream))
      // When the change was given.
      void Promise.resolve().then(() => this.#replace(stream, this.#retired.get(stream)));
    return change;
  }

  #positionOf(placesOf: (stream: TabletWatch) => Places): WatchPosition | undefined {
    const [first] = this.#streams;
    if (!first || this.#unplanned.some(({ before }) => !before)) return undefined;
    const places = joinedPlaces(this.#streams.map(placesOf));
    // A tablet of several may be split before that place is used.
    if (!this.#tablets.hasOthers) return lowestOf(places);
    if (!isReached(places)) return undefined;
    const by = this.#tablets.map?.by ?? 'range';
    return encodeToken({ cluster: this.#tablets.fingerprint, by, ...places });
  }

  #historyGone(gone: TabletWatch, { fromVersion, why }: PartGone): HistoryGoneError {
    // One that has not begun: it is not known what it would have told.
    const position = this.#positionOf((stream) => {
      if (stream !== gone) return raisedTo(stream.nextPlaces, 1);
      // What other keys have come to counts if there was such a version.
      const places = why === 'ahead' ? unreached(stream.nextPlaces) : stream.nextPlaces;
      return raisedTo(places, fromVersion);
    });
    const reason =
      why === 'ahead'
        ? `the cluster has not come to where this watch was to begin, only to version ${fromVersion - 1}: it was restored ` +
          'from an older copy, or the token was made up'
        : `the changes up to version ${fromVersion - 1} are not kept any more`;
    return new HistoryGoneError(reason, position ?? fromVersion);
  }

  #end(error: unknown): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    for (const stream of this.#streams) stream.stop();
    // No more changes of the write come that was told in part.
    this.#current = undefined;
    this.#call.end('CLIENT_CLOSED');
    this.#call.finish();
    this.#user.calls.remove(this.#call);
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

const PATIENT: ReadonlySet<string> = new Set(['TIMEOUT', 'UNREACHABLE']);

const SEVERAL =
  'the watched keys belong to several tablets, each with versions of its own: watch from a token, which a watch of ' +
  'these keys gives as resumeFrom, or without from';

/** Where the keys of a part have come to, in the streams that it follows. */
function placesBefore(part: TabletPart, ended: readonly TabletWatch[]): Places {
  const { start, end } = part;
  return joinedPlaces(
    ended
      .filter((stream) => overlap(part, stream.part))
      .map(({ nextPlaces }) => placesIn(nextPlaces, start, end)),
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

/** Throws `INVALID_REQUEST`. */
function checkVersion(from: number | undefined): void {
  if (from === undefined || (Number.isSafeInteger(from) && from > 0)) return;
  throw invalid(`from must be a token, or a version, which is a whole number from 1 on, not ${from}`);
}

function checkedBuffer(bufferBytes: number): number {
  if (Number.isSafeInteger(bufferBytes) && bufferBytes > 0 && bufferBytes <= 0xffff_ffff) return bufferBytes;
  throw invalid(`bufferBytes must be a whole number of bytes above 0, got ${bufferBytes}`);
}
