/**
 * A call with one request. The call itself is the record of its first attempt: the connection gives it the answer, and
 * the user's promise is the only one. All else goes on with promises, in `Router.ask` and `SessionWriter`: another
 * attempt, a node that must be found or connected to, the end of the call.
 */
import type { RaftreeError } from '../env/errors.js';
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { AbortWatch } from './abort-watch.js';
import { Call, CallEnded, type EndCode } from './call.js';
import type { Calls } from './calls.js';
import type { CallOptions, ClientSettings } from './client-options.js';
import type { AnswerTaker, PendingRequest } from './node-connection.js';
import { type FailedAttempt, noteOutcome } from './router.js';

/** A call whose first attempt the router may make. */
export interface FirstAttempt extends AnswerTaker, Call {
  /** Where it was sent. */
  endpoint: string;
  /** While it is under way. */
  pending: PendingRequest | undefined;
}

/** What all calls of one client share. */
export interface CallUser {
  readonly settings: ClientSettings;
  readonly calls: Calls;
  readonly aborts: AbortWatch;
}

export abstract class DirectCall<Result, Answer> extends Call implements FirstAttempt {
  readonly promise: Promise<Result>;
  endpoint = '';
  pending: PendingRequest | undefined;
  readonly #calls: Calls;
  readonly #resultOf: (answer: Answer) => Result;
  #resolve: (result: Result) => void = noResult;
  #reject: (error: unknown) => void = noResult;

  /** Throws `INVALID_REQUEST` for an invalid timeout. */
  constructor(user: CallUser, options: CallOptions, resultOf: (answer: Answer) => Result) {
    super(user.settings.env, user.aborts, user.settings.timeoutMs, options);
    this.#calls = user.calls;
    this.#resultOf = resultOf;
    this.promise = new Promise<Result>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#calls.add(this);
  }

  abstract answered(message: ReceivedMessage): void;

  /** Goes on with promises after a first attempt that failed, or without one. */
  abstract goOn(first: FailedAttempt | undefined): void;

  failed(error: RaftreeError | CallEnded): void {
    const { pending, endpoint } = this;
    this.pending = undefined;
    if (pending) noteOutcome(this, pending, error);
    this.goOn({ endpoint, error });
  }

  override end(code: EndCode): void {
    super.end(code);
    if (!this.pending) return;
    this.pending.cancel();
    this.failed(new CallEnded());
  }

  /** Gives the user the result. */
  settle(answer: Answer): void {
    this.finish();
    this.#calls.remove(this);
    try {
      this.#resolve(this.#resultOf(answer));
    } catch (error) {
      this.#reject(error);
    }
  }

  /** Gives the user the error. */
  fail(error: unknown): void {
    this.finish();
    this.#calls.remove(this);
    this.#reject(error instanceof CallEnded ? this.endError() : error);
  }
}

function noResult(): void {}
