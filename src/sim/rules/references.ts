/** The logs of a run: a reference for each tablet, and what holds over all of them. */
import { firstTablets, type Placement } from '../../placement/placement.js';
import { TabletMap, TabletRange } from '../../placement/tablet-map.js';
import { Effects } from './effects.js';
import type { Fail } from './fail.js';
import { Reference } from './reference.js';

export class References {
  readonly map: TabletMap;
  /** Of all tablets. */
  readonly effects: Effects;
  readonly #byTablet: ReadonlyMap<number, Reference>;

  constructor(fail: Fail, nowMs: () => number, maxSessions: number, placement: Placement) {
    const { by } = placement;
    this.map = new TabletMap(by, firstTablets(placement));
    this.effects = new Effects(fail);
    this.#byTablet = new Map(
      this.map.tablets.map((tablet) => {
        const range = new TabletRange(by, tablet);
        const parts = { fail, nowMs, maxSessions, tablet: tablet.id, range, effects: this.effects };
        return [tablet.id, new Reference(parts)];
      }),
    );
  }

  get all(): readonly Reference[] {
    return [...this.#byTablet.values()];
  }

  /** The ids of the tablets, in the order of their ranges. */
  get tablets(): readonly number[] {
    return this.map.tablets.map(({ id }) => id);
  }

  get first(): Reference {
    return this.of(1);
  }

  /** Throws if there is no such tablet. */
  of(tablet: number): Reference {
    const reference = this.#byTablet.get(tablet);
    if (!reference) throw new RangeError(`there is no tablet ${tablet}`);
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
