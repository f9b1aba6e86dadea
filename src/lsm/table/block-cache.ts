/**
 * Blocks of all tables, as they are uncompressed, in slots that are read into in place: once the cache is full, a
 * miss allocates nothing. A table knows by block number in which slot it stands, so that a hit is one array access;
 * the slot to reuse is found by the clock algorithm (Corbató: A Paging Experiment with the Multics System, 1968).
 *
 * Most slots have one size, that of a usual block; a larger block gets one of its own size. The bytes of all slots
 * together stay within the capacity.
 */

/** The owner of blocks, which is called when one of them loses its slot. */
export interface BlockOwner {
  /** Slot by block number; -1 for none. */
  readonly slots: Int32Array;
}

export const NO_SLOT = -1;
/** Slots of large blocks are multiples of this, so that one can be used again for another. */
const LARGE_STEP_BYTES = 1024;

export class BlockCache {
  readonly slotBytes: number;
  readonly #capacityBytes: number;
  /** Undefined for slot numbers that are free. */
  readonly #buffers: (Buffer | undefined)[] = [];
  readonly #owners: (BlockOwner | undefined)[] = [];
  readonly #blocks: number[] = [];
  /** How many bytes of a slot its block fills. */
  readonly #sizes: number[] = [];
  readonly #pins: number[] = [];
  readonly #used: number[] = [];
  readonly #free: number[] = [];
  #sizeBytes = 0;
  #hand = 0;
  hits = 0;
  misses = 0;

  constructor(capacityBytes: number, slotBytes: number) {
    this.slotBytes = slotBytes;
    this.#capacityBytes = capacityBytes;
  }

  /** Memory taken so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
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
    const slot = this.#slotOf(
      sizeBytes <= this.slotBytes
        ? this.slotBytes
        : Math.ceil(sizeBytes / LARGE_STEP_BYTES) * LARGE_STEP_BYTES,
    );
    if (slot === NO_SLOT) return NO_SLOT;
    this.#owners[slot] = owner;
    this.#blocks[slot] = block;
    this.#sizes[slot] = sizeBytes;
    this.#used[slot] = 1;
    owner.slots[block] = slot;
    return slot;
  }

  bytes(slot: number): Buffer {
    return this.#buffers[slot] as Buffer;
  }

  /** What was claimed. */
  blockBytes(slot: number): number {
    return this.#sizes[slot] as number;
  }

  /** The slot's content is not to be used any more. */
  discard(slot: number): void {
    this.#disown(slot);
    this.#used[slot] = 0;
  }

  pin(slot: number): void {
    this.#pins[slot] = (this.#pins[slot] as number) + 1;
  }

  unpin(slot: number): void {
    this.#pins[slot] = (this.#pins[slot] as number) - 1;
  }

  #disown(slot: number): void {
    const owner = this.#owners[slot];
    if (owner) owner.slots[this.#blocks[slot] as number] = NO_SLOT;
    this.#owners[slot] = undefined;
  }

  /** A slot of so many bytes without an owner. */
  #slotOf(bytes: number): number {
    if (bytes > this.#capacityBytes) return NO_SLOT;
    if (this.#sizeBytes + bytes <= this.#capacityBytes) return this.#newSlot(bytes);
    for (let looks = 2 * this.#buffers.length; looks > 0; looks--) {
      const slot = this.#hand;
      this.#hand = slot + 1 < this.#buffers.length ? slot + 1 : 0;
      const buffer = this.#buffers[slot];
      if (buffer === undefined || this.#pins[slot] !== 0) continue;
      if (this.#used[slot] === 1) {
        this.#used[slot] = 0;
        continue;
      }
      this.#disown(slot);
      if (buffer.length === bytes) return slot;
      this.#buffers[slot] = undefined;
      this.#free.push(slot);
      this.#sizeBytes -= buffer.length;
      if (this.#sizeBytes + bytes <= this.#capacityBytes) return this.#newSlot(bytes);
    }
    return NO_SLOT;
  }

  #newSlot(bytes: number): number {
    const slot = this.#free.pop() ?? this.#buffers.length;
    this.#buffers[slot] = Buffer.allocUnsafeSlow(bytes);
    this.#owners[slot] = undefined;
    this.#blocks[slot] = 0;
    this.#sizes[slot] = 0;
    this.#pins[slot] = 0;
    this.#used[slot] = 0;
    this.#sizeBytes += bytes;
    return slot;
  }
}
