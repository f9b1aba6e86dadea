/**
 * Orders writes to the same key, by the order of the calls. Writes to different keys do not wait for each other. A
 * batch comes after the earlier writes to each of its keys. Writes of a lane are ordered among each other, whatever
 * their keys are, and among no others.
 *
 *     it is sent             when all earlier writes are over, or
 *     it is sent as well     when it comes after one other write only, and that one is sent in the same session
 *
 * In the second case it names the sequence of that write as `after`, which is lower than its own, and no replica
 * carries it out before: of two writes that are sent together the first may be lost, and its repetition would come
 * after the second. ARCHITECTURE.md, "doors/, security/, client/ and level/", says why that keeps the order. A leader
 * that gets them in order carries all of them out at once. That repetitions are sent in order, too, only spares
 * attempts.
 *
 * The latest write to each key stands in a hash table of chains. A Map would need a string for each key, and keep calls
 * in memory: see calls.ts.
 */
import type { WriteSession } from './write-session.js';

/** A sequence number, given to one write. */
export interface Place {
  readonly session: WriteSession;
  readonly sequence: number;
}

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
  /** How many earlier writes are not over. */
  #before = 0;
  /** The earlier write, if there was one only when this one came. */
  #only: Turn | undefined;
  #hasLeft = false;
  /** Where it was sent. Undefined: it is not sent, or the attempt has failed. */
  sentAt: Place | undefined;
  /** Later writes that come after this one. */
  #after: Turn[] | undefined;
  #tellChange: (() => void) | undefined;

  constructor(order: KeyOrder) {
    this.#order = order;
  }

  /** Whether all earlier writes to the keys are over. */
  get isReady(): boolean {
    return this.#before === 0;
  }

  /** Whether this write, and all earlier ones, are over. */
  get isOver(): boolean {
    return this.#hasLeft && this.isReady;
  }

  /** Whether it may be sent in this session now, with this sequence; by default with the next one. */
  maySend(session: WriteSession | undefined, sequence = Number.POSITIVE_INFINITY): boolean {
    if (this.isReady) return true;
    const earlier = this.#only?.sentAt;
    return session !== undefined && earlier?.session === session && earlier.sequence < sequence;
  }

  /** The sequence of the write that it follows; 0 if all earlier ones are over. Call it only while `maySend`. */
  get after(): number {
    if (this.isReady) return 0;
    const earlier = this.#only?.sentAt;
    if (!earlier) throw new Error('it would overtake an earlier write');
    return earlier.sequence;
  }

  /** Resolves when `maySend` may have changed. */
  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#tellChange = resolve;
    });
  }

  /** It is on its way: those that only wait for it may follow. */
  sent(place: Place): void {
    this.sentAt = place;
    for (const next of this.#after ?? []) if (next.#only === this) next.#tellChange?.();
  }

  /** The attempt has failed: those that are not sent yet wait until it is sent again. */
  failed(): void {
    this.sentAt = undefined;
  }

  /** Comes after an earlier write, which is not over. */
  follow(earlier: Turn): void {
    // They may share several keys.
    if (earlier.#after?.at(-1) === this) return;
    this.#only = this.#before === 0 ? earlier : undefined;
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
        next.#only = undefined;
        next.#tellChange?.();
        if (next.#hasLeft) over.push(next);
      }
      turn.#after = undefined;
    }
  }
}

/** Writes of one caller that keep the order of their calls: `KeyOrder.enter`. */
export class Lane {
  latest: Turn | undefined;
}

const FIRST_CHAINS = 64;

export class KeyOrder {
  #chains: (Latest | undefined)[] = new Array(FIRST_CHAINS).fill(undefined);
  #count = 0;

  /**
   * Registers a write after all earlier writes to any of the keys, or after those of its lane if it has one. A key may
   * be named more than once.
   */
  enter(operations: readonly { readonly key: Uint8Array }[], lane?: Lane): Turn {
    const turn = new Turn(this);
    if (lane) {
      if (lane.latest && !lane.latest.isOver) turn.follow(lane.latest);
      lane.latest = turn;
      return turn;
    }
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
