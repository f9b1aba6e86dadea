/**
 * Who a data folder belongs to, and whom it knows.
 *
 *     identity.json   cluster id, node id, and the store id: random, made with the folder
 *     peers.json      the first store id that every other node showed, remembered before its first message counts
 *
 * A node that comes back under its old id with an empty folder has forgotten its votes; its new store id gives it away.
 */
import type { Env } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';

export interface NodeIdentity {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly storeId: string;
}

/**
 * The identity of a locked data folder, made if the folder is new.
 * Throws `IDENTITY_MISMATCH` for a folder of another node or cluster, `CORRUPTION` if its identity cannot be read.
 */
export function openIdentity(env: Env, directory: string, clusterId: string, nodeId: number): NodeIdentity {
  const path = `${directory}/identity.json`;
  const present = readJson(env, path);
  if (present === undefined) {
    const identity = { clusterId, nodeId, storeId: env.random.bytes(16).toString('hex') };
    replaceFile(env, directory, 'identity.json', identity);
    return identity;
  }
  if (!isIdentity(present)) throw unreadable(path);
  if (present.clusterId !== clusterId || present.nodeId !== nodeId) {
    throw new RaftreeError(
      'IDENTITY_MISMATCH',
      `${directory} belongs to node ${present.nodeId} of cluster "${present.clusterId}", not to node ${nodeId} of "${clusterId}"; ` +
        'correct nodeId, clusterId or dataDirectory in node.json',
    );
  }
  return present;
}

/** Ids are remembered for ever, those of former members too. */
const MAX_KNOWN = 1000;

export class KnownPeers {
  readonly #env: Env;
  readonly #directory: string;
  readonly #storeIds: Map<string, string>;

  /** Throws `CORRUPTION` if peers.json cannot be read. */
  constructor(env: Env, directory: string) {
    this.#env = env;
    this.#directory = directory;
    const path = `${directory}/peers.json`;
    const present = readJson(env, path) ?? {};
    if (!isStringRecord(present)) throw unreadable(path);
    this.#storeIds = new Map(Object.entries(present));
  }

  /**
   * Remembers the store id of a node that shows itself for the first time, durably; of any other, compares it.
   * Returns what is wrong, or undefined. Throws what the disk throws.
   */
  check(nodeId: number, storeId: string): string | undefined {
    const known = this.#storeIds.get(String(nodeId));
    if (known === storeId) return undefined;
    if (known !== undefined) {
      return `node ${nodeId} shows store ${storeId}, but is known with store ${known}: its data folder was lost or replaced`;
    }
    if (this.#storeIds.size >= MAX_KNOWN) return `${MAX_KNOWN} nodes are known already`;
    const next = new Map(this.#storeIds).set(String(nodeId), storeId);
    replaceFile(this.#env, this.#directory, 'peers.json', Object.fromEntries(next));
    this.#storeIds.set(String(nodeId), storeId);
    return undefined;
  }
}

/** Whole and durable, or not at all. */
function replaceFile(env: Env, directory: string, name: string, content: unknown): void {
  const temporary = `${directory}/${name}.tmp`;
  if (env.fs.exists(temporary)) env.fs.unlink(temporary);
  const file = env.fs.open(temporary, 'create');
  try {
    file.writeSync([Buffer.from(`${JSON.stringify(content, undefined, 2)}\n`)], 0);
    file.syncNow();
  } finally {
    file.close();
  }
  env.fs.rename(temporary, `${directory}/${name}`);
  env.fs.syncDirectory(directory);
}

function readJson(env: Env, path: string): unknown {
  if (!env.fs.exists(path)) return undefined;
  try {
    return JSON.parse(env.fs.readFile(path).toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) throw unreadable(path);
    throw error;
  }
}

function unreadable(path: string): RaftreeError {
  return new RaftreeError('CORRUPTION', `${path} is damaged; restore it from a backup`, {
    info: { path },
  });
}

function isIdentity(value: unknown): value is NodeIdentity {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Partial<Record<keyof NodeIdentity, unknown>>;
  return (
    typeof fields.clusterId === 'string' &&
    typeof fields.nodeId === 'number' &&
    typeof fields.storeId === 'string'
  );
}

function isStringRecord(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((storeId) => typeof storeId === 'string')
  );
}
