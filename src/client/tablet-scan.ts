/**
 * Scans over several tablets, in the order of the keys.
 *
 *     by range    one tablet after the other
 *     by hash     a stream of pages for each tablet, and the streams are merged: any tablet may have the next key
 *
 * `range` is what was not given yet. So a scan can begin again with it when it turns out that the map has changed.
 */

import type { TabletMap } from '../placement/tablet-map.js';
import { isEmptyRange, rangeAfter, type ScanRange, within } from './scan-range.js';

export interface ScannedEntry {
  readonly key: Buffer;
}

export interface ScannedPage<Entry extends ScannedEntry> {
  readonly entries: readonly Entry[];
  /** Others follow, behind `coveredTo` or the last entry. */
  readonly more: boolean;
  readonly coveredTo?: Buffer | undefined;
}

export interface TabletScan<Entry extends ScannedEntry> {
  /** Undefined: only tablet 0 is known. It is asked for again when a page was refused. */
  readonly map: () => TabletMap | undefined;
  readonly range: ScanRange;
  /** The most entries. Infinity: all. */
  readonly limit: number;
  readonly reverse: boolean;
  /** The most entries of a page; of a page of each tablet, if they are merged. */
  readonly pageEntries: number;
  /** The next page of each tablet is asked for before it is needed. */
  readonly readsAhead: boolean;
  /**
   * A page of at most so many of the tablet's keys in the range. `share`: the part of the largest page that it may
   * fill.
   */
  readonly page: (
    tablet: number,
    range: ScanRange,
    limit: number,
    share: number,
  ) => Promise<ScannedPage<Entry>>;
  /** Whether the map must be asked for again after this error, which a page has thrown. If so it has been. */
  readonly isRefreshed: (
    error: unknown,
    used: TabletMap | undefined,
    repetitions: number,
  ) => Promise<boolean>;
}

/** Pages of merged streams are not made smaller than this. */
const MIN_MERGED_ENTRIES = 16;

/** The entries, in parts. */
export async function* scanTablets<Entry extends ScannedEntry>(
  scan: TabletScan<Entry>,
): AsyncGenerator<readonly Entry[], void, undefined> {
  let { range, limit } = scan;
  let repetitions = 0;
  while (limit > 0 && !isEmptyRange(range)) {
    const map = scan.map();
    try {
      for await (const entries of partsOf({ ...scan, range, limit }, map)) {
        const last = entries.at(-1);
        if (!last) continue;
        range = rangeAfter(range, last.key, scan.reverse);
        limit -= entries.length;
        repetitions = 0;
        yield entries;
      }
      return;
    } catch (error) {
      if (!(await scan.isRefreshed(error, map, repetitions))) throw error;
      repetitions++;
    }
  }
}

function partsOf<Entry extends ScannedEntry>(
  scan: TabletScan<Entry>,
  map: TabletMap | undefined,
): AsyncIterable<readonly Entry[]> {
  if (!map || map.tablets.length === 1)
    return pagesOf(scan, map?.tablets[0]?.id ?? 0, scan.range, scan.limit);
  return map.by === 'hash' ? merged(scan, map) : inTurn(scan, map);
}

/** The entries of one tablet. */
async function* pagesOf<Entry extends ScannedEntry>(
  { page, pageEntries, reverse }: TabletScan<Entry>,
  tablet: number,
  whole: ScanRange,
  most: number,
): AsyncGenerator<readonly Entry[], void, undefined> {
  let range = whole;
  let limit = most;
  while (limit > 0 && !isEmptyRange(range)) {
    const { entries, more, coveredTo } = await page(tablet, range, Math.min(limit, pageEntries), 1);
    yield entries;
    limit -= entries.length;
    const last = coveredTo ?? entries.at(-1)?.key;
    if (!more || !last) return;
    range = rangeAfter(range, last, reverse);
  }
}

async function* inTurn<Entry extends ScannedEntry>(
  scan: TabletScan<Entry>,
  map: TabletMap,
): AsyncGenerator<readonly Entry[], void, undefined> {
  let { range, limit } = scan;
  while (limit > 0 && !isEmptyRange(range)) {
    const tablet = scan.reverse ? map.ownerBelow(range.to) : map.ownerOf(range.from);
    // Nobody is known to own them. Tablet 0 is refused, and the map asked for again.
    const part = tablet ? within(range, tablet) : range;
    for await (const entries of pagesOf(scan, tablet?.id ?? 0, part, limit)) {
      limit -= entries.length;
      yield entries;
    }
    const next = scan.reverse ? part.from : part.to;
    // Nothing lies before the first key, or behind the last one.
    if (next === undefined || (scan.reverse && next.length === 0)) return;
    range = scan.reverse ? { from: range.from, to: next } : { from: next, to: range.to };
  }
}

/** The pages of one tablet of several that are merged. */
class Stream<Entry extends ScannedEntry> {
  readonly #scan: TabletScan<Entry>;
  readonly #tablet: number;
  readonly #pageEntries: number;
  readonly #share: number;
  #range: ScanRange;
  #entries: readonly Entry[] = [];
  #at = 0;
  #hasMore = true;
  #next: Promise<ScannedPage<Entry>> | undefined;

  constructor(scan: TabletScan<Entry>, tablet: number, streams: number) {
    this.#scan = scan;
    this.#tablet = tablet;
    this.#range = scan.range;
    this.#share = 1 / streams;
    const entries = Math.max(MIN_MERGED_ENTRIES, Math.ceil(scan.pageEntries / streams));
    this.#pageEntries = Math.min(scan.limit, scan.pageEntries, entries);
  }

  /** The first entry that was not taken. Undefined: there is none, or a page is needed first. */
  get head(): Entry | undefined {
    return this.#entries[this.#at];
  }

  get needsPage(): boolean {
    return this.#hasMore && this.head === undefined;
  }

  take(): void {
    this.#at++;
  }

  /** Asks for the next page if that was not done yet. */
  ask(): void {
    if (this.#next || !this.#hasMore) return;
    this.#next = this.#scan.page(this.#tablet, this.#range, this.#pageEntries, this.#share);
    // Who waits for it is told. A scan that has ended does not wait.
    this.#next.catch(() => {});
  }

  async load(): Promise<void> {
    while (this.needsPage) {
      this.ask();
      const { entries, more, coveredTo } = (await this.#next) as ScannedPage<Entry>;
      this.#next = undefined;
      this.#entries = entries;
      this.#at = 0;
      const last = coveredTo ?? entries.at(-1)?.key;
      this.#hasMore = more && last !== undefined;
      if (last) this.#range = rangeAfter(this.#range, last, this.#scan.reverse);
      if (isEmptyRange(this.#range)) this.#hasMore = false;
      if (this.#scan.readsAhead && this.#scan.limit > this.#pageEntries) this.ask();
    }
  }
}

/** So many first pages are asked for at a time. */
const MAX_PAGES_AT_ONCE = 16;

/** The most entries that are given at once. */
const MAX_PART_ENTRIES = 1000;

async function* merged<Entry extends ScannedEntry>(
  scan: TabletScan<Entry>,
  { tablets }: TabletMap,
): AsyncGenerator<readonly Entry[], void, undefined> {
  const streams = tablets.map(({ id }) => new Stream(scan, id, tablets.length));
  const sign = scan.reverse ? -1 : 1;
  for (let at = 0; at < streams.length; at += MAX_PAGES_AT_ONCE)
    await Promise.all(streams.slice(at, at + MAX_PAGES_AT_ONCE).map((stream) => stream.load()));
  const heap = new Heap<Stream<Entry>>((one, other) => {
    const [a, b] = [one.head as Entry, other.head as Entry];
    return sign * Buffer.compare(a.key, b.key);
  });
  for (const stream of streams) if (stream.head) heap.add(stream);
  for (let left = scan.limit; left > 0; ) {
    const part: Entry[] = [];
    let first = heap.first;
    // Until a page is needed to know which is the next.
    while (first?.head && part.length < MAX_PART_ENTRIES && part.length < left) {
      part.push(first.head);
      first.take();
      if (first.needsPage) break;
      if (first.head) heap.sink();
      else heap.remove();
      first = heap.first;
    }
    left -= part.length;
    yield part;
    if (!first) return;
    if (!first.needsPage) continue;
    if (left > 0) await first.load();
    if (first.head) heap.sink();
    else heap.remove();
  }
}

/** The first of them is at the top. */
class Heap<Item> {
  readonly #compare: (one: Item, other: Item) => number;
  readonly #items: Item[] = [];

  constructor(compare: (one: Item, other: Item) => number) {
    this.#compare = compare;
  }

  get first(): Item | undefined {
    return this.#items[0];
  }

  add(item: Item): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#compare(items[parent] as Item, item) <= 0) break;
      items[at] = items[parent] as Item;
      at = parent;
    }
    items[at] = item;
  }

  /** The top has changed. */
  sink(): void {
    const items = this.#items;
    const item = items[0];
    if (item === undefined) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const right = left + 1;
      if (left >= items.length) break;
      const isRight = right < items.length && this.#compare(items[right] as Item, items[left] as Item) < 0;
      const child = isRight ? right : left;
      if (this.#compare(item, items[child] as Item) <= 0) break;
      items[at] = items[child] as Item;
      at = child;
    }
    items[at] = item;
  }

  /** Takes the top away. */
  remove(): void {
    const last = this.#items.pop();
    if (last === undefined || this.#items.length === 0) return;
    this.#items[0] = last;
    this.sink();
  }
}
