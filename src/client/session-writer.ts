/**
 * Sends writes through sessions, one for each tablet (tablet-session.ts). Writes to the same key, or of the same lane,
 * take effect in the order of their calls (key-order.ts).
 */
import { SPANS_TABLETS } from '../kv/kv-error.js';
import { isLargeWrite } from '../kv/large-writes.js';
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { MessageOf, OutboundOperation } from '../protocol/messages.js';
import { Call, CallEnded } from './call.js';
import { RaftreeClientError } from './client-error.js';
import type { CallOptions, ClientSettings } from './client-options.js';
import { type CallUser, DirectCall, type FirstAttempt } from './direct-call.js';
import { KeyOrder, type Lane, type Place, type Turn } from './key-order.js';
import type { NumberedRequest } from './node-connection.js';
import { toOperation } from './operations.js';
import type { FailedAttempt, Router } from './router.js';
import type { TabletCache } from './tablet-cache.js';
import { TabletSession } from './tablet-session.js';
import { unexpected } from './unexpected.js';
import type { WriteSession } from './write-session.js';

export type WriteReply = MessageOf<'writeReply'>;

/** A write, whatever its result is. */
interface Write extends FirstAttempt {
  readonly operations: readonly OutboundOperation[];
  readonly lane: Lane | undefined;
  /** Its place in the order of its keys, or of its lane. */
  turn: Turn | undefined;
  /** The session of the tablet that owns its keys, and its place there. */
  session: TabletSession | undefined;
  place: Place | undefined;
  goOn(first: FailedAttempt | undefined): void;
}

/** One write, which `SessionWriter.begin` starts. */
export class WriteCall<Result> extends DirectCall<Result, WriteReply> implements Write {
  readonly operations: readonly OutboundOperation[];
  readonly lane: Lane | undefined;
  readonly #writer: SessionWriter;
  turn: Turn | undefined;
  session: TabletSession | undefined;
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
    return !turn || !place || turn.maySend(place.session, place.sequence) ? undefined : turn.changed();
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

/** So many more than there are tablets may be kept before those that are not needed are looked for. */
const KEPT_SESSIONS = 64;

export class SessionWriter {
  readonly #user: CallUser;
  readonly #settings: ClientSettings;
  readonly #router: Router;
  readonly #tablets: TabletCache;
  readonly #order = new KeyOrder();
  /** Number of writes that wait for an earlier write to the same key. */
  #behindOthers = 0;
  /** By tablet. */
  readonly #sessions = new Map<number, TabletSession>();

  constructor(user: CallUser, router: Router, tablets: TabletCache) {
    this.#user = user;
    this.#settings = user.settings;
    this.#router = router;
    this.#tablets = tablets;
  }

  begin(call: Write): void {
    const turn = this.#order.enter(call.operations, call.lane);
    call.turn = turn;
    const tablet = this.#tablets.ownerOfAll(call.operations);
    const session = tablet === undefined ? undefined : this.#sessionOf(tablet);
    call.session = session;
    if (session && turn.maySend(session.session)) call.place = session.placeNow();
    const { place } = call;
    if (session && place && this.#router.direct(requestOf(call, session, place), call, session.tablet))
      noteSent(call, place);
    else call.goOn(undefined);
  }

  /** The write was answered at its first attempt. */
  finish({ session, place, turn }: Write): void {
    if (place) session?.finish(place);
    turn?.leave();
  }

  /** Waits for what the write needs, and makes further attempts. Throws a RaftreeClientError. */
  async goOn(call: Write, first: FailedAttempt | undefined): Promise<WriteReply> {
    /**
     * It was sent, and its tablet was split. What came of it only its key's tablet can tell, by its sequence; and a
     * write that was sent behind it names that sequence.
     */
    let kept: Place | undefined;
    let mayBeApplied = false;
    /** The call gave up, but its write was sent, and may still arrive there. */
    let givenUp: { readonly owned: TabletSession; readonly place: Place } | undefined;
    let failed = first;
    const { turn } = call;
    // Those behind it that are not sent yet wait.
    if (first) turn?.failed();
    try {
      return await this.#tablets.withMap(call, async () => {
        for (;;) {
          const begun = call.place && call.session && !kept ? call.session : undefined;
          const owned = begun ?? this.#sessionFor(call) ?? (await this.#lateSessionFor(call));
          if (kept && call.session && !this.#follows(owned.tablet, call.session.tablet)) {
            if (owned.tablet === 0) throw notKnown();
            if (mayBeApplied) throw replaced();
            call.session.finish(kept);
            kept = undefined;
          }
          call.session = owned;
          call.tablet = owned.tablet;
          const place: Place = kept ?? call.place ?? (await this.#placeFor(call, owned));
          kept = undefined;
          givenUp = undefined;
          call.place = place;
          const { session } = place;
          const build = () => {
            noteSent(call, place);
            return requestOf(call, owned, place);
          };
          try {
            const answer = await this.#router.ask(build, call, owned.tablet, failed);
            if (answer.type !== 'writeReply') throw unexpected(answer.type, 'write');
            return answer;
          } catch (error) {
            turn?.failed();
            if (!(error instanceof RaftreeClientError)) throw error;
            if (error.code === 'WRONG_TABLET') kept = place;
            mayBeApplied ||= error.outcome === 'unknown';
            if (error.code === 'SESSION_EXPIRED') owned.expired(session);
            if (error.outcome === 'unknown') givenUp = { owned, place };
            // An earlier attempt may have been applied before the session expired: in a new session it would be
            // applied again.
            if (error.code !== 'SESSION_EXPIRED' || error.outcome === 'unknown') throw error;
          } finally {
            if (!kept) owned.finish(place);
            call.place = undefined;
            failed = undefined;
          }
        }
      });
    } finally {
      if (kept && call.session) call.session.finish(kept);
      if (givenUp) {
        const { owned, place } = givenUp;
        turn?.keepKeys();
        void this.#passed(owned, place, call.operations).then(() => turn?.leave());
      } else turn?.leave();
    }
  }

  /**
   * Resolves when a write that was given up can be applied no more after writes that are sent from then on. That is
   * so when the node learns, by their acknowledgedThrough, that it was given up. If later writes have another session
   * than this one, since tablets were merged, a write that changes nothing says it.
   */
  async #passed(
    owned: TabletSession,
    { session, sequence }: Place,
    [operation]: Write['operations'],
  ): Promise<void> {
    const key = Uint8Array.from(operation?.key ?? []);
    await session.passed(sequence);
    if (session === owned.session) return;
    while (!session.hasRoom && !session.isEnded) await session.passed(session.acknowledgedThrough + 1);
    if (session.isEnded) return;
    const place = { session, sequence: session.take() };
    const { env, maxBackoffMs } = this.#settings;
    const call = new Call(env, this.#user.aborts, Number.POSITIVE_INFINITY, {});
    this.#user.calls.add(call);
    const operations = [toOperation({ action: 'check', key, condition: { expectedVersion: NEVER } })];
    try {
      while (!(await this.#isTold(owned, place, operations, call))) await call.pause(maxBackoffMs);
    } catch (error) {
      // The client is closed: it sends no more.
      if (!(error instanceof CallEnded)) throw error;
    } finally {
      call.finish();
      this.#user.calls.remove(call);
      owned.finish(place);
    }
  }

  /** Throws CallEnded. */
  async #isTold(
    owned: TabletSession,
    place: Place,
    operations: Write['operations'],
    call: Call,
  ): Promise<boolean> {
    const { tablet } = owned;
    try {
      await this.#tablets.withMap(call, async () => {
        // What has ended carries nothing out any more.
        if (this.#tablets.map?.byId(tablet) === undefined) return;
        await this.#router.ask(() => requestOf({ operations, turn: undefined }, owned, place), call, tablet);
      });
      return true;
    } catch (error) {
      if (!(error instanceof RaftreeClientError)) throw error;
      return error.code === 'SESSION_EXPIRED';
    }
  }

  #sessionOf(tablet: number): TabletSession {
    let session = this.#sessions.get(tablet);
    if (!session) {
      session = new TabletSession(this.#user, this.#router, tablet, this.#sessionOfParent(tablet));
      this.#sessions.set(tablet, session);
      this.#forgetEnded();
    }
    return session;
  }

  /** A write that was sent to a tablet goes on in one that has the sessions of that one, or in that one. */
  #follows(tablet: number, before: number): boolean {
    return tablet === before || this.#tablets.cameFrom(tablet, before);
  }

  /**
   * A tablet has the sessions of those that it was split from, or that were merged into it: it goes on with one. What
   * one of these does not know any more, those before it may have had: the tablet does not know it.
   */
  #sessionOfParent(tablet: number): WriteSession | undefined {
    for (const older of this.#tablets.parentsOf(tablet, this.#sessions.keys())) {
      const session = this.#sessions.get(older)?.session;
      if (session) return session;
    }
    return undefined;
  }

  /** Of tablets that have ended, only those matter whose session may go on in one that has none yet. */
  #forgetEnded(): void {
    const present = this.#tablets.map?.tablets ?? [];
    if (this.#sessions.size <= 2 * present.length + KEPT_SESSIONS) return;
    const needed = new Set(this.#tablets.hasOthers ? present.map(({ id }) => id) : [0]);
    for (const { id } of present) {
      if (this.#sessions.has(id)) continue;
      for (const older of this.#tablets.parentsOf(id, this.#sessions.keys())) needed.add(older);
    }
    for (const [tablet, session] of this.#sessions) {
      if (needed.has(tablet) || session.waiting > 0) continue;
      session.close();
      this.#sessions.delete(tablet);
    }
  }

  /** Undefined: its keys have several owners, as far as is known. */
  #sessionFor({ operations }: Write): TabletSession | undefined {
    const tablet = this.#tablets.ownerOfAll(operations);
    return tablet === undefined ? undefined : this.#sessionOf(tablet);
  }

  /** Throws `SPANS_TABLETS`. */
  async #lateSessionFor(call: Write): Promise<TabletSession> {
    const tablet = await this.#tablets.lateOwnerOfAll(call, call.operations);
    if (tablet !== undefined) return this.#sessionOf(tablet);
    throw new RaftreeClientError('SPANS_TABLETS', SPANS_TABLETS, call.uncertain ? 'unknown' : 'notCommitted');
  }

  /** A place in a session in which the write may be sent. */
  async #placeFor(call: Write, owned: TabletSession): Promise<Place> {
    const { turn } = call;
    for (;;) {
      if (turn && !turn.maySend(owned.session)) {
        await this.#waitForTurn(turn, call, owned);
        continue;
      }
      let place = owned.placeNow();
      if (!place) {
        this.#checkQueue();
        place = await owned.placeInTurn(call);
      }
      if (!turn || turn.maySend(place.session)) return place;
      // It is of a new session: the write before it needs a place there first.
      owned.finish(place);
    }
  }

  async #waitForTurn(turn: Turn, call: Call, owned: TabletSession): Promise<void> {
    this.#checkQueue();
    this.#behindOthers++;
    try {
      while (!turn.maySend(owned.session)) await call.race(turn.changed());
    } catch (error) {
      if (!(error instanceof CallEnded)) throw error;
      call.reached ||= owned.session !== undefined;
      throw call.endError();
    } finally {
      this.#behindOthers--;
    }
  }

  /** Throws `CLIENT_OVERLOADED`. */
  #checkQueue(): void {
    let queued = this.#behindOthers;
    for (const { waiting } of this.#sessions.values()) queued += waiting;
    if (queued < this.#settings.maxQueuedRequests) return;
    throw new RaftreeClientError(
      'CLIENT_OVERLOADED',
      `${queued} writes are waiting already (maxQueuedRequests)`,
      'notCommitted',
    );
  }
}

/** The map has a gap: it is asked for again. */
function notKnown(): RaftreeClientError {
  return new RaftreeClientError('WRONG_TABLET', 'no tablet is known to own the key', 'notCommitted');
}

/** No key has this version. */
const NEVER = Number.MAX_SAFE_INTEGER;

/** Another tablet owns its keys, which did not come from the one that it was sent to. */
function replaced(): RaftreeClientError {
  const reason = 'the tablet of this session is not there any more: the cluster was replaced by another one';
  return new RaftreeClientError('SESSION_EXPIRED', reason, 'unknown');
}

/** A large write may wait at its leader, and a small one behind it may not: those wait until it is over. */
function noteSent({ turn, operations }: Write, place: Place): void {
  if (!isLargeWrite(operations)) turn?.sent(place);
}

function requestOf(
  { operations, turn }: Pick<Write, 'operations' | 'turn'>,
  { tablet }: TabletSession,
  { session, sequence }: Place,
): Extract<NumberedRequest, { type: 'write' }> {
  return {
    type: 'write',
    tablet,
    requestId: 0,
    sessionId: session.id,
    sequence,
    acknowledgedThrough: session.acknowledgedThrough,
    after: turn?.after ?? 0,
    operations,
  };
}
