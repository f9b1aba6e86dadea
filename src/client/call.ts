/** One call of the user with all its attempts: its deadline, its AbortSignal, and what is known about its outcome. */
import type { Timer } from '../env/env.js';
import type { RaftreeError } from '../env/errors.js';
import type { AbortWatch } from './abort-watch.js';
import { RaftreeClientError } from './client-error.js';
import { type CallOptions, type ClientEnv, checkTimeout } from './client-options.js';

export type EndCode = 'TIMEOUT' | 'ABORTED' | 'CLIENT_CLOSED';

/** Rejects whatever a call waits for when the call ends first. Never visible to the user. */
export class CallEnded extends Error {}

export class Call {
  /** Whether an attempt of this write may have reached a log. */
  uncertain = false;
  /** Whether a connection to any node was made. */
  reached = false;
  /** The error of the last attempt. */
  lastFailure: RaftreeError | undefined;
  /** The tablet that was asked last; 0: the only one. */
  tablet = 0;
  readonly #env: ClientEnv;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal | undefined;
  #forgetSignal: (() => void) | undefined;
  /** Infinity if the timeout is. */
  readonly deadlineMs: number;
  /** Its place among the calls in progress (calls.ts). */
  slot = -1;
  #onEnd: (() => void) | undefined;
  #endCode: EndCode | undefined;

  /** Throws `INVALID_REQUEST` for an invalid timeout. */
  constructor(env: ClientEnv, aborts: AbortWatch, defaultTimeoutMs: number, options: CallOptions) {
    this.#env = env;
    this.#timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    checkTimeout(this.#timeoutMs);
    this.#signal = options.signal;
    this.deadlineMs = env.clock.nowMs() + this.#timeoutMs;
    if (this.#signal?.aborted) this.end('ABORTED');
    else if (this.#signal) this.#forgetSignal = aborts.add(this.#signal, () => this.end('ABORTED'));
  }

  get isEnded(): boolean {
    return this.#endCode !== undefined;
  }

  get remainingMs(): number {
    return this.deadlineMs - this.#env.clock.nowMs();
  }

  end(code: EndCode): void {
    if (this.#endCode) return;
    this.#endCode = code;
    this.finish();
    const run = this.#onEnd;
    this.#onEnd = undefined;
    run?.();
  }

  /** Removes the listener. */
  finish(): void {
    this.#forgetSignal?.();
    this.#forgetSignal = undefined;
  }

  /** What the next attempt must wait for; look again when it resolves. */
  held(): Promise<void> | undefined {
    return undefined;
  }

  /** An attempt has ended without an answer. */
  attemptFailed(): void {}

  /** Runs once when the call ends, unless `forgetEnd` is called before. A call waits for one thing at a time. */
  onEnd(run: () => void): void {
    this.#onEnd = run;
  }

  forgetEnd(): void {
    this.#onEnd = undefined;
  }

  /** Settles as the promise does, or rejects with CallEnded if the call ends first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    if (this.isEnded) {
      // The promise's rejection must not be reported as unhandled.
      promise.catch(() => {});
      throw new CallEnded();
    }
    return new Promise<T>((resolve, reject) => {
      this.onEnd(() => reject(new CallEnded()));
      promise.then(
        (value) => {
          this.forgetEnd();
          resolve(value);
        },
        (error) => {
          this.forgetEnd();
          reject(error);
        },
      );
    });
  }

  /** Rejects with CallEnded if the call ends during the pause. */
  async pause(durationMs: number): Promise<void> {
    let timer: Timer | undefined;
    try {
      await this.race(
        new Promise<void>((resolve) => {
          timer = this.#env.timers.after(durationMs, resolve);
        }),
      );
    } finally {
      timer?.cancel();
    }
  }

  /** Rejects with CallEnded when the call ends. */
  untilEnd(): Promise<never> {
    return this.race(new Promise<never>(() => {}));
  }

  /** The error for the user: why the call ended. */
  endError(): RaftreeClientError {
    const outcome = this.uncertain ? 'unknown' : 'notCommitted';
    const { lastFailure } = this;
    // A node that does not hold the tablet says nothing of it.
    const isSaid = lastFailure !== undefined && lastFailure.code !== 'WRONG_TABLET';
    const last = isSaid ? ` (last: ${lastFailure.code}: ${lastFailure.message})` : '';
    const because = this.#endCode ?? 'TIMEOUT';
    if (because === 'ABORTED') {
      return new RaftreeClientError(
        'ABORTED',
        `the call was aborted; outcome: ${outcome}`,
        outcome,
        this.#signal?.reason,
      );
    }
    if (because === 'CLIENT_CLOSED') {
      return new RaftreeClientError('CLIENT_CLOSED', `the client was closed; outcome: ${outcome}`, outcome);
    }
    const [code, what] = this.reached
      ? ['TIMEOUT', this.tablet === 0 ? 'no answer' : `no answer of tablet ${this.tablet}`]
      : ['UNREACHABLE', 'no node could be connected to'];
    return new RaftreeClientError(
      code,
      `${what} within ${this.#timeoutMs} ms; outcome: ${outcome}${last}`,
      outcome,
      this.lastFailure,
    );
  }
}
