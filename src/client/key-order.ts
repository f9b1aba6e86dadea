/**
 * Orders writes to the same key: they are sent one after the other, in the order of the calls. If two were sent
 * together, the first could be lost and its repetition applied after the second. Writes to different keys do not wait
 * for each other. A batch waits for the earlier writes to each of its keys.
 *
 * The latest write to each key stands in a hash table of chains. A Map would need a string for each key, and keep calls
 * in memory: see calls.ts.
 */

/** The latest write to a key. */
interface Latest {
  /** The bytes of that write's caller, who may change them when its call is over: see `keepKeys`. */
  key: Uint8Array;
  readonly hash: number;
  turn: Turn;
  /** In the same chain. */
  next: Latest | undefined;
}

/** The place of one write in the order of its keys. */
export class Turn {
  readonly #order: KeyOrder;
  /** Where it was the latest write, when it began. */
  readonly entries: Latest[] = [];
  /** The earlier writes that are not over: one for each key at most. */
  #before = 0;
  #hasLeft = false;
  /** Later writes that wait for this one, once for each key that they share with it. */
  #after: Turn[] | undefined;
  #tellReady: (() => void) | undefined;

  constructor(order: KeyOrder) {
    this.#order = order;
  }

  /** Whether all earlier writes to the keys are over. */
  get isReady(): boolean {
    return this.#before === 0;
  }

  /** Resolves when all earlier writes to the keys are over. */
  ready(): Promise<void> {
    if (this.isReady) return Promise.resolve();
    return new Promise((resolve) => {
      this.#tellReady = resolve;
    });
  }

  /** Waits for an earlier write to a key, which is not over. */
  follow(earlier: Turn): void {
    this.#before++;
    if (earlier.#after) earlier.#after.push(this);
    else earlier.#after = [this];
  }

  /** Copies its keys: the call is over, so that its caller may change them, and the write may not be. */
  keepKeys(): void {
    for (const entry of this.entries) if (entry.turn === this) entry.key = Uint8Array.from(entry.key);
  }

  /** Call it once, when this write is over: it was answered, can no longer be applied, or was not sent. */
  leave(): void {
    this.#hasLeft = true;
    // If a write gives up while it waits, later writes must still wait for the ones before it.
    const over = this.isReady ? [this as Turn] : [];
    if (!this.isReady) this.keepKeys();
    for (let turn = over.pop(); turn; turn = over.pop()) {
      turn.#order.remove(turn);
      for (const next of turn.#after ?? []) {
        next.#before--;
        if (!next.isReady) continue;
        next.#tellReady?.();
        if (next.#hasLeft) over.push(next);
      }
      turn.#after = undefined;
    }
  }
}

const FIRST_CHAINS = 64;

export class KeyOrder {
  #chains: (Latest | undefined)[] = new Array(FIRST_CHAINS).fill(undefined);
  #count = 0;

  /** Registers a write after all earlier writes to any of the keys. A key may be named more than once. */
  enter(operations: readonly { readonly key: Uint8Array }[]): Turn {
    const turn = new Turn(this);
    for (const { key } of operations) {
      const hash = hashOf(key);
      let latest = this.#chains[this.#chainOf(hash)];
      while (latest && !(latest.hash === hash && Buffer.compare(latest.key, key) === 0)) latest = latest.next;
      if (latest?.turn === turn) continue;
      if (latest) {
        turn.follow(latest.turn);
        latest.turn = turn;
        latest.key = key;
      } else {
        latest = { key, hash, turn, next: undefined };
        this.#insert(latest);
      }
      turn.entries.push(latest);
    }
    return turn;
  }

  /** Forgets a write that is over, where no later one has come. */
  remove(turn: Turn): void {
    for (const entry of turn.entries) {
      if (entry.turn !== turn) continue;
      const chain = this.#chainOf(entry.hash);
      let before = this.#chains[chain];
      if (before === entry) this.#chains[chain] = entry.next;
      else {
        while (before && before.next !== entry) before = before.next;
        if (before) before.next = entry.next;
      }
      entry.next = undefined;
      this.#count--;
    }
  }

  #insert(entry: Latest): void {
    if (this.#count >= this.#chains.length) this.#grow();
    const chain = this.#chainOf(entry.hash);
    entry.next = this.#chains[chain];
    this.#chains[chain] = entry;
    this.#count++;
  }

  #grow(): void {
    const chains = this.#chains;
    this.#chains = new Array(2 * chains.length).fill(undefined);
    for (let entry of chains) {
      while (entry) {
        const { next }: Latest = entry;
        const chain = this.#chainOf(entry.hash);
        entry.next = this.#chains[chain];
        this.#chains[chain] = entry;
        entry = next;
      }
    }
  }

  #chainOf(hash: number): number {
    return hash & (this.#chains.length - 1);
  }
}

/** FNV-1a, with its high bits mixed into the low ones. */
function hashOf(key: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ (key[i] as number), 0x01000193);
  return hash ^ (hash >>> 15);
}
