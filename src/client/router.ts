/**
 * Brings a request to a node that answers it. Remembers the leader of each tablet; tries the next node when one does
 * not answer; pauses, longer each time, when all nodes were tried; and records what each attempt may have done.
 *
 * The outcome after an attempt of a write, or of an operator's change:
 *
 *     not sent                                              unchanged
 *     answered with outcome notCommitted                    unchanged
 *     sent, and no answer, or one with outcome unknown      uncertain: it may be in a log
 */

import { errorCode, type Outcome, RaftreeError } from '../env/errors.js';
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { RequestName } from '../protocol/messages.js';
import { backoffDelayMs } from './backoff.js';
import { type Call, CallEnded } from './call.js';
import { RaftreeClientError } from './client-error.js';
import type { ClientSettings } from './client-options.js';
import type { Connections } from './connections.js';
import type { FirstAttempt } from './direct-call.js';
import {
  type NodeConnection,
  type NumberedRequest,
  PendingRequest,
  type Unnumbered,
} from './node-connection.js';

/** Errors that another attempt would only repeat. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  'SESSION_EXPIRED',
  'INVALID_REQUEST',
  'WRONG_TABLET',
  'SPANS_TABLETS',
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

/** The right node, but it cannot take the request now. */
const BUSY_CODES: ReadonlySet<string> = new Set([
  'OVERLOADED',
  'CHANGE_PENDING',
  'OUT_OF_ORDER',
  'TABLET_FROZEN',
]);

/** How long to wait for another leader when the leader's disk is full. */
const DISK_FULL_PATIENCE_MS = 3000;

/** What an operator changes. */
const CHANGES = [
  'changeMembers',
  'transferLeader',
  'splitTablet',
  'moveReplica',
  'mergeTablets',
  'drainNode',
  'balance',
] as const;

/** Requests that may take effect although their answer is lost. */
export const LASTING: ReadonlySet<RequestName> = new Set(['write', ...CHANGES]);

/** Requests that are answered only after all checks and the cluster's agreement, which may take ten seconds. */
const SLOW: ReadonlySet<RequestName> = new Set(CHANGES);
const SLOW_ATTEMPT_TIMEOUT_MS = 18_000;

/** Errors about the client or the node, not the request: if all nodes answer so, waiting does not help. */
const REFUSAL_CODES: ReadonlySet<string> = new Set([
  'VERSION_MISMATCH',
  'IDENTITY_MISMATCH',
  'SECRET_MISMATCH',
  'NODE_REMOVED',
]);

/**
 * Where a request is sent: to the leader of a tablet, to any of the endpoints, to any node that holds the tablet (the
 * endpoints are asked first), or to one of the endpoints. Tablet 0 is the only one of a cluster; requests about the
 * cluster go to the leader of the first one under this number too.
 */
export type Target =
  | number
  | 'any'
  | 'holder'
  | {
      readonly endpoint: string;
      /** Who asks does not wait until something listens there. */
      readonly mustListen?: boolean;
    };

/** A first attempt that failed. */
export interface FailedAttempt {
  readonly endpoint: string;
  readonly error: RaftreeError | CallEnded;
}

/** If less time than this would be left after a pause, no further attempt is made. */
const LAST_ATTEMPT_MS = 50;

/** Largest number of addresses learned from nodes. */
const MAX_LEARNED_ENDPOINTS = 64;

const NONE: ReadonlySet<string> = new Set();

export class Router {
  readonly #settings: ClientSettings;
  readonly #connections: Connections;
  readonly #learned = new Set<string>();
  /** By tablet. */
  readonly #leaders = new Map<number, string>();
  /** A connection to a node was made before: the cluster exists, although it may be unreachable now. */
  #isReached = false;
  /** Counts up. Selects the node to ask when the leader is unknown. */
  #turn: number;

  constructor(settings: ClientSettings, connections: Connections) {
    this.#settings = settings;
    this.#connections = connections;
    this.#turn = settings.env.random.uint32() % settings.endpoints.length;
  }

  /**
   * Makes the first attempt of a call if that needs no waiting. Otherwise, if the node to ask is not known or not
   * connected, nothing happens, and the result is false.
   */
  direct(request: NumberedRequest, call: FirstAttempt, target: Target): boolean {
    const endpoint =
      typeof target === 'number'
        ? this.#leaders.get(target)
        : this.#choose(target, this.#candidates(target), NONE);
    const connection = endpoint === undefined ? undefined : this.#connections.opened(endpoint);
    if (!connection || call.isEnded || connection.refused(request)) return false;
    call.reached = true;
    call.endpoint = connection.endpoint;
    call.pending = new PendingRequest(request, this.#settings.attemptTimeoutMs, connection, call);
    connection.send(call.pending);
    return true;
  }

  /**
   * Returns the answer to a request, perhaps after a first attempt that failed. `build` is called for each attempt,
   * with the connection that the request is sent on.
   * Throws a RaftreeClientError with the node's code, or with the reason why the call ended.
   */
  async ask(
    build: (connection: NodeConnection) => Unnumbered,
    call: Call,
    target: Target,
    first?: FailedAttempt,
  ): Promise<ReceivedMessage> {
    try {
      return await this.#ask(build, call, target, first);
    } catch (error) {
      if (error instanceof CallEnded) throw call.endError();
      if (!(error instanceof RaftreeError)) throw error;
      const outcome = call.uncertain ? 'unknown' : 'notCommitted';
      throw new RaftreeClientError(error.code, error.message, outcome, error);
    }
  }

  async #ask(
    build: (connection: NodeConnection) => Unnumbered,
    call: Call,
    target: Target,
    first: FailedAttempt | undefined,
  ): Promise<ReceivedMessage> {
    if (typeof target === 'number') call.tablet = target;
    const refused = new Set<string>();
    /** Nodes that do not hold the tablet, or no such key of it. */
    const lacking = new Set<string>();
    /** The nodes tried since the last pause. */
    const tried = new Set<string>();
    /** Those of them whose port refuses connections. */
    const notListening = new Set<string>();
    let wrong: RaftreeError | undefined;
    /** A node has waited in vain for a leader of the map. Others may reach it. */
    let unavailable: RaftreeError | undefined;
    let refusedRounds = 0;
    let pauses = 0;
    let diskFullSinceMs: number | undefined;
    for (let failed = first; ; failed = undefined) {
      for (let held = call.held(); held && !failed; held = call.held()) await call.race(held);
      const candidates = this.#candidates(target);
      const endpoint = failed?.endpoint ?? this.#choose(target, candidates, tried);
      try {
        if (failed) throw failed.error;
        const answer = await this.#attempt(endpoint, build, call, target);
        // Any node answers `status`. It must come from the leader if that was the target.
        if (typeof target === 'number') {
          checkLeads(endpoint, answer);
          if (this.#leaders.get(target) !== endpoint) this.#leaders.set(target, endpoint);
        }
        return answer;
      } catch (error) {
        if (!(error instanceof RaftreeError)) throw error;
        call.lastFailure = error;
        if (error.code === 'WRONG_TABLET') {
          this.#notThere(endpoint, target);
          lacking.add(endpoint);
          wrong = error;
        }
        if (error.code === 'MAP_UNAVAILABLE') unavailable = error;
        // A node that does not hold the tablet knows nothing of an attempt that may have reached its log.
        const isElsewhere =
          target === 'holder' || (call.uncertain && candidates.some((candidate) => !lacking.has(candidate)));
        if (FINAL_CODES.has(error.code) && !(error.code === 'WRONG_TABLET' && isElsewhere)) throw error;
        if (error.code === 'DISK_FULL') {
          const nowMs = this.#settings.env.clock.nowMs();
          diskFullSinceMs ??= nowMs;
          if (nowMs - diskFullSinceMs >= DISK_FULL_PATIENCE_MS) throw error;
        }
        if (isNotListening(error) && typeof target === 'object' && target.mustListen) throw error;
        if (REFUSAL_CODES.has(error.code)) refused.add(endpoint);
        if (candidates.every((candidate) => refused.has(candidate))) throw error;
        tried.add(endpoint);
        if (isNotListening(error)) notListening.add(endpoint);
        this.#learn(endpoint, error, target);
        const namedLeader = typeof target === 'number' ? this.#leaders.get(target) : undefined;
        const another = [...candidates, ...(namedLeader ? [namedLeader] : [])].some(
          (node) => !tried.has(node),
        );
        if (another && !BUSY_CODES.has(error.code)) continue;
        // All were asked, and it may have ended: a newer map says whether it has. One that is down may never answer.
        if (wrong && (target === 'holder' || call.uncertain)) throw wrong;
        if (unavailable) throw unavailable;
        const isRefused = !this.#isReached && candidates.every((candidate) => notListening.has(candidate));
        refusedRounds = isRefused ? refusedRounds + 1 : 0;
        if (refusedRounds >= this.#settings.refusedRounds) throw connectionRefused(candidates, error);
        tried.clear();
        notListening.clear();
        const { env, backoffMs, maxBackoffMs } = this.#settings;
        const pauseMs = backoffDelayMs(pauses++, backoffMs, maxBackoffMs, env.random);
        // An attempt that can hardly be answered in time would only make the outcome unknown.
        if (call.remainingMs < pauseMs + LAST_ATTEMPT_MS) return await call.untilEnd();
        await call.pause(pauseMs);
      }
    }
  }

  async #attempt(
    endpoint: string,
    build: (connection: NodeConnection) => Unnumbered,
    call: Call,
    target: Target,
  ): Promise<ReceivedMessage> {
    const opened = this.#connections.get(endpoint);
    const connection = opened instanceof Promise ? await call.race(opened) : opened;
    call.reached = true;
    this.#isReached = true;
    if (call.isEnded) throw new CallEnded();
    for (let held = call.held(); held; held = call.held()) await call.race(held);
    const request = build(connection);
    const { attemptTimeoutMs } = this.#settings;
    const refusal = connection.refused(request);
    // Only the leader's limits count. Another node's limits may be lower.
    if (refusal && typeof target === 'number') await this.#checkLeads(connection, call, target);
    if (refusal) throw refusal;
    const { pending, answer } = connection.request(
      request,
      SLOW.has(request.type) ? Math.max(attemptTimeoutMs, SLOW_ATTEMPT_TIMEOUT_MS) : attemptTimeoutMs,
    );
    try {
      return await call.race(answer);
    } catch (error) {
      pending.cancel();
      call.attemptFailed();
      noteOutcome(call, pending, error);
      throw error;
    }
  }

  /** Throws `NOT_LEADER` if the node does not lead. */
  async #checkLeads(connection: NodeConnection, call: Call, tablet: number): Promise<void> {
    const { pending, answer } = connection.request(
      { type: 'status', tablet },
      this.#settings.attemptTimeoutMs,
    );
    try {
      checkLeads(connection.endpoint, await call.race(answer));
    } finally {
      pending.cancel();
    }
  }

  #candidates(target: Target): readonly string[] {
    if (typeof target === 'number' || target === 'holder')
      return [...new Set([...this.#settings.endpoints, ...this.#learned])];
    if (target === 'any') return this.#settings.endpoints;
    return [target.endpoint];
  }

  /** The leader if it is known and not yet tried, otherwise the next node that is not yet tried. */
  #choose(target: Target, candidates: readonly string[], tried: ReadonlySet<string>): string {
    const leader = typeof target === 'number' ? this.#leaders.get(target) : undefined;
    if (leader !== undefined && !tried.has(leader)) return leader;
    // Others than the endpoints are asked last by who needs no leader.
    const equal = target === 'holder' ? this.#settings.endpoints : candidates;
    const first = this.#turn % equal.length;
    const inTurn = [
      ...equal.slice(first),
      ...equal.slice(0, first),
      ...candidates.filter((other) => !equal.includes(other)),
    ];
    return inTurn.find((candidate) => !tried.has(candidate)) ?? inTurn[0] ?? '';
  }

  /** Who leads a tablet, as another node knows it; empty: it does not. What this client has found out counts more. */
  suggestLeader(tablet: number, endpoint: string): void {
    if (endpoint === '' || this.#leaders.has(tablet)) return;
    this.#learnEndpoint(endpoint);
    this.#leaders.set(tablet, endpoint);
  }

  /** It has ended long ago. */
  forgetTablet(tablet: number): void {
    this.#leaders.delete(tablet);
  }

  /** The node does not have the tablet (any more): it is not asked next. */
  #notThere(endpoint: string, target: Target): void {
    if (typeof target === 'number' && this.#leaders.get(target) === endpoint) this.#leaders.delete(target);
    this.#turn++;
  }

  /** Nodes of the cluster: each may hold a tablet that the endpoints do not hold. */
  learnNodes(endpoints: Iterable<string>): void {
    for (const endpoint of endpoints) if (endpoint !== '') this.#learnEndpoint(endpoint);
  }

  #learnEndpoint(endpoint: string): void {
    if (this.#learned.size < MAX_LEARNED_ENDPOINTS) this.#learned.add(endpoint);
  }

  /** Updates the knowledge about the leader after a failed attempt. */
  #learn(endpoint: string, error: RaftreeError, target: Target): void {
    const tablet = typeof target === 'number' ? target : undefined;
    const leader = tablet === undefined ? undefined : this.#leaders.get(tablet);
    if (BUSY_CODES.has(error.code)) {
      // This node may not be the leader: the next attempt goes to another one.
      if (leader !== endpoint) this.#turn++;
      return;
    }
    if (tablet !== undefined && leader === endpoint) this.#leaders.delete(tablet);
    const { leaderAddress } = error.info;
    if (error.code === 'NOT_LEADER' && typeof leaderAddress === 'string' && leaderAddress !== '') {
      this.#learnEndpoint(leaderAddress);
      if (tablet !== undefined) this.#leaders.set(tablet, leaderAddress);
    } else {
      this.#turn++;
    }
  }
}

/** The system reports that no process listens there, or that the host is unknown. */
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
  const who = leaderAddress === '' ? 'knows no leader' : 'does not lead';
  throw new RaftreeError('NOT_LEADER', `${endpoint} ${who}`, { info: { leaderAddress } });
}

/** After an attempt that failed: whether it may have reached a log. */
export function noteOutcome(call: Call, pending: PendingRequest, error: unknown): void {
  const { request } = pending;
  if (LASTING.has(request.type) && pending.sent && outcomeOf(error) === 'unknown') call.uncertain = true;
}

/** What an attempt that failed with this error may have done. */
function outcomeOf(error: unknown): Outcome {
  if (error instanceof RaftreeError && error.info.outcome === 'notCommitted') return 'notCommitted';
  return 'unknown';
}
