/** The worlds that were met, as 64 bits each in a table of open addressing, with where each came from. */
export class StateTable {
  #size = 0;
  #mask = (1 << 16) - 1;
  #low = new Uint32Array(1 << 16);
  #high = new Uint32Array(1 << 16);
  #parents = new Uint32Array(1 << 16);
  #events = new Uint16Array(1 << 16);

  get size(): number {
    return this.#size;
  }

  /** Adds the world whose numbers these are; returns its place in the order of arrival, or -1 if it was met before. */
  add(numbers: readonly number[], parent: number, event: number): number {
    let low = 0x9e3779b9;
    let high = 0x85ebca6b;
    for (const number of numbers) {
      low = Math.imul(low ^ number, 0xcc9e2d51);
      low = (low ^ (low >>> 15)) | 0;
      high = Math.imul(high + number, 0x1b873593);
      high = (high ^ (high >>> 13) ^ (low << 5)) | 0;
      low = (low + Math.imul(high, 5)) | 0;
    }
    low = mixed(low ^ numbers.length);
    high = mixed(high ^ low);
    // Zeros mean an empty place.
    if (low === 0 && high === 0) high = 1;
    let at = low & this.#mask;
    while (this.#low[at] !== 0 || this.#high[at] !== 0) {
      if (this.#low[at] === low && this.#high[at] === high) return -1;
      at = (at + 1) & this.#mask;
    }
    this.#low[at] = low;
    this.#high[at] = high;
    const place = this.#size++;
    if (place === this.#parents.length) this.#growPaths();
    this.#parents[place] = parent;
    this.#events[place] = event;
    if (this.#size * 2 > this.#mask) this.#growTable();
    return place;
  }

  /** The events, each by its number among its world's, that lead from the first world to that one. */
  pathTo(place: number): number[] {
    const path: number[] = [];
    for (let at = place; at !== 0; at = this.#parents[at] as number) path.push(this.#events[at] as number);
    return path.reverse();
  }

  #growPaths(): void {
    const parents = new Uint32Array(this.#parents.length * 2);
    parents.set(this.#parents);
    this.#parents = parents;
    const events = new Uint16Array(this.#events.length * 2);
    events.set(this.#events);
    this.#events = events;
  }

  #growTable(): void {
    const [lows, highs] = [this.#low, this.#high];
    this.#mask = this.#mask * 2 + 1;
    this.#low = new Uint32Array(this.#mask + 1);
    this.#high = new Uint32Array(this.#mask + 1);
    for (let from = 0; from < lows.length; from++) {
      const [low, high] = [lows[from] as number, highs[from] as number];
      if (low === 0 && high === 0) continue;
      let at = low & this.#mask;
      while (this.#low[at] !== 0 || this.#high[at] !== 0) at = (at + 1) & this.#mask;
      this.#low[at] = low;
      this.#high[at] = high;
    }
  }
}

function mixed(value: number): number {
  let bits = value;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
