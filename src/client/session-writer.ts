/**
 * Sends writes through a session. It opens a session at the first write, gives each write a sequence number, queues
 * writes that do not fit into the window, and opens a new session when the old one has expired. Writes to the same key,
 * or of the same lane, take effect in the order of their calls (key-order.ts).
 */
import { RaftreeError } from '../env/errors.js';
import { isLargeWrite } from '../kv/large-writes.js';
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { MessageOf, OutboundOperation, RequestName } from '../protocol/messages.js';
import { Call, CallEnded } from './call.js';
import { RaftreeClientError } from './client-error.js';
import type { CallOptions, ClientSettings } from './client-options.js';
import { type CallUser, DirectCall, type FirstAttempt } from './direct-call.js';
import { KeyOrder, type Lane, type Place, type Turn } from './key-order.js';
import type { NumberedRequest } from './node-connection.js';
import { type FailedAttempt, LASTING, type Router } from './router.js';
import { WriteSession } from './write-session.js';

interface Waiting {
  readonly call: Call;
  take(place: Place): void;
  fail(error: RaftreeError): void;
}

export type WriteReply = MessageOf<'writeReply'>;

/** A write, whatever its result is. */
interface Write extends FirstAttempt {
  readonly operations: readonly OutboundOperation[];
  readonly lane: Lane | undefined;
  /** Its place in the order of its keys, or of its lane. */
  turn: Turn | undefined;
  /** Its place in the session. */
  place: Place | undefined;
  goOn(first: FailedAttempt | undefined): void;
}

/** One write, which `SessionWriter.begin` starts. */
export class WriteCall<Result> extends DirectCall<Result, WriteReply> implements Write {
  readonly operations: readonly OutboundOperation[];
  readonly lane: Lane | undefined;
  readonly #writer: SessionWriter;
  turn: Turn | undefined;
  place: Place | undefined;

  /** Throws `INVALID_REQUEST`. */
  constructor(
    user: CallUser,
    writer: SessionWriter,
    operations: readonly OutboundOperation[],
    options: CallOptions,
    resultOf: (answer: WriteReply) => Result,
    lane?: Lane,
  ) {
    super(user, options, resultOf);
    this.#writer = writer;
    this.operations = operations;
    this.lane = lane;
  }

  override held(): Promise<void> | undefined {
    const { turn, place } = this;
    return !turn || !place || turn.maySend(place.session) ? undefined : turn.changed();
  }

  override attemptFailed(): void {
    this.turn?.failed();
  }

  answered(message: ReceivedMessage): void {
    if (message.type !== 'writeReply') {
      this.failed(unexpected(message.type, 'write'));
      return;
    }
    this.pending = undefined;
    this.#writer.finish(this);
    this.settle(message);
  }

  goOn(first: FailedAttempt | undefined): void {
    this.#writer.goOn(this, first).then(
      (answer) => this.settle(answer),
      (error) => this.fail(error),
    );
  }
}

export class SessionWriter {
  readonly #user: CallUser;
  readonly #settings: ClientSettings;
  readonly #router: Router;
  readonly #order = new KeyOrder();
  /** Number of writes that wait for an earlier write to the same key. */
  #behindOthers = 0;
  /** Writes that wait for room in the window, in order of arrival. */
  readonly #waiting = new Set<Waiting>();
  #session: WriteSession | undefined;
  /** The call that opens a session. */
  #opening: Call | undefined;

  constructor(user: CallUser, router: Router) {
    this.#user = user;
    this.#settings = user.settings;
    this.#router = router;
  }

  begin(call: Write): void {
    const turn = this.#order.enter(call.operations, call.lane);
    call.turn = turn;
    if (turn.maySend(this.#session)) call.place = this.#placeNow();
    const { place } = call;
    if (place && this.#router.direct(requestOf(call, place), call, 'leader')) noteSent(call, place);
    else call.goOn(undefined);
  }

  /** The write was answered at its first attempt. */
  finish({ place, turn }: Write): void {
    place?.session.finish(place.sequence);
    this.#serve();
    turn?.leave();
  }

  /** Waits for what the write needs, and makes further attempts. Throws a RaftreeClientError. */
  async goOn(call: Write, first: FailedAttempt | undefined): Promise<WriteReply> {
    /** Until this resolves, the write that was sent may still be applied. */
    let over: Promise<void> | undefined;
    let failed = first;
    const { turn } = call;
    // Those behind it that are not sent yet wait.
    if (first) turn?.failed();
    try {
      for (;;) {
        const place = call.place ?? (await this.#placeFor(call));
        call.place = place;
        const { session, sequence } = place;
        const build = () => {
          noteSent(call, place);
          return requestOf(call, place);
        };
        try {
          const answer = await this.#router.ask(build, call, 'leader', failed);
          if (answer.type !== 'writeReply') throw unexpected(answer.type, 'write');
          return answer;
        } catch (error) {
          turn?.failed();
          if (!(error instanceof RaftreeClientError)) throw error;
          if (error.code === 'SESSION_EXPIRED') {
            if (this.#session === session) this.#session = undefined;
            session.end();
          }
          // The call gave up, but its write may still arrive. It can be applied until the node learns, by
          // acknowledgedThrough, that it was given up.
          if (error.outcome === 'unknown') over = session.passed(sequence);
          // An earlier attempt may have been applied before the session expired: in a new session it would be applied
          // again.
          if (error.code !== 'SESSION_EXPIRED' || error.outcome === 'unknown') throw error;
        } finally {
          session.finish(sequence);
          this.#serve();
        }
        call.place = undefined;
        failed = undefined;
      }
    } finally {
      if (over) {
        turn?.keepKeys();
        void over.then(() => turn?.leave());
      } else turn?.leave();
    }
  }

  /** A place in a session in which the write may be sent. */
  async #placeFor(call: Write): Promise<Place> {
    const { turn } = call;
    for (;;) {
      if (turn && !turn.maySend(this.#session)) {
        await this.#waitForTurn(turn, call);
        continue;
      }
      const place = this.#placeNow() ?? (await this.#placeInTurn(call));
      if (!turn || turn.maySend(place.session)) return place;
      // It is of a new session: the write before it needs a place there first.
      place.session.finish(place.sequence);
      this.#serve();
    }
  }

  async #waitForTurn(turn: Turn, call: Call): Promise<void> {
    this.#checkQueue();
    this.#behindOthers++;
    try {
      while (!turn.maySend(this.#session)) await call.race(turn.changed());
    } catch (error) {
      if (!(error instanceof CallEnded)) throw error;
      call.reached ||= this.#session !== undefined;
      throw call.endError();
    } finally {
      this.#behindOthers--;
    }
  }

  /** Throws `CLIENT_OVERLOADED`. */
  #checkQueue(): void {
    const queued = this.#waiting.size + this.#behindOthers;
    if (queued < this.#settings.maxQueuedRequests) return;
    throw new RaftreeClientError(
      'CLIENT_OVERLOADED',
      `${queued} writes are waiting already (maxQueuedRequests)`,
      'notCommitted',
    );
  }

  #placeNow(): Place | undefined {
    const session = this.#session;
    if (!session?.hasRoom || this.#waiting.size > 0) return undefined;
    return { session, sequence: session.take() };
  }

  #placeInTurn(call: Call): Promise<Place> {
    return new Promise((resolve, reject) => {
      this.#checkQueue();
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
    const { env, timeoutMs, window } = this.#settings;
    const call = new Call(env, this.#user.aborts, timeoutMs, {});
    this.#user.calls.add(call);
    this.#opening = call;
    let failure: RaftreeError | undefined;
    try {
      const answer = await this.#router.ask(
        () => ({ type: 'openSession', tablet: 0, window }),
        call,
        'leader',
      );
      if (answer.type !== 'sessionOpened') throw unexpected(answer.type, 'openSession');
      this.#session = new WriteSession(answer.sessionId, Math.max(1, Math.min(window, answer.window)));
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

/** The error for a message that is no answer to this request. */
export function unexpected(type: string, request: RequestName): RaftreeClientError {
  const outcome = LASTING.has(request) ? 'unknown' : 'notCommitted';
  return new RaftreeClientError('UNKNOWN_MESSAGE', `${type} is no answer to ${request}`, outcome);
}

/** A large write may wait at its leader, and a small one behind it may not: those wait until it is over. */
function noteSent({ turn, operations }: Write, place: Place): void {
  if (!isLargeWrite(operations)) turn?.sent(place);
}

function requestOf(
  { operations, turn }: Write,
  { session, sequence }: Place,
): Extract<NumberedRequest, { type: 'write' }> {
  return {
    type: 'write',
    tablet: 0,
    requestId: 0,
    sessionId: session.id,
    sequence,
    acknowledgedThrough: session.acknowledgedThrough,
    after: turn?.after ?? 0,
    operations,
  };
}
