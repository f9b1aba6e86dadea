/**
 * The requests in progress on one connection, by their ids. An id counts up and leaves out those whose slot is taken:
 *
 *     slots   0  1  2  3  4  5  6  7       next id 15: slot 7
 *             .  9  .  3  .  .  .  7       taken, so 16: slot 0
 *
 * An id is used again only after 2^32 others: a late answer to a request that was given up finds nothing.
 * A Map would keep answered requests in memory: see calls.ts.
 */
export interface Numbered {
  requestId: number;
}

const FIRST_SLOTS = 64;

export class RequestTable<Entry extends Numbered> {
  #slots: (Entry | undefined)[] = new Array(FIRST_SLOTS).fill(undefined);
  #count = 0;
  #lastId = 0;

  /** Gives it an id, which is not 0. */
  add(entry: Entry): void {
    if (2 * this.#count >= this.#slots.length) this.#grow();
    do {
      this.#lastId = (this.#lastId + 1) >>> 0;
    } while (this.#lastId === 0 || this.#slots[this.#slotOf(this.#lastId)]);
    entry.requestId = this.#lastId;
    this.#slots[this.#slotOf(entry.requestId)] = entry;
    this.#count++;
  }

  get(requestId: number): Entry | undefined {
    const entry = this.#slots[this.#slotOf(requestId)];
    return entry?.requestId === requestId ? entry : undefined;
  }

  delete(entry: Entry): void {
    const slot = this.#slotOf(entry.requestId);
    if (this.#slots[slot] !== entry) return;
    this.#slots[slot] = undefined;
    this.#count--;
  }

  /** A copy. */
  all(): Entry[] {
    return this.#slots.filter((entry) => entry !== undefined);
  }

  #slotOf(requestId: number): number {
    return requestId & (this.#slots.length - 1);
  }

  /** Ids in different slots stay in different slots. */
  #grow(): void {
    const entries = this.all();
    this.#slots = new Array(2 * this.#slots.length).fill(undefined);
    for (const entry of entries) this.#slots[this.#slotOf(entry.requestId)] = entry;
  }
}
