/**
 * node.json: what one node needs to know. Read once at start; every fault is reported at once, with its place in the
 * file, what was found there and what is accepted. Unknown keys are faults.
 */
import * as path from 'node:path';
import { z } from 'zod';
import { isConfigurableEngine } from '../engines/engine-kinds.js';
import { type Env, type Logger, parseAddress } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { DEFAULT_KV_LIMITS, MAX_REQUEST_BYTES, MAX_VALUE_BYTES } from '../kv/limits.js';
import { DEFAULT_HISTORY_LIMITS } from '../kv/watch/history-budget.js';
import { isLoopback } from '../net/hosts.js';
import { MAX_NODE_ID } from '../protocol/limits.js';
import { MAX_SECRETS, readSecretFile, secretFault } from '../security/cluster-secret.js';
import { addressProblem } from './member-context.js';
import { checkPlacementConfig, placementSchema } from './placement-config.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** So many of the largest requests fit into maxBufferedBytes: several can be under way in the part for requests. */
const REQUESTS_IN_BUFFERS = 8;

const address = z.string().refine(isAddress, { error: 'expected "host:port" with a port from 0 to 65535' });
/** An address that the others use. */
const toldAddress = address.superRefine((value, context) => {
  const problem = isAddress(value) ? addressProblem(value) : undefined;
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});
const nodeId = z.int().min(1).max(MAX_NODE_ID);
const milliseconds = (min: number, max: number) => z.int().min(min).max(max);
const byteCount = (min: number, max: number) => z.int().min(min).max(max);

export const MAX_LOCATION_LENGTH = 255;

const schema = z
  .strictObject({
    clusterId: z.string().min(1).max(128),
    nodeId,
    /** Relative to the folder of node.json. */
    dataDirectory: z.string().min(1),
    nodes: z
      .array(z.strictObject({ id: nodeId, client: toldAddress, peer: toldAddress }))
      .min(1)
      .max(9),
    /** The node joins a cluster that runs: `nodes` only says where to find the others; a leader must add it. */
    join: z.boolean().default(false),
    /** How the keys of a new cluster are divided; the same on all nodes. Without it there is one tablet. */
    placement: placementSchema,
    /** Where this node listens, if that differs from the addresses that the others use. */
    listen: z.strictObject({ client: address.optional(), peer: address.optional() }).default({}),
    security: z
      .strictObject({
        /** The cluster secret. Of several, the first one is used for own proofs, and all are accepted. */
        clusterSecret: z
          .union([z.string(), z.array(z.string()).min(1).max(MAX_SECRETS)], {
            error: `expected a text, or a list of at most ${MAX_SECRETS}`,
          })
          .optional(),
        /** A file with the secret, or with one a line; relative to the folder of node.json. */
        clusterSecretFile: z.string().min(1).optional(),
        /** Peers and operators are let in from other machines without a secret. */
        insecure: z.boolean().default(false),
      })
      .prefault({}),
    /** The HTTP door; without it there is none. */
    http: z
      .strictObject({
        listen: address,
        /** Files with a token, or with one a line; relative to the folder of node.json. */
        tokenFile: z.string().min(1).optional(),
        adminTokenFile: z.string().min(1).optional(),
        maxConnections: z.int().min(1).max(10_000).default(256),
        /** Bodies and answers of all requests together. */
        maxBufferedBytes: byteCount(MIB, 64 * 1024 * MIB).default(64 * MIB),
        /** For a whole request, and for each 64 KiB of an answer. */
        clientTimeoutMs: milliseconds(100, 3_600_000).default(30_000),
      })
      .optional(),
    /** The door for clients of Redis; without it there is none. */
    resp: z
      .strictObject({
        listen: address,
        /** A file with a token, or with one a line, for AUTH; relative to the folder of node.json. */
        tokenFile: z.string().min(1).optional(),
        /** Takes FLUSHALL and FLUSHDB: they delete all keys. */
        allowFlush: z.boolean().default(false),
        maxConnections: z.int().min(1).max(10_000).default(1024),
        /** Answers to all clients together. */
        maxBufferedBytes: byteCount(MIB, 64 * 1024 * MIB).default(64 * MIB),
        /** A client that sends nothing for so long is disconnected. */
        idleTimeoutMs: milliseconds(100, 7 * 24 * 3_600_000).default(3_600_000),
      })
      .optional(),
    /** The changes that are kept for watchers, of all groups of the node together. */
    watch: z
      .strictObject({
        /** At least two of the largest requests are kept. */
        maxHistoryBytes: byteCount(MIB, 64 * 1024 * MIB).default(DEFAULT_HISTORY_LIMITS.maxBytes),
        historyMs: milliseconds(1000, 7 * 24 * 3_600_000).default(DEFAULT_HISTORY_LIMITS.keepMs),
      })
      .prefault({}),
    raft: z
      .strictObject({
        heartbeatMs: milliseconds(10, 10_000).default(100),
        electionTimeoutMinMs: milliseconds(50, 60_000).default(1000),
        electionTimeoutMaxMs: milliseconds(50, 120_000).default(2000),
        /** A group without work for so long falls quiet: no heartbeats until there is work. 0: never. */
        quietAfterMs: milliseconds(0, 3_600_000).default(0),
      })
      .prefault({}),
    /** Moves of replicas and leaders in a cluster of several tablets. It counts at the node that leads the map. */
    balance: z
      .strictObject({
        everyMs: milliseconds(100, 3_600_000).default(10_000),
        /** The replicas of a node that is silent for so long are replaced. */
        deadAfterMs: milliseconds(500, 7 * 24 * 3_600_000).default(300_000),
        /** Of all nodes together, at the same time. */
        maxMoves: z.int().min(1).max(1000).default(4),
      })
      .prefault({}),
    /** Where this node stands: replicas of a tablet are kept apart. */
    location: z
      .strictObject({
        zone: z.string().max(MAX_LOCATION_LENGTH).default(''),
        host: z.string().max(MAX_LOCATION_LENGTH).default(''),
      })
      .prefault({}),
    limits: z
      .strictObject({
        maxValueBytes: byteCount(1, MAX_VALUE_BYTES).default(DEFAULT_KV_LIMITS.maxValueBytes),
        maxRequestBytes: byteCount(1, MAX_REQUEST_BYTES).default(DEFAULT_KV_LIMITS.maxRequestBytes),
        maxPendingRequests: z.int().min(1).max(1_000_000).default(DEFAULT_KV_LIMITS.maxPendingRequests),
        maxConnections: z.int().min(1).max(100_000).default(4096),
        /** From one address other than this machine's. */
        maxConnectionsPerAddress: z.int().min(1).max(100_000).default(1024),
        /** What all connections buffer together: received, in progress, unsent. Default: `bufferedBytesOf`. */
        maxBufferedBytes: byteCount(16 * MIB, 64 * 1024 * MIB).optional(),
        /** A client that sends nothing, not even a ping, for so long is disconnected. */
        clientIdleTimeoutMs: milliseconds(1000, 7 * 24 * 3_600_000).default(600_000),
        maxUncommittedBytes: byteCount(64 * KIB, 1024 * MIB).default(64 * MIB),
      })
      .prefault({}),
    storage: z
      .strictObject({
        /** What keeps the keys and values; the same on all nodes. */
        engine: z
          .string()
          .refine(isConfigurableEngine, {
            error: 'expected "lsm", "memory", or "level:PACKAGE" with the name of a package',
          })
          .default('lsm'),
        /** The tree's own write-ahead log: `none` replays the Raft log after a crash, `buffered` shortens that. */
        treeLog: z.enum(['none', 'buffered']).default('none'),
        writeBufferBytes: byteCount(64 * KIB, 1024 * MIB).default(32 * MIB),
        blockCacheBytes: byteCount(0, 16 * 1024 * MIB).default(64 * MIB),
        raftSegmentBytes: byteCount(64 * KIB, 1024 * MIB).default(64 * MIB),
        maxRaftLogBytes: byteCount(64 * KIB, 16 * 1024 * MIB).default(256 * MIB),
        /** While a member is given a snapshot the log may grow to this, if that is more than maxRaftLogBytes. */
        maxSnapshotLogBytes: byteCount(64 * KIB, 1024 * 1024 * MIB).default(8 * 1024 * MIB),
        /** Entries that stay in a log that is cut for its size: members a little behind need no snapshot. */
        trailingEntries: z.int().min(0).max(10_000_000).default(10_000),
        snapshotChunkBytes: byteCount(512, 8 * MIB).default(MIB),
        snapshotBytesPerSecond: byteCount(64 * KIB, 16 * 1024 * MIB).default(64 * MIB),
        /** So many snapshots are sent, and so many received, at the same time; others wait for their turn. */
        maxConcurrentSnapshots: z.int().min(1).max(1000).default(8),
      })
      .prefault({}),
    log: z
      .strictObject({
        level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
        format: z.enum(['auto', 'pretty', 'json']).default('auto'),
      })
      .prefault({}),
  })
  .superRefine((config, context) => {
    const fault = (at: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path: at, message });
    const seen = new Map<string, string>();
    config.nodes.forEach((node, i) => {
      for (const field of ['id', 'client', 'peer'] as const) {
        const value = String(node[field]);
        const key = field === 'id' ? `id ${value}` : value.toLowerCase();
        const other = seen.get(key);
        if (other) fault(['nodes', i, field], `expected a value of its own, but ${other} has it too`);
        seen.set(key, `nodes[${i}].${field}`);
      }
    });
    if (!config.nodes.some((node) => node.id === config.nodeId)) {
      fault(
        ['nodeId'],
        `expected the id of one of "nodes" (${config.nodes.map((node) => node.id).join(', ')})`,
      );
    }
    checkPlacementConfig(config.placement, config.nodes.length, config.join, (at, message) =>
      fault(['placement', ...at], message),
    );
    const { heartbeatMs, electionTimeoutMinMs, electionTimeoutMaxMs } = config.raft;
    if (electionTimeoutMinMs < 3 * heartbeatMs) {
      fault(
        ['raft', 'electionTimeoutMinMs'],
        `expected at least three times heartbeatMs (${3 * heartbeatMs})`,
      );
    }
    // A node that misses one question is not dead.
    if (config.balance.deadAfterMs < 3 * config.balance.everyMs)
      fault(
        ['balance', 'deadAfterMs'],
        `expected at least three times everyMs (${3 * config.balance.everyMs})`,
      );
    // Nodes whose timeouts are alike campaign together and split the vote.
    if (electionTimeoutMaxMs < electionTimeoutMinMs + heartbeatMs) {
      fault(
        ['raft', 'electionTimeoutMaxMs'],
        `expected at least heartbeatMs more than electionTimeoutMinMs (${electionTimeoutMinMs + heartbeatMs})`,
      );
    }
    // With a longer time the chunk would count as lost before the next may be sent.
    const { snapshotChunkBytes, snapshotBytesPerSecond } = config.storage;
    const mostChunkBytes = Math.floor((snapshotBytesPerSecond * electionTimeoutMaxMs) / 1000);
    if (snapshotChunkBytes > mostChunkBytes) {
      fault(
        ['storage', 'snapshotChunkBytes'],
        `expected at most what snapshotBytesPerSecond allows in raft.electionTimeoutMaxMs (${mostChunkBytes}): ` +
          'make it smaller, or snapshotBytesPerSecond larger',
      );
    }
    const { maxBufferedBytes, maxRequestBytes } = config.limits;
    if (maxBufferedBytes !== undefined && maxBufferedBytes < REQUESTS_IN_BUFFERS * maxRequestBytes) {
      fault(
        ['limits', 'maxBufferedBytes'],
        `expected at least ${REQUESTS_IN_BUFFERS} times maxRequestBytes (${REQUESTS_IN_BUFFERS * maxRequestBytes})`,
      );
    }
    const { clusterSecret, clusterSecretFile, insecure } = config.security;
    const hasSecret = clusterSecret !== undefined || clusterSecretFile !== undefined;
    for (const [i, text] of [clusterSecret ?? []].flat().entries()) {
      const reason = secretFault(text);
      const at = typeof clusterSecret === 'string' ? [] : [i];
      if (reason !== undefined) fault(['security', 'clusterSecret', ...at], reason);
    }
    if (clusterSecret !== undefined && clusterSecretFile !== undefined)
      fault(['security', 'clusterSecretFile'], 'expected nothing beside clusterSecret: remove one of them');
    if (hasSecret && insecure)
      fault(['security', 'insecure'], 'expected false beside a cluster secret: remove one of them');
    const own = config.nodes.find((node) => node.id === config.nodeId);
    const peerAddress = config.listen.peer ?? own?.peer;
    if (!hasSecret && !insecure && peerAddress && isAddress(peerAddress)) {
      const { host } = parseAddress(peerAddress);
      if (!isLoopback(host)) {
        fault(
          ['security', 'clusterSecret'],
          `expected a secret, because peers are listened to on ${peerAddress}, which is not loopback: without one whoever ` +
            'reaches that port is taken for a member. Set clusterSecret or clusterSecretFile, or accept that with "insecure": true',
        );
      }
    }
    for (const [name, protocol] of [
      ['http', 'HTTP'],
      ['resp', 'RESP'],
    ] as const) {
      const door = config[name];
      if (!door || insecure || door.tokenFile !== undefined || !isAddress(door.listen)) continue;
      if (isLoopback(parseAddress(door.listen).host)) continue;
      fault(
        [name, 'tokenFile'],
        `expected a file with a token, because ${protocol} is listened to on ${door.listen}, which is not loopback: without ` +
          'one whoever reaches that port reads and writes all keys',
      );
    }
    if (config.limits.maxRequestBytes < config.limits.maxValueBytes) {
      fault(
        ['limits', 'maxRequestBytes'],
        `expected at least maxValueBytes (${config.limits.maxValueBytes})`,
      );
    }
  });

/** `limits.maxBufferedBytes`, or what it is where node.json does not say. */
export function bufferedBytesOf({ maxBufferedBytes, maxRequestBytes }: NodeConfig['limits']): number {
  return maxBufferedBytes ?? Math.max(256 * MIB, REQUESTS_IN_BUFFERS * maxRequestBytes);
}

/**
 * Settings of a node, complete and checked.
 * @interface
 */
export type NodeConfig = z.output<typeof schema>;
/**
 * Settings as node.json has them: what has a default may be left out.
 * @interface
 */
export type NodeConfigInput = z.input<typeof schema>;

/**
 * Checks a configuration; `source` names it in errors, `directory` is what a relative dataDirectory starts from.
 * Throws `INVALID_CONFIG` listing every fault.
 */
export function parseNodeConfig(value: unknown, source: string, directory: string): NodeConfig {
  const result = schema.safeParse(value);
  if (!result.success) {
    const faults = result.error.issues.flatMap((issue) => describeIssue(issue, value));
    throw new RaftreeError(
      'INVALID_CONFIG',
      `${source} has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
      { info: { faults } },
    );
  }
  const { data } = result;
  const dataDirectory = path.resolve(directory, data.dataDirectory);
  const { clusterSecretFile } = data.security;
  const security = clusterSecretFile
    ? { ...data.security, clusterSecretFile: path.resolve(directory, clusterSecretFile) }
    : data.security;
  const { http } = data;
  const resolved = (name: 'tokenFile' | 'adminTokenFile') =>
    http?.[name] === undefined ? {} : { [name]: path.resolve(directory, http[name]) };
  const door = http && { ...http, ...resolved('tokenFile'), ...resolved('adminTokenFile') };
  const { resp } = data;
  const redis =
    resp?.tokenFile === undefined ? resp : { ...resp, tokenFile: path.resolve(directory, resp.tokenFile) };
  return { ...data, dataDirectory, security, http: door, resp: redis };
}

/**
 * The secrets of a configuration; none if none is set. Throws `INVALID_CONFIG` for a secret file that cannot be used.
 */
export function clusterSecretsOf(
  { clusterSecret, clusterSecretFile }: NodeConfig['security'],
  env: Pick<Env, 'fs'>,
  logger: Pick<Logger, 'warn'>,
): readonly Uint8Array[] {
  if (clusterSecretFile !== undefined) return secretsIn(clusterSecretFile, env, logger);
  return [clusterSecret ?? []].flat().map((text) => Buffer.from(text));
}

/** The secrets, or tokens, of a file. Throws `INVALID_CONFIG`. */
export function secretsIn(
  file: string,
  { fs }: Pick<Env, 'fs'>,
  logger: Pick<Logger, 'warn'>,
): readonly Uint8Array[] {
  const { secrets, isReadableByOthers } = readSecretFile(fs, file);
  if (isReadableByOthers)
    logger.warn(
      { file },
      'every user of this machine may read the secret file: take that right away (chmod o-r)',
    );
  return secrets;
}

/** Reads and checks a node.json. Throws `INVALID_CONFIG`. */
export function readNodeConfig(env: Pick<Env, 'fs'>, file: string): NodeConfig {
  let text: string;
  try {
    text = env.fs.readFile(file).toString('utf8');
  } catch (error) {
    const reason = errorCode(error) === 'ENOENT' ? 'it does not exist' : errorMessage(error);
    throw new RaftreeError('INVALID_CONFIG', `${file} cannot be read: ${reason}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new RaftreeError('INVALID_CONFIG', `${file} is not JSON: ${errorMessage(error)}`);
  }
  return parseNodeConfig(value, file, path.dirname(path.resolve(file)));
}

function isAddress(text: string): boolean {
  try {
    parseAddress(text);
    return true;
  } catch {
    return false;
  }
}

function describeIssue(issue: z.core.$ZodIssue, root: unknown): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${pathText([...issue.path, key])}: unknown key`);
  }
  const found = valueAt(root, issue.path);
  const isSecret = issue.path[0] === 'security' && issue.path[1] === 'clusterSecret';
  const shown = found === undefined ? 'nothing' : isSecret ? 'a value (not shown)' : JSON.stringify(found);
  const accepted = issue.message.replace(/^Invalid (?:input|option): /, '').replace(/, received .*$/, '');
  return [
    `${pathText(issue.path)}: found ${shown.length > 60 ? `${shown.slice(0, 60)}…` : shown}; ${accepted}`,
  ];
}

function pathText(at: readonly PropertyKey[]): string {
  if (at.length === 0) return '(the whole file)';
  return at
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i > 0 ? '.' : ''}${String(part)}`))
    .join('');
}

function valueAt(root: unknown, at: readonly PropertyKey[]): unknown {
  let value = root;
  for (const part of at) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}
