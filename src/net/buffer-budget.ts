/**
 * The memory budget for the bytes that all connections of a node buffer: incomplete frames, unanswered requests and
 * unsent answers. Each connection has an account in it.
 *
 *     maxBytes
 *     |<- for peers, 2/8 ->|<--------------- clients: the rest, less what peers use above their part --------------->|
 *                          |<-- large frames, requests: 5/8 -->|<- answers: 2/8 ->|<-- small frames may use it all ->|
 *
 * Before a connection buffers a frame or an answer it reserves room for it (`reserve`). If there is none it waits: it
 * is not read, or its answer is not made. Free room goes to the connection with the least bytes granted recently plus
 * bytes wanted; every fourth time it goes to the one that has waited longest. While others wait, a connection whose
 * frame or answer makes no progress is cut (`BUFFERS_FULL`). Above `maxBytes`, the connection with the most bytes held
 * for the longest time is cut at once.
 */
import type { Env, Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { type AccountKind, BufferAccount, type BufferUse, type Reservable } from './buffer-account.js';
import { ReservationQueue } from './reservation-queue.js';

/** The part of the budget that only connections between nodes may use. */
const PEER_PART = 2 / 8;
/** Clients keep at least this part, however much the peers hold. */
const LEAST_CLIENT_PART = 2 / 8;
/** Parts of the clients' budget. */
const REQUEST_PART = 5 / 8;
const ANSWER_PART = 2 / 8;
/** A frame up to this size may use all of the clients' budget. */
export const SMALL_FRAME_BYTES = 64 * 1024;

const REVIEW_EVERY_MS = 250;
/** While others wait, a connection whose frame or answer makes no progress for this long is cut. */
const MAX_STANDSTILL_MS = 1000;
/** A connection takes no more requests while it holds more than this part of the free bytes … */
const SHARE_OF_FREE = 1 / 4;
/** … and more than this. */
const MIN_SHARE_BYTES = 32 * 1024;

export class BufferBudget {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly #maxBytes: number;
  readonly #accounts = new Set<BufferAccount>();
  readonly #waiting: Record<Reservable, ReservationQueue> = {
    incoming: new ReservationQueue(),
    unsent: new ReservationQueue(),
  };
  readonly #heldBytes: Record<AccountKind, number> = { client: 0, peer: 0 };
  /** The part of `#heldBytes.client` that is unsent. */
  #clientUnsentBytes = 0;
  /**
   * The account whose answer is larger than the part for answers. It started when nothing else was unsent, and does not
   * count: every stored value can be read, however small the budget is.
   */
  #oversized: BufferAccount | undefined;
  /**
   * Bytes of requests whose connection is closed. They are freed when the requests end: no connection is cut for them.
   */
  #leftBytes = 0;
  #reviewTimer: Timer | undefined;
  #relieving = false;

  /** `maxBytes` is for all connections together. */
  constructor(env: Pick<Env, 'clock' | 'timers'>, maxBytes: number) {
    this.env = env;
    this.#maxBytes = maxBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes.client + this.#heldBytes.peer;
  }

  /** Number of reservations that wait for room. */
  get waiting(): number {
    return this.#waiting.incoming.size + this.#waiting.unsent.size;
  }

  /** `unsentBytes` returns the connection's unsent bytes at this moment. `cut` closes the connection. */
  open(kind: AccountKind, unsentBytes: () => number, cut: (reason: RaftreeError) => void): BufferAccount {
    const account = new BufferAccount(this, kind, unsentBytes, cut);
    this.#accounts.add(account);
    return account;
  }

  /** For accounts only: the account is closed. */
  endWaiting(account: BufferAccount): void {
    if (this.#oversized === account) this.#oversized = undefined;
    for (const queue of Object.values(this.#waiting)) queue.forget(account);
  }

  /** For accounts only: the bytes held by closed accounts changed by this much. */
  left(bytes: number): void {
    this.#leftBytes += bytes;
  }

  /** For accounts only: the account is closed and holds nothing. */
  forget(account: BufferAccount): void {
    this.#accounts.delete(account);
  }

  /** For accounts only: the bytes that an account of this kind holds for this use changed by this much. */
  changed(kind: AccountKind, use: BufferUse, bytes: number): void {
    this.#heldBytes[kind] += bytes;
    if (kind === 'client' && use === 'unsent') this.#clientUnsentBytes += bytes;
    if (this.#clientUnsentBytes === 0) this.#oversized = undefined;
    if (bytes > 0 && this.#isFull) this.#relieve();
    else if (bytes < 0 && this.waiting > 0) this.#grant();
  }

  /** For accounts only. */
  mayTake(account: BufferAccount, use: Reservable, bytes: number): boolean {
    // Nodes bound what they send to each other, and their messages must not wait behind clients.
    if (account.kind === 'peer') return true;
    return (this.#waiting[use].size === 0 || isSmallFrame(use, bytes)) && this.#fits(account, use, bytes);
  }

  /** For accounts only. */
  reserve(
    account: BufferAccount,
    use: Reservable,
    bytes: number,
    claimBytes: number,
    granted: () => void,
  ): boolean {
    if (this.mayTake(account, use, bytes)) return true;
    this.#waiting[use].add({ account, bytes, claimBytes, granted });
    this.#reviewTimer ??= this.env.timers.after(REVIEW_EVERY_MS, () => this.#review());
    return false;
  }

  /** For accounts only: above this many held bytes a connection takes no more requests. */
  get shareBytes(): number {
    return Math.max(MIN_SHARE_BYTES, (this.#clientBytes - this.#countedClientBytes) * SHARE_OF_FREE);
  }

  get #clientBytes(): number {
    const left = this.#maxBytes - Math.max(this.#maxBytes * PEER_PART, this.#heldBytes.peer);
    return Math.max(left, this.#maxBytes * LEAST_CLIENT_PART);
  }

  get #oversizedBytes(): number {
    return this.#oversized?.bytesOf('unsent') ?? 0;
  }

  get #countedClientBytes(): number {
    return this.#heldBytes.client - this.#oversizedBytes;
  }

  get #isFull(): boolean {
    return this.heldBytes - this.#oversizedBytes - this.#leftBytes > this.#maxBytes;
  }

  #fits(account: BufferAccount, use: Reservable, bytes: number): boolean {
    const mostBytes = this.#clientBytes;
    if (use === 'unsent') {
      const unsentBytes = this.#clientUnsentBytes;
      if (unsentBytes + bytes <= mostBytes * ANSWER_PART) return true;
      if (unsentBytes > 0) return false;
      this.#oversized = account;
      return true;
    }
    // A frame's reservation includes its bytes that have already arrived.
    const othersBytes = this.#countedClientBytes - Math.min(bytes, account.bytesOf('incoming'));
    if (isSmallFrame(use, bytes)) return othersBytes + bytes <= mostBytes;
    const requestBytes = othersBytes - (this.#clientUnsentBytes - this.#oversizedBytes);
    return requestBytes + bytes <= mostBytes * REQUEST_PART || requestBytes === 0;
  }

  #grant(): void {
    const nowMs = this.env.clock.nowMs();
    for (const use of ['incoming', 'unsent'] as const) {
      this.#waiting[use].grant((account, bytes) => this.#fits(account, use, bytes), nowMs);
    }
  }

  /** Runs while reservations wait: cuts connections that make no progress. */
  #review(): void {
    this.#reviewTimer = undefined;
    const nowMs = this.env.clock.nowMs();
    for (const account of [...this.#accounts]) account.refresh();
    this.#grant();
    for (const use of ['incoming', 'unsent'] as const) {
      for (const account of [...this.#accounts]) {
        if (this.#waiting[use].size === 0) break;
        if (account.kind === 'peer' || account.standstillMs(use, nowMs) <= MAX_STANDSTILL_MS) continue;
        account.cut(
          new RaftreeError(
            'BUFFERS_FULL',
            `${account.heldBytes} bytes of this connection make no progress while others wait for buffer space`,
          ),
        );
      }
    }
    if (this.waiting > 0) this.#reviewTimer = this.env.timers.after(REVIEW_EVERY_MS, () => this.#review());
  }

  /** Above the limit: cuts the connection with the greatest weight until the limit holds again. */
  #relieve(): void {
    if (this.#relieving) return;
    this.#relieving = true;
    try {
      for (const account of [...this.#accounts]) account.refresh();
      while (this.#isFull) {
        const victim = this.#greatest(
          this.#countedClientBytes - this.#leftBytes > this.#clientBytes ? 'client' : 'peer',
        );
        if (!victim) return;
        victim.cut(
          new RaftreeError(
            'BUFFERS_FULL',
            `all connections together buffer more than ${this.#maxBytes} bytes, ${victim.heldBytes} of them for this one`,
          ),
        );
      }
    } finally {
      this.#relieving = false;
    }
  }

  /** Never the only peer that holds bytes: a single message of any size must get through. */
  #greatest(kind: AccountKind): BufferAccount | undefined {
    const nowMs = this.env.clock.nowMs();
    let greatest: BufferAccount | undefined;
    let most = 0;
    let holders = 0;
    for (const account of this.#accounts) {
      if (account.kind !== kind || account.heldBytes === 0 || account === this.#oversized) continue;
      // Already cut; only its requests are still running.
      if (account.isClosed) continue;
      holders++;
      const weight = account.weight(nowMs);
      if (weight <= most) continue;
      most = weight;
      greatest = account;
    }
    return kind === 'peer' && holders < 2 ? undefined : greatest;
  }
}

function isSmallFrame(use: Reservable, bytes: number): boolean {
  return use === 'incoming' && bytes <= SMALL_FRAME_BYTES;
}
