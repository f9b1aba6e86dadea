/**
 * Whom a node has met: the data folder that each other node showed, remembered durably before its first message counts.
 *
 *     peers.json   by node id: the store id; how often that folder was started, and a random name of the last run; up
 *                  to which index it is known to hold what is committed
 *
 * A folder that is a copy, or was restored from an older one, has forgotten what the original acknowledged. It shows in
 * a start that another run has used, or one that is over, and in a log that ends before what it acknowledged.
 */
import { z } from 'zod';
import type { Env } from '../env/env.js';
import { readJson, replaceFile, unreadable } from './json-file.js';

export const PEERS_FILE = 'peers.json';

/** A data folder, and what its node says of its place in the cluster. */
export interface Shown {
  readonly storeId: string;
  /** Of the configuration in force there. */
  readonly configurationIndex: number;
  /** That configuration has the node as a member with this very data folder. */
  readonly isMember: boolean;
}

/** What a node tells of itself. */
export interface Run extends Shown {
  /** How often its folder was started; 0: not told. */
  readonly starts: number;
  /** Random, of this process. */
  readonly run: string;
  readonly lastIndex: number;
}

const known = z.object({
  storeId: z.string(),
  starts: z.int().min(0).default(0),
  run: z.string().default(''),
  holds: z.int().min(0).default(0),
});
type Known = z.output<typeof known>;

/** In folders of version 0.1 there is only a store id. */
const content = z.record(
  z.string(),
  z.union([known, z.string().transform((storeId): Known => ({ storeId, starts: 0, run: '', holds: 0 }))]),
);

/** With more remembered, those of former members go. */
const MAX_KNOWN = 1000;

export class KnownPeers {
  readonly #env: Env;
  readonly #directory: string;
  readonly #known: Map<number, Known>;
  /** Of the configuration in force here. */
  #index = 0;
  #members: ReadonlySet<number> = new Set();
  #ofMembers: ReadonlyMap<number, string> = new Map();
  /** Who is let in for what it says alone, with another folder than the one that is known here. */
  readonly #ahead = new Set<number>();
  /** By node: its run that was taken for it last, by this process. */
  readonly #metRuns = new Map<number, string>();
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
   * Why a node that shows this store is not the one that it says; undefined if it may be. A member of a newer
   * configuration than the one in force here may have been removed meanwhile, and added again with another folder.
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
   * Compares what a node shows; of a member that shows itself for the first time it remembers it, durably. Of nodes
   * that are no members nothing is kept: whoever reaches the peer port may have any number of names. Returns what is
   * wrong, or undefined. Throws what the disk throws.
   */
  remember(nodeId: number, shown: Run): string | undefined {
    const { storeId, starts, run } = shown;
    const refusal = this.refuse(nodeId, shown);
    if (refusal !== undefined) return refusal;
    // What only the node itself says is not kept: the configuration that says so is on its way, or it was a lie.
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
      this.#write(new Map([...this.#known, [nodeId, { storeId, starts, run, holds: 0 }]]));
      this.#known.set(nodeId, { storeId, starts, run, holds: 0 });
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
   * That a node comes with the folder that is known, and without entries that it had acknowledged; undefined if not so.
   * Only the first word of a run tells that: a later one may have been overtaken, on another connection, by what the
   * same run has acknowledged since.
   */
  lost(nodeId: number, { storeId, run, lastIndex }: Run): string | undefined {
    const before = this.#known.get(nodeId);
    if (before?.storeId !== storeId || lastIndex >= before.holds) return undefined;
    if (this.#metRuns.get(nodeId) === run) return undefined;
    return (
      `node ${nodeId} has lost entries that it had acknowledged: its log ends at ${lastIndex}, and it held ` +
      `${before.holds}; ${OLDER}`
    );
  }

  /** A member is known to hold what is committed up to here. Durable with the next `save`. */
  holds(nodeId: number, index: number): void {
    const present = this.#known.get(nodeId);
    if (!present || this.#ahead.has(nodeId) || present.holds >= index) return;
    this.#known.set(nodeId, { ...present, holds: index });
    this.#isDirty = true;
  }

  /** What a disk does not take now is written the next time: only the store ids must be durable at once. */
  save(): void {
    if (!this.#isDirty) return;
    try {
      this.#write(this.#known);
    } catch {
      // Until then a copy of a folder may not be noticed after a restart of this node.
    }
  }

  /**
   * Who belongs to the cluster, and what the configuration in force says of the members' stores: that counts more than
   * whom this node happens to have met.
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

  /** Who has this data folder, of all that are known. */
  ownerOf(storeId: string): number | undefined {
    for (const [id, expected] of this.#ofMembers) if (expected === storeId) return id;
    for (const [id, each] of this.#known) if (each.storeId === storeId) return id;
    return undefined;
  }

  /** Takes over who has which store, durably: of the first members when the cluster begins, before any is met again. */
  begin(members: readonly { readonly id: number; readonly storeId: string }[]): void {
    const next = new Map(this.#known);
    for (const { id, storeId } of members) next.set(id, { storeId, starts: 0, run: '', holds: 0 });
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
