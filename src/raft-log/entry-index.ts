/**
 * The index of a group's entries: position on disk, size, term and checksum. 24 bytes of memory per entry, no bodies.
 */
import type { Position } from '../record/record.js';

/** File number and offset are stored in one number: file numbers below 2^21, offsets below 2^32. */
const OFFSET_RANGE = 2 ** 32;
const FIRST_CAPACITY = 16;

export class EntryIndex {
  /** Index of the first entry. */
  #first = 1;
  #count = 0;
  #places = new Float64Array(FIRST_CAPACITY);
  #sizes = new Uint32Array(FIRST_CAPACITY);
  #terms = new Float64Array(FIRST_CAPACITY);
  #checksums = new Uint32Array(FIRST_CAPACITY);

  get first(): number {
    return this.#first;
  }

  get last(): number {
    return this.#first + this.#count - 1;
  }

  /** Sets the entry at `index`. It follows the last entry, or replaces the entry there and all after it. */
  set(index: number, sizeBytes: number, term: number): void {
    if (this.#count === 0 || index < this.#first) this.#first = index;
    const slot = index - this.#first;
    if (slot === this.#places.length) this.#grow();
    this.#places[slot] = -1;
    this.#sizes[slot] = sizeBytes;
    this.#terms[slot] = term;
    this.#count = slot + 1;
  }

  /** Records that the entry was written, with this checksum. Does nothing if it was replaced or dropped meanwhile. */
  place(index: number, file: number, offset: number, term: number, checksum: number): void {
    const slot = index - this.#first;
    if (slot < 0 || slot >= this.#count || this.#terms[slot] !== term) return;
    this.#places[slot] = file * OFFSET_RANGE + offset;
    this.#checksums[slot] = checksum;
  }

  /** Undefined until the entry is written. */
  positionOf(index: number): Position | undefined {
    const place = this.#places[index - this.#first] ?? -1;
    if (place < 0) return undefined;
    return { file: Math.floor(place / OFFSET_RANGE), offset: place % OFFSET_RANGE };
  }

  /** Whether the entry is written. */
  isPlaced(index: number): boolean {
    return (this.#places[index - this.#first] ?? -1) >= 0;
  }

  /** Size on disk, with the header. */
  sizeOf(index: number): number {
    return this.#sizes[index - this.#first] ?? 0;
  }

  termOf(index: number): number {
    return this.#terms[index - this.#first] ?? 0;
  }

  /** Checksum of its bytes on disk, once they are written. */
  checksumOf(index: number): number {
    return this.#checksums[index - this.#first] ?? 0;
  }

  /** Removes all entries. The next one is `first`. */
  reset(first: number): void {
    this.#first = first;
    this.#count = 0;
  }

  /** Removes the entries up to and including `index`. */
  dropThrough(index: number): void {
    const dropped = Math.min(this.#count, Math.max(0, index - this.#first + 1));
    for (const array of [this.#places, this.#sizes, this.#terms, this.#checksums])
      array.copyWithin(0, dropped, this.#count);
    this.#count -= dropped;
    this.#first = Math.max(this.#first, index + 1);
  }

  #grow(): void {
    const length = this.#places.length * 2;
    const places = new Float64Array(length);
    places.set(this.#places);
    const sizes = new Uint32Array(length);
    sizes.set(this.#sizes);
    const terms = new Float64Array(length);
    terms.set(this.#terms);
    const checksums = new Uint32Array(length);
    checksums.set(this.#checksums);
    this.#places = places;
    this.#sizes = sizes;
    this.#terms = terms;
    this.#checksums = checksums;
  }
}
