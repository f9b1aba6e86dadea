/**
 * Takes writes through a session: opens one when the first write comes, gives each write a sequence, lets those wait
 * that do not fit the window, and goes on in a new session when the old one has expired.
 */
import { RaftreeError } from '../env/errors.js';
import type { MessageOf, OutboundOperation, RequestName } from '../protocol/messages.js';
import { AbortWatch } from './abort-watch.js';
import { Call } from './call.js';
import { RaftreeClientError } from './client-error.js';
import type { ClientSettings } from './client-options.js';
import { LASTING, type Router } from './router.js';
import { WriteSession } from './write-session.js';

interface Place {
  readonly session: WriteSession;
  readonly sequence: number;
}

interface Waiting {
  readonly call: Call;
  take(place: Place): void;
  fail(error: RaftreeError): void;
}

export class SessionWriter {
  readonly #settings: ClientSettings;
  readonly #router: Router;
  /** In order of arrival. */
  readonly #waiting = new Set<Waiting>();
  #session: WriteSession | undefined;
  /** The call that opens a session. */
  #opening: Call | undefined;

  constructor(settings: ClientSettings, router: Router) {
    this.#settings = settings;
    this.#router = router;
  }

  /** Throws a RaftreeClientError. */
  async write(operations: readonly OutboundOperation[], call: Call): Promise<MessageOf<'writeReply'>> {
    for (;;) {
      const place = this.#placeNow() ?? (await this.#placeInTurn(call));
      const { session, sequence } = place;
      try {
        const answer = await this.#router.ask(
          () => ({
            type: 'write',
            sessionId: session.id,
            sequence,
            acknowledgedThrough: session.acknowledgedThrough,
            operations,
          }),
          call,
          'leader',
        );
        if (answer.type !== 'writeReply') throw unexpected(answer.type, 'write');
        return answer;
      } catch (error) {
        if (!(error instanceof RaftreeClientError) || error.code !== 'SESSION_EXPIRED') throw error;
        if (this.#session === session) this.#session = undefined;
        // An earlier attempt may have been applied before the session expired: in a new one it would be applied twice.
        if (error.outcome === 'unknown') throw error;
      } finally {
        session.finish(sequence);
        this.#serve();
      }
    }
  }

  /** Nothing goes on after this. The writes under way are ended by their calls. */
  close(): void {
    this.#opening?.end('CLIENT_CLOSED');
  }

  #placeNow(): Place | undefined {
    const session = this.#session;
    if (!session?.hasRoom || this.#waiting.size > 0) return undefined;
    return { session, sequence: session.take() };
  }

  #placeInTurn(call: Call): Promise<Place> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.size >= this.#settings.maxQueuedRequests) {
        reject(
          new RaftreeClientError(
            'CLIENT_OVERLOADED',
            `${this.#waiting.size} writes are waiting already (maxQueuedRequests)`,
            'notCommitted',
          ),
        );
        return;
      }
      const ended = () => {
        this.#waiting.delete(waiting);
        if (this.#opening) {
          call.reached ||= this.#opening.reached;
          call.lastFailure ??= this.#opening.lastFailure;
        } else if (this.#session) {
          call.reached = true;
        }
        reject(call.endError());
      };
      const waiting: Waiting = {
        call,
        take(place) {
          forget();
          resolve(place);
        },
        fail(error) {
          forget();
          reject(error);
        },
      };
      const forget = call.onEnd(ended);
      if (call.isEnded) {
        ended();
        return;
      }
      this.#waiting.add(waiting);
      this.#serve();
    });
  }

  /** Gives the places there are to those who wait, or sees to it that there will be some. */
  #serve(): void {
    for (const waiting of this.#waiting) {
      if (!this.#session?.hasRoom) break;
      this.#waiting.delete(waiting);
      waiting.take({ session: this.#session, sequence: this.#session.take() });
    }
    if (this.#waiting.size > 0 && !this.#session && !this.#opening) void this.#open();
  }

  async #open(): Promise<void> {
    const { env, timeoutMs, window } = this.#settings;
    const call = new Call(env, new AbortWatch(), timeoutMs, {});
    this.#opening = call;
    let failure: RaftreeError | undefined;
    try {
      const answer = await this.#router.ask(() => ({ type: 'openSession', window }), call, 'leader');
      if (answer.type !== 'sessionOpened') throw unexpected(answer.type, 'openSession');
      this.#session = new WriteSession(answer.sessionId, Math.max(1, Math.min(window, answer.window)));
    } catch (error) {
      failure = error instanceof RaftreeError ? error : new RaftreeError('INTERNAL', String(error));
    } finally {
      call.finish();
      this.#opening = undefined;
    }
    // Out of time is only this attempt's end: whoever still waits has time left. Any other failure is an answer.
    const isAnswer = failure && !call.isEnded;
    if (isAnswer && failure) {
      const { code, message } = failure;
      for (const waiting of [...this.#waiting]) {
        this.#waiting.delete(waiting);
        waiting.fail(
          new RaftreeClientError(code, message, waiting.call.uncertain ? 'unknown' : 'notCommitted', failure),
        );
      }
    }
    this.#serve();
  }
}

/** A node answered with a message that is no answer to this request. */
export function unexpected(type: string, request: RequestName): RaftreeClientError {
  const outcome = LASTING.has(request) ? 'unknown' : 'notCommitted';
  return new RaftreeClientError('UNKNOWN_MESSAGE', `${type} is no answer to ${request}`, outcome);
}
