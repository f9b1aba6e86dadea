/**
 * All watchers of one group on this node. Each published change is told to those in whose range its key lies; the
 * others are not looked at.
 */
import type { Random, Timer, Timers } from '../../env/env.js';
import type { ChangeHistory } from './change-history.js';
import { type KeyRange, RangeIndex } from './range-index.js';
import { type WatchEnded, Watcher } from './watcher.js';

/** How often the node looks whether it can go on telling its watchers, and how far they have come. */
export const WATCH_TICK_MS = 1000;
export const MAX_WATCHERS = 65_536;
/** The bounds of the ranges of all watchers of a node. */
export const MAX_RANGES_BYTES: number = 64 * 1024 * 1024;

const SEVERAL_LOGS =
  'up to there a version is of the log of one of the tablets that were merged into this one: watch from a token';

export interface WatchesParts {
  readonly timers: Pick<Timers, 'after' | 'endOfTurn'>;
  readonly random: Pick<Random, 'uint32'>;
  readonly history: ChangeHistory;
  /** Why this node does not tell its watchers any more, if it does not. */
  readonly ended?: () => WatchEnded | undefined;
}

export class Watches {
  readonly #parts: WatchesParts;
  readonly #index: RangeIndex<Watcher>;
  readonly #all = new Set<Watcher>();
  #rangesBytes = 0;
  readonly #tickers = new Set<() => void>();
  #timer: Timer | undefined;
  /** Of the record that is being published. */
  #position = 0;
  #version = 0;
  #ready: Watcher[] = [];
  #end: WatchEnded | undefined;
  #last: WatchEnded | undefined;
  /** Watchers that asked for changes which were not kept any more, or were too slow for those that are kept. */
  fellBehind = 0;

  constructor(parts: WatchesParts) {
    this.#parts = parts;
    this.#index = new RangeIndex(parts.random);
    parts.history.onPublished = (from) => this.#published(from);
    parts.history.onReset = (before) => this.#notifyIf((watcher) => watcher.reset(before));
  }

  get size(): number {
    return this.#all.size;
  }

  /** The bounds of the watched ranges. */
  get rangesBytes(): number {
    return this.#rangesBytes;
  }

  /** All changes up to this version were published. */
  get throughVersion(): number {
    return this.#parts.history.throughVersion;
  }

  /**
   * `onReady` is called at the end of a turn. The caller looks at once whether there is something (`hasMore`).
   * `isPlain`: the version is the same for all keys, and somebody has named it.
   */
  add(range: KeyRange, fromVersion: number | undefined, onReady: () => void, isPlain = false): Watcher {
    const { history } = this.#parts;
    history.dropExpired();
    const watcher = new Watcher(range, fromVersion, history, {
      onReady,
      onFellBehind: () => {
        this.fellBehind++;
      },
      onClose: (closed) => this.#close(closed),
    });
    const { mergedThrough } = history;
    if (this.#end) watcher.end(this.#end);
    else if (isPlain && fromVersion !== undefined && fromVersion <= mergedThrough)
      watcher.end({
        type: 'ended',
        code: 'HISTORY_GONE',
        message: SEVERAL_LOGS,
        fromVersion: mergedThrough + 1,
      });
    else if (this.#last) watcher.retire(this.#last);
    this.#all.add(watcher);
    this.#rangesBytes += boundsBytes(range);
    this.#index.add(range, watcher);
    this.#tickLater();
    return watcher;
  }

  /** Calls `tick` every WATCH_TICK_MS while there are watchers. Returns how to end that. */
  every(tick: () => void): () => void {
    this.#tickers.add(tick);
    return () => this.#tickers.delete(tick);
  }

  /** This node tells nobody any more. */
  close(end: WatchEnded): void {
    this.#end = end;
    this.#endAll(end);
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** The tablet has ended: each is told so when it was told all changes. */
  retire(last: WatchEnded): void {
    this.#last = last;
    this.#notifyIf((watcher) => watcher.retire(last));
  }

  #endAll(end: WatchEnded): void {
    this.#notifyIf((watcher) => watcher.end(end));
  }

  #notifyIf(isDue: (watcher: Watcher) => boolean): void {
    for (const watcher of this.#all) if (isDue(watcher)) this.#notifyLater(watcher);
  }

  #published(from: number): void {
    if (this.#index.isEmpty) return;
    const { history } = this.#parts;
    const { end } = history;
    for (let position = from; position < end; ) {
      const record = history.read(position);
      this.#position = position;
      this.#version = record.version;
      position = record.next;
      this.#index.search(record.bytes, record.keyAt, record.keyBytes, this.#found);
    }
  }

  readonly #found = (watchers: readonly Watcher[]): void => {
    for (const watcher of watchers)
      if (watcher.matched(this.#position, this.#version)) this.#notifyLater(watcher);
  };

  /** Not at once: entries are being applied. */
  #notifyLater(watcher: Watcher): void {
    this.#ready.push(watcher);
    if (this.#ready.length > 1) return;
    this.#parts.timers.endOfTurn(() => {
      const ready = this.#ready;
      this.#ready = [];
      for (const each of ready) each.notify();
    });
  }

  #close(watcher: Watcher): void {
    if (this.#all.delete(watcher)) this.#rangesBytes -= boundsBytes(watcher.range);
    this.#index.remove(watcher);
  }

  #tickLater(): void {
    if (this.#timer || this.#end) return;
    this.#timer = this.#parts.timers.after(WATCH_TICK_MS, () => {
      this.#timer = undefined;
      const end = this.#parts.ended?.();
      if (end) this.#endAll(end);
      for (const tick of [...this.#tickers]) tick();
      if (this.#all.size > 0) this.#tickLater();
    });
  }
}

/** What a range takes. */
export function boundsBytes({ from, to }: KeyRange): number {
  return from.length + (to?.length ?? 0);
}
