/**
 * The limit of the bodies that the logs of all groups keep in memory. Above it the group that was written the longest
 * ago loses its bodies first, the oldest before the newer ones.
 */

/** The cache of one group. */
export interface BodyCache {
  readonly cachedBytes: number;
  /** Lets bodies go until so many bytes are freed, or until only those are left that are not on the disk. */
  trimCache(bytes: number): void;
}

export class CachedBodies {
  readonly #maxBytes: number;
  /** The bytes of each group when it was last looked at. The group that was written last is the last one. */
  readonly #groups = new Map<BodyCache, number>();
  #totalBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** A group was written. */
  written(group: BodyCache): void {
    this.#totalBytes += group.cachedBytes - (this.#groups.get(group) ?? 0);
    this.#groups.delete(group);
    this.#groups.set(group, group.cachedBytes);
    for (const [other, knownBytes] of this.#groups) {
      const excessBytes = this.#totalBytes - this.#maxBytes;
      if (excessBytes <= 0) return;
      // It may have lost some by itself.
      other.trimCache(excessBytes - (knownBytes - other.cachedBytes));
      this.#totalBytes += other.cachedBytes - knownBytes;
      if (other.cachedBytes > 0) this.#groups.set(other, other.cachedBytes);
      else this.#groups.delete(other);
    }
  }

  /** A group is not here any more. */
  remove(group: BodyCache): void {
    this.#totalBytes -= this.#groups.get(group) ?? 0;
    this.#groups.delete(group);
  }
}
