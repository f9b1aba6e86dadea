/**
 * The changes of those watched keys that one tablet owns, in the order of its log, each once. Any node tells them. When
 * the connection or the node is lost, it goes on with another node from the version that it has come to.
 *
 * Changes of one version were made by one write, and may come in several messages. So it knows the keys that it has of
 * a version that is not complete yet: it asks another node for that version again, and leaves them out.
 *
 *     complete up to here    got of the next version    next
 *     ... 17 17 18 ]         [ 20 20                    20 20 21 ...
 *
 * In a tablet that several were merged into it may have come further with some keys than with others (watch-places.ts).
 * Then it asks for all from the lowest of these versions on, and leaves out what was told before.
 *
 * At most `bufferBytes` of changes, or one, wait here to be taken: the node has no more credit then. If that lasts
 * until no node keeps the next change any more, it ends with HISTORY_GONE. It never leaves out a change in silence. A
 * node that tells what it was not asked for, or not in order, loses its connection.
 */
import type { Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { ChangeType } from '../kv/watch/change-history.js';
import { CHANGE_OVERHEAD_BYTES } from '../kv/watch/watcher.js';
import type { MessageOf } from '../protocol/messages.js';
import { Call } from './call.js';
import { RaftreeClientError } from './client-error.js';
import type { ClientSettings } from './client-options.js';
import type { CallUser } from './direct-call.js';
import type { NodeConnection, WatchTaker } from './node-connection.js';
import type { FailedAttempt, Router, Target } from './router.js';
import type { TabletPart } from './tablet-cache.js';
import { unexpected } from './unexpected.js';
import {
  filledWith,
  highestOf,
  isReached,
  lowestOf,
  type Places,
  type ReachedPiece,
  raisedTo,
  versionAt,
} from './watch-places.js';

export interface WatchChange {
  /** `expire`: the key's deadline has passed. */
  readonly type: ChangeType;
  readonly key: Buffer;
  /** Empty unless it is a put. */
  readonly value: Buffer;
  /** The index of the change in the log of the key's tablet. Changes of one write have one version. */
  readonly version: number;
}

/**
 * It cannot go on without a gap. `fromVersion`: from where on it could. `why`: where it was to begin lies ahead of all
 * that is committed; no node keeps the next change any more; or none of those that hold the tablet, while others do not
 * hold it (any more): if it has ended, what it became may keep the change.
 */
export class PartGone extends Error {
  readonly fromVersion: number;
  readonly why: 'ahead' | 'not kept' | 'not kept by some';

  constructor(fromVersion: number, why: PartGone['why']) {
    super('HISTORY_GONE');
    this.fromVersion = fromVersion;
    this.why = why;
  }
}

/** The keys of which changes of one version were told. A write changes each key once. */
export interface ToldPart {
  readonly version: number;
  readonly keys: Set<string>;
}

export const NO_PART: ToldPart = { version: 0, keys: new Set() };

export interface TabletWatchOptions {
  /** The first version that is told, of each key. */
  readonly places: Places;
  /** It is a version that a program has named, for all keys: the tablet must have had one log since. */
  readonly isPlain: boolean;
  /** Changes before them were told by this cluster: it is a fault if they lie ahead. */
  readonly wasReached: boolean;
  /** Of versions from there on, what was told already. */
  readonly told: readonly ToldPart[];
  readonly bufferBytes: number;
  readonly endpoint: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Who takes the changes. */
export interface TabletWatchHost {
  /** The first time that a node tells changes. */
  begun(watch: TabletWatch): void;
  /** Some can be taken. */
  arrived(watch: TabletWatch): void;
  /** No more come, but for those that wait: why. A PartGone, a RaftreeClientError, or CallEnded as `error`. */
  ended(watch: TabletWatch, error: unknown): void;
}

/** No write has so many. */
const MAX_PART_KEYS = 2 ** 20;
/** When it is asked again what is committed, if that was not answered. */
const RETRY_MS = 1000;
/** How long another node is asked for what one does not keep any more. */
const ANOTHER_TIMEOUT_MS = 3000;

/** A change that was received, and what it counts. */
interface Received {
  readonly change: WatchChange;
  readonly sizeBytes: number;
}

/** How a stream of one node has ended. */
type StreamEnd =
  | RaftreeError
  | { readonly code: string; readonly message: string; readonly fromVersion?: number };

/** When it was asked up to which version it must come. */
interface Sync {
  readonly askedMs: number;
  readonly version: number;
}

export class TabletWatch {
  readonly part: TabletPart;
  readonly #settings: ClientSettings;
  readonly #router: Router;
  readonly #user: CallUser;
  readonly #options: TabletWatchOptions;
  readonly #host: TabletWatchHost;
  readonly #call: Call;
  /** Everything before it was received. Undefined: it is not known yet where it begins. */
  #nextVersion: number | undefined;
  /** Of some keys, changes of later versions were told before it began: that lasts until it has come so far. */
  #places: Places;
  #told: readonly ToldPart[];
  #isPlain: boolean;
  /** Of the version of which more may come. */
  #part: ToldPart = NO_PART;
  /** Of the change that was received last. */
  #lastVersion = 0;
  #queue: Received[] = [];
  #head = 0;
  #queuedBytes = 0;
  /** What the node may still send. */
  #creditBytes = 0;
  /** Taken, and not given back to the node as credit. */
  #returnedBytes = 0;
  #takenVersion = 0;
  #hasBegun = false;
  /** Where it begins is not compared yet with what is committed. */
  #mayBeAhead: boolean;
  #isEnded = false;
  #stream: { readonly connection: NodeConnection; readonly id: number } | undefined;
  /** The node of this stream has agreed to tell changes. */
  #isTold = false;
  #isSyncing = false;
  #retry: Timer | undefined;
  /** It has not come so far yet. */
  #sync: Sync | undefined;
  #syncedMs: number | undefined;

  constructor(
    user: CallUser,
    router: Router,
    part: TabletPart,
    options: TabletWatchOptions,
    host: TabletWatchHost,
  ) {
    this.part = part;
    this.#settings = user.settings;
    this.#user = user;
    this.#router = router;
    this.#options = options;
    this.#host = host;
    this.#places = options.places;
    this.#nextVersion = lowestOf(options.places);
    this.#isPlain = options.isPlain;
    this.#mayBeAhead = options.wasReached;
    this.#told = options.told;
    this.#call = this.#newCall(Number.POSITIVE_INFINITY);
    void this.#run();
  }

  /** The next change to be taken. */
  get head(): WatchChange | undefined {
    return this.#queue[this.#head]?.change;
  }

  /** All changes of versions before it were taken. Undefined: it has not begun. */
  get resumeFrom(): number | undefined {
    return this.head?.version ?? this.#nextVersion;
  }

  /** As `resumeFrom`, for each key. Some may have no version yet. */
  get resumePlaces(): Places {
    return this.#placesFrom(this.resumeFrom);
  }

  /** As `resumePlaces`, when all that waits here will have been taken. */
  get nextPlaces(): Places {
    return this.#placesFrom(this.#nextVersion);
  }

  #placesFrom(version: number | undefined): Places {
    return version === undefined ? this.#places : raisedTo(this.#places, version);
  }

  /** All changes of the version that was taken last were taken. */
  get isBetweenWrites(): boolean {
    return this.#takenVersion === 0 || (this.resumeFrom ?? 0) > this.#takenVersion;
  }

  /** What was received of versions that are not complete. */
  get toldParts(): readonly ToldPart[] {
    return this.#part === NO_PART ? this.#told : [...this.#told, this.#part];
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  get isConnected(): boolean {
    return this.#stream !== undefined && this.#isTold;
  }

  /** All changes of writes that were acknowledged before this time were taken. Undefined: it is not known. */
  get syncedMs(): number | undefined {
    return this.#awaitsSync ? this.#syncedMs : (this.#sync?.askedMs ?? this.#syncedMs);
  }

  take(): WatchChange | undefined {
    const received = this.#queue[this.#head];
    if (!received) return undefined;
    this.#head++;
    this.#queuedBytes -= received.sizeBytes;
    if (this.#head === this.#queue.length || this.#head > 1024) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    this.#takenVersion = received.change.version;
    this.#forgetReached();
    this.#credit(received.sizeBytes);
    return received.change;
  }

  /** Asks the node up to which version it must come to have all that is committed now. Never rejects. */
  async sync(): Promise<void> {
    const stream = this.#stream;
    // What was asked before is known, and is waited for.
    if (!stream || !this.#hasBegun || this.#isSyncing || this.#awaitsSync) return;
    this.#isSyncing = true;
    const askedMs = this.#settings.env.clock.nowMs();
    const request = { type: 'watchSync', watchId: stream.id } as const;
    const { pending, answer } = stream.connection.request(request, this.#settings.attemptTimeoutMs);
    const synced = await answer.catch(() => undefined);
    this.#isSyncing = false;
    pending.cancel();
    if (this.#stream !== stream) return;
    if (synced?.type === 'watchSynced') this.#synced(askedMs, synced);
    else if (this.#mayBeAhead) {
      this.#retry?.cancel();
      this.#retry = this.#settings.env.timers.after(RETRY_MS, () => void this.sync());
    }
  }

  #synced(askedMs: number, { throughVersion, committedVersion }: MessageOf<'watchSynced'>): void {
    if (this.#mayBeAhead && committedVersion + 1 < highestOf(this.#options.places)) {
      this.#endBy(new PartGone(committedVersion + 1, 'ahead'));
      return;
    }
    this.#mayBeAhead = false;
    this.#complete(throughVersion);
    this.#syncedMs = this.syncedMs;
    this.#sync = { askedMs, version: committedVersion };
  }

  /** No more is told, also not of what waits. */
  close(): void {
    this.#nextVersion = this.resumeFrom;
    this.#queue = [];
    this.#head = 0;
    this.stop();
  }

  /** Nothing more is received. */
  stop(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#retry?.cancel();
    this.#leave();
    // What is waited for ends with it.
    this.#call.end('CLIENT_CLOSED');
  }

  get #awaitsSync(): boolean {
    return this.#sync !== undefined && (this.resumeFrom ?? 0) <= this.#sync.version;
  }

  #newCall(timeoutMs: number): Call {
    const { settings, calls, aborts } = this.#user;
    const { signal } = this.#options;
    const call = new Call(settings.env, aborts, timeoutMs, signal ? { timeoutMs, signal } : { timeoutMs });
    calls.add(call);
    return call;
  }

  /** One stream after the other. */
  async #run(): Promise<void> {
    /** Nodes that do not keep what is needed, with the version from which on they are complete. */
    const gone = new Map<string, number>();
    let last: FailedAttempt | undefined;
    let isElsewhere = false;
    try {
      while (!this.#isEnded) {
        const another = gone.size > 0 ? this.#endpoints.find((endpoint) => !gone.has(endpoint)) : undefined;
        if (gone.size > 0 && another === undefined)
          throw new PartGone(Math.min(...gone.values()), isElsewhere ? 'not kept by some' : 'not kept');
        const before = this.#nextVersion;
        const { endpoint, end } = await this.#follow(another, last);
        if (end.code === 'WRONG_TABLET') {
          if (another === undefined) throw new RaftreeClientError(end.code, end.message, 'notCommitted');
          isElsewhere = true;
        }
        if (this.#nextVersion !== before) {
          gone.clear();
          isElsewhere = false;
        }
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
      this.#endBy(this.#call.isEnded ? this.#call.endError() : error);
    } finally {
      this.#call.finish();
      this.#user.calls.remove(this.#call);
    }
  }

  #endBy(error: unknown): void {
    if (this.#isEnded) return;
    this.stop();
    this.#host.ended(this, error);
  }

  get #endpoints(): readonly string[] {
    const { endpoint } = this.#options;
    return endpoint === undefined ? this.#settings.endpoints : [endpoint];
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
      this.#returnedBytes = 0;
      this.#creditBytes = Math.max(0, this.#options.bufferBytes - this.#queuedBytes);
      const watchId = connection.openWatch(this.#taker(isOver));
      this.#stream = { connection, id: watchId };
      this.#isTold = false;
      const { tablet, range } = this.part;
      return {
        ...({ type: 'watch', tablet, watchId, from: range.from, to: range.to } as const),
        ...{ fromVersion: this.#nextVersion, pieces: this.#askedPieces, creditBytes: this.#creditBytes },
      };
    };
    const asked = another ?? this.#options.endpoint;
    const isShort = another !== undefined;
    // What is kept is in the memory of a process: where none listens there is nothing.
    const target: Target = asked === undefined ? 'holder' : { endpoint: asked, mustListen: isShort };
    const call = isShort ? this.#newCall(ANOTHER_TIMEOUT_MS) : this.#call;
    try {
      const answer = await this.#router.ask(build, call, target, isShort ? undefined : last);
      if (answer.type !== 'watching') throw unexpected(answer.type, 'watch');
      if (this.#isProbe) {
        this.#places = filledWith(this.#places, answer.fromVersion);
        this.#nextVersion = lowestOf(this.#places);
        return await this.#follow(another, undefined);
      }
      this.#begin(answer.fromVersion);
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

  /** Some keys go on where they were, and others begin with the next change: it is asked first which that is. */
  get #isProbe(): boolean {
    return (
      this.#nextVersion === undefined && this.#places.pieces.some(({ version }) => version !== undefined)
    );
  }

  /** None: `fromVersion` says all. */
  get #askedPieces(): readonly ReachedPiece[] {
    const places = this.nextPlaces;
    return this.#isPlain || !isReached(places) ? [] : places.pieces;
  }

  #begin(fromVersion: number): void {
    this.#isTold = true;
    this.#isPlain = false;
    this.#places = filledWith(this.#places, fromVersion);
    this.#nextVersion ??= fromVersion;
    if (!this.#hasBegun && !this.#isEnded) {
      this.#hasBegun = true;
      this.#host.begun(this);
    }
    if (this.#mayBeAhead) void this.sync();
  }

  #taker(isOver: (end: StreamEnd) => void): WatchTaker {
    return {
      tablet: this.part.tablet,
      changes: (message) => {
        if (!this.#isProbe) this.#received(message);
      },
      progress: (throughVersion) => {
        if (!this.#isProbe) this.#complete(throughVersion);
      },
      ended: ({ code, message, fromVersion }) => {
        const isGone = code !== 'WRONG_TABLET';
        // All that the tablet had was told, and what it became begins there.
        if (!isGone && fromVersion !== undefined && !this.#isProbe) this.#complete(fromVersion - 1);
        isOver(isGone && fromVersion !== undefined ? { code, message, fromVersion } : { code, message });
      },
      lost: isOver,
    };
  }

  /** Throws `MALFORMED_MESSAGE`, which ends the connection. */
  #received({ changes, throughVersion }: MessageOf<'changes'>): void {
    if (changes.length > 0 && this.#creditBytes <= 0)
      throw untrue('more changes than it was given credit for');
    this.#check(changes);
    let skippedBytes = 0;
    for (const { type, key, value, version } of changes) {
      const sizeBytes = key.length + value.length + CHANGE_OVERHEAD_BYTES;
      this.#creditBytes -= sizeBytes;
      if (this.#wasTold(key, version)) {
        skippedBytes += sizeBytes;
        continue;
      }
      const isInPart = version === this.#part.version;
      if (isInPart || version > throughVersion) {
        const name = key.toString('latin1');
        if (isInPart && this.#part.keys.has(name)) {
          skippedBytes += sizeBytes;
          continue;
        }
        if (!isInPart) this.#part = { version, keys: new Set() };
        if (this.#part.keys.add(name).size > MAX_PART_KEYS) throw untrue('a write without an end');
      }
      this.#lastVersion = version;
      // Copies: otherwise a kept change would keep the whole received chunk in memory.
      const change = { type, key: Buffer.from(key), value: Buffer.from(value), version };
      this.#queue.push({ change, sizeBytes });
      this.#queuedBytes += sizeBytes;
    }
    this.#complete(throughVersion);
    if (skippedBytes > 0) this.#credit(skippedBytes);
    this.#host.arrived(this);
  }

  /** Before this stream began, by another one. */
  #wasTold(key: Buffer, version: number): boolean {
    const places = this.#places;
    if (places.pieces.length > 1 && version < versionAt(places, this.part.by, key)) return true;
    return this.#told.some((told) => told.version === version && told.keys.has(key.toString('latin1')));
  }

  /** Where all keys have come to one version, that says it. */
  #forgetReached(): void {
    const version = this.resumeFrom;
    if (this.#places.pieces.length > 1 && version !== undefined)
      this.#places = raisedTo(this.#places, version);
  }

  /** A message counts whole or not at all. */
  #check(changes: MessageOf<'changes'>['changes']): void {
    const { from, to } = this.part.range;
    let before = Math.max(this.#nextVersion ?? 1, this.#lastVersion);
    for (const { key, version } of changes) {
      if (Buffer.compare(key, from) < 0 || (to && Buffer.compare(key, to) >= 0))
        throw untrue('a change of a key that is not watched');
      if (version < before) throw untrue(`version ${version} after version ${before}`);
      before = version;
    }
  }

  /** Everything up to this version was received. */
  #complete(throughVersion: number): void {
    if (throughVersion >= Number.MAX_SAFE_INTEGER)
      throw untrue('that it has come to the last version of all');
    if (this.#nextVersion !== undefined && throughVersion < this.#nextVersion) return;
    this.#nextVersion = throughVersion + 1;
    if (this.#part.version <= throughVersion) this.#part = NO_PART;
    if (this.#told.length > 0) this.#told = this.#told.filter(({ version }) => version > throughVersion);
    this.#forgetReached();
  }

  /** So much was taken. The node is told now and then. */
  #credit(sizeBytes: number): void {
    this.#returnedBytes += sizeBytes;
    if (!this.#stream || this.#returnedBytes < this.#options.bufferBytes / 2) return;
    const { connection, id } = this.#stream;
    connection.post({ type: 'watchCredit', watchId: id, bytes: this.#returnedBytes });
    this.#creditBytes += this.#returnedBytes;
    this.#returnedBytes = 0;
  }

  /** Lets the present stream go. */
  #leave(): void {
    this.#stream?.connection.closeWatch(this.#stream.id);
    this.#stream = undefined;
  }
}

function untrue(what: string): RaftreeError {
  return new RaftreeError('MALFORMED_MESSAGE', `of a watch the node has told ${what}`);
}
