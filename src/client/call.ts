/**
 * One call of the client's user, from its start to its end, over all its attempts: its deadline, its AbortSignal, and
 * what is known of its fate so far.
 */
import type { Timer } from '../env/env.js';
import type { RaftreeError } from '../env/errors.js';
import type { AbortWatch } from './abort-watch.js';
import { RaftreeClientError } from './client-error.js';
import { type CallOptions, type ClientEnv, checkTimeout } from './client-options.js';

type EndCode = 'TIMEOUT' | 'ABORTED' | 'CLIENT_CLOSED';

/** Rejects what a call waits for when the call ends first; never seen outside. */
export class CallEnded extends Error {}

export class Call {
  /** An attempt of this write may have reached a log. */
  uncertain = false;
  /** Some node was connected to. */
  reached = false;
  /** Why the last attempt failed. */
  lastFailure: RaftreeError | undefined;
  readonly #env: ClientEnv;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal | undefined;
  #forgetSignal: () => void = () => {};
  /** None: as long as it takes. */
  readonly #timer: Timer | undefined;
  readonly #deadlineMs: number;
  readonly #onEnd = new Set<() => void>();
  #endCode: EndCode | undefined;

  /** Throws `INVALID_REQUEST` for a timeout that cannot be. */
  constructor(env: ClientEnv, aborts: AbortWatch, defaultTimeoutMs: number, options: CallOptions) {
    this.#env = env;
    this.#timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    checkTimeout(this.#timeoutMs);
    this.#signal = options.signal;
    this.#deadlineMs = env.clock.nowMs() + this.#timeoutMs;
    if (this.#timeoutMs !== Number.POSITIVE_INFINITY)
      this.#timer = env.timers.after(this.#timeoutMs, () => this.end('TIMEOUT'));
    if (this.#signal?.aborted) this.end('ABORTED');
    else if (this.#signal) this.#forgetSignal = aborts.add(this.#signal, () => this.end('ABORTED'));
  }

  get isEnded(): boolean {
    return this.#endCode !== undefined;
  }

  get remainingMs(): number {
    return this.#deadlineMs - this.#env.clock.nowMs();
  }

  end(code: EndCode): void {
    if (this.#endCode) return;
    this.#endCode = code;
    this.finish();
    for (const run of [...this.#onEnd]) run();
    this.#onEnd.clear();
  }

  /** Leaves no timer and no listener. */
  finish(): void {
    this.#timer?.cancel();
    this.#forgetSignal();
  }

  /** Runs once if the call ends before the returned function is called. */
  onEnd(run: () => void): () => void {
    this.#onEnd.add(run);
    return () => this.#onEnd.delete(run);
  }

  /** Settles as the promise does, or rejects with CallEnded if the call ends first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    if (this.isEnded) {
      // Nobody looks at how the promise ends.
      promise.catch(() => {});
      throw new CallEnded();
    }
    return new Promise<T>((resolve, reject) => {
      const forget = this.onEnd(() => reject(new CallEnded()));
      promise.then(
        (value) => {
          forget();
          resolve(value);
        },
        (error) => {
          forget();
          reject(error);
        },
      );
    });
  }

  /** Rejects with CallEnded if the call ends meanwhile. */
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

  /** Why the call ended, for its caller. */
  endError(): RaftreeClientError {
    const outcome = this.uncertain ? 'unknown' : 'notCommitted';
    const last = this.lastFailure ? ` (last: ${this.lastFailure.code}: ${this.lastFailure.message})` : '';
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
      ? ['TIMEOUT', 'no answer']
      : ['UNREACHABLE', 'no node could be connected to'];
    return new RaftreeClientError(
      code,
      `${what} within ${this.#timeoutMs} ms; outcome: ${outcome}${last}`,
      outcome,
      this.lastFailure,
    );
  }
}
