/**
 * The watches of one connection. Each has credit, in bytes, that the client gives as it takes changes: so one that is
 * not read fills neither the client's memory nor the connection, on which others wait. Nothing is queued here. When a
 * watch has credit and its turn has come, the next page is taken from the history.
 *
 * Once a second the connection is told how far its watches have come: those to whom nothing happens, too, can then
 * resume elsewhere from a version that is still kept.
 */
import type { KvError } from '../../kv/kv-error.js';
import type { Caller } from '../../kv/requests.js';
import type { KvService } from '../../kv/service.js';
import type { Changes, WatchEnded, Watcher } from '../../kv/watch/watcher.js';
import type { Answer, AnswerGate } from '../../net/answer-gate.js';
import type { MessageOf, OutboundMessage, OutboundOf } from '../../protocol/messages.js';

/** A page has at most so many bytes, or one change. */
const MAX_PAGE_BYTES = 32 * 1024;
export const MAX_WATCHES_PER_CONNECTION = 16_384;
/** When so many entries were applied since, it is told at the next tick how far the watches have come. */
const MANY_ENTRIES = 1000;
/** When there were fewer, after so many ticks. */
const QUIET_TICKS = 10;

interface Stream {
  readonly id: number;
  readonly tablet: number;
  readonly watcher: Watcher;
  creditBytes: number;
  /** It waits for its turn. */
  isWaiting: boolean;
}

/** How far the watches of a tablet were told to have come. */
interface Progress {
  readonly stop: () => void;
  streams: number;
  toldThrough: number;
  quietTicks: number;
}

export interface Watching {
  readonly type: 'watching';
  readonly fromVersion: number;
}

export interface Synced {
  readonly type: 'watchSynced';
  readonly throughVersion: number;
  readonly committedVersion: number;
}

export class WatchStreams {
  readonly #gate: AnswerGate<OutboundMessage>;
  readonly #write: (message: OutboundMessage) => void;
  readonly #streams = new Map<number, Stream>();
  readonly #progress = new Map<number, Progress>();

  constructor(gate: AnswerGate<OutboundMessage>, write: (message: OutboundMessage) => void) {
    this.#gate = gate;
    this.#write = write;
  }

  /** Changes come after the caller has written the result. */
  open(
    kv: KvService,
    caller: Caller,
    { tablet, watchId, from, to, fromVersion, pieces, creditBytes }: MessageOf<'watch'>,
  ): Watching | KvError {
    if (this.#streams.has(watchId))
      return refused('INVALID_REQUEST', `watch ${watchId} is under way already`);
    if (this.#streams.size >= MAX_WATCHES_PER_CONNECTION)
      return refused('OVERLOADED', `a connection carries at most ${MAX_WATCHES_PER_CONNECTION} watches`);
    const watch = { type: 'watch', tablet, from, to, fromVersion, pieces } as const;
    const watcher = kv.watch(caller, watch, () => this.#pump(stream));
    if ('code' in watcher) return watcher;
    const stream: Stream = { id: watchId, tablet, watcher, creditBytes, isWaiting: false };
    this.#streams.set(watchId, stream);
    let progress = this.#progress.get(tablet);
    if (!progress) {
      const stop = kv.everyWatchTick(tablet, (through) => this.#tick(tablet, through));
      progress = { stop, streams: 0, toldThrough: 0, quietTicks: 0 };
      this.#progress.set(tablet, progress);
    }
    progress.streams++;
    return { type: 'watching', fromVersion: watcher.fromVersion };
  }

  /** The result of `open` was written. */
  begin(watchId: number): void {
    const stream = this.#streams.get(watchId);
    if (stream?.watcher.hasMore) this.#pump(stream);
  }

  credit({ watchId, bytes }: MessageOf<'watchCredit'>): void {
    const stream = this.#streams.get(watchId);
    if (!stream) return;
    stream.creditBytes += bytes;
    if (stream.watcher.hasMore) this.#pump(stream);
  }

  /** The tablet of a watch that is under way. */
  tabletOf(watchId: number): number | undefined {
    return this.#streams.get(watchId)?.tablet;
  }

  /** How far it was told. Undefined: it is over. */
  throughOf(watchId: number): number | undefined {
    return this.#streams.get(watchId)?.watcher.throughVersion;
  }

  cancel(watchId: number): void {
    const stream = this.#streams.get(watchId);
    if (!stream) return;
    stream.watcher.close();
    this.#streams.delete(watchId);
    const progress = this.#progress.get(stream.tablet);
    if (!progress || --progress.streams > 0) return;
    progress.stop();
    this.#progress.delete(stream.tablet);
  }

  close(): void {
    for (const watchId of [...this.#streams.keys()]) this.cancel(watchId);
  }

  #pump(stream: Stream): void {
    if (stream.isWaiting || (stream.creditBytes <= 0 && !stream.watcher.isEnded)) return;
    stream.isWaiting = true;
    let page: Changes | WatchEnded | undefined;
    this.#gate.run(
      () => {
        const isOpen = this.#streams.get(stream.id) === stream;
        page = isOpen ? stream.watcher.peek(Math.min(stream.creditBytes, MAX_PAGE_BYTES)) : undefined;
        return page && answerOf(stream.id, page);
      },
      () => {
        stream.isWaiting = false;
        if (page?.type === 'ended') this.cancel(stream.id);
        if (page?.type !== 'changes') return;
        stream.watcher.advance(page);
        stream.creditBytes -= page.sizeBytes;
        if (stream.watcher.hasMore) this.#pump(stream);
      },
    );
  }

  #tick(tablet: number, throughVersion: number): void {
    const progress = this.#progress.get(tablet);
    if (!progress) return;
    const entries = throughVersion - progress.toldThrough;
    progress.quietTicks++;
    if (entries === 0 || (entries < MANY_ENTRIES && progress.quietTicks < QUIET_TICKS)) return;
    progress.toldThrough = throughVersion;
    progress.quietTicks = 0;
    const behind: number[] = [];
    for (const stream of this.#streams.values())
      if (stream.tablet === tablet && stream.watcher.hasMore) behind.push(stream.id);
    if (behind.length < progress.streams)
      this.#write({ type: 'watchProgress', tablet, throughVersion, behind });
  }
}

/** Undefined if there is nothing to tell. */
function answerOf(watchId: number, page: Changes | WatchEnded): Answer<OutboundMessage> | undefined {
  if (page.type === 'ended') {
    const { code, message, fromVersion } = page;
    return { message: { type: 'watchEnded', watchId, code, message, fromVersion }, sizeBytes: 0 };
  }
  const { changes, throughVersion, sizeBytes } = page;
  if (changes.length === 0) return undefined;
  const message: OutboundOf<'changes'> = { type: 'changes', watchId, throughVersion, changes };
  return { message, sizeBytes };
}

function refused(code: 'INVALID_REQUEST' | 'OVERLOADED', message: string): KvError {
  return { type: 'error', code, message, outcome: 'notCommitted' };
}
