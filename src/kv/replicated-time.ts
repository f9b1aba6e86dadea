/**
 * The time of a state machine: what the lives of keys are measured by. It is a part of the replicated state. Only
 * entries of the log advance it, so it is the same on every replica after the same entry, and at every read level.
 *
 * An entry that needs time carries a *stamp*: what the monotonic clock of the leader showed, in whole ms, when it
 * proposed the entry. No wall clock, and no clock of a replica that applies the entry, is ever asked.
 *
 *     a stamp of the same term as the last one      time += stamp - last stamp      (never less than 0)
 *     the first stamp of another term               time stays
 *
 * **The time never runs ahead.** Let p be the entry that gives a key its life of d ms, and let the key be absent after
 * entry e. Then between the moments when p and e were stamped at least d ms have passed. Proof: the time grew by d or
 * more between p and e. Each part of that is the difference of two stamps of one term, with no other stamp between
 * them in the log. All stamps of a term are of one process, because a process leads a term at most once, and after a
 * restart it needs a new one. So each part is real time of one monotonic clock, and these parts do not overlap. So no
 * life is ever shortened. (Clocks of different speed shorten a life by as much as the leader's is too fast.)
 *
 * **It stays behind by little.** What is lost is what passes between the last stamp of one leader that is committed,
 * and the first of the next. A leader proposes a stamp at least each `STAMP_INTERVAL_MS` while any key has a deadline,
 * and one as soon as it leads. So a change of leader lengthens lives by less than the time without a leader, and a
 * second.
 *
 * - Snapshot and restart: time, term and stamp are stored with the data (`TIME_KEY`), and are those of the applied
 *   index. What is replayed from the log advances them again in the same way.
 * - A quiet group without deadlines: nothing is proposed. The next stamp makes up for all that time at once, or for
 *   none of it if the leader changed; no key can tell.
 * - A leader that is stopped (SIGSTOP): its monotonic clock goes on, and its next stamp counts the pause, which was
 *   real. A machine that sleeps stops that clock: lives become longer.
 * - Two leaders: entries of the deposed one that are not committed yet never are. Those that are committed lie before
 *   the first entry of the new one.
 * - A repeated write has a new entry and a new stamp. The table of sessions decides which one takes effect, and a life
 *   begins with the stamp of that one. Stamps that arrive in another order do not turn the time back.
 *
 * Others shipped: leases that began anew with each leader and never ended (etcd #9395), a stuck old leader that ended
 * leases which had been renewed elsewhere (etcd #15247, #12528), keys that came back because the next leader's wall
 * clock was slow (TiKV #13082), expired values read from replicas (Redis #3198), deadlines counted from a time that
 * stood still (svix/diom 724). Here the first two fail on the check at apply (kv-state-machine.ts), the others because
 * there is one time, in the log, and an entry that gives a life brings a stamp.
 */
import { RaftreeError } from '../env/errors.js';
import { readUint53, writeUint53 } from '../record/record.js';

/** While keys have deadlines, a leader stamps at least so often. */
export const STAMP_INTERVAL_MS = 500;

/** The longest life of a key: 8,900 years. A deadline is below 2^53. Never changed: replicas must agree. */
export const MAX_TTL_MS = 2 ** 48;
const MAX_TIME_MS = 2 ** 52;

const RECORD_BYTES = 32;

export class ReplicatedTime {
  #nowMs = 0;
  #term = 0;
  #stampMs = 0;
  /** How many keys have a deadline, in the engine with all batches that it was given. */
  keysWithDeadline = 0;

  /** Milliseconds that have passed at the last entry. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** The term of the last stamp. */
  get term(): number {
    return this.#term;
  }

  /** An entry of this term has this stamp. */
  advance(term: number, stampMs: number): void {
    if (term !== this.#term) this.#term = term;
    else if (stampMs <= this.#stampMs) return;
    else this.#nowMs = Math.min(MAX_TIME_MS, this.#nowMs + stampMs - this.#stampMs);
    this.#stampMs = stampMs;
  }

  /**
   * What the time will be when an entry of this term with this stamp is applied, if no other comes before; undefined if
   * that is not known: there was no stamp of this term yet.
   */
  at(term: number, stampMs: number): number | undefined {
    return term === this.#term ? this.#nowMs + Math.max(0, stampMs - this.#stampMs) : undefined;
  }

  /** As it is before the first stamp of the next leader. */
  static begin(nowMs: number, keysWithDeadline: number): ReplicatedTime {
    const time = new ReplicatedTime();
    time.#nowMs = nowMs;
    time.keysWithDeadline = keysWithDeadline;
    return time;
  }

  /** time u53 | term u53 | stamp u53 | keys with a deadline u53 */
  encode(): Buffer {
    const record = Buffer.allocUnsafe(RECORD_BYTES);
    writeUint53(record, this.#nowMs, 0);
    writeUint53(record, this.#term, 8);
    writeUint53(record, this.#stampMs, 16);
    writeUint53(record, this.keysWithDeadline, 24);
    return record;
  }

  /** From a record, or as it is before the first stamp. Throws `CORRUPTION` for bytes that `encode` does not write. */
  restore(record: Buffer | undefined): void {
    const numbers =
      record && [0, 8, 16, 24].map((at) => (at + 8 <= record.length ? readUint53(record, at) : -1));
    const [nowMs = 0, term = 0, stampMs = 0, keys = 0] = numbers ?? [];
    if ((record && record.length !== RECORD_BYTES) || ![nowMs, term, stampMs, keys].every((n) => n >= 0))
      throw new RaftreeError('CORRUPTION', 'the record of the replicated time cannot be read');
    this.#nowMs = nowMs;
    this.#term = term;
    this.#stampMs = stampMs;
    this.keysWithDeadline = keys;
  }
}

/** A stamp: whole milliseconds of this process's monotonic clock. */
export function stampOf(clock: { nowMs(): number }): number {
  return Math.max(0, Math.floor(clock.nowMs()));
}
