/**
 * The sequence numbers of one session. The node keeps the results of all sequences above the acknowledged floor, so
 * that a repeated write is answered and not applied again. A sequence may therefore be at most `window` above the
 * floor.
 *
 *     1  2  3  4  5  6  7  8                floor = 3: all up to 3 are done
 *     x  x  x  .  x  .  .                   window = 5: 8 may be given out, 9 must wait for 4
 *           ^floor          ^next
 *
 * When a tablet is split, both children have its sessions. So the session goes on in each, with one count of sequences:
 * a write that was sent before keeps its sequence, and follows its key. When two are merged, the new one has the
 * sessions of both: it goes on with one, and writes that were sent in the other keep their place there.
 */
export class WriteSession {
  readonly id: number;
  readonly #window: number;
  #next = 1;
  #floor = 0;
  /** Which sequences above the floor are done: 1 at the sequence modulo the window. */
  readonly #done: Uint8Array;
  /** Callbacks for when the floor reaches a sequence. */
  readonly #passed = new Map<number, () => void>();
  #isEnded = false;
  /** Who has writes that may wait for room: one for each tablet that it is used in. */
  #users: readonly (() => void)[] = [];
  /** Nobody will hear when the last tablet lets it go. */
  #hasForgotten = false;

  constructor(id: number, window: number) {
    this.id = id;
    this.#window = window;
    this.#done = new Uint8Array(window);
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  get hasRoom(): boolean {
    return this.#next <= this.#floor + this.#window;
  }

  /** All writes up to this sequence were answered or given up: none is ever sent again. */
  get acknowledgedThrough(): number {
    return this.#floor;
  }

  join(roomChanged: () => void): void {
    this.#users = [...this.#users, roomChanged];
  }

  /** That tablet does not know the session any more. When none does, no write of it can be applied. */
  leave(roomChanged: () => void): void {
    this.#users = this.#users.filter((user) => user !== roomChanged);
    if (this.#users.length === 0 && !this.#hasForgotten) this.end();
  }

  /** That tablet has ended. Those that came from it may know the session. */
  forget(roomChanged: () => void): void {
    this.#users = this.#users.filter((user) => user !== roomChanged);
    this.#hasForgotten = true;
  }

  /** The sequence of a new write. Call it only while there is room. */
  take(): number {
    return this.#next++;
  }

  /** The write with this sequence was answered or given up. Called once. */
  finish(sequence: number): void {
    this.#done[sequence % this.#window] = 1;
    while (this.#done[(this.#floor + 1) % this.#window] === 1) {
      this.#floor++;
      this.#done[this.#floor % this.#window] = 0;
    }
    if (this.#passed.size > 0) this.#tellThrough(this.#floor);
    for (let i = 0; i < this.#users.length; i++) this.#users[i]?.();
  }

  /** No node knows the session any more: none of its writes can be applied. */
  end(): void {
    this.#isEnded = true;
    this.#tellThrough(Number.POSITIVE_INFINITY);
  }

  /** Resolves when no attempt with this sequence can be applied after a write that is sent from then on. */
  passed(sequence: number): Promise<void> {
    if (this.#isEnded || sequence <= this.#floor) return Promise.resolve();
    return new Promise((resolve) => this.#passed.set(sequence, resolve));
  }

  #tellThrough(last: number): void {
    for (const [sequence, tell] of this.#passed) {
      if (sequence > last) continue;
      this.#passed.delete(sequence);
      tell();
    }
  }
}
