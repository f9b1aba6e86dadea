/**
 * What the leader knows about one follower's log, and how fast it may send (after etcd's tracker.Progress).
 *
 *   probe      `next` is a guess: one message at a time, until an answer shows where the logs match.
 *   replicate  `match` is known: entries are sent without waiting for answers, within a window of messages and bytes.
 *   snapshot   The leader's log no longer has the needed entries: nothing is sent until the follower has a snapshot.
 *
 * After a rejected append the follower is probed again, and everything after `match` is sent again. If an append is
 * lost, the follower rejects the next one. If no next one is sent, the leader asks whether the follower has the end of
 * the window (`isDoubtful`).
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
  /** In state probe: an answer is outstanding. */
  awaitsAnswer = false;
  lastHeardMs: number;
  /** Its connection broke, and it has not been heard from since. */
  isUnreachable = false;
  /** When the window last moved, or the follower was last asked about it. */
  #movedMs: number;
  /** The highest commit index that was sent to this follower. */
  toldCommit = 0;
  /** The highest heartbeat round that it has answered. */
  answeredRound = 0;
  /** The shortest `promisedMs` it sent in this term. A longer promise counts only from the next term on. */
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

  /** Whether the window has not moved for `patienceMs`: its messages may be lost, or slow to become durable there. */
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

  /** Returns false if the rejected message no longer matters. */
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

  /** The leader's log no longer has the entries that the follower needs. */
  needSnapshot(): void {
    this.probe();
    this.state = 'snapshot';
  }

  /** Starts again after `match`: what was sent since may be lost. */
  probe(): void {
    this.state = 'probe';
    this.awaitsAnswer = false;
    this.next = this.match + 1;
    this.#inflight = [];
    this.#inflightBytes = 0;
  }
}
