/**
 * The identity of a data folder.
 *
 *     identity.json   cluster id, node id; the storage engine; the store id: random, made with the folder; how far the
 *                     birth of its cluster has come (birth.ts; "mapped": born, and it has promised to take part in a
 *                     map, map-birth.ts); for how long it may have promised not to vote; how often it was started
 *     peers.json      the nodes it has met, and their store ids (known-peers.ts)
 *
 * A node that returns under its old id with an empty folder has forgotten its votes. The others recognise it by its new
 * store id, and it meets a cluster that was born already. A folder of which a part is missing is damaged, never new.
 */
import { z } from 'zod';
import type { Env } from '../env/env.js';
import { isNoSpace, RaftreeError } from '../env/errors.js';
import { clusterGroupOf, FIRST_TABLET, META_GROUP, ONE_TABLET } from '../placement/placement.js';
import { type BirthState, UNTOUCHED } from './birth.js';
import { readJson, replaceFile, unreadable } from './json-file.js';
import { PEERS_FILE } from './known-peers.js';
import { REPLICAS_FILE } from './local-replicas.js';

export interface NodeIdentity {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly storeId: string;
}

const content = z.object({
  clusterId: z.string(),
  nodeId: z.int(),
  storeId: z.string(),
  /** Not in folders from before there were several: `lsm`. */
  engine: z.string().optional(),
  /** Not in folders of version 0.1. */
  birth: z
    .object({
      /** Earlier versions do not know `mapped`, and refuse the folder. */
      phase: z.enum(['untouched', 'proposed', 'adopted', 'born', 'mapped']),
      incarnation: z.string().regex(/^(?:[0-9a-f]{32})?$/),
      founders: z.array(z.object({ id: z.int(), storeId: z.string() })).readonly(),
      /** Not in folders from before there were several tablets. */
      placement: z
        .object({
          by: z.enum(['range', 'hash']),
          hashVersion: z.int(),
          tablets: z.int().min(1),
          splits: z.array(z.string()).readonly(),
          replicas: z.int().min(0).default(0),
        })
        .default(ONE_TABLET),
    })
    .optional(),
  promisedMs: z.number().min(0).optional(),
  starts: z.int().min(0).optional(),
});

/** What identity.json holds. */
export class FolderIdentity {
  readonly #env: Env;
  readonly #directory: string;
  #content: z.output<typeof content>;

  /**
   * The identity of a locked data folder, made if the folder is new.
   * Throws `IDENTITY_MISMATCH` for a folder of another node or cluster, `ENGINE_MISMATCH` for one that was made by
   * another storage engine, `CORRUPTION` if its identity cannot be read, or is missing beside a Raft log.
   */
  static open(
    env: Env,
    directory: string,
    clusterId: string,
    nodeId: number,
    engine: string,
  ): FolderIdentity {
    const path = `${directory}/identity.json`;
    const present = readJson(env, path);
    if (present === undefined) {
      if (env.fs.exists(`${directory}/raft`) && env.fs.list(`${directory}/raft`).length > 0) {
        throw damaged(directory, 'identity.json is missing beside the Raft log');
      }
      const storeId = env.random.bytes(16).toString('hex');
      const identity = { clusterId, nodeId, engine, storeId, birth: UNTOUCHED };
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
    const made = data.engine ?? 'lsm';
    if (made !== engine) {
      throw new RaftreeError(
        'ENGINE_MISMATCH',
        `${directory} was made by the storage engine "${made}" and cannot be opened by "${engine}"; ` +
          `set storage.engine to "${made}" again. To change it, begin a new cluster and move the data with ` +
          '`raftree export` and `raftree import`',
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
    const { birth } = this.#content;
    return birth ? { ...birth, phase: phaseOf(birth) } : UNTOUCHED;
  }

  /** It has promised to take part in a map. */
  get isMapped(): boolean {
    return this.#content.birth?.phase === 'mapped';
  }

  /** Durable when it returns: from then on no earlier version opens this folder. Throws what the disk throws. */
  promiseMap(born: BirthState): void {
    if (this.isMapped) return;
    const { incarnation, founders, placement } = born;
    const birth = { phase: 'mapped', incarnation, founders, placement } as const;
    const next = { ...this.#content, birth };
    replaceFile(this.#env, this.#directory, 'identity.json', next);
    this.#content = next;
  }

  /** How long an earlier process may have promised not to vote. 0 if none has run. */
  get promisedMs(): number {
    return this.#content.promisedMs ?? 0;
  }

  /**
   * Counts a start of this folder, durably. A copy of the folder, or an older version of it, repeats a number: that is
   * how other nodes recognise it. Returns the number, or 0 (unknown) on a full disk. Throws other errors of the disk.
   */
  countStart(): number {
    const starts = (this.#content.starts ?? 0) + 1;
    try {
      this.record({ starts });
      return starts;
    } catch (error) {
      if (isNoSpace(error)) return 0;
      throw error;
    }
  }

  /** Durable when it returns. Throws what the disk throws. */
  record(changes: {
    readonly birth?: BirthState;
    readonly promisedMs?: number;
    readonly starts?: number;
  }): void {
    const next = { ...this.#content, ...changes };
    replaceFile(this.#env, this.#directory, 'identity.json', next);
    this.#content = next;
  }

  /**
   * Compares the Raft log, which holds `groups`, with the identity, and returns the state of the birth. `held` are the
   * tablets that this node is to hold. `incarnationOf` a group: undefined if the log does not hold it.
   * Throws `CORRUPTION` if the log, or a tablet in it, is missing, or is of another cluster.
   */
  checkLog(
    incarnationOf: (group: number) => string | undefined,
    groups: readonly number[],
    held: readonly number[],
  ): BirthState {
    const birth = this.#content.birth && this.birth;
    const placement = birth?.placement ?? ONE_TABLET;
    const incarnation = incarnationOf(groups.includes(META_GROUP) ? META_GROUP : clusterGroupOf(placement));
    if (incarnation === undefined) {
      if (!birth || birth.phase === 'born') {
        const lacksMap = incarnationOf(FIRST_TABLET) !== undefined;
        throw damaged(this.#directory, lacksMap ? 'its Raft log lacks the map' : 'its Raft log is missing');
      }
      return birth;
    }
    // The folder is of version 0.1, which had no births.
    if (!birth) return { phase: 'born', incarnation, founders: [], placement: ONE_TABLET };
    if (birth.phase === 'born' && !this.#env.fs.exists(`${this.#directory}/${PEERS_FILE}`))
      throw damaged(this.#directory, `${PEERS_FILE} is missing`);
    for (const id of groups) {
      const own = incarnationOf(id);
      if (own !== birth.incarnation)
        throw damaged(this.#directory, `its Raft log is of incarnation ${own}, not ${birth.incarnation}`);
    }
    const isPlaced = clusterGroupOf(placement) !== FIRST_TABLET;
    if (birth.phase === 'born' && isPlaced && !this.#env.fs.exists(`${this.#directory}/${REPLICAS_FILE}`))
      throw damaged(this.#directory, `${REPLICAS_FILE} is missing`);
    const lacking = held.find((id) => !groups.includes(id));
    if (birth.phase === 'born' && lacking !== undefined)
      throw damaged(this.#directory, `its Raft log lacks tablet ${lacking}`);
    return birth;
  }
}

function phaseOf({ phase }: { readonly phase: BirthState['phase'] | 'mapped' }): BirthState['phase'] {
  return phase === 'mapped' ? 'born' : phase;
}

function damaged(directory: string, what: string): RaftreeError {
  return new RaftreeError(
    'CORRUPTION',
    `${directory} is not whole: ${what}. Restore all of it from one copy; or remove this node from the cluster ` +
      'and add it again, empty',
    { info: { path: directory } },
  );
}
