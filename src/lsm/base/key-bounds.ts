/**
 * The bounds of a tree: which keys are its own. A tree that was linked from another one (`checkpoint` with bounds) has
 * tables with keys of others, too. These are not there for any reader, and compactions drop them.
 *
 * The owner of the tree lays out its keys. A section is the keys that begin with a byte; behind a fixed number of bytes
 * they have the key that the bounds are about. Keys of no section are the tree's own.
 */
import type { PlacementKind } from '../../placement/placement.js';
import { TabletRange } from '../../placement/tablet-map.js';
import { compareBytes } from './bytes.js';

/** Plain data: it is sent to the worker thread. */
export interface KeyBounds {
  readonly by: PlacementKind;
  readonly start: Uint8Array;
  /** Undefined: to the last key. */
  readonly end: Uint8Array | undefined;
  readonly sections: readonly KeySection[];
}

export interface KeySection {
  /** The first byte of its keys. */
  readonly first: number;
  /** Bytes before the key that the bounds are about, the first one included. */
  readonly skippedBytes: number;
}

export class OwnedKeys {
  readonly bounds: KeyBounds;
  readonly #range: TabletRange;
  /** By first byte: how many bytes are passed over. */
  readonly #skipped: readonly number[];

  constructor(bounds: KeyBounds) {
    this.bounds = bounds;
    this.#range = new TabletRange(bounds.by, bounds);
    const skipped: number[] = new Array(256).fill(-1);
    for (const { first, skippedBytes } of bounds.sections) skipped[first] = skippedBytes;
    this.#skipped = skipped;
  }

  owns(key: Uint8Array): boolean {
    const skipped = this.#skippedOf(key);
    return skipped < 0 || skipped > key.length || this.#range.owns(key.subarray(skipped));
  }

  /** Whether all keys from `smallest` to `largest` are the tree's own; false where that is not known. */
  ownsAll(smallest: Uint8Array, largest: Uint8Array): boolean {
    if (compareBytes(smallest, largest) === 0) return this.owns(smallest);
    return this.#isOrdered(smallest, largest) && this.owns(smallest) && this.owns(largest);
  }

  /** Whether some key from `smallest` to `largest` may be the tree's own. */
  mayOwn(smallest: Uint8Array, largest: Uint8Array): boolean {
    if (!this.#isOrdered(smallest, largest)) return true;
    const { start, end } = this.bounds;
    const isBefore = compareBytes(largest.subarray(1), start) < 0;
    return !isBefore && (end === undefined || compareBytes(smallest.subarray(1), end) < 0);
  }

  /** Whether the keys between the two are in the order of the bounds. */
  #isOrdered(smallest: Uint8Array, largest: Uint8Array): boolean {
    return this.bounds.by === 'range' && this.#skippedOf(smallest) === 1 && smallest[0] === largest[0];
  }

  #skippedOf(key: Uint8Array): number {
    return key.length === 0 ? -1 : (this.#skipped[key[0] as number] as number);
  }
}
