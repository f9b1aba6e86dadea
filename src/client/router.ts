/**
 * Takes a request to a node that answers it. Knows who leads, or was said to; asks the next node when one does not
 * answer; pauses, ever longer, when all have been asked; and keeps account of what each attempt may have done.
 *
 * After an attempt of a write, or of an operator's change:
 *
 *     not sent                                              as before
 *     answered with outcome notCommitted                    as before
 *     sent, and no answer, or one with outcome unknown      uncertain: it may be in a log
 */
import { errorCode, RaftreeError } from '../env/errors.js';
import type { Outcome } from '../protocol/error-codes.js';
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { RequestName } from '../protocol/messages.js';
import { backoffDelayMs } from './backoff.js';
import { type Call, CallEnded } from './call.js';
import { RaftreeClientError } from './client-error.js';
import type { ClientSettings } from './client-options.js';
import type { Connections } from './connections.js';
import type { NodeConnection, Unnumbered } from './node-connection.js';

/** Errors that another attempt would only repeat. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  'SESSION_EXPIRED',
  'INVALID_REQUEST',
  'KEY_EMPTY',
  'KEY_TOO_LARGE',
  'VALUE_TOO_LARGE',
  'REQUEST_TOO_LARGE',
  'CHANGE_INVALID',
  'CHANGE_CONFLICT',
  'NOT_PERMITTED',
  'ALREADY_MEMBER',
  'NOT_A_MEMBER',
  'QUORUM_AT_RISK',
  'MEMBER_UNREACHABLE',
  'MEMBER_BEHIND',
  'TRANSFER_FAILED',
  'UNKNOWN_MESSAGE',
  'MALFORMED_MESSAGE',
]);

/** The right node at the wrong time. */
const BUSY_CODES: ReadonlySet<string> = new Set(['OVERLOADED', 'CHANGE_PENDING']);

/** For so long a full disk is taken for one that another leader does not have. */
const DISK_FULL_PATIENCE_MS = 3000;

/** Requests that may be done although nobody heard of it. */
export const LASTING: ReadonlySet<RequestName> = new Set(['write', 'changeMembers', 'transferLeader']);

/**
 * Answered when all is checked and the cluster has gone through with it: a leader may take some ten seconds for that.
 */
const SLOW: ReadonlySet<RequestName> = new Set(['changeMembers', 'transferLeader']);
const SLOW_ATTEMPT_TIMEOUT_MS = 18_000;

/** Errors that speak of the node itself: if all nodes say so, there is no use in waiting. */
const REFUSAL_CODES: ReadonlySet<string> = new Set([
  'VERSION_MISMATCH',
  'IDENTITY_MISMATCH',
  'SECRET_MISMATCH',
  'NODE_REMOVED',
]);

/** Where a request may go: to the leader, to any of the given nodes, or to one. */
export type Target = 'leader' | 'any' | { readonly endpoint: string };

/** With less time left than this after a pause, no further attempt is made. */
const LAST_ATTEMPT_MS = 50;

/** Addresses learned from nodes are remembered up to this many. */
const MAX_LEARNED_ENDPOINTS = 64;

export class Router {
  readonly #settings: ClientSettings;
  readonly #connections: Connections;
  readonly #learned = new Set<string>();
  #leader: string | undefined;
  /** Some node was connected to: the cluster is there, if not always. */
  #isReached = false;
  /** Counts up; picks the node to ask when the leader is not known. */
  #turn: number;

  constructor(settings: ClientSettings, connections: Connections) {
    this.#settings = settings;
    this.#connections = connections;
    this.#turn = settings.env.random.uint32() % settings.endpoints.length;
  }

  /**
   * The answer to a request. `build` is called for each attempt. Throws a RaftreeClientError with a node's code, or
   * with why the call ended.
   */
  async ask(build: () => Unnumbered, call: Call, target: Target): Promise<ReceivedMessage> {
    try {
      return await this.#ask(build, call, target);
    } catch (error) {
      if (error instanceof CallEnded) throw call.endError();
      if (!(error instanceof RaftreeError)) throw error;
      const outcome = call.uncertain ? 'unknown' : 'notCommitted';
      throw new RaftreeClientError(error.code, error.message, outcome, error);
    }
  }

  async #ask(build: () => Unnumbered, call: Call, target: Target): Promise<ReceivedMessage> {
    const refused = new Set<string>();
    /** Asked since the last pause. */
    const tried = new Set<string>();
    /** Of those: nobody listens there. */
    const notListening = new Set<string>();
    let refusedRounds = 0;
    let pauses = 0;
    let diskFullSinceMs: number | undefined;
    for (;;) {
      const candidates = this.#candidates(target);
      const endpoint = this.#choose(target, candidates, tried);
      try {
        const answer = await this.#attempt(endpoint, build, call, target);
        // Any node answers a `status`: whoever asks for the leader's wants it from the leader.
        if (target === 'leader') checkLeads(endpoint, answer);
        if (target === 'leader') this.#leader = endpoint;
        return answer;
      } catch (error) {
        if (!(error instanceof RaftreeError)) throw error;
        call.lastFailure = error;
        if (FINAL_CODES.has(error.code)) throw error;
        if (error.code === 'DISK_FULL') {
          const nowMs = this.#settings.env.clock.nowMs();
          diskFullSinceMs ??= nowMs;
          // Of a write that may be in a log already only another attempt tells what became of it.
          if (!call.uncertain && nowMs - diskFullSinceMs >= DISK_FULL_PATIENCE_MS) throw error;
        }
        if (REFUSAL_CODES.has(error.code)) refused.add(endpoint);
        if (candidates.every((candidate) => refused.has(candidate))) throw error;
        tried.add(endpoint);
        if (isNotListening(error)) notListening.add(endpoint);
        this.#learn(endpoint, error);
        const namedLeader = target === 'leader' ? this.#leader : undefined;
        const another = [...candidates, ...(namedLeader ? [namedLeader] : [])].some(
          (node) => !tried.has(node),
        );
        if (another && !BUSY_CODES.has(error.code)) continue;
        const isRefused = !this.#isReached && candidates.every((candidate) => notListening.has(candidate));
        refusedRounds = isRefused ? refusedRounds + 1 : 0;
        if (refusedRounds >= this.#settings.refusedRounds) throw connectionRefused(candidates, error);
        tried.clear();
        notListening.clear();
        const { env, backoffMs, maxBackoffMs } = this.#settings;
        const pauseMs = backoffDelayMs(pauses++, backoffMs, maxBackoffMs, env.random);
        // An attempt that can hardly be answered in time would only make the outcome uncertain.
        if (call.remainingMs < pauseMs + LAST_ATTEMPT_MS) return await call.untilEnd();
        await call.pause(pauseMs);
      }
    }
  }

  async #attempt(
    endpoint: string,
    build: () => Unnumbered,
    call: Call,
    target: Target,
  ): Promise<ReceivedMessage> {
    const opened = this.#connections.get(endpoint);
    const connection = opened instanceof Promise ? await call.race(opened) : opened;
    call.reached = true;
    this.#isReached = true;
    if (call.isEnded) throw new CallEnded();
    const request = build();
    const { attemptTimeoutMs } = this.#settings;
    const refusal = connection.refused(request);
    // The limits of the leader count. Another node's may be lower, and the request is not its to take.
    if (refusal && target === 'leader') await this.#checkLeads(connection, call);
    if (refusal) throw refusal;
    const pending = connection.request(
      request,
      SLOW.has(request.type) ? Math.max(attemptTimeoutMs, SLOW_ATTEMPT_TIMEOUT_MS) : attemptTimeoutMs,
    );
    try {
      return await call.race(pending.answer);
    } catch (error) {
      pending.cancel();
      if (LASTING.has(request.type) && pending.sent && outcomeOf(error) === 'unknown') call.uncertain = true;
      throw error;
    }
  }

  /** Throws `NOT_LEADER` if the node does not lead. */
  async #checkLeads(connection: NodeConnection, call: Call): Promise<void> {
    const pending = connection.request({ type: 'status' }, this.#settings.attemptTimeoutMs);
    try {
      checkLeads(connection.endpoint, await call.race(pending.answer));
    } finally {
      pending.cancel();
    }
  }

  #candidates(target: Target): readonly string[] {
    if (target === 'leader') return [...new Set([...this.#settings.endpoints, ...this.#learned])];
    if (target === 'any') return this.#settings.endpoints;
    return [target.endpoint];
  }

  /** The leader if it is known and was not tried; else the next node that was not. */
  #choose(target: Target, candidates: readonly string[], tried: ReadonlySet<string>): string {
    if (target === 'leader' && this.#leader !== undefined && !tried.has(this.#leader)) return this.#leader;
    const first = this.#turn % candidates.length;
    const inTurn = [...candidates.slice(first), ...candidates.slice(0, first)];
    return inTurn.find((candidate) => !tried.has(candidate)) ?? inTurn[0] ?? '';
  }

  /** Draws conclusions about the leader from a failed attempt. */
  #learn(endpoint: string, error: RaftreeError): void {
    if (BUSY_CODES.has(error.code)) {
      // A node that may not lead at all: the next attempt is another one's.
      if (this.#leader !== endpoint) this.#turn++;
      return;
    }
    if (this.#leader === endpoint) this.#leader = undefined;
    const { leaderAddress } = error.info;
    if (error.code === 'NOT_LEADER' && typeof leaderAddress === 'string' && leaderAddress !== '') {
      if (this.#learned.size < MAX_LEARNED_ENDPOINTS) this.#learned.add(leaderAddress);
      this.#leader = leaderAddress;
    } else {
      this.#turn++;
    }
  }
}

/** The system at the other end says that no process listens, or no such host is known. */
function isNotListening(error: RaftreeError): boolean {
  const code = errorCode(error.cause);
  return error.code === 'UNREACHABLE' && (code === 'ECONNREFUSED' || code === 'ENOTFOUND');
}

function connectionRefused(endpoints: readonly string[], last: RaftreeError): RaftreeError {
  return new RaftreeError(
    'CONNECTION_REFUSED',
    `no node listens at ${endpoints.join(', ')} (${errorCode(last.cause)})`,
    {
      cause: last,
    },
  );
}

/** Throws `NOT_LEADER` for the status of a node that does not lead. */
function checkLeads(endpoint: string, answer: ReceivedMessage): void {
  if (answer.type !== 'statusReply' || answer.role === 'leader') return;
  const { leaderAddress } = answer;
  throw new RaftreeError('NOT_LEADER', `${endpoint} does not lead`, { info: { leaderAddress } });
}

/** What an attempt that ended so may have done. */
function outcomeOf(error: unknown): Outcome {
  if (error instanceof RaftreeError && error.info.outcome === 'notCommitted') return 'notCommitted';
  return 'unknown';
}
