/** Options of a client and of its calls. */
import { type Address, type Env, parseAddress } from '../env/env.js';
import { secretFault } from '../security/cluster-secret.js';
import { RaftreeClientError } from './client-error.js';

/** The parts of `Env` that a client needs. */
export type ClientEnv = Pick<Env, 'clock' | 'timers' | 'random' | 'net'>;

export interface ClientOptions {
  /** Addresses (`host:port`) of the client ports of one or more nodes. */
  readonly endpoints: readonly string[];
  /** The environment. Default: the operating system. */
  readonly env?: ClientEnv;
  /** The cluster that must answer. Default: empty, which means any cluster. */
  readonly clusterId?: string;
  /**
   * The cluster's secret, at least 16 bytes. If the cluster has one, it is needed to change members and to transfer
   * leadership. The client proves that it has the secret without sending it.
   */
  readonly clusterSecret?: string | Uint8Array | undefined;
  /** Time limit of a call, with all retries; Infinity for none. Default: 10 000. */
  readonly timeoutMs?: number;
  /**
   * How long one attempt waits for an answer before another node is tried. A large request has more time (a second per
   * MiB), and the time is extended while a large answer arrives. Default: 3 000.
   */
  readonly attemptTimeoutMs?: number;
  /** Time limit of a connect. Default: 2 000. */
  readonly connectTimeoutMs?: number;
  /**
   * Before any node was reached: if every node refuses the connection in this many rounds in a row, a call fails with
   * CONNECTION_REFUSED. Default: Infinity, because the cluster may be about to start.
   */
  readonly refusedRounds?: number;
  /** The first pause between attempts. It doubles, with jitter. Default: 20. */
  readonly backoffMs?: number;
  /** The longest pause between attempts. Default: 1 000. */
  readonly maxBackoffMs?: number;
  /** Largest number of concurrent writes. Further writes are queued. Default: 1024. */
  readonly window?: number;
  /**
   * Largest number of queued writes, and of concurrent reads. Further calls fail with CLIENT_OVERLOADED. Default: 100
   * 000.
   */
  readonly maxQueuedRequests?: number;
  /** Largest number of entries per request of a scan. Default: 1000. */
  readonly pageEntries?: number;
}

/** The options with their defaults filled in. */
export interface ClientSettings extends Required<Omit<ClientOptions, 'endpoints' | 'clusterSecret'>> {
  readonly endpoints: readonly string[];
  readonly clusterSecret: Uint8Array | undefined;
}

export interface CallOptions {
  /** Time limit of this call, with all retries; Infinity for none. */
  readonly timeoutMs?: number;
  /** Ends the call with ABORTED. */
  readonly signal?: AbortSignal;
}

/**
 * The consistency of a read, and which node answers it. The first three are linearizable: a read sees every write that
 * was acknowledged before the read began.
 *
 *     linearizable   the leader, after a round of heartbeats has confirmed that it still leads. The default
 *     lease          the leader, without that round while its lease holds. It relies on clocks: none may run more than
 *                    a tenth faster than another
 *     follower       any node; it asks the leader for the index that it must have applied. The leader sends no values
 *     stale          any node, what it has applied, however old
 */
export type ReadLevel = 'linearizable' | 'lease' | 'follower' | 'stale';

export interface ReadOptions extends CallOptions {
  readonly level?: ReadLevel;
  /** Short for level `stale`. */
  readonly stale?: boolean;
  /**
   * The node to ask, for level `follower` or `stale`. Default: one of the client's endpoints that holds the tablet, or
   * another node that does.
   */
  readonly endpoint?: string;
}

/** Throws `INVALID_REQUEST` for an invalid option. */
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

/** Throws `INVALID_REQUEST` for an invalid timeout. Infinity is valid. */
export function checkTimeout(timeoutMs: number): void {
  if (!isAboveZero(timeoutMs))
    throw invalid(`timeoutMs must be a number of milliseconds above 0, or Infinity, got ${timeoutMs}`);
}

/** Takes `unknown`, because options may come from programs without types. */
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
