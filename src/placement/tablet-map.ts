/**
 * The tablets that are known, sorted by their ranges, and which of them owns a key. It never changes: `with` gives
 * another map.
 *
 *     start    ""         "g"        "n"
 *              |----1-----|----2-----|----3-----
 *
 * What is learned late may be old. An older generation never replaces a newer one: a tablet that overlaps one of a
 * higher generation is passed over. So parts of the keys may be without a known tablet.
 */
import { hashOfKey, RING_SIZE } from './partition-key.js';
import { hashAt, type PlacementKind, type Tablet } from './placement.js';

const FIRST_KEY = new Uint8Array(0);

/** Where a tablet begins and ends, to be compared with keys. */
export class TabletRange {
  /** Of a tablet that has ended. */
  static readonly NOTHING: TabletRange = new TabletRange('range', { start: FIRST_KEY, end: FIRST_KEY });
  readonly #isByHash: boolean;
  readonly #start: Uint8Array;
  readonly #end: Uint8Array | undefined;
  readonly #first: number;
  readonly #after: number;

  constructor(by: PlacementKind, { start, end }: Pick<Tablet, 'start' | 'end'>) {
    this.#isByHash = by === 'hash';
    this.#start = start;
    this.#end = end;
    this.#first = hashAt(start, 0);
    this.#after = hashAt(end, RING_SIZE);
  }

  get isEverything(): boolean {
    return this.#start.length === 0 && this.#end === undefined;
  }

  /** It owns no key. */
  get isNothing(): boolean {
    return this.#end !== undefined && Buffer.compare(this.#start, this.#end) >= 0;
  }

  owns(key: Uint8Array): boolean {
    if (this.#isByHash) {
      const hash = hashOfKey(key);
      return hash >= this.#first && hash < this.#after;
    }
    return Buffer.compare(key, this.#start) >= 0 && this.#isBelowEnd(key);
  }

  /** Whether a scan from `from` up to `to` asks for no key that is another tablet's. By hash any scan may. */
  covers(from: Uint8Array, to: Uint8Array | undefined): boolean {
    if (this.#isByHash) return true;
    if (this.isNothing || Buffer.compare(from, this.#start) < 0) return false;
    if (this.#end === undefined) return true;
    return to !== undefined && Buffer.compare(to, this.#end) <= 0;
  }

  #isBelowEnd(key: Uint8Array): boolean {
    return this.#end === undefined || Buffer.compare(key, this.#end) < 0;
  }
}

export class TabletMap {
  readonly by: PlacementKind;
  /** Sorted by their ranges, which do not overlap. */
  readonly tablets: readonly Tablet[];
  readonly #byId: ReadonlyMap<number, Tablet>;
  readonly #firstHashes: readonly number[];

  /** `tablets` in any order; those that are older than others which they overlap are left out. */
  constructor(by: PlacementKind, tablets: readonly Tablet[]) {
    this.by = by;
    this.tablets = newest(tablets);
    this.#byId = new Map(this.tablets.map((tablet) => [tablet.id, tablet]));
    this.#firstHashes = by === 'hash' ? this.tablets.map(({ start }) => hashAt(start, 0)) : [];
  }

  byId(id: number): Tablet | undefined {
    return this.#byId.get(id);
  }

  /** The tablet that owns the key; undefined if none is known. */
  ownerOf(key: Uint8Array): Tablet | undefined {
    if (this.by === 'hash') {
      const hash = hashOfKey(key);
      const tablet =
        this.tablets[lastAt(this.#firstHashes.length, (i) => (this.#firstHashes[i] as number) <= hash)];
      return tablet && hash < hashAt(tablet.end, RING_SIZE) ? tablet : undefined;
    }
    return this.#before(key, 0);
  }

  /** The tablet with the keys directly below `to`; undefined if none is known. Without `to`: the last one. By range. */
  ownerBelow(to: Uint8Array | undefined): Tablet | undefined {
    if (to !== undefined) return this.#before(to, -1);
    const last = this.tablets.at(-1);
    return last?.end === undefined ? last : undefined;
  }

  /** Whether each key has a known tablet. */
  get isComplete(): boolean {
    return (
      this.tablets.every(({ end }, i) => {
        const next = this.tablets[i + 1];
        return next && end ? Buffer.compare(end, next.start) === 0 : !next && !end;
      }) && this.tablets[0]?.start.length === 0
    );
  }

  /** The map with what was learned. A tablet with another range than the same one has here is of another cluster. */
  with(learned: readonly Tablet[]): TabletMap {
    const isSame = ({ id, start, end }: Tablet) => {
      const known = this.#byId.get(id);
      if (!known) return true;
      return Buffer.compare(known.start, start) === 0 && compareEnds(known.end, end) === 0;
    };
    return new TabletMap(this.by, learned.every(isSame) ? [...this.tablets, ...learned] : learned);
  }

  #before(key: Uint8Array, most: 0 | -1): Tablet | undefined {
    const { tablets } = this;
    const at = lastAt(tablets.length, (i) => Buffer.compare((tablets[i] as Tablet).start, key) <= most);
    const tablet = tablets[at];
    const isInside = tablet && (tablet.end === undefined || Buffer.compare(key, tablet.end) <= -1 - most);
    return isInside ? tablet : undefined;
  }
}

/** The last position for which `holds`, which holds for the first ones only; -1 if there is none. */
function lastAt(length: number, holds: (i: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Whether they share a key. */
export function overlap(one: Pick<Tablet, 'start' | 'end'>, other: Pick<Tablet, 'start' | 'end'>): boolean {
  return isBelow(one.start, other.end) && isBelow(other.start, one.end);
}

/** Without those that overlap a tablet of the same or a higher generation that stands before them. */
function newest(tablets: readonly Tablet[]): Tablet[] {
  const kept: Tablet[] = [];
  for (const tablet of [...tablets].sort((a, b) => b.generation - a.generation)) {
    const at = lastAt(kept.length, (i) => Buffer.compare((kept[i] as Tablet).start, tablet.start) <= 0);
    const [before, after] = [kept[at], kept[at + 1]];
    const isFree =
      (!before || !isBelow(tablet.start, before.end)) && (!after || !isBelow(after.start, tablet.end));
    if (isFree) kept.splice(at + 1, 0, tablet);
  }
  return kept;
}

function isBelow(start: Uint8Array, end: Uint8Array | undefined): boolean {
  return end === undefined || Buffer.compare(start, end) < 0;
}

function compareEnds(one: Uint8Array | undefined, other: Uint8Array | undefined): number {
  if (one === undefined || other === undefined) return Number(one !== other);
  return Buffer.compare(one, other);
}
