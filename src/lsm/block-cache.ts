/**
 * Blocks of all tables, in slots of one size into which they are read in place: nothing is allocated on a miss.
 * A table knows by block number in which slot it stands, so that a hit is one array access; the slot to reuse is
 * found by the clock algorithm (Corbató: A Paging Experiment with the Multics System, 1968). A block larger than a
 * slot is not cached. Memory is taken in segments, as it is needed.
 */

/** Who owns the blocks: told when one of them loses its slot. */
export interface BlockOwner {
  /** Slot by block number; -1 for none. */
  readonly slots: Int32Array;
}

export const NO_SLOT = -1;
const SEGMENT_SLOTS = 64;

export class BlockCache {
  readonly slotBytes: number;
  readonly #slotCount: number;
  readonly #buffers: Buffer[] = [];
  readonly #owners: (BlockOwner | undefined)[] = [];
  readonly #blocks: Int32Array;
  readonly #pins: Uint32Array;
  readonly #used: Uint8Array;
  /** Slots below this number have been used; the others are free. */
  #taken = 0;
  #hand = 0;
  hits = 0;
  misses = 0;

  constructor(capacityBytes: number, slotBytes: number) {
    this.slotBytes = slotBytes;
    this.#slotCount = Math.floor(capacityBytes / slotBytes);
    this.#blocks = new Int32Array(this.#slotCount);
    this.#pins = new Uint32Array(this.#slotCount);
    this.#used = new Uint8Array(this.#slotCount);
  }

  /** Memory taken so far. */
  get sizeBytes(): number {
    return this.#buffers.length * this.slotBytes;
  }

  /** The bytes of a slot; good until something else is claimed, or for as long as it is pinned. */
  use(slot: number): Buffer {
    this.hits++;
    this.#used[slot] = 1;
    return this.#buffers[slot] as Buffer;
  }

  /** A slot for a block that is about to be read into it, or NO_SLOT if it does not fit or all are pinned. */
  claim(owner: BlockOwner, block: number, sizeBytes: number): number {
    this.misses++;
    if (sizeBytes > this.slotBytes) return NO_SLOT;
    const slot = this.#findSlot();
    if (slot === NO_SLOT) return NO_SLOT;
    const previous = this.#owners[slot];
    if (previous) previous.slots[this.#blocks[slot] as number] = NO_SLOT;
    this.#owners[slot] = owner;
    this.#blocks[slot] = block;
    this.#used[slot] = 1;
    owner.slots[block] = slot;
    return slot;
  }

  bytes(slot: number): Buffer {
    return this.#buffers[slot] as Buffer;
  }

  /** The slot's content is not to be used any more. */
  discard(slot: number): void {
    const owner = this.#owners[slot];
    if (owner) owner.slots[this.#blocks[slot] as number] = NO_SLOT;
    this.#owners[slot] = undefined;
    this.#used[slot] = 0;
  }

  pin(slot: number): void {
    this.#pins[slot] = (this.#pins[slot] as number) + 1;
  }

  unpin(slot: number): void {
    this.#pins[slot] = (this.#pins[slot] as number) - 1;
  }

  #findSlot(): number {
    if (this.#taken < this.#slotCount) {
      if (this.#taken === this.#buffers.length) this.#addSegment();
      return this.#taken++;
    }
    for (let looks = 2 * this.#slotCount; looks > 0; looks--) {
      const slot = this.#hand;
      this.#hand = slot + 1 < this.#slotCount ? slot + 1 : 0;
      if (this.#pins[slot] !== 0) continue;
      if (this.#used[slot] === 0) return slot;
      this.#used[slot] = 0;
    }
    return NO_SLOT;
  }

  #addSegment(): void {
    const count = Math.min(SEGMENT_SLOTS, this.#slotCount - this.#taken);
    const segment = Buffer.allocUnsafeSlow(count * this.slotBytes);
    for (let i = 0; i < count; i++) {
      this.#buffers.push(segment.subarray(i * this.slotBytes, (i + 1) * this.slotBytes));
      this.#owners.push(undefined);
    }
  }
}
