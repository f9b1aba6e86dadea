/**
 * Who a data folder belongs to, and whom it knows.
 *
 *     identity.json   cluster id, node id; the store id: random, made with the folder; how far the birth of its cluster
 *                     has come (birth.ts); for how long it may have promised not to vote
 *     peers.json      the first store id that every other node showed, remembered before its first message counts
 *
 * A node that comes back under its old id with an empty folder has forgotten its votes; its new store id gives it away,
 * and it finds a cluster that was born without it. A folder of which a part is missing is damaged, never new.
 */
import { z } from 'zod';
import type { Env } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { type BirthState, UNTOUCHED } from './birth.js';

export interface NodeIdentity {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly storeId: string;
}

const content = z.object({
  clusterId: z.string(),
  nodeId: z.int(),
  storeId: z.string(),
  /** Not in folders of version 0.1. */
  birth: z
    .object({
      phase: z.enum(['untouched', 'proposed', 'adopted', 'born']),
      incarnation: z.string().regex(/^(?:[0-9a-f]{32})?$/),
      founders: z.array(z.object({ id: z.int(), storeId: z.string() })).readonly(),
    })
    .optional(),
  promisedMs: z.number().min(0).optional(),
});

/** What identity.json holds. */
export class FolderIdentity {
  readonly #env: Env;
  readonly #directory: string;
  #content: z.output<typeof content>;

  /**
   * The identity of a locked data folder, made if the folder is new.
   * Throws `IDENTITY_MISMATCH` for a folder of another node or cluster, `CORRUPTION` if its identity cannot be read, or
   * is missing beside a Raft log.
   */
  static open(env: Env, directory: string, clusterId: string, nodeId: number): FolderIdentity {
    const path = `${directory}/identity.json`;
    const present = readJson(env, path);
    if (present === undefined) {
      if (env.fs.exists(`${directory}/raft`) && env.fs.list(`${directory}/raft`).length > 0) {
        throw damaged(directory, 'identity.json is missing beside the Raft log');
      }
      const identity = { clusterId, nodeId, storeId: env.random.bytes(16).toString('hex'), birth: UNTOUCHED };
      replaceFile(env, directory, 'identity.json', identity);
      return new FolderIdentity(env, directory, identity);
    }
    const read = content.safeParse(present);
    if (!read.success) throw unreadable(path);
    const { data } = read;
    if (data.clusterId !== clusterId || data.nodeId !== nodeId) {
      throw new RaftreeError(
        'IDENTITY_MISMATCH',
        `${directory} belongs to node ${data.nodeId} of cluster "${data.clusterId}", not to node ${nodeId} of "${clusterId}"; ` +
          'correct nodeId, clusterId or dataDirectory in node.json',
      );
    }
    return new FolderIdentity(env, directory, data);
  }

  private constructor(env: Env, directory: string, identity: z.output<typeof content>) {
    this.#env = env;
    this.#directory = directory;
    this.#content = identity;
  }

  get node(): NodeIdentity {
    const { clusterId, nodeId, storeId } = this.#content;
    return { clusterId, nodeId, storeId };
  }

  get birth(): BirthState {
    return this.#content.birth ?? UNTOUCHED;
  }

  /** For so long an earlier process may have promised not to vote; 0 if none has run. */
  get promisedMs(): number {
    return this.#content.promisedMs ?? 0;
  }

  /** Durable when it returns. Throws what the disk throws. */
  record(changes: { readonly birth?: BirthState; readonly promisedMs?: number }): void {
    const next = { ...this.#content, ...changes };
    replaceFile(this.#env, this.#directory, 'identity.json', next);
    this.#content = next;
  }

  /**
   * Compares what the Raft log says with what is remembered of it; returns the state of the birth.
   * Throws `CORRUPTION` if the log was begun and is gone, or is another cluster's.
   */
  checkLog(incarnation: string | undefined): BirthState {
    const { birth } = this.#content;
    if (incarnation === undefined) {
      if (!birth || birth.phase === 'born') throw damaged(this.#directory, 'its Raft log is missing');
      return birth;
    }
    // Begun by version 0.1, which knew no births.
    if (!birth) return { phase: 'born', incarnation, founders: [] };
    if (birth.phase === 'born' && !this.#env.fs.exists(`${this.#directory}/${PEERS_FILE}`))
      throw damaged(this.#directory, `${PEERS_FILE} is missing`);
    if (birth.incarnation !== incarnation) {
      throw damaged(
        this.#directory,
        `its Raft log is of incarnation ${incarnation}, not ${birth.incarnation}`,
      );
    }
    return birth;
  }
}

function damaged(directory: string, what: string): RaftreeError {
  return new RaftreeError(
    'CORRUPTION',
    `${directory} is not whole: ${what}. Restore all of it from one copy; or remove this node from the cluster ` +
      'and add it again, empty, under a new id',
    { info: { path: directory } },
  );
}

const PEERS_FILE = 'peers.json';

/** With more remembered, those of former members go. */
const MAX_KNOWN = 1000;

export class KnownPeers {
  readonly #env: Env;
  readonly #directory: string;
  readonly #storeIds: Map<string, string>;
  #members: ReadonlySet<number> = new Set();
  #ofMembers: ReadonlyMap<number, string> = new Map();

  /** Throws `CORRUPTION` if peers.json cannot be read. */
  constructor(env: Env, directory: string) {
    this.#env = env;
    this.#directory = directory;
    const path = `${directory}/${PEERS_FILE}`;
    const present = readJson(env, path) ?? {};
    if (!isStringRecord(present)) throw unreadable(path);
    this.#storeIds = new Map(Object.entries(present));
  }

  /** Why a node that shows this store is not the one that it says; undefined if it may be. */
  refuse(nodeId: number, storeId: string): string | undefined {
    const known = this.#ofMembers.get(nodeId) ?? this.#storeIds.get(String(nodeId));
    if (known === storeId) return undefined;
    if (known !== undefined) {
      return (
        `node ${nodeId} shows another data folder than the one it is known with: the folder was lost or replaced; ` +
        'remove the node (`raftree member remove`), then add it again'
      );
    }
    return undefined;
  }

  /**
   * Compares the store id that a node shows; of a member that shows itself for the first time it remembers it, durably. Of
   * nodes that are no members nothing is kept: whoever reaches the peer port may have any number of names.
   * Returns what is wrong, or undefined. Throws what the disk throws.
   */
  remember(nodeId: number, storeId: string): string | undefined {
    const refusal = this.refuse(nodeId, storeId);
    const isKnown = this.#storeIds.get(String(nodeId)) === storeId;
    if (refusal !== undefined || isKnown || !this.#members.has(nodeId)) return refusal;
    if (this.#storeIds.size >= MAX_KNOWN) {
      for (const id of this.#storeIds.keys()) if (!this.#members.has(Number(id))) this.#storeIds.delete(id);
    }
    this.begin([{ id: nodeId, storeId }]);
    return undefined;
  }

  /**
   * Who belongs to the cluster, and what the configuration in force says of the members' stores: that counts more than whom
   * this node happens to have met.
   */
  follow(members: readonly { readonly id: number; readonly storeId?: string | undefined }[]): void {
    this.#members = new Set(members.map(({ id }) => id));
    this.#ofMembers = new Map(
      members.flatMap(({ id, storeId }) => (storeId ? [[id, storeId] as const] : [])),
    );
  }

  /** Forgets nodes that were removed, durably: each may come back with a new folder when it is added again. */
  forget(nodeIds: readonly number[]): void {
    if (!nodeIds.some((id) => this.#storeIds.delete(String(id)))) return;
    for (const id of nodeIds) this.#storeIds.delete(String(id));
    this.begin([]);
  }

  /** Who has this data folder, of all that are known. */
  ownerOf(storeId: string): number | undefined {
    for (const [id, known] of this.#ofMembers) if (known === storeId) return id;
    for (const [id, known] of this.#storeIds) if (known === storeId) return Number(id);
    return undefined;
  }

  /** Takes over who has which store, durably: of the first members when the cluster begins, before any is met again. */
  begin(members: readonly { readonly id: number; readonly storeId: string }[]): void {
    const added = members.map(({ id, storeId }) => [String(id), storeId] as const);
    replaceFile(this.#env, this.#directory, PEERS_FILE, Object.fromEntries([...this.#storeIds, ...added]));
    for (const [id, storeId] of added) this.#storeIds.set(id, storeId);
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

function isStringRecord(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((storeId) => typeof storeId === 'string')
  );
}
