/** The logs of a run: a reference for each tablet, and what holds over all of them. */
import { firstTablets, type Placement, type Tablet } from '../../placement/placement.js';
import { TabletMap, TabletRange } from '../../placement/tablet-map.js';
import { Effects } from './effects.js';
import type { Fail } from './fail.js';
import { Reference, type ReferenceParts } from './reference.js';

/** The group that keeps the map of a cluster with several tablets. */
const MAP_GROUP = 0;

export class References {
  readonly map: TabletMap;
  /** Of all tablets. */
  readonly effects: Effects;
  readonly #byGroup = new Map<number, Reference>();
  readonly #parts: Pick<ReferenceParts, 'fail' | 'nowMs' | 'maxSessions'>;

  constructor(fail: Fail, nowMs: () => number, maxSessions: number, placement: Placement) {
    this.#parts = { fail, nowMs, maxSessions };
    this.map = new TabletMap(placement.by, firstTablets(placement));
    this.effects = new Effects(fail);
    for (const tablet of this.map.tablets) this.#add(tablet);
  }

  /** Of the tablets. */
  get all(): readonly Reference[] {
    return this.tablets.map((tablet) => this.of(tablet));
  }

  /** The ids of the tablets, in the order of their ranges. */
  get tablets(): readonly number[] {
    return this.map.tablets.map(({ id }) => id);
  }

  /** The tablets, and the group that keeps the map if it has applied something. */
  get groups(): readonly number[] {
    return [...this.#byGroup.keys()];
  }

  get first(): Reference {
    return this.of(1);
  }

  /** Throws if there is no such group. */
  of(group: number): Reference {
    const reference = this.#byGroup.get(group);
    if (reference) return reference;
    if (group !== MAP_GROUP || this.tablets.length === 1) throw new RangeError(`there is no tablet ${group}`);
    return this.#add({ id: group, start: Buffer.alloc(0), end: undefined });
  }

  #add(tablet: Pick<Tablet, 'id' | 'start' | 'end'>): Reference {
    const range = new TabletRange(this.map.by, tablet);
    const reference = new Reference({ ...this.#parts, tablet: tablet.id, range, effects: this.effects });
    this.#byGroup.set(tablet.id, reference);
    return reference;
  }

  ownerOf(key: string): number {
    return this.map.ownerOf(Buffer.from(key))?.id ?? 0;
  }

  /** Of the tablet that owns the key. */
  ofKey(key: string): Reference {
    return this.of(this.ownerOf(key));
  }

  /** A key that no client of a run writes. */
  lastKeyOf(tablet: number): string {
    const { by, tablets } = this.map;
    const start = Buffer.from(tablets.find(({ id }) => id === tablet)?.start ?? []).toString();
    if (by === 'range') return start === '' ? 'k0' : `${start}~`;
    for (let i = 0; ; i++) if (this.ownerOf(`k0${i}`) === tablet) return `k0${i}`;
  }

  /** Those of the keys that are in one tablet with this one. */
  together(key: string, keys: readonly string[]): readonly string[] {
    return keys.filter((other) => this.ownerOf(other) === this.ownerOf(key));
  }

  get keys(): string[] {
    return this.all.flatMap(({ keys }) => keys);
  }

  /** Over all tablets. */
  sum(count: (reference: Reference) => number): number {
    return this.all.reduce((sum, reference) => sum + count(reference), 0);
  }
}
