/**
 * Uncompressed blocks of all tables, in slots. Blocks are read directly into a slot: when the cache is full, a miss
 * allocates nothing. A table has an array with the slot of each block, so a hit is one array access. The clock
 * algorithm finds the slot to reuse (Corbató: A Paging Experiment with the Multics System, 1968).
 *
 * Most slots have the size of a usual block; a larger block gets a slot of its own size. All slots together stay within
 * the capacity.
 */

/** The owner of blocks. It is called when one of its blocks loses its slot. */
export interface BlockOwner {
  /** Slot by block number; -1 for none. */
  readonly slots: Int32Array;
}

export const NO_SLOT = -1;
/** Slots for large blocks have one of so many sizes between two powers of two, so that another block can reuse them. */
const SIZES_PER_DOUBLING = 32;

function largeSlotBytes(blockBytes: number): number {
  const step = Math.max(1, 2 ** Math.floor(Math.log2(blockBytes)) / SIZES_PER_DOUBLING);
  return Math.ceil(blockBytes / step) * step;
}

export class BlockCache {
  readonly slotBytes: number;
  readonly #capacityBytes: number;
  /** Undefined for free slot numbers. */
  readonly #buffers: (Buffer | undefined)[] = [];
  readonly #owners: (BlockOwner | undefined)[] = [];
  readonly #blocks: number[] = [];
  /** The size of the block in each slot. */
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

  /** The memory in use. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The bytes of a slot; valid until the next `claim`, or while the slot is pinned. */
  use(slot: number): Buffer {
    this.hits++;
    this.#used[slot] = 1;
    return this.#buffers[slot] as Buffer;
  }

  /** A slot for a block that will be read into it next; NO_SLOT if the block does not fit or all slots are pinned. */
  claim(owner: BlockOwner, block: number, sizeBytes: number): number {
    this.misses++;
    const slot = this.#slotOf(sizeBytes <= this.slotBytes ? this.slotBytes : largeSlotBytes(sizeBytes));
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

  /** The size that was claimed for the block in a slot. */
  blockBytes(slot: number): number {
    return this.#sizes[slot] as number;
  }

  /** The slot's content must not be used any more. */
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

  /** A slot of this size without an owner. */
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
