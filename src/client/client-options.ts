/** What a client may be told at its construction and at each call. */
import { type Address, type Env, parseAddress } from '../env/env.js';
import { secretFault } from '../security/cluster-secret.js';
import { RaftreeClientError } from './client-error.js';

/** What a client needs of the world. */
export type ClientEnv = Pick<Env, 'clock' | 'timers' | 'random' | 'net'>;

export interface ClientOptions {
  /** Addresses (`host:port`) of one or more nodes' client ports. */
  readonly endpoints: readonly string[];
  /** The world; the operating system's unless given. */
  readonly env?: ClientEnv;
  /** The cluster that must answer; any if empty. Default empty. */
  readonly clusterId?: string;
  /**
   * The cluster's secret, at least 16 bytes: needed to change members and leaders of a cluster that has one, and proven
   * without being sent.
   */
  readonly clusterSecret?: string | Uint8Array | undefined;
  /** How long a call may take, retries included; Infinity: as long as it takes. Default 10 000. */
  readonly timeoutMs?: number;
  /**
   * How long one attempt waits for its answer before another node is tried: longer for a large request (a second for
   * each MiB), and while a large answer arrives. Default 3 000.
   */
  readonly attemptTimeoutMs?: number;
  /** How long a connection may take to come up. Default 2 000. */
  readonly connectTimeoutMs?: number;
  /**
   * Before any node was reached: when every node refuses the connection in so many rounds in a row, a call fails with
   * CONNECTION_REFUSED. Default Infinity: a cluster may be about to start.
   */
  readonly refusedRounds?: number;
  /** The first pause between attempts; it doubles, with jitter. Default 20. */
  readonly backoffMs?: number;
  /** The longest pause between attempts. Default 1 000. */
  readonly maxBackoffMs?: number;
  /** Most writes under way at once; more wait their turn. Default 1024. */
  readonly window?: number;
  /** Most writes that wait their turn, and most reads under way; more fail with CLIENT_OVERLOADED. Default 100 000. */
  readonly maxQueuedRequests?: number;
  /** Most entries of a scan that are asked for at once. Default 1000. */
  readonly pageEntries?: number;
}

/** The options with their defaults. */
export interface ClientSettings extends Required<Omit<ClientOptions, 'endpoints' | 'clusterSecret'>> {
  readonly endpoints: readonly string[];
  readonly clusterSecret: Uint8Array | undefined;
}

export interface CallOptions {
  /** How long this call may take, retries included; Infinity: as long as it takes. */
  readonly timeoutMs?: number;
  /** Ends the call with ABORTED. */
  readonly signal?: AbortSignal;
}

/**
 * How new what a read sees is, and who answers it. The first three are linearizable: a read sees every write that was
 * acknowledged before it began.
 *
 *     linearizable   the leader, after a round of messages has confirmed that it still leads. The default
 *     lease          the leader, without that round while its lease holds: it trusts that no node's clock runs more
 *                    than a tenth faster than another's
 *     follower       any node, which asks the leader how far it must have applied: the leader carries no values
 *     stale          any node, what it has applied, however old
 */
export type ReadLevel = 'linearizable' | 'lease' | 'follower' | 'stale';

export interface ReadOptions extends CallOptions {
  readonly level?: ReadLevel;
  /** Short for level `stale`. */
  readonly stale?: boolean;
  /** The node to ask, with level `follower` or `stale`; otherwise any of the given ones is. */
  readonly endpoint?: string;
}

/** Throws `INVALID_REQUEST` for an option that cannot be. */
export function clientSettings(options: ClientOptions, env: ClientEnv): ClientSettings {
  const settings: ClientSettings = {
    clusterId: '',
    timeoutMs: 10_000,
    attemptTimeoutMs: 3_000,
    connectTimeoutMs: 2_000,
    refusedRounds: Number.POSITIVE_INFINITY,
    backoffMs: 20,
    maxBackoffMs: 1_000,
    window: 1024,
    maxQueuedRequests: 100_000,
    pageEntries: 1000,
    ...options,
    clusterSecret:
      typeof options.clusterSecret === 'string' ? Buffer.from(options.clusterSecret) : options.clusterSecret,
    env,
  };
  const fault = settings.clusterSecret && secretFault(settings.clusterSecret);
  if (fault !== undefined) throw invalid(`clusterSecret: ${fault}`);
  if (settings.endpoints.length === 0) throw invalid('endpoints must name at least one node');
  for (const endpoint of settings.endpoints) addressOf(endpoint);
  checkTimeout(settings.timeoutMs);
  for (const name of TIMES) {
    if (!(isAboveZero(settings[name]) && Number.isFinite(settings[name])))
      throw invalid(`${name} must be a number of milliseconds above 0, got ${settings[name]}`);
  }
  const { refusedRounds } = settings;
  if (
    refusedRounds !== Number.POSITIVE_INFINITY &&
    !(Number.isSafeInteger(refusedRounds) && refusedRounds > 0)
  )
    throw invalid(`refusedRounds must be a whole number above 0, or Infinity, got ${refusedRounds}`);
  for (const name of COUNTS) {
    if (!(Number.isSafeInteger(settings[name]) && settings[name] > 0))
      throw invalid(`${name} must be a whole number above 0, got ${settings[name]}`);
  }
  return settings;
}

const TIMES = ['attemptTimeoutMs', 'connectTimeoutMs', 'backoffMs', 'maxBackoffMs'] as const;
const COUNTS = ['window', 'maxQueuedRequests', 'pageEntries'] as const;

/** Throws `INVALID_REQUEST` if that is no time that a call may take. Infinity is one. */
export function checkTimeout(timeoutMs: number): void {
  if (!isAboveZero(timeoutMs))
    throw invalid(`timeoutMs must be a number of milliseconds above 0, or Infinity, got ${timeoutMs}`);
}

/** Options may come from programs without types. */
function isAboveZero(value: unknown): boolean {
  return typeof value === 'number' && value > 0;
}

/** Throws `INVALID_REQUEST`. */
export function addressOf(endpoint: string): Address {
  try {
    return parseAddress(endpoint);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
}

export function invalid(message: string): RaftreeClientError {
  return new RaftreeClientError('INVALID_REQUEST', message, 'notCommitted');
}
