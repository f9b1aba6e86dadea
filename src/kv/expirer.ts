/**
 * What the node that leads a group does for its keys with deadlines. It proposes expiries: stamps, which advance the
 * replicated time, with the keys that are to be deleted because their deadlines have passed by then.
 *
 *     the earliest deadline is near    when it has passed, with up to MAX_KEYS_PER_EXPIRY keys
 *     keys have deadlines              at least each STAMP_INTERVAL_MS, and as soon as it leads
 *     no key has a deadline            nothing: a group without them stays quiet
 *
 * It is a hint only. The state machine decides when an expiry is applied, by the replicated time and the deadline that
 * the key has then. So it does not matter who proposes, when, or how often: that a key was written in the meantime, or
 * that this node does not lead any more. Reads do not wait for the deletion either: they go by the time.
 *
 * Many keys may expire at once. One expiry is under way at a time, and after each there is a rest as long as it took:
 * other writes have at least half of what the group can do.
 *
 * What was deleted is passed over by a search until it is compacted, and a search holds up the whole node. So a search
 * begins at the first key that may be left, also where several keys have the same deadline. The nodes that follow
 * remember that key, too: the next leader begins there.
 */
import type { Clock, Timer, Timers } from '../env/env.js';
import type { Role } from '../raft/types.js';
import type { CommandLog } from '../replica/ports.js';
import { type ExpiredKey, encodeExpiry } from './command.js';
import type { CommandResult, KvStateMachine } from './kv-state-machine.js';
import { STAMP_INTERVAL_MS, stampOf } from './replicated-time.js';

export const MAX_KEYS_PER_EXPIRY = 128;
export const MAX_KEY_BYTES_PER_EXPIRY: number = 64 * 1024;
/** Between two expiries, if deadlines are close to each other: so many keys share an entry. */
const LEAST_PAUSE_MS = 10;
/** After an expiry that was refused. */
const RETRY_MS = 100;
const FIRST: ExpiredKey = { deadlineMs: 0, key: Buffer.alloc(0) };

export interface ExpirerParts {
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly timers: Pick<Timers, 'after'>;
  readonly replica: Pick<CommandLog<CommandResult>, 'propose'> & {
    readonly role: Role;
    readonly term: number;
  };
  readonly stateMachine: Pick<
    KvStateMachine,
    'onDeadlines' | 'onExpired' | 'keysWithDeadline' | 'timeMs' | 'timeAt' | 'deadlines' | 'freeze'
  >;
  /** The deadlines cannot be read: for the node's log. */
  readonly onFault: (error: unknown) => void;
}

export class Expirer {
  readonly #parts: ExpirerParts;
  /** When to look: no key has an earlier deadline, or those that have one could not be read. */
  #earliestMs = 0;
  /** Where to look: no key is before this one in the order of deadlines. Undefined: there is none at all. */
  #searchFrom: ExpiredKey | undefined = FIRST;
  #timer: Timer | undefined;
  #timerDueMs = 0;
  #isUnderWay = false;
  #isClosed = false;

  constructor(parts: ExpirerParts) {
    this.#parts = parts;
    parts.stateMachine.onDeadlines = (earliestMs) => this.#deadlinesChanged(earliestMs);
    parts.stateMachine.onExpired = () => this.#follow();
    this.statusChanged();
  }

  /** This node leads now, or does not any more. */
  statusChanged(): void {
    this.#earliestMs = 0;
    this.#plan();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #deadlinesChanged(earliestMs: number): void {
    this.#lookFrom(earliestMs);
    this.#plan();
  }

  #lookFrom(deadlineMs: number): void {
    this.#earliestMs = Math.min(this.#earliestMs, deadlineMs);
    const { deadlineMs: fromMs = Number.POSITIVE_INFINITY } = this.#searchFrom ?? {};
    if (deadlineMs <= fromMs) this.#searchFrom = { ...FIRST, deadlineMs };
  }

  /** An expiry was applied. Who leads has looked behind its keys already. */
  #follow(): void {
    if (this.#isClosed || this.#leads || !this.#searchFrom) return;
    try {
      const [next] = this.#parts.stateMachine.deadlines(this.#searchFrom);
      this.#searchFrom = next;
    } catch (error) {
      this.#parts.onFault(error);
    }
  }

  get #leads(): boolean {
    const { replica, stateMachine } = this.#parts;
    // What is proposed to a frozen tablet does nothing. When it is thawed, it looks anew.
    return !this.#isClosed && replica.role === 'leader' && !stateMachine.freeze;
  }

  /** Sets the timer, unless it is set for an earlier time. */
  #plan(leastMs = 0): void {
    const { stateMachine, clock, replica } = this.#parts;
    if (!this.#leads || stateMachine.keysWithDeadline === 0) {
      this.#timer?.cancel();
      this.#timer = undefined;
      return;
    }
    if (this.#isUnderWay) return;
    const timeMs = stateMachine.timeAt(replica.term, stampOf(clock));
    const toDeadlineMs = timeMs === undefined ? 0 : this.#earliestMs - timeMs;
    const delayMs = Math.max(leastMs, 0, Math.min(this.#toStampMs, toDeadlineMs));
    const dueMs = clock.nowMs() + delayMs;
    if (this.#timer && this.#timerDueMs <= dueMs) return;
    this.#timer?.cancel();
    this.#timerDueMs = dueMs;
    this.#timer = this.#parts.timers.after(delayMs, () => {
      this.#timer = undefined;
      // A write may have brought a stamp since: then there is time.
      if (delayMs > 0) this.#plan();
      else void this.#run();
    });
  }

  /** How long no stamp is needed yet. */
  get #toStampMs(): number {
    const { stateMachine, clock, replica } = this.#parts;
    const timeMs = stateMachine.timeAt(replica.term, stampOf(clock));
    return timeMs === undefined ? 0 : STAMP_INTERVAL_MS - (timeMs - stateMachine.timeMs);
  }

  async #run(): Promise<void> {
    const { clock, replica } = this.#parts;
    const due = this.#dueHere();
    // It was not known which deadline is the earliest.
    if (due.length === 0 && this.#toStampMs > 0) {
      this.#plan(LEAST_PAUSE_MS);
      return;
    }
    this.#isUnderWay = true;
    const startedMs = clock.nowMs();
    let pauseMs = RETRY_MS;
    try {
      await replica.propose(encodeExpiry(due, clock));
      const tookMs = clock.nowMs() - startedMs;
      pauseMs = due.length < MAX_KEYS_PER_EXPIRY ? Math.max(LEAST_PAUSE_MS, tookMs) : tookMs;
    } catch {
      // Refused, or not known: the same keys are found again, here or by the next leader. The search does not begin
      // farther in front: what was deleted there may take long to pass over.
      if (due[0]) this.#lookFrom(due[0].deadlineMs);
    }
    this.#isUnderWay = false;
    this.#plan(pauseMs);
  }

  /** None if this node cannot read them from its disk: the time goes on nevertheless. */
  #dueHere(): readonly ExpiredKey[] {
    const searchFrom = this.#searchFrom;
    try {
      return this.#due();
    } catch (error) {
      this.#parts.onFault(error);
      this.#searchFrom = searchFrom;
      this.#earliestMs = this.#parts.stateMachine.timeMs + STAMP_INTERVAL_MS;
      return [];
    }
  }

  /** The keys whose deadlines have passed by now, the earliest first, and notes the earliest of the others. */
  #due(): ExpiredKey[] {
    const { stateMachine, clock, replica } = this.#parts;
    const timeMs = stateMachine.timeAt(replica.term, stampOf(clock)) ?? stateMachine.timeMs;
    const keys: ExpiredKey[] = [];
    let keyBytes = 0;
    if (!this.#searchFrom) return keys;
    for (const next of stateMachine.deadlines(this.#searchFrom)) {
      this.#earliestMs = next.deadlineMs;
      this.#searchFrom = next;
      keyBytes += next.key.length;
      const isFull = keys.length === MAX_KEYS_PER_EXPIRY || keyBytes > MAX_KEY_BYTES_PER_EXPIRY;
      if (next.deadlineMs > timeMs || isFull) return keys;
      keys.push(next);
    }
    this.#earliestMs = Number.POSITIVE_INFINITY;
    this.#searchFrom = undefined;
    return keys;
  }
}
