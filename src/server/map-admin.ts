/** Requests of operators about the map. Any node takes them: the map is changed by conditional updates. */
import { z } from 'zod';
import type { Balance, BalanceShown, DrainNode, MergeTablets, MoveReplica } from '../doors/ports.js';
import type { Env, Timer } from '../env/env.js';
import { errorCode, RaftreeError, refused } from '../env/errors.js';
import { checkMerge, childOfMerge, idsOfMerge, mergeOf, recordMerge } from '../meta/merges.js';
import type { Meta } from '../meta/meta.js';
import type { MetaState } from '../meta/meta-state.js';
import { checkMove, recordMove } from '../meta/moves.js';
import { BALANCE_KEY, nodeKey, nodesOf } from '../meta/records.js';
import { reportSchema } from './balance-report.js';
import { pictureSchema } from './balancer.js';
import type { MapRequest } from './node-calls.js';

export interface MapAdminParts {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly nodeId: number;
  readonly meta: Meta;
  readonly isConnected: (node: number) => boolean;
  /** Of meta; 0: none is known. */
  readonly leader: () => number;
  /** Asks a node, perhaps this one. Rejects as that node does, or because it cannot be asked. */
  readonly ask: (node: number, request: MapRequest) => Promise<unknown>;
  readonly maxMergedBytes: number;
  /** The tablet was split: the map does not have its parts yet. */
  readonly isPast: (tablet: number) => boolean;
  /** Who votes on the map, as far as this node knows. */
  readonly voters: () => readonly number[];
  /** A map that cannot be read for so long has lost its majority. */
  readonly mapWaitMs: number;
}

/** How long an operator waits for the end of a move. After that it goes on by itself. */
const PATIENCE_MS = 15_000;
const LOOK_AGAIN_MS = 50;
/** Another leader of the map may be found soon. */
const NO_LEADER: ReadonlySet<string | undefined> = new Set(['NOT_LEADER', 'NO_LEADER', 'LEADERSHIP_LOST']);
/** The answer to `tabletBytes`. */
const bytesSchema = z.number().min(0);

export class MapAdmin {
  readonly #parts: MapAdminParts;

  constructor(parts: MapAdminParts) {
    this.#parts = parts;
  }

  /** The map of the birth is written. Before, nobody may come or go. */
  get isWritten(): boolean {
    return this.#parts.meta.state.cluster !== undefined;
  }

  /** The map with all that is committed. Rejects with `MAP_UNAVAILABLE` if it has no leader for some time. */
  async read(): Promise<MetaState> {
    const { env, meta, mapWaitMs } = this.#parts;
    let isLate = false;
    let lateAt: Timer | undefined;
    const late = new Promise<undefined>((resolve) => {
      lateAt = env.timers.after(mapWaitMs, () => {
        isLate = true;
        resolve(undefined);
      });
    });
    try {
      while (!isLate) {
        try {
          const state = await Promise.race([meta.read(), late]);
          if (state) return state;
        } catch (error) {
          if (!NO_LEADER.has(errorCode(error))) throw error;
        }
        await new Promise<void>((resolve) => env.timers.after(LOOK_AGAIN_MS, resolve));
      }
    } finally {
      lateAt?.cancel();
    }
    throw this.#unavailable();
  }

  #unavailable(): RaftreeError {
    const { nodeId, isConnected, voters } = this.#parts;
    const silent = voters().filter((node) => node !== nodeId && !isConnected(node));
    const who = `of the nodes that vote on it (${voters().join(', ')})`;
    return refused(
      'MAP_UNAVAILABLE',
      `the map of the tablets has no leader: ${who} ${silent.length > 0 ? `node ${nodeId} does not reach ${silent.join(', ')}` : 'no majority agrees'}; ` +
        'tablets with a majority are served meanwhile; start those nodes, then try again',
    );
  }

  /** Resolves when the map has the new members. Rejects with `CHANGE_UNDER_WAY` (unknown) if that takes longer. */
  async move({ tablet, from, to }: MoveReplica): Promise<boolean> {
    const { env, meta, isPast } = this.#parts;
    const wanted = { tablet, from, to };
    const state = await this.read();
    if (isPast(tablet)) throw refused('CHANGE_INVALID', `there is no tablet ${tablet} any more, or not yet`);
    const isDone = () => {
      const nodes = state.tablets.get(tablet)?.replicas.map(({ node }) => node) ?? [];
      return nodes.includes(to) && !nodes.includes(from);
    };
    if (state.nodes.has(to) && isDone() && !state.intents.has(tablet)) return false;
    const present = state.intents.get(tablet);
    const isSame = present?.type === 'move' && present.add?.node === to;
    if (!isSame) {
      checkMove(state, wanted);
      await this.#checkTarget(to);
      const replicaId = await meta.allocateIds(1);
      if (!(await meta.update(recordMove(state, wanted, replicaId, env.clock.nowMs()))))
        throw refused('CHANGE_CONFLICT', 'the map has changed meanwhile; look again (`raftree shards`)');
    }
    await this.#untilDone(`the move of tablet ${tablet} to node ${to}`, {
      isUnderWay: () => state.intents.has(tablet),
      isDone,
      givenUp: `node ${to} has died, drains or cannot take it; see \`raftree balance status\``,
    });
    return true;
  }

  /**
   * Resolves when it is done, and nothing of it is under way. Rejects with `CHANGE_CONFLICT` if it was under way and is
   * not done, or with `CHANGE_PENDING` (unknown) if it takes longer than an operator waits.
   */
  async #untilDone(
    what: string,
    {
      isUnderWay,
      isDone,
      givenUp,
    }: { readonly isUnderWay: () => boolean; readonly isDone: () => boolean; readonly givenUp: string },
  ): Promise<void> {
    const { timers } = this.#parts.env;
    let isSeen = false;
    for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += LOOK_AGAIN_MS) {
      const goesOn = isUnderWay();
      if (isDone() && !goesOn) return;
      if (isSeen && !goesOn) throw refused('CHANGE_CONFLICT', `${what} was given up: ${givenUp}`);
      isSeen ||= goesOn;
      await new Promise<void>((resolve) => timers.after(LOOK_AGAIN_MS, resolve));
    }
    throw new RaftreeError(
      'CHANGE_PENDING',
      `${what} is recorded and goes on by itself; see \`raftree shards\``,
      { info: { outcome: 'unknown' } },
    );
  }

  /** Rejects with `MEMBER_UNREACHABLE` or `CHANGE_INVALID` if a node cannot take a replica now. */
  async #checkTarget(to: number): Promise<void> {
    const { nodeId, isConnected, ask } = this.#parts;
    if (to !== nodeId && !isConnected(to))
      throw refused(
        'MEMBER_UNREACHABLE',
        `node ${to} is not connected now: a replica there could not catch up`,
      );
    const said = reportSchema.safeParse(await ask(to, { type: 'report' }));
    if (said.success && said.data.isFull)
      throw refused(
        'CHANGE_INVALID',
        `the disk of node ${to} is full: make room there, or choose another node`,
      );
  }

  /**
   * Resolves when the map has the tablet that both have become. Rejects with `CHANGE_INVALID`, `CHANGE_PENDING`,
   * `MEMBER_UNREACHABLE`, `CHANGE_CONFLICT` if it was given up, or `CHANGE_PENDING` (unknown) if it takes longer.
   */
  async merge({ left, right }: MergeTablets): Promise<boolean> {
    const { isPast } = this.#parts;
    const state = await this.read();
    for (const tablet of [left, right])
      if (isPast(tablet))
        throw refused('CHANGE_INVALID', `there is no tablet ${tablet} any more, or not yet`);
    const intended = () => mergeOf(state, left)?.intent;
    const present = intended();
    const isSame = present?.left === left && present.right === right;
    const child = isSame ? present.child.id : await this.#recordMerge(state, { left, right });
    await this.#untilDone(`the merge of the tablets ${left} and ${right}`, {
      isUnderWay: () => intended()?.child.id === child,
      // What it has become may be split at once.
      isDone: () =>
        [...state.tablets.values()].some(({ id, parents }) => id === child || parents.includes(child)),
      givenUp: 'every node of them must answer; try again',
    });
    return true;
  }

  /** Resolves with the id of what they become. */
  async #recordMerge(state: MetaState, wanted: Omit<MergeTablets, 'type'>): Promise<number> {
    const { env, meta } = this.#parts;
    const [{ replicas }] = checkMerge(state, wanted);
    await this.#checkMergeable(wanted, nodesOf(replicas));
    const firstId = await meta.allocateIds(idsOfMerge(replicas.length));
    if (!(await meta.update(recordMerge(state, wanted, firstId, env.clock.nowMs()))))
      throw refused('CHANGE_CONFLICT', 'the map has changed meanwhile; look again (`raftree shards`)');
    return childOfMerge(firstId);
  }

  /** Rejects with `MEMBER_UNREACHABLE` or `CHANGE_INVALID` if the tablets could not be merged soon. */
  async #checkMergeable(
    { left, right }: Omit<MergeTablets, 'type'>,
    nodes: readonly number[],
  ): Promise<void> {
    const { nodeId, isConnected, ask, maxMergedBytes } = this.#parts;
    for (const node of nodes)
      if (node !== nodeId && !isConnected(node))
        throw refused(
          'MEMBER_UNREACHABLE',
          `node ${node} is not connected now: tablets are merged only when all of their nodes take part`,
        );
    // All of them are asked: one of an earlier version refuses.
    const sizes = await Promise.all(
      nodes.map(async (node) => {
        const said = [left, right].map((tablet) => ask(node, { type: 'tabletBytes', tablet }));
        const read = z.array(bytesSchema).safeParse(await Promise.all(said));
        if (read.success) return read.data.reduce((sum, size) => sum + size, 0);
        throw refused('MEMBER_UNREACHABLE', `node ${node} is of another version, which merges no tablets`);
      }),
    );
    const bytes = Math.max(...sizes);
    if (bytes > maxMergedBytes)
      throw refused(
        'CHANGE_INVALID',
        `the tablets have about ${Math.round(bytes)} bytes, and what is merged has at most ${maxMergedBytes} ` +
          '(half of placement.maxTabletBytes, at most 64 MiB)',
      );
  }

  /** Switches the balancer, if that is asked for, and says what it sees. Rejects as meta does. */
  async balance({ action }: Balance): Promise<BalanceShown> {
    const { meta, ask, leader } = this.#parts;
    const state = await this.read();
    const isOn = action === 'show' ? state.isBalanced : action === 'on';
    const changed = isOn !== state.isBalanced;
    const change = { key: BALANCE_KEY, expectedVersion: state.versionOf(BALANCE_KEY), value: { isOn } };
    if (changed && !(await meta.update([change])))
      throw refused('CHANGE_CONFLICT', 'the map has changed meanwhile; try again');
    const planner = leader();
    if (planner === 0) throw refused('NO_LEADER', 'no leader of the map is known at present');
    const picture = pictureSchema.safeParse(await ask(planner, { type: 'balance' }));
    if (!picture.success) throw refused('NO_LEADER', `node ${planner} is of another version`);
    return { type: 'balance', changed, ...picture.data };
  }

  /** Resolves with whether anything was changed. The node is empty when `raftree node list` shows no tablets there. */
  async drain({ nodeId, isDraining }: DrainNode): Promise<boolean> {
    const { meta } = this.#parts;
    const state = await this.read();
    const node = state.nodes.get(nodeId);
    if (!node) throw refused('NOT_A_MEMBER', `node ${nodeId} is no member of this cluster`);
    if (node.isDraining === isDraining) return false;
    if (isDraining && [...state.nodes.values()].every((each) => each.id === nodeId || each.isDraining))
      throw refused('CHANGE_INVALID', 'no other node would be left to take its tablets');
    const key = nodeKey(nodeId);
    const value = { ...node, isDraining };
    if (!(await meta.update([{ key, expectedVersion: state.versionOf(key), value }])))
      throw refused('CHANGE_CONFLICT', 'the map has changed meanwhile; try again');
    return true;
  }

  /**
   * Why a node cannot be removed from the cluster; undefined if it can. A node that drains gets no replica any more,
   * and one that the map does not name is in the log of no tablet.
   */
  async keeps(nodeId: number): Promise<string | undefined> {
    const state = await this.read();
    const node = state.nodes.get(nodeId);
    const tablets = state.tabletsOn(nodeId);
    if (tablets.length === 0 && (!node || node.isDraining)) return undefined;
    const held = tablets.length === 1 ? `tablet ${tablets[0]}` : `${tablets.length} tablets`;
    if (node?.isDraining)
      return `node ${nodeId} drains, and still holds ${held}: wait until \`raftree node list\` shows that it is drained`;
    return `node ${nodeId} ${tablets.length > 0 ? `holds ${held}` : 'may get tablets'}: drain it first (raftree node drain ${nodeId})`;
  }
}
