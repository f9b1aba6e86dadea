/** The account of one connection in the buffer budget: the bytes that it holds, and whether they make progress. */
import type { RaftreeError } from '../env/errors.js';
import type { BufferBudget } from './buffer-budget.js';

export type AccountKind = 'client' | 'peer';

/** What a connection's bytes are for. */
export type BufferUse =
  /** Received, but not yet a complete message. A frame counts with its full length from its reservation on. */
  | 'incoming'
  /** Requests whose answer is not yet written. */
  | 'requests'
  /** Written, but not yet taken by the system. */
  | 'unsent'
  /** Between nodes: messages that are sent or assembled in fragments. */
  | 'fragments';

/** The uses that need a reservation. */
export type Reservable = 'incoming' | 'unsent';

/** A frame or an answer makes progress when it has moved by this much, or to its end. */
const MIN_PROGRESS_BYTES = 64 * 1024;
/** "Recently" is the last one to two of these windows. */
const LATELY_MS = 1000;
const LATELY_FROM_BYTES = 4096;

/** Detects a standstill: since when there was no progress, and the position at that time. */
class Progress {
  #sinceMs: number | undefined;
  #mark = 0;

  /** `done` is a growing count, `restBytes` is what is left; 0 if nothing is in progress. */
  at(done: number, restBytes: number, nowMs: number): void {
    if (restBytes === 0) this.#sinceMs = undefined;
    else if (
      this.#sinceMs === undefined ||
      done < this.#mark ||
      done - this.#mark >= Math.min(restBytes, MIN_PROGRESS_BYTES)
    ) {
      this.#sinceMs = nowMs;
      this.#mark = done;
    }
  }

  stoodMs(nowMs: number): number {
    return this.#sinceMs === undefined ? 0 : nowMs - this.#sinceMs;
  }
}

/** The bytes that one connection holds. */
export class BufferAccount {
  readonly kind: AccountKind;
  readonly #budget: BufferBudget;
  readonly #unsentBytes: () => number;
  readonly #cut: (reason: RaftreeError) => void;
  readonly #uses: Record<BufferUse, number> = { incoming: 0, requests: 0, unsent: 0, fragments: 0 };
  #heldBytes = 0;
  readonly #receiving = new Progress();
  readonly #sending = new Progress();
  #sentBytes = 0;
  #givenBytes = 0;
  #givenBeforeBytes = 0;
  #givenSinceMs = 0;
  #isClosed = false;

  constructor(
    budget: BufferBudget,
    kind: AccountKind,
    unsentBytes: () => number,
    cut: (reason: RaftreeError) => void,
  ) {
    this.#budget = budget;
    this.kind = kind;
    this.#unsentBytes = unsentBytes;
    this.#cut = cut;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether the connection may take more requests. */
  get isWithinShare(): boolean {
    return this.kind === 'peer' || this.#heldBytes <= this.#budget.shareBytes;
  }

  bytesOf(use: BufferUse): number {
    return this.#uses[use];
  }

  /** Sets the bytes held for this use. */
  hold(use: BufferUse, bytes: number): void {
    const change = bytes - this.#uses[use];
    if (change === 0 || (this.#isClosed && change > 0)) return;
    this.#uses[use] = bytes;
    this.#heldBytes += change;
    if (use === 'unsent') {
      if (change < 0) this.#sentBytes -= change;
      this.#sending.at(this.#sentBytes, bytes, this.#budget.env.clock.nowMs());
    }
    if (change >= LATELY_FROM_BYTES && use !== 'requests') this.#given(change);
    if (this.#isClosed) this.#budget.left(change);
    if (this.#isClosed && this.#heldBytes === 0) this.#budget.forget(this);
    this.#budget.changed(this.kind, use, change);
  }

  add(use: BufferUse, bytes: number): void {
    this.hold(use, Math.max(0, this.#uses[use] + bytes));
  }

  /**
   * Reserves the bytes of a whole frame, or of one more answer. Returns true if granted. Otherwise the account waits,
   * and `granted` is called when there is room. `claimBytes` also counts what is wanted next; it decides who is served
   * first. An account reserves one frame and one answer at a time.
   */
  reserve(use: Reservable, bytes: number, granted: () => void, claimBytes = bytes): boolean {
    return this.#isClosed || this.#budget.reserve(this, use, bytes, claimBytes, granted);
  }

  /** Whether `reserve` would grant it at once: without a function for the case that it does not. */
  mayTake(use: Reservable, bytes: number): boolean {
    return this.#isClosed || this.#budget.mayTake(this, use, bytes);
  }

  /** Reports the bytes received of a frame with a reservation. `restBytes` is 0 if no frame is being read. */
  received(bytes: number, restBytes: number): void {
    this.#receiving.at(bytes, restBytes, this.#budget.env.clock.nowMs());
  }

  /** The connection is closed. Its requests count until they are done. */
  close(): void {
    if (this.#isClosed) return;
    this.#budget.endWaiting(this);
    this.#isClosed = true;
    this.#budget.left(this.#heldBytes);
    if (this.#heldBytes === 0) this.#budget.forget(this);
    this.#receiving.at(0, 0, 0);
    for (const use of ['incoming', 'unsent', 'fragments'] as const) this.hold(use, 0);
  }

  /** For the budget. */
  cut(reason: RaftreeError): void {
    this.close();
    this.#cut(reason);
  }

  /** For the budget: updates the unsent bytes, because the system takes bytes without a callback. */
  refresh(): void {
    if (!this.#isClosed) this.hold('unsent', this.#unsentBytes());
  }

  /** For the budget. */
  givenLatelyBytes(nowMs: number): number {
    this.#shiftLately(nowMs);
    return this.#givenBytes + this.#givenBeforeBytes;
  }

  /** For the budget: how long the connection has made no progress with sending (`incoming`) or reading (`unsent`). */
  standstillMs(use: Reservable, nowMs: number): number {
    return (use === 'incoming' ? this.#receiving : this.#sending).stoodMs(nowMs);
  }

  /** For the budget: held bytes, plus bytes times the milliseconds without progress. */
  weight(nowMs: number): number {
    const { incoming, unsent } = this.#uses;
    return (
      this.#heldBytes + incoming * this.#receiving.stoodMs(nowMs) + unsent * this.#sending.stoodMs(nowMs)
    );
  }

  #given(bytes: number): void {
    this.#shiftLately(this.#budget.env.clock.nowMs());
    this.#givenBytes += bytes;
  }

  #shiftLately(nowMs: number): void {
    const passedMs = nowMs - this.#givenSinceMs;
    if (passedMs < LATELY_MS) return;
    this.#givenBeforeBytes = passedMs < 2 * LATELY_MS ? this.#givenBytes : 0;
    this.#givenBytes = 0;
    this.#givenSinceMs = nowMs;
  }
}
