/**
 * The balancer: what the leader of meta does so that every tablet has its replicas and every node its share.
 *
 *     reports    every node is asked for one
 *     plan       what is to be done (balance/plan.ts): a function of the map, the reports and the time
 *     orders     leaders are transferred at once; a move is recorded in the map, and the meta-driver goes on with it
 *     voters     of the map itself, one change of members at a time, as an operator would make it (balance/voters.ts)
 *
 * Only so many moves are under way at the same time, those of operators included. Nothing is remembered here that
 * matters: the next leader asks anew, and calls no node dead before it has listened for as long itself.
 */
import { z } from 'zod';
import {
  type BalanceSettings,
  type ClusterMap,
  DEFAULT_BALANCE_SETTINGS,
  type NodeReport,
  type ReplicaReport,
  type Reports,
} from '../balance/cluster-map.js';
import type { MoveOrder, Order, Reason, TransferOrder } from '../balance/orders.js';
import { planInSteps } from '../balance/plan.js';
import { type MapMembers, planVoters, type VoterChange } from '../balance/voters.js';
import type { Env, Timer } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import type { Meta, MetaChange } from '../meta/meta.js';
import { recordMove } from '../meta/moves.js';
import { nodeKey } from '../meta/records.js';
import { META_GROUP } from '../placement/placement.js';
import { type ReportBody, reportSchema } from './balance-report.js';
import type { NodeConfig } from './config.js';
import type { MapRequest } from './node-calls.js';

export interface BalancerParts {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly nodeId: number;
  readonly settings: NodeConfig['balance'];
  readonly meta: Pick<Meta, 'leads' | 'state' | 'read' | 'update' | 'allocateIds'>;
  readonly isConnected: (node: number) => boolean;
  /** So long a node may take to answer. */
  readonly answerWithinMs: number;
  /** Asks a node, perhaps this one. Rejects as that node does, or because it cannot be asked. */
  readonly ask: (node: number, request: MapRequest) => Promise<unknown>;
  /** Makes another node the leader of meta. Rejects as the replica does. */
  readonly handOver: (to: number) => Promise<void>;
  /** Of meta, by the newest configuration. */
  readonly members: () => MapMembers & { readonly index: number };
  /** Changes the voters of meta, if its members are still those of the configuration `index`. Rejects as `Admin`. */
  readonly changeVoters: (change: VoterChange, index: number) => Promise<void>;
  /** Moves or merges were recorded. */
  readonly recorded: () => void;
  /** All nodes were asked, and the balancer is on. Resolves with whether something was recorded. */
  readonly looked: (reports: readonly NodeReport[]) => Promise<boolean>;
  /** An error that passes by itself, for the log of the node. */
  readonly onFault: (error: unknown) => void;
}

const count = z.int().min(0);

/** What the balancer sees and would do, as it goes to the node that was asked. */
export const pictureSchema = z.object({
  isOn: z.boolean(),
  plannerId: count,
  maxMoves: count,
  deadAfterMs: count,
  nodes: z.array(
    z.object({
      nodeId: count,
      condition: z.enum(['takesPart', 'drains', 'full', 'silent', 'dead']),
      /** 0: it answers. */
      silentMs: count,
      /** So many it holds, or is to get. */
      tablets: count,
    }),
  ),
  steps: z.array(
    z.object({
      /** `vote`: on the map. */
      kind: z.enum(['move', 'lead', 'vote']),
      /** 0: the map. */
      tablet: count,
      /** 0: a replica, or a vote, only comes. */
      from: count,
      /** 0: it only goes. */
      to: count,
      reason: z.string(),
      /** `next`: it is not begun. */
      state: z.enum(['underWay', 'next']),
    }),
  ),
  /** So many are not in `steps`. */
  furtherSteps: count,
});

export type BalancePicture = z.output<typeof pictureSchema>;
type BalanceStep = BalancePicture['steps'][number];
type NodeCondition = BalancePicture['nodes'][number]['condition'];

const MAX_STEPS_SHOWN = 100;
/** A plan has a turn for so long, and goes on in the next. */
const PLANNED_IN_TURN_MS = 5;
/** While more moves wait than may be under way, it looks so many times in an interval. */
const LOOKS_WHILE_WAITING = 10;

type Place = Partial<Pick<ReportBody, 'host' | 'zone'>>;
type Told = Pick<ReportBody, 'isFull' | 'splitsAbove' | 'replicas'> & Place;

export class Balancer {
  readonly #parts: BalancerParts;
  /** By node: what it told last. */
  readonly #reports = new Map<number, NodeReport & Place>();
  /** Since when this node has listened without a break. */
  #sinceMs = Number.POSITIVE_INFINITY;
  #listenedMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #isBusy = false;
  /** Of the voters of meta: it is being made. */
  #voterChange: VoterChange | undefined;
  #isClosed = false;

  constructor(parts: BalancerParts) {
    this.#parts = parts;
  }

  /** This node may lead meta: while it does, it looks again and again. */
  look(): void {
    const { meta, settings } = this.#parts;
    if (this.#isClosed || this.#isBusy || this.#timer || !meta.leads) return;
    this.#later(settings.everyMs);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** A node that this one has not heard for so long that it is replaced. */
  isDead(node: number): boolean {
    const { env, settings } = this.#parts;
    return this.#listens(env.clock.nowMs()) && this.#silentMs(node) > settings.deadAfterMs;
  }

  /** Only of the leader of meta. */
  async picture(): Promise<BalancePicture> {
    const { meta, nodeId, settings, env, answerWithinMs } = this.#parts;
    await meta.read();
    // A node that hangs is not waited for: whoever asks this one would give up first.
    const patience = new Promise<void>((resolve) => env.timers.after(answerWithinMs / 2, resolve));
    await Promise.race([this.#listen(), patience]);
    const { state } = meta;
    const nodeOf = (tablet: number, replicaId: number | undefined) =>
      state.tablets.get(tablet)?.replicas.find((each) => each.replicaId === replicaId)?.node ?? 0;
    const underWay = [...state.intents].flatMap(([tablet, intent]): BalanceStep[] => {
      if (intent.type !== 'move') return [];
      const { add, remove, reason = 'by hand' } = intent;
      const [from, to] = [nodeOf(tablet, remove), add?.node ?? 0];
      return [{ kind: 'move', tablet, from, to, reason, state: 'underWay' }];
    });
    const next = (await this.#orders(false)).map((order): BalanceStep => {
      const { tablet, reason } = order;
      const common = { tablet, reason, state: 'next' } as const;
      if (order.type === 'transfer') return { kind: 'lead', from: order.from, to: order.to, ...common };
      return { kind: 'move', from: nodeOf(tablet, order.remove), to: order.to ?? 0, ...common };
    });
    const change = this.#voterChange ?? this.#plannedVoters(false);
    const votes = change ? [voteStep(change, this.#voterChange ? 'underWay' : 'next')] : [];
    const steps = [...votes, ...underWay, ...next];
    return {
      ...{ isOn: state.isBalanced, plannerId: nodeId },
      ...{ maxMoves: settings.maxMoves, deadAfterMs: settings.deadAfterMs },
      nodes: [...state.nodes.values()].map(({ id, isDraining }) => {
        const isHeard = this.#isHeard(id);
        const silentMs = isHeard ? 0 : Math.max(0, Math.floor(this.#silentMs(id)));
        let condition: NodeCondition = 'takesPart';
        if (!isHeard) condition = this.isDead(id) ? 'dead' : 'silent';
        else if (isDraining) condition = 'drains';
        else if (this.#reports.get(id)?.isFull) condition = 'full';
        return { nodeId: id, condition, silentMs, tablets: state.tabletsOn(id).length };
      }),
      steps: steps.slice(0, MAX_STEPS_SHOWN),
      furtherSteps: Math.max(0, steps.length - MAX_STEPS_SHOWN),
    };
  }

  #later(afterMs: number): void {
    this.#timer = this.#parts.env.timers.after(afterMs, () => {
      this.#timer = undefined;
      if (this.#isClosed || !this.#parts.meta.leads) return;
      this.#isBusy = true;
      void this.#round();
    });
  }

  async #round(): Promise<void> {
    const { env, settings, onFault } = this.#parts;
    const beganMs = env.clock.nowMs();
    let waits = false;
    try {
      waits = await this.#step();
    } catch (error) {
      if (!this.#isClosed) onFault(error);
    }
    this.#isBusy = false;
    if (this.#isClosed) return;
    const tookMs = env.clock.nowMs() - beganMs;
    const { everyMs } = settings;
    this.#later(Math.max(waits ? everyMs / LOOKS_WHILE_WAITING : everyMs, tookMs));
  }

  /** Returns whether there is more to do than may be under way. */
  async #step(): Promise<boolean> {
    const { meta, settings, recorded } = this.#parts;
    if (!meta.state.cluster) return false;
    await meta.read();
    await this.#listen();
    await this.#recordPlaces();
    if (!meta.leads) return false;
    const orders = await this.#orders(!meta.state.isBalanced);
    if (!meta.leads) return false;
    const moves = orders.filter((order): order is MoveOrder => order.type === 'move');
    const room = settings.maxMoves - this.#movesUnderWay;
    const begun = moves.slice(0, Math.max(0, room));
    const transfers = orders.filter((order): order is TransferOrder => order.type === 'transfer');
    await Promise.all(transfers.map((order) => this.#transfer(order)));
    if (begun.length > 0) {
      await this.#record(begun);
      recorded();
    }
    await this.#leaveMeta();
    if (meta.leads) await this.#changeVoters(!meta.state.isBalanced);
    const heard = [...this.#reports.values()].filter(({ node }) => this.#isHeard(node));
    if (meta.leads && meta.state.isBalanced && (await this.#parts.looked(heard))) recorded();
    return moves.length > begun.length;
  }

  get #movesUnderWay(): number {
    return [...this.#parts.meta.state.intents.values()].filter(({ type }) => type === 'move').length;
  }

  async #listen(): Promise<void> {
    const { meta, ask, env, nodeId, isConnected } = this.#parts;
    const beganMs = env.clock.nowMs();
    if (!this.#listens(beganMs)) this.#sinceMs = beganMs;
    const told = await Promise.all(
      [...meta.state.nodes.keys()].map(async (node): Promise<({ readonly node: number } & Told)[]> => {
        if (node !== nodeId && !isConnected(node)) return [];
        try {
          const said = reportSchema.safeParse(await ask(node, { type: 'report' }));
          return [{ node, ...(said.success ? said.data : UNTOLD) }];
        } catch (error) {
          // Whoever refuses to tell, perhaps because it is of another version, is not dead.
          return errorCode(error) === 'MEMBER_UNREACHABLE' ? [] : [{ node, ...UNTOLD }];
        }
      }),
    );
    const heardMs = env.clock.nowMs();
    for (const { replicas, ...report } of told.flat())
      this.#reports.set(report.node, { ...report, heardMs, replicas: replicas.map(replicaReport) });
    for (const node of this.#reports.keys()) if (!meta.state.nodes.has(node)) this.#reports.delete(node);
    this.#listenedMs = heardMs;
  }

  /** Who was away, or did not lead, has heard nobody: that says nothing about the others. */
  #listens(nowMs: number): boolean {
    const { settings, answerWithinMs } = this.#parts;
    return nowMs - this.#listenedMs <= 3 * (settings.everyMs + answerWithinMs);
  }

  #silentMs(node: number): number {
    const heardMs = this.#reports.get(node)?.heardMs ?? Number.NEGATIVE_INFINITY;
    return this.#parts.env.clock.nowMs() - Math.max(this.#sinceMs, heardMs);
  }

  /** It answered when it was asked last. */
  #isHeard(node: number): boolean {
    return this.#reports.get(node)?.heardMs === this.#listenedMs;
  }

  /** Nodes say where they are: a node that was moved says so after its start. */
  async #recordPlaces(): Promise<void> {
    const { meta } = this.#parts;
    const changes = [...meta.state.nodes.values()].flatMap((node): MetaChange[] => {
      const { host = node.host, zone = node.zone } = this.#reports.get(node.id) ?? {};
      if (host === node.host && zone === node.zone) return [];
      const key = nodeKey(node.id);
      return [{ key, expectedVersion: meta.state.versionOf(key), value: { ...node, host, zone } }];
    });
    if (changes.length > 0) await meta.update(changes);
  }

  /** Gives the turn back again and again: a plan may take longer than the leader of meta may be silent. */
  async #orders(drainsOnly: boolean): Promise<(MoveOrder | TransferOrder)[]> {
    const { meta, env } = this.#parts;
    const { nodes, tablets, intents } = meta.state;
    const nowMs = env.clock.nowMs();
    const settings = this.#planned(drainsOnly, nowMs);
    if (!settings) return [];
    const map: ClusterMap = {
      nodes: [...nodes.values()],
      tablets: [...tablets.values()],
      moves: [...intents].map(([tablet, intent]) => {
        // A tablet that is split is left alone.
        const { add, remove, sinceMs } = intent.type === 'move' ? intent : NO_MOVE;
        return { tablet, generation: intent.generation, add, remove, sinceMs };
      }),
      transfers: [],
    };
    const steps = planInSteps(map, this.#told, settings, nowMs);
    for (let turnMs = env.clock.nowMs(); ; ) {
      const step = steps.next();
      if (step.done) return step.value.filter(isChosen);
      if (env.clock.nowMs() - turnMs < PLANNED_IN_TURN_MS) continue;
      await new Promise<void>((resolve) => env.timers.endOfTurn(resolve));
      turnMs = env.clock.nowMs();
    }
  }

  get #told(): Reports {
    return { sinceMs: this.#sinceMs, nodes: [...this.#reports.values()] };
  }

  /** Undefined: there is no map yet. */
  #planned(drainsOnly: boolean, nowMs: number): BalanceSettings | undefined {
    const { meta, settings } = this.#parts;
    const { cluster } = meta.state;
    return (
      cluster && {
        ...DEFAULT_BALANCE_SETTINGS,
        ...{ replicas: cluster.replicas, drainsOnly, maxMovesPerNode: settings.maxMoves },
        // Whoever answered last.
        ...{ deadAfterMs: settings.deadAfterMs, silentAfterMs: nowMs - this.#listenedMs },
      }
    );
  }

  #plannedVoters(drainsOnly: boolean): VoterChange | undefined {
    const { meta, env, members, nodeId } = this.#parts;
    const nowMs = env.clock.nowMs();
    const settings = this.#planned(drainsOnly, nowMs);
    if (!settings) return undefined;
    const nodes = [...meta.state.nodes.values()];
    return planVoters(members(), nodes, this.#told, settings, nowMs, nodeId);
  }

  async #changeVoters(drainsOnly: boolean): Promise<void> {
    const { members, changeVoters, nodeId } = this.#parts;
    const { index } = members();
    const planned = this.#plannedVoters(drainsOnly);
    // Who leads is not demoted: it hands over first. If there is nobody to take over, the new voter comes before that.
    const isOwn = planned?.demote === nodeId;
    const demote = isOwn ? undefined : planned?.demote;
    if (!planned || (planned.promote ?? demote) === undefined || (isOwn && this.#heir !== undefined)) return;
    this.#voterChange = planned;
    try {
      await changeVoters({ ...planned, demote }, index);
    } finally {
      this.#voterChange = undefined;
    }
  }

  async #record(orders: readonly MoveOrder[]): Promise<void> {
    const { meta, env } = this.#parts;
    let replicaId = await meta.allocateIds(orders.length);
    for (const { tablet, generation, confIndex, to, remove, reason } of orders) {
      const descriptor = meta.state.tablets.get(tablet);
      // The map has changed since the plan.
      if (descriptor?.generation !== generation || descriptor.confIndex !== confIndex) continue;
      const from = descriptor.replicas.find((each) => each.replicaId === remove)?.node;
      try {
        await meta.update(
          recordMove(meta.state, { tablet, from, to, reason }, replicaId++, env.clock.nowMs()),
        );
      } catch (error) {
        this.#parts.onFault(error);
      }
    }
  }

  async #transfer({ tablet, term, from, to }: TransferOrder): Promise<void> {
    try {
      await this.#parts.ask(from, { type: 'transferLeader', tablet, term, to });
    } catch (error) {
      if (!this.#isClosed) this.#parts.onFault(error);
    }
  }

  /** A node that drains does not go on as the leader of meta. */
  async #leaveMeta(): Promise<void> {
    const { meta, nodeId, handOver } = this.#parts;
    const heir = meta.state.nodes.get(nodeId)?.isDraining ? this.#heir : undefined;
    if (heir !== undefined) await handOver(heir);
  }

  /** Who may lead meta in place of this node. */
  get #heir(): number | undefined {
    const { meta, nodeId, members } = this.#parts;
    const isFit = (node: number) => this.#isHeard(node) && meta.state.nodes.get(node)?.isDraining === false;
    return members().voters.find((node) => node !== nodeId && isFit(node));
  }
}

/** Of a node that lives and says nothing: it is given nothing. */
const UNTOLD: Told = { isFull: true, replicas: [] };
const NO_MOVE = { add: undefined, remove: undefined, sinceMs: 0 };

function voteStep({ promote, demote, reason }: VoterChange, state: BalanceStep['state']): BalanceStep {
  return { kind: 'vote', tablet: META_GROUP, from: demote ?? 0, to: promote ?? 0, reason, state };
}

/** Which learners have caught up the meta-driver asks the leader itself. */
function replicaReport({ leads, ...replica }: ReportBody['replicas'][number]): ReplicaReport {
  return leads ? { ...replica, leads: { ...leads, caughtUp: [] } } : replica;
}

function isChosen(order: Order): order is MoveOrder | TransferOrder {
  return order.type === 'move' || (order.type === 'transfer' && order.reason !== HAND_OVER);
}

/** Part of a move: its own steps do it. */
const HAND_OVER: Reason = 'hand over';
