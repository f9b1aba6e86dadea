/**
 * The tablets that a client has met, also those that have ended: they say which tablets came from which. Each key has
 * one owner after the other, and each time the generation rises. So of two tablets that share a key the one of the
 * higher generation came from the other, by splits and merges.
 */
import type { Tablet } from '../placement/placement.js';
import { overlap } from '../placement/tablet-map.js';

/** Of tablets that have ended. No call lives through so many splits and merges. */
const MAX_ENDED_TABLETS = 4096;

export class MetTablets {
  /** By id, in the order in which they were met. */
  readonly #tablets = new Map<number, Tablet>();

  /** Those of a new map, in which `isThere` says what has not ended. Returns the tablets that are forgotten for it. */
  meet(tablets: readonly Tablet[], isThere: (tablet: number) => boolean): number[] {
    for (const { id, start, end, generation } of tablets)
      this.#tablets.set(id, { id, start, end, generation });
    const ended = [...this.#tablets.keys()].filter((id) => !isThere(id));
    const forgotten = ended.slice(0, Math.max(0, ended.length - MAX_ENDED_TABLETS));
    for (const id of forgotten) this.#tablets.delete(id);
    return forgotten;
  }

  /** Whether `younger` came from `older`. The cluster's first tablet, before there was a map, is 0. */
  cameFrom(younger: number, older: number): boolean {
    const one = this.#tablets.get(younger);
    if (!one) return false;
    if (older === 0) return one.generation > 1;
    const before = this.#tablets.get(older);
    return before !== undefined && one.generation > before.generation && overlap(one, before);
  }

  /** Of the tablets that `younger` came from: those from which none of the others came. */
  parentsOf(younger: number, candidates: Iterable<number>): number[] {
    const ancestors = [...candidates].filter((older) => this.cameFrom(younger, older));
    return ancestors.filter((older) => !ancestors.some((other) => this.cameFrom(other, older)));
  }
}
