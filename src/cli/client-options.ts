/** The options that all client commands share. */
import { type Command, InvalidArgumentError } from 'commander';
import { RaftreeClient } from '../client/client.js';
import type { ClientOptions } from '../client/client-options.js';
import { parseAddress } from '../env/env.js';
import { errorMessage } from '../env/errors.js';
import { realFileSystem } from '../env/real/file-system.js';
import { MAX_NODE_ID } from '../protocol/limits.js';
import { readSecretFile } from '../security/cluster-secret.js';
import { UsageError } from './exit-codes.js';
import type { KeptClients } from './kept-clients.js';

export interface CommonOptions {
  readonly endpoints: readonly string[];
  readonly json?: true;
  readonly wait?: true;
  readonly secretFile?: string;
  readonly timeout: number;
  /** The clients of the shell in which the command runs. Absent: the command has a client of its own. */
  readonly kept?: KeptClients;
}

const DEFAULT_ENDPOINTS = '127.0.0.1:7001';
/** If every node refuses the connection this often in a row, no node is running there. */
const REFUSED_ROUNDS = 3;

export function withClientOptions(command: Command, defaultTimeoutMs = 10_000): Command {
  return command
    .option(
      '--endpoints <host:port,…>',
      'client addresses of one or more nodes (default: RAFTREE_ENDPOINTS, or 127.0.0.1:7001)',
      parseEndpoints,
    )
    .option(
      '--secret-file <path>',
      'the cluster secret, needed for member changes and leadership transfer (default: RAFTREE_CLUSTER_SECRET_FILE)',
    )
    .option('--json', 'print results as JSON')
    .option('--timeout <ms>', 'time limit with all retries, or "infinity"', parseTimeout, defaultTimeoutMs)
    .option('--wait', 'keep trying when no node listens at the endpoints')
    .hook('preAction', (_, action) => {
      if (action.getOptionValue('endpoints') === undefined)
        action.setOptionValue('endpoints', endpointsOfEnvironment());
    });
}

/** Read only when a command connects, so that other commands do not fail on a wrong value. */
function endpointsOfEnvironment(): readonly string[] {
  const given = process.env.RAFTREE_ENDPOINTS;
  if (given === undefined) return [DEFAULT_ENDPOINTS];
  try {
    return parseEndpoints(given);
  } catch (error) {
    throw new UsageError(`the environment variable RAFTREE_ENDPOINTS: ${errorMessage(error)}`);
  }
}

export function parseEndpoints(text: string): readonly string[] {
  const endpoints = text.split(',').map((endpoint) => endpoint.trim());
  for (const endpoint of endpoints) {
    try {
      if (parseAddress(endpoint).port === 0) throw new Error(`"${endpoint}": no node listens on port 0`);
    } catch (error) {
      throw new InvalidArgumentError(errorMessage(error));
    }
  }
  return [...new Set(endpoints)];
}

/** Parses a whole number from 1 to `most`. */
export function countUpTo(most: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!Number.isSafeInteger(count) || count < 1 || count > most)
      throw new InvalidArgumentError(`expected a whole number from 1 to ${most}`);
    return count;
  };
}

export const parseCount: (text: string) => number = countUpTo(Number.MAX_SAFE_INTEGER);

/** The same limits as in node.json. */
export const parseNodeId: (text: string) => number = countUpTo(MAX_NODE_ID);

export function parseTimeout(text: string): number {
  return text.toLowerCase() === 'infinity' ? Number.POSITIVE_INFINITY : parseCount(text);
}

export function parseVersion(text: string): number {
  const version = Number(text);
  if (!Number.isSafeInteger(version) || version < 0)
    throw new InvalidArgumentError(`expected a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  return version;
}

/** Runs with a client. One that is not kept is closed afterwards, in any case. */
export async function withClient<T>(
  options: CommonOptions,
  run: (client: RaftreeClient) => Promise<T>,
  special: Pick<ClientOptions, 'window'> = {},
): Promise<T> {
  const given = { ...clientOptionsOf(options), ...special };
  if (options.kept) return options.kept.with(given, run);
  const client = new RaftreeClient(given);
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

/** Throws `INVALID_CONFIG` for an invalid secret file. */
function clientOptionsOf(options: CommonOptions): ClientOptions {
  return {
    endpoints: options.endpoints,
    timeoutMs: options.timeout,
    ...(options.wait ? {} : { refusedRounds: REFUSED_ROUNDS }),
    ...clusterSecretOf(options),
  };
}

function clusterSecretOf({ secretFile }: CommonOptions): { clusterSecret?: Uint8Array } {
  // An empty variable counts as unset.
  const file = secretFile ?? (process.env.RAFTREE_CLUSTER_SECRET_FILE || undefined);
  if (file === undefined) return {};
  const [clusterSecret] = readSecretFile(realFileSystem, file).secrets;
  return clusterSecret ? { clusterSecret } : {};
}
