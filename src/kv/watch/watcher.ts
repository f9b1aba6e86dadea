/**
 * One watcher of a range: where it stands in the history. It queues no change, so a slow one costs no memory and holds
 * nobody up. Who tells it on takes pages, when there is something (`onReady`) and as there is room.
 *
 *     live       knows the positions of the changes that it was not told yet, MAX_POSITIONS at most
 *     scanning   reads the history from its position on, until it has come to the end: then it is live
 *     ended      its position was let go, or the node takes it no further; it is told so, and from which version on
 *                the history is complete
 */
import type { Change, ChangeHistory, RecordView } from './change-history.js';
import { isBelow, type KeyRange, type Place, type Placed } from './range-index.js';

/** A page. */
export interface Changes {
  readonly type: 'changes';
  /** In the order in which they were applied. Views of the history's memory, which does not change. */
  readonly changes: readonly Change[];
  /** Keys, values, and something for each change. */
  readonly sizeBytes: number;
  /** With this page, all changes of the range up to this version were told. */
  readonly throughVersion: number;
  /** More can be taken at once. */
  readonly hasMore: boolean;
}

export type WatchEndCode = 'HISTORY_GONE' | 'SHUTTING_DOWN' | 'NO_LEADER' | 'NODE_REMOVED' | 'WRONG_TABLET';

/** No more pages follow. */
export interface WatchEnded {
  readonly type: 'ended';
  readonly code: WatchEndCode;
  readonly message: string;
  /**
   * With HISTORY_GONE: the history of this node is complete from this version on. With WRONG_TABLET: who was told all
   * goes on there in the tablet that was made of this one and another.
   */
  readonly fromVersion?: number | undefined;
}

/** What a change counts besides its key and value. */
export const CHANGE_OVERHEAD_BYTES = 32;
const MAX_POSITIONS = 64;
/** What is read of the history for one page. */
const MAX_SCANNED_BYTES: number = 256 * 1024;

export class Watcher implements Placed {
  readonly range: KeyRange;
  /** The first version that it is told. */
  readonly fromVersion: number;
  place: Place | undefined;
  readonly #history: ChangeHistory;
  readonly #onReady: () => void;
  readonly #onFellBehind: () => void;
  readonly #onClose: (watcher: Watcher) => void;
  /** Undefined: it scans. */
  #positions: number[] | undefined;
  #position: number;
  #through: number;
  #end: WatchEnded | undefined;
  /** What it is told when it was told all changes: there will be no others. */
  #last: WatchEnded | undefined;
  /** Whoever takes the pages knows that there are some. */
  #isNotified: boolean;
  #peeked: { readonly count: number; readonly position: number } | undefined;

  /** `fromVersion` undefined: from the next change on. */
  constructor(
    range: KeyRange,
    fromVersion: number | undefined,
    history: ChangeHistory,
    told: {
      readonly onReady: () => void;
      readonly onFellBehind: () => void;
      readonly onClose: (watcher: Watcher) => void;
    },
  ) {
    const next = history.throughVersion + 1;
    this.range = range;
    this.fromVersion = fromVersion ?? next;
    this.#history = history;
    this.#onReady = told.onReady;
    this.#onFellBehind = told.onFellBehind;
    this.#onClose = told.onClose;
    this.#through = this.fromVersion - 1;
    this.#position = history.positionOf(this.fromVersion);
    this.#positions = this.fromVersion >= next ? [] : undefined;
    this.#isNotified = this.#positions === undefined;
    if (this.fromVersion < history.oldestVersion) this.#fallBehind();
  }

  /** Something can be taken. If not, `onReady` is called when it can. */
  get hasMore(): boolean {
    const { isEnded } = this;
    return isEnded || this.#positions === undefined || this.#positions.length > 0;
  }

  get isEnded(): boolean {
    return this.#end !== undefined || (this.#last !== undefined && this.#positions?.length === 0);
  }

  /** All changes of the range up to this version were told. */
  get throughVersion(): number {
    return this.hasMore ? this.#through : Math.max(this.#through, this.#history.throughVersion);
  }

  /** The change at this position is in its range. Returns whether `notify` is to be called. */
  matched(position: number, version: number): boolean {
    const positions = this.#positions;
    if (!positions || version <= this.#through || this.#end) return false;
    if (positions.length === MAX_POSITIONS) {
      this.#position = positions[0] as number;
      this.#positions = undefined;
      return false;
    }
    positions.push(position);
    return this.#becomesNotified();
  }

  notify(): void {
    if (this.place) this.#onReady();
  }

  /** The next page; the same one until `advance`. At least one change of it, however small `maxBytes` is. */
  peek(maxBytes: number): Changes | WatchEnded {
    if (!this.#end && this.#first < this.#history.start) this.#fallBehind();
    if (this.#end) return this.#end;
    if (this.#last && this.isEnded) return this.#last;
    return this.#positions ? this.#ofPositions(this.#positions, maxBytes) : this.#scan(maxBytes);
  }

  /** The page that was peeked last was told. */
  advance({ throughVersion }: Changes): void {
    const peeked = this.#peeked;
    this.#peeked = undefined;
    if (!peeked || this.#end) return;
    this.#through = throughVersion;
    if (this.#positions) this.#positions.splice(0, peeked.count);
    else {
      this.#position = peeked.position;
      if (this.#position === this.#history.end) this.#positions = [];
    }
    this.#isNotified = this.hasMore;
  }

  /** The node does not tell it any more. Returns whether `notify` is to be called. */
  end(end: WatchEnded): boolean {
    if (this.#end) return false;
    this.#end = end;
    return true;
  }

  /** No more changes come: with the last one it is told why. Returns whether `notify` is to be called. */
  retire(last: WatchEnded): boolean {
    if (this.#end || this.#last) return false;
    this.#last = last;
    return this.#becomesNotified();
  }

  /** The history began anew; before, it went up to `throughBefore`. Returns whether `notify` is to be called. */
  reset(throughBefore: number): boolean {
    if (this.#end) return false;
    if (!this.hasMore) this.#through = Math.max(this.#through, throughBefore);
    if (this.#through + 1 < this.#history.oldestVersion) this.#fallBehind();
    else this.#positions = [];
    return this.#end !== undefined;
  }

  /** Nothing more is told. */
  close(): void {
    this.#onClose(this);
  }

  /** The position of the first change that it was not told. */
  get #first(): number {
    return this.#positions ? (this.#positions[0] ?? this.#history.end) : this.#position;
  }

  #becomesNotified(): boolean {
    if (this.#isNotified) return false;
    this.#isNotified = true;
    return true;
  }

  #fallBehind(): void {
    const { oldestVersion } = this.#history;
    const message =
      `the changes up to version ${oldestVersion - 1} are not kept here any more: ` +
      `start from version ${oldestVersion} or later, after reading the keys anew`;
    this.#end = { type: 'ended', code: 'HISTORY_GONE', message, fromVersion: oldestVersion };
    this.#onFellBehind();
  }

  #ofPositions(positions: readonly number[], maxBytes: number): Changes {
    const history = this.#history;
    const page = new PageBuilder(maxBytes);
    let count = 0;
    for (const position of positions) {
      if (!page.add(history.read(position))) break;
      count++;
    }
    this.#peeked = { count, position: 0 };
    const next = positions[count];
    return page.end(this.#throughBefore(next), next !== undefined);
  }

  #scan(maxBytes: number): Changes {
    const history = this.#history;
    const page = new PageBuilder(maxBytes);
    const { end } = history;
    let position = this.#position;
    const stopAt = Math.min(end, position + MAX_SCANNED_BYTES);
    while (position < stopAt) {
      const record = history.read(position);
      if (record.version > this.#through && isIn(record, this.range) && !page.add(record)) break;
      position = record.next;
    }
    this.#peeked = { count: 0, position };
    const isAtEnd = position === end;
    return page.end(this.#throughBefore(isAtEnd ? undefined : position), !isAtEnd);
  }

  /** Through which version everything is told if this position is the next one to be told. */
  #throughBefore(position: number | undefined): number {
    const history = this.#history;
    const through = position === undefined ? history.throughVersion : history.read(position).version - 1;
    return Math.max(this.#through, through);
  }
}

function isIn({ bytes, keyAt, keyBytes }: RecordView, { from, to }: KeyRange): boolean {
  return !isBelow(bytes, keyAt, keyBytes, from) && (to === undefined || isBelow(bytes, keyAt, keyBytes, to));
}

class PageBuilder {
  readonly #maxBytes: number;
  readonly #changes: Change[] = [];
  #sizeBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Returns whether there was room. */
  add(record: RecordView): boolean {
    const sizeBytes = this.#sizeBytes + record.sizeBytes + CHANGE_OVERHEAD_BYTES;
    if (this.#changes.length > 0 && sizeBytes > this.#maxBytes) return false;
    this.#sizeBytes = sizeBytes;
    this.#changes.push(record.change());
    return true;
  }

  end(throughVersion: number, hasMore: boolean): Changes {
    return { type: 'changes', changes: this.#changes, sizeBytes: this.#sizeBytes, throughVersion, hasMore };
  }
}
