/**
 * The nodes that a node has met, with their store ids. A store id is durable before the node's first message counts.
 *
 *     peers.json   by node id: the store id; how often that folder was started, and a random name of the last run; up
 *                  to which index, in each tablet, it is known to hold what is committed
 *
 * A folder that is a copy, or was restored from an older one, has forgotten what the original acknowledged. It is
 * recognised by a start number that another run has used, and by a log that ends before what it acknowledged.
 *
 * A member may be removed, and added again with a new folder. A voter that was away then knows it with its old folder,
 * and perhaps only that member itself can correct that. So a node announces the index of the configuration in force
 * there, and whether that has it as a member with this very folder. A node with an older configuration in force accepts
 * the new folder. Of two folders of one id it listens to the one with the newer configuration. That is safe:
 *
 * - Only a node that was added with this folder can announce that, because it has applied the change that added it.
 *   So its log holds that change and all that was committed before, also what was committed because the old folder
 *   had acknowledged it. It votes only for candidates that have this too.
 * - A leader that takes its answers has a term no lower than the change's. By leader completeness it has the change
 *   in its log, and has only to apply it. What the node acknowledges until then is durable in the folder that will be
 *   asked for it.
 * - A folder that was emptied and not added again cannot announce that, because no node replicates to it. Nor can an
 *   old folder that hears of the change that added the new one, because the context there names another store.
 * - Nothing is stored of what only the node itself says; its store is remembered when the configuration comes. Until
 *   its announcement is accepted, such a node is sent nothing. Rule 5 of raft/senders.ts says the same of a stranger.
 */
import { z } from 'zod';
import type { Env } from '../env/env.js';
import { FIRST_TABLET } from '../placement/placement.js';
import { readJson, replaceFile, unreadable } from './json-file.js';

export const PEERS_FILE = 'peers.json';

/** A store id, and what the node announces of its membership. */
export interface Shown {
  readonly storeId: string;
  /** Of the configuration in force there. */
  readonly configurationIndex: number;
  /** That configuration has the node as a member with this very data folder. */
  readonly isMember: boolean;
}

/** What a node announces of itself. */
export interface Run extends Shown {
  /** How often its folder was started; 0: unknown. */
  readonly starts: number;
  /** Random, of this process. */
  readonly run: string;
  /** Where the log of each of its tablets ends. */
  readonly logs: readonly { readonly tablet: number; readonly lastIndex: number }[];
}

const index = z.int().min(0);

const known = z.object({
  storeId: z.string(),
  starts: z.int().min(0).default(0),
  run: z.string().default(''),
  /** By tablet. In folders from before there were several: a number, of the first one. */
  holds: z
    .union([
      index.transform((held): Record<string, number> => ({ [FIRST_TABLET]: held })),
      z.record(z.string(), index),
    ])
    .default(() => ({})),
});
type Known = z.output<typeof known>;

/** In folders of version 0.1 there is only a store id. */
const content = z.record(
  z.string(),
  z.union([known, z.string().transform((storeId): Known => ({ storeId, starts: 0, run: '', holds: {} }))]),
);

/** Above this number, former members are forgotten. */
const MAX_KNOWN = 1000;

export class KnownPeers {
  readonly #env: Env;
  readonly #directory: string;
  readonly #known: Map<number, Known>;
  /** Of the configuration in force here. */
  #index = 0;
  #members: ReadonlySet<number> = new Set();
  #ofMembers: ReadonlyMap<number, string> = new Map();
  /** Nodes that are accepted with a new folder because of their own announcement alone. */
  readonly #ahead = new Set<number>();
  /** By node: the run that this process accepted last. */
  readonly #metRuns = new Map<number, string>();
  /** A tablet that has ended. */
  isPast: (log: number) => boolean = () => false;
  /** The tablet of a log: the number of a log is the id of its replica, if that has one. */
  tabletOf: (log: number) => number = (log) => log;
  /** Something changed that is not written yet. */
  #isDirty = false;

  /** Throws `CORRUPTION` if peers.json cannot be read. */
  constructor(env: Env, directory: string) {
    this.#env = env;
    this.#directory = directory;
    const path = `${directory}/${PEERS_FILE}`;
    const read = content.safeParse(readJson(env, path) ?? {});
    if (!read.success) throw unreadable(path);
    this.#known = new Map(Object.entries(read.data).map(([id, each]) => [Number(id), each]));
  }

  /** Whether a node is known with another data folder. */
  isOther(nodeId: number, storeId: string): boolean {
    const expected = this.#ofMembers.get(nodeId) ?? this.#known.get(nodeId)?.storeId;
    return expected !== undefined && expected !== storeId;
  }

  /**
   * Why a node with this store id is refused; undefined if it is not. A node that is a member in a newer configuration
   * than the one in force here may have been removed, and added again with another folder.
   */
  refuse(nodeId: number, shown: Shown): string | undefined {
    if (this.isOther(nodeId, shown.storeId) && memberAt(shown) <= this.#index) {
      return (
        `node ${nodeId} shows another data folder than the one it is known with: the folder was lost or replaced; ` +
        'remove the node (`raftree member remove`), then add it again'
      );
    }
    return undefined;
  }

  /**
   * Compares a node with what is remembered of it. A member that is met for the first time is remembered, durably.
   * Nothing is kept of nodes that are no members: anyone who reaches the peer port could make up any number of them.
   * Returns what is wrong, or undefined. Throws what the disk throws.
   */
  remember(nodeId: number, shown: Run): string | undefined {
    const { storeId, starts, run } = shown;
    const refusal = this.refuse(nodeId, shown);
    if (refusal !== undefined) return refusal;
    // An announcement alone is not stored. If it is true, the configuration that confirms it will arrive.
    if (this.isOther(nodeId, storeId)) {
      this.#ahead.add(nodeId);
      return undefined;
    }
    this.#ahead.delete(nodeId);
    const before = this.#known.get(nodeId);
    if (before?.storeId !== storeId) {
      if (!this.#members.has(nodeId)) return undefined;
      if (this.#known.size >= MAX_KNOWN)
        for (const id of this.#known.keys()) if (!this.#members.has(id)) this.#known.delete(id);
      const met = { storeId, starts, run, holds: {} };
      this.#write(new Map([...this.#known, [nodeId, met]]));
      this.#known.set(nodeId, met);
      this.#metRuns.set(nodeId, run);
      return undefined;
    }
    if (starts === 0 || (starts === before.starts && run === before.run)) {
      this.#metRuns.set(nodeId, run);
      return undefined;
    }
    if (starts < before.starts || (starts === before.starts && before.run !== ''))
      return (
        `start ${starts} of the data folder of node ${nodeId} was used before; if a copy of this folder was started meanwhile, ` +
        `stop the copy, and start this one once more; otherwise ${OLDER}`
      );
    this.#metRuns.set(nodeId, run);
    this.#known.set(nodeId, { ...before, starts, run });
    this.#isDirty = true;
    this.save();
    return undefined;
  }

  /**
   * The error for a node whose folder is known but lacks entries that it had acknowledged. Undefined if it lacks none.
   * Only the first announcement of a run is judged: a later one may have been overtaken, on another connection, by
   * acknowledgements of the same run.
   */
  lost(nodeId: number, { storeId, run, logs }: Run): string | undefined {
    const before = this.#known.get(nodeId);
    if (before?.storeId !== storeId || this.#metRuns.get(nodeId) === run) return undefined;
    const ends = new Map(logs.map(({ tablet, lastIndex }) => [String(tablet), lastIndex]));
    for (const [log, held] of Object.entries(before.holds)) {
      // All members have its children, so who lets it go loses nothing.
      if (this.isPast(Number(log))) continue;
      const lastIndex = ends.get(log) ?? 0;
      if (lastIndex >= held) continue;
      return (
        `node ${nodeId} has lost entries that it had acknowledged: its log of tablet ${this.tabletOf(Number(log))} ends at ${lastIndex}, ` +
        `and it held ${held}; ${OLDER}`
      );
    }
    return undefined;
  }

  /** A member is known to hold what is committed up to here in a tablet. Durable with the next `save`. */
  holds(nodeId: number, tablet: number, index: number): void {
    const present = this.#known.get(nodeId);
    if (!present || this.#ahead.has(nodeId) || (present.holds[tablet] ?? 0) >= index) return;
    present.holds[tablet] = index;
    this.#isDirty = true;
  }

  /** A failed write is repeated with the next save: only the store ids must be durable at once. */
  save(): void {
    if (!this.#isDirty) return;
    try {
      this.#write(this.#known);
    } catch {
      // Until then a copy of a folder may not be noticed after a restart of this node.
    }
  }

  /**
   * The members in force and their store ids in the configuration. These count more than the store ids that this node
   * has met.
   */
  follow(
    index: number,
    members: readonly { readonly id: number; readonly storeId?: string | undefined }[],
  ): void {
    this.#index = index;
    this.#members = new Set(members.map(({ id }) => id));
    this.#ofMembers = new Map(
      members.flatMap(({ id, storeId }) => (storeId ? [[id, storeId] as const] : [])),
    );
  }

  /** Forgets nodes that were removed, durably: each may come back with a new folder when it is added again. */
  forget(nodeIds: readonly number[]): void {
    const left = new Map([...this.#known].filter(([id]) => !nodeIds.includes(id)));
    if (left.size < this.#known.size) this.#write(left);
    for (const id of nodeIds) this.#known.delete(id);
  }

  /** The known node with this store id. */
  ownerOf(storeId: string): number | undefined {
    for (const [id, expected] of this.#ofMembers) if (expected === storeId) return id;
    for (const [id, each] of this.#known) if (each.storeId === storeId) return id;
    return undefined;
  }

  /** Remembers, durably, the store ids of the first members when the cluster begins. */
  begin(members: readonly { readonly id: number; readonly storeId: string }[]): void {
    const next = new Map(this.#known);
    for (const { id, storeId } of members) next.set(id, { storeId, starts: 0, run: '', holds: {} });
    this.#write(next);
    for (const [id, each] of next) this.#known.set(id, each);
  }

  #write(all: ReadonlyMap<number, Known>): void {
    replaceFile(this.#env, this.#directory, PEERS_FILE, Object.fromEntries(all));
    if (all === this.#known) this.#isDirty = false;
  }
}

/** Index of the newest configuration that is known to count the node with this folder; 0 if none is. */
export function memberAt({ isMember, configurationIndex }: Omit<Shown, 'storeId'>): number {
  return isMember ? configurationIndex : 0;
}

const OLDER =
  'the folder is a copy, or was restored from an older one, and has forgotten what it acknowledged: stop this node, ' +
  'remove it (`raftree member remove`), empty its folder and add it again; of two that run, keep the other one';
