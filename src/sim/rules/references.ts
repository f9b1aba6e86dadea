/** The logs of a run: a reference for each tablet, and what holds over all of them. */

import type { MergeCommand } from '../../kv/merge.js';
import { firstReplicas, firstTablets, type Placement, type Tablet } from '../../placement/placement.js';
import { TabletMap } from '../../placement/tablet-map.js';
import type { Configuration } from '../../raft/configuration.js';
import { firstTabletBase } from '../../server/kv-group.js';
import { Effects } from './effects.js';
import { Reference, type ReferenceParts } from './reference.js';
import { Stays } from './stays.js';

/** The group that keeps the map of a cluster with several tablets. */
const MAP_GROUP = 0;

export class References {
  /** Of all tablets. */
  readonly effects: Effects;
  #map: TabletMap;
  readonly #byGroup = new Map<number, Reference>();
  readonly #parts: Omit<ReferenceParts, 'tablet'>;
  readonly #keys: readonly string[];
  /** Number of tablets that were split. */
  splits = 0;
  /** Number of pairs of tablets that were merged. */
  merges = 0;

  /** `founders`: ids of the first members; `keys`: those that clients use. */
  constructor(
    parts: Pick<ReferenceParts, 'fail' | 'nowMs' | 'maxSessions'>,
    placement: Placement,
    founders: readonly number[],
    keys: readonly string[],
  ) {
    const { by } = placement;
    this.effects = new Effects(parts.fail);
    this.#keys = keys;
    this.#parts = {
      ...{ ...parts, by, effects: this.effects, stays: new Stays(parts.fail) },
      onSplit: (parent, left, right) => this.#split(parent, left, right),
      onMerge: (left, merge, child) => this.#merge(left, merge, child),
    };
    this.#map = new TabletMap(by, firstTablets(placement));
    const { replicas } = firstReplicas(placement, founders);
    for (const tablet of this.#map.tablets) {
      // The members of the only tablet are those of the cluster, which begin as its birth decides.
      const own = placement.tablets > 1 ? replicas.get(tablet.id) : undefined;
      this.#add(tablet, own && firstTabletBase(own).configuration);
    }
  }

  /** The tablets that own the keys now. */
  get map(): TabletMap {
    return this.#map;
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
    return this.#byGroup.has(MAP_GROUP) ? [MAP_GROUP, ...this.tablets] : this.tablets;
  }

  /** The tablets that were split or merged. */
  get ended(): readonly number[] {
    return [...this.#byGroup.keys()].filter((group) => !this.groups.includes(group));
  }

  get first(): Reference {
    return this.of(1);
  }

  /** There is such a group, or may be as soon as it applies something. */
  has(group: number): boolean {
    return this.#byGroup.has(group) || group === MAP_GROUP;
  }

  /** Throws if there is no such group. */
  of(group: number): Reference {
    const reference = this.#byGroup.get(group);
    if (reference) return reference;
    if (group !== MAP_GROUP || this.#byGroup.size === 1) throw new RangeError(`there is no tablet ${group}`);
    return this.#add({ id: group, start: Buffer.alloc(0), end: undefined });
  }

  #add(tablet: Pick<Tablet, 'id' | 'start' | 'end'>, members?: Configuration): Reference {
    const reference = new Reference({ ...this.#parts, tablet, members });
    this.#byGroup.set(tablet.id, reference);
    return reference;
  }

  #split(parent: Reference, ...parts: readonly Parameters<typeof Reference.within>[1][]): void {
    this.splits++;
    for (const part of parts) {
      if (this.#byGroup.has(part.id))
        this.#parts.fail(
          'ids are given once',
          `tablet ${parent.tablet} is split into ${part.id}, which there is`,
        );
      this.#byGroup.set(part.id, Reference.within(parent, part));
    }
    const others = this.#map.tablets.filter(({ id }) => id !== parent.tablet);
    const generation = (this.#map.byId(parent.tablet)?.generation ?? 0) + 1;
    this.#map = new TabletMap(this.#map.by, [...others, ...parts.map((part) => ({ ...part, generation }))]);
  }

  #merge(
    left: Reference,
    merge: MergeCommand,
    { base, ...child }: Parameters<ReferenceParts['onMerge']>[2],
  ): void {
    this.merges++;
    const right = this.of(merge.right.id);
    right.endAsRight(merge);
    if (this.#byGroup.has(child.id))
      this.#parts.fail('ids are given once', `tablet ${left.tablet} becomes ${child.id}, which there is`);
    this.#byGroup.set(child.id, Reference.merged([left, right], child, base));
    const parents = [left.tablet, right.tablet];
    const others = this.#map.tablets.filter(({ id }) => !parents.includes(id));
    const generation = Math.max(...parents.map((id) => this.#map.byId(id)?.generation ?? 0)) + 1;
    this.#map = new TabletMap(this.#map.by, [...others, { ...child, generation }]);
  }

  ownerOf(key: string): number {
    return this.map.ownerOf(Buffer.from(key))?.id ?? 0;
  }

  /** Of the tablet that owns the key. */
  ofKey(key: string): Reference {
    return this.of(this.ownerOf(key));
  }

  isOfClients(key: string): boolean {
    return this.#keys.includes(key);
  }

  /** A key of the tablet to write when clients have ended: one of theirs, if the tablet owns one. */
  lastKeyOf(tablet: number): string {
    const owned = this.#keys.find((key) => this.ownerOf(key) === tablet);
    if (owned !== undefined) return owned;
    if (this.map.by === 'range') {
      const start = Buffer.from(this.map.byId(tablet)?.start ?? []).toString();
      return start === '' ? 'a' : start;
    }
    for (let i = 0; ; i++) if (this.ownerOf(`z${i}`) === tablet) return `z${i}`;
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
    return [...this.#byGroup.values()].reduce((sum, reference) => sum + count(reference), 0);
  }
}
