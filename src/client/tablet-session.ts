/**
 * The session in which the writes to one tablet are sent: it is opened at the first one, and again when the old one has
 * expired. A tablet that came from others, by a split or a merge, goes on with a session of theirs. Writes that do not
 * fit into the window wait here, in order of arrival.
 */
import { RaftreeError } from '../env/errors.js';
import { Call } from './call.js';
import { RaftreeClientError } from './client-error.js';
import type { CallUser } from './direct-call.js';
import type { Place } from './key-order.js';
import type { Router } from './router.js';
import { unexpected } from './unexpected.js';
import { WriteSession } from './write-session.js';

interface Waiting {
  readonly call: Call;
  take(place: Place): void;
  fail(error: RaftreeError): void;
}

export class TabletSession {
  readonly tablet: number;
  readonly #user: CallUser;
  readonly #router: Router;
  /** Writes that wait for room in the window. */
  readonly #waiting = new Set<Waiting>();
  #session: WriteSession | undefined;
  readonly #roomChanged = () => this.#serve();
  /** The call that opens a session. */
  #opening: Call | undefined;

  /** `session`: that of the tablet that this one came from. */
  constructor(user: CallUser, router: Router, tablet: number, session?: WriteSession) {
    this.#user = user;
    this.#router = router;
    this.tablet = tablet;
    if (session) this.#use(session);
  }

  #use(session: WriteSession): void {
    this.#session = session;
    session.join(this.#roomChanged);
  }

  /** Undefined: none is open. */
  get session(): WriteSession | undefined {
    return this.#session;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** A sequence number for one write. Undefined: there is none at once. */
  placeNow(): Place | undefined {
    const session = this.#session;
    if (!session?.hasRoom || this.#waiting.size > 0) return undefined;
    return { session, sequence: session.take() };
  }

  placeInTurn(call: Call): Promise<Place> {
    return new Promise((resolve, reject) => {
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
          call.forgetEnd();
          resolve(place);
        },
        fail(error) {
          call.forgetEnd();
          reject(error);
        },
      };
      call.onEnd(ended);
      if (call.isEnded) {
        ended();
        return;
      }
      this.#waiting.add(waiting);
      this.#serve();
    });
  }

  /** The write of this place was answered or given up. */
  finish({ session, sequence }: Place): void {
    session.finish(sequence);
    if (session !== this.#session) this.#serve();
  }

  /** The node does not know the session any more. */
  expired(session: WriteSession): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    session.leave(this.#roomChanged);
  }

  /** The tablet has ended, and nothing waits here. */
  close(): void {
    this.#session?.forget(this.#roomChanged);
  }

  /** Gives free places in the window to waiting writes, or opens a session if there is none. */
  #serve(): void {
    if (this.#waiting.size === 0) return;
    for (const waiting of this.#waiting) {
      if (!this.#session?.hasRoom) break;
      this.#waiting.delete(waiting);
      waiting.take({ session: this.#session, sequence: this.#session.take() });
    }
    if (this.#waiting.size > 0 && !this.#session && !this.#opening) void this.#open();
  }

  async #open(): Promise<void> {
    const { tablet } = this;
    const { env, timeoutMs, window } = this.#user.settings;
    const call = new Call(env, this.#user.aborts, timeoutMs, {});
    this.#user.calls.add(call);
    this.#opening = call;
    let failure: RaftreeError | undefined;
    try {
      const request = { type: 'openSession', tablet, window } as const;
      const answer = await this.#router.ask(() => request, call, tablet);
      if (answer.type !== 'sessionOpened') throw unexpected(answer.type, 'openSession');
      this.#use(new WriteSession(answer.sessionId, Math.max(1, Math.min(window, answer.window))));
    } catch (error) {
      failure = error instanceof RaftreeError ? error : new RaftreeError('INTERNAL', String(error));
    } finally {
      this.#user.calls.remove(call);
      this.#opening = undefined;
    }
    // A timeout of this call is not an answer: the waiting writes have deadlines of their own. Any other failure is
    // one.
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
