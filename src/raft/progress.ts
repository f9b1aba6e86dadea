/**
 * What the leader knows of one follower's log, and how fast it may send to it.
 *
 *   probe      Where the logs agree is a guess: one message at a time, until an answer settles it.
 *   replicate  `match` is known: entries are streamed ahead of the answers, within a window of messages and bytes.
 *   snapshot   The entries that it needs are gone from the leader's log: nothing is sent until it has a snapshot.
 *
 * A refused message leads back to probe, with everything after `match` to be sent again. A lost one is refused too, by
 * what is sent after it; if nothing is, the follower is asked whether it has the end of the window (`isDoubtful`).
 */
import type { NodeId } from './types.js';

interface Inflight {
  readonly last: number;
  readonly sizeBytes: number;
}

export interface WindowLimits {
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
}

export class Progress {
  readonly id: NodeId;
  match = 0;
  next: number;
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  /** Of a probe: an answer is awaited. */
  awaitsAnswer = false;
  lastHeardMs: number;
  /** Its connection broke, and it has not been heard from since. */
  isUnreachable = false;
  /** When the window last moved, or the follower was asked about it. */
  #movedMs: number;
  /** The commit index this follower was last told. */
  toldCommit = 0;
  /** The highest heartbeat round it has answered. */
  answeredRound = 0;
  /** The shortest loyalty that it has promised in this term: one that it lengthens counts from the next term on. */
  promisedMs = Number.POSITIVE_INFINITY;
  #inflight: Inflight[] = [];
  #inflightBytes = 0;
  readonly #limits: WindowLimits;

  constructor(id: NodeId, next: number, nowMs: number, limits: WindowLimits) {
    this.id = id;
    this.next = next;
    this.lastHeardMs = nowMs;
    this.#movedMs = nowMs;
    this.#limits = limits;
  }

  get inflightMessages(): number {
    return this.#inflight.length;
  }

  canSend(): boolean {
    if (this.state === 'snapshot') return false;
    if (this.state === 'probe') return !this.awaitsAnswer;
    return (
      this.#inflight.length < this.#limits.maxInflightMessages &&
      this.#inflightBytes < this.#limits.maxInflightBytes
    );
  }

  sent(last: number, sizeBytes: number, nowMs: number): void {
    if (this.state === 'probe') {
      this.awaitsAnswer = true;
      return;
    }
    if (last < this.next) return;
    if (this.#inflight.length === 0) this.#movedMs = nowMs;
    this.next = last + 1;
    this.#inflight.push({ last, sizeBytes });
    this.#inflightBytes += sizeBytes;
  }

  /** The window has stood still for so long: what is in it may be lost, or slow to become durable there. */
  isDoubtful(nowMs: number, patienceMs: number): boolean {
    return this.state === 'replicate' && this.#inflight.length > 0 && nowMs - this.#movedMs >= patienceMs;
  }

  /** The follower was asked whether it has all that was sent. */
  asked(nowMs: number): void {
    this.#movedMs = nowMs;
  }

  accepted(matchIndex: number, nowMs: number): void {
    this.match = Math.max(this.match, matchIndex);
    this.next = Math.max(this.next, this.match + 1);
    this.#movedMs = nowMs;
    if (this.state === 'snapshot') return;
    if (this.state === 'probe') {
      this.state = 'replicate';
      this.awaitsAnswer = false;
      this.next = this.match + 1;
      return;
    }
    let freed = 0;
    while ((this.#inflight[freed]?.last ?? Number.POSITIVE_INFINITY) <= matchIndex) {
      this.#inflightBytes -= this.#inflight[freed]?.sizeBytes ?? 0;
      freed++;
    }
    if (freed > 0) this.#inflight = this.#inflight.slice(freed);
  }

  /** Returns false for an answer to a message that no longer matters. */
  refused(rejectedIndex: number, nextIndex: number): boolean {
    if (this.state === 'snapshot') return false;
    if (this.state === 'replicate') {
      if (rejectedIndex <= this.match) return false;
      this.probe();
      return true;
    }
    if (rejectedIndex !== this.next - 1) return false;
    this.next = Math.max(this.match + 1, Math.min(rejectedIndex, nextIndex));
    this.awaitsAnswer = false;
    return true;
  }

  /** It cannot be helped with entries. */
  needSnapshot(): void {
    this.probe();
    this.state = 'snapshot';
  }

  /** Starts over after `match`: what was sent since may be lost. */
  probe(): void {
    this.state = 'probe';
    this.awaitsAnswer = false;
    this.next = this.match + 1;
    this.#inflight = [];
    this.#inflightBytes = 0;
  }
}
