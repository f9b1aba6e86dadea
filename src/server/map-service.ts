/**
 * The map on a running node (meta/): reading and changing it, what its leader does, the orders that nodes give each
 * other, and how a node that joins registers itself.
 */
import type { VoterChange } from '../balance/voters.js';
import type { RequestedChange } from '../doors/ports.js';
import type { Env, Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { Meta } from '../meta/meta.js';
import { intentKey } from '../meta/records.js';
import type { Placement } from '../placement/placement.js';
import { membersOf } from '../raft/configuration.js';
import type { Admin } from './admin.js';
import { AutoMerges } from './auto-merges.js';
import { BalanceReporter } from './balance-report.js';
import { Balancer } from './balancer.js';
import type { NodeConfig } from './config.js';
import { askToJoin } from './joining.js';
import { MapAdmin } from './map-admin.js';
import { MergeDriver } from './merge-driver.js';
import { MetaDriver } from './meta-driver.js';
import { type MapRequest, type NodeCalls, unreachable } from './node-calls.js';
import type { Peers } from './peers.js';
import { maxMergedBytesOf, mergeSettingsOf, splitSettingsOf } from './placement-config.js';
import { type ChangeProgress, stepTowards } from './replica-change.js';
import type { TabletMerges } from './tablet-merges.js';
import type { OpenMeta, TabletSet } from './tablet-set.js';
import type { TabletSplits } from './tablet-splits.js';

export interface MapServiceParts {
  readonly env: Env;
  readonly config: NodeConfig;
  readonly placement: Placement;
  readonly opened: OpenMeta;
  readonly tablets: TabletSet;
  readonly calls: Pick<NodeCalls, 'call'>;
  readonly peers: Pick<Peers, 'isHeard' | 'isConnected'>;
  readonly splits: Pick<TabletSplits, 'resume'>;
  readonly merges: Pick<TabletMerges, 'step' | 'frozenHere' | 'bytesOf'>;
  readonly admin: () => Admin | undefined;
}

/** A move whose new replica is no voter by then is given up. */
const MOVE_TIMEOUT_MS = 600_000;
/** Clients wait so many election timeouts for a merge to be decided. */
const MERGE_PATIENCE = 2;
const LOOK_AGAIN_MS = 20;

type ChangeOrder = Extract<MapRequest, { type: 'changeReplicas' }>;

export class MapService {
  readonly #parts: MapServiceParts;
  readonly meta: Meta;
  readonly driver: MetaDriver;
  readonly balancer: Balancer;
  readonly #reporter: BalanceReporter;
  readonly admin: MapAdmin;
  readonly #merges: MergeDriver;
  /** Tablets whose members an order changes now. */
  readonly #changing = new Set<number>();
  #joining: Timer | undefined;
  #isClosed = false;

  constructor(parts: MapServiceParts) {
    this.#parts = parts;
    const { env, config, placement, opened, tablets, calls, peers } = parts;
    const { nodeId } = config;
    const { replica } = opened.group;
    this.meta = new Meta({
      ...{ clock: env.clock, nodeId, replica, state: opened.state },
      forward: async (leader, changes) =>
        (await calls.call(leader, { type: 'metaUpdate', changes })) === true,
    });
    const ask = (node: number, request: MapRequest) =>
      node === nodeId ? this.handle(nodeId, request) : calls.call(node, request);
    const onFault = (error: unknown) => tablets.report('MAP', error);
    const isConnected = (node: number) => peers.isConnected(node);
    const isDead = (node: number) => this.balancer.isDead(node);
    // Clients wait while a tablet is frozen: nobody waits for an answer of a node that is down.
    const askPresent = (node: number, request: MapRequest) =>
      node === nodeId || isConnected(node)
        ? ask(node, request)
        : Promise.reject(unreachable(node, 'it is not connected'));
    this.#merges = new MergeDriver({
      ...{ env, meta: this.meta, ask: askPresent, onFault, isDead },
      patienceMs: MERGE_PATIENCE * config.raft.electionTimeoutMaxMs,
    });
    this.driver = new MetaDriver({
      ...{ env, placement, meta: this.meta, ask, onFault, isDead, merges: this.#merges },
      members: () => membersOf(replica.configuration),
      everyMs: config.raft.electionTimeoutMinMs,
      moveTimeoutMs: MOVE_TIMEOUT_MS,
    });
    const { maxTabletBytes, maxTabletOperationsPerSecond } = splitSettingsOf(config.placement, true);
    this.#reporter = new BalanceReporter(env.clock, tablets, config.location, {
      ...{ bytes: maxTabletBytes, operationsPerSecond: maxTabletOperationsPerSecond },
    });
    const autoMerges = new AutoMerges({
      ...{ env, meta: this.meta, settings: mergeSettingsOf(config.placement, placement) },
    });
    this.balancer = new Balancer({
      ...{ env, nodeId, settings: config.balance, meta: this.meta, isConnected, ask, onFault },
      answerWithinMs: 2 * config.raft.electionTimeoutMaxMs,
      handOver: (to) => replica.transferLeadership(to),
      members: () => replica.configuration,
      changeVoters: (change, index) => this.#changeVoters(change, index),
      recorded: () => this.driver.look(),
      looked: (reports) => autoMerges.look(reports),
    });
    const isPast = (tablet: number) => tablets.isPast(tablet);
    this.admin = new MapAdmin({
      ...{ env, nodeId, meta: this.meta, isConnected, isPast, ask },
      leader: () => replica.leader,
      voters: () => replica.configuration.voters,
      mapWaitMs: 2 * config.raft.electionTimeoutMaxMs,
      maxMergedBytes: maxMergedBytesOf(config.placement),
    });
  }

  begin(): void {
    this.look();
    if (this.#parts.config.join) this.#join();
  }

  /** This node may lead meta. */
  look(): void {
    this.driver.look();
    this.balancer.look();
  }

  close(): void {
    this.#isClosed = true;
    this.#joining?.cancel();
    this.driver.close();
    this.#merges.close();
    this.balancer.close();
  }

  /** A request of a node, perhaps this one. Rejects with what that node is told. */
  async handle(from: number, request: MapRequest): Promise<unknown> {
    switch (request.type) {
      case 'metaUpdate':
        return this.meta.updateEncoded(request.changes, false);
      case 'createReplica':
        return this.#createReplica(request);
      case 'changeReplicas':
        return this.#changeReplicas(request);
      case 'resumeSplit':
        return this.#parts.splits.resume(request.tablet);
      case 'mergeStep':
        return this.#parts.merges.step(request.tablet, request.attempt, request.step);
      case 'frozen':
        return this.#parts.merges.frozenHere(request.tablet, request.replicaId, request.attempt) ?? null;
      case 'tabletBytes':
        return this.#parts.merges.bytesOf(request.tablet);
      case 'report':
        return this.#reporter.report();
      case 'transferLeader':
        return this.#transferLeader(request);
      case 'balance':
        if (!this.meta.leads)
          throw new RaftreeError('NO_LEADER', 'this node does not lead the map', {
            info: { outcome: 'notCommitted' },
          });
        return this.balancer.picture();
      case 'join':
        return this.#takeIn(from, request);
      case 'promiseMap':
        return true;
    }
  }

  /** An order may be late: it counts only in the term that it names, and while no member comes or goes. */
  async #transferLeader({
    tablet,
    term,
    to,
  }: Extract<MapRequest, { type: 'transferLeader' }>): Promise<true> {
    const { tablets, peers } = this.#parts;
    const replica = tablets.get(tablet)?.group.replica;
    const isFit = replica?.role === 'leader' && replica.term === term && !replica.hasPendingChange;
    if (!isFit || !replica.configuration.voters.includes(to) || !peers.isHeard(to))
      throw new RaftreeError('ORDER_OUTDATED', `tablet ${tablet} cannot be led by node ${to} now`, {
        info: { outcome: 'notCommitted' },
      });
    await replica.transferLeadership(to);
    return true;
  }

  /** An order may be late: it counts only if the map, read after it came, has an intent that names this replica. */
  async #createReplica({ tablet, replicaId }: { tablet: number; replicaId: number }): Promise<true> {
    const { tablets, config, opened } = this.#parts;
    if (opened.group.replica.isDiskFull)
      throw new RaftreeError('DISK_FULL', `the disk of node ${config.nodeId} is full: it takes no replica`, {
        info: { outcome: 'notCommitted' },
      });
    const state = await this.meta.read();
    const intent = state.intents.get(tablet);
    const isWanted =
      intent?.type === 'move' && intent.add?.replicaId === replicaId && intent.add.node === config.nodeId;
    if (!isWanted)
      throw new RaftreeError('ORDER_OUTDATED', `the map has no order to make replica ${replicaId} here`, {
        info: { outcome: 'notCommitted' },
      });
    await tablets.createReplica(tablet, replicaId, state.versionOf(intentKey(tablet)));
    return true;
  }

  /** One order at a time: the next one sees what this one has done. */
  async #changeReplicas(order: ChangeOrder): Promise<ChangeProgress> {
    const { tablet } = order;
    if (this.#changing.has(tablet)) return { state: 'underWay' };
    this.#changing.add(tablet);
    try {
      return await this.#changeAlone(order);
    } finally {
      this.#changing.delete(tablet);
    }
  }

  async #changeAlone(order: ChangeOrder): Promise<ChangeProgress> {
    const { tablet, add, remove, givesUp } = order;
    const { tablets, config, peers, env } = this.#parts;
    const replica = tablets.get(tablet)?.group.replica;
    if (!replica) return { state: 'notLeader', leader: 0 };
    if (tablets.replicaIdOf(tablet) === 0)
      throw new RaftreeError(
        'UNSUPPORTED',
        `replicas of tablet ${tablet} have no ids, as in earlier versions: they cannot be moved before it is split`,
        { info: { outcome: 'notCommitted' } },
      );
    // A late order would bring a replica back that has left. What it changes begins in the members of before.
    const { index } = replica.configuration;
    if (replica.role === 'leader' && !(await this.#isWanted(order)))
      throw new RaftreeError('ORDER_OUTDATED', `the map has no order to change tablet ${tablet} so`, {
        info: { outcome: 'notCommitted' },
      });
    if (replica.configuration.index !== index) return { state: 'underWay' };
    const waitFor = async (condition: () => boolean) => {
      for (let waitedMs = 0; !condition(); waitedMs += LOOK_AGAIN_MS) {
        if (waitedMs >= config.raft.electionTimeoutMinMs || replica.role !== 'leader') return false;
        await new Promise<void>((resolve) => env.timers.after(LOOK_AGAIN_MS, resolve));
      }
      return true;
    };
    return stepTowards(
      { add, remove, givesUp },
      {
        ...{ nodeId: config.nodeId, replica, waitFor },
        firstIdOf: (node) => tablets.firstIdOf(tablet, node),
        isHeard: (node) => peers.isHeard(node),
        lacks: (node) => tablets.lacks(tablet, node),
      },
    );
  }

  /** Whether the map, read after the order came, has the move. */
  async #isWanted({ tablet, add, remove, givesUp = false }: ChangeOrder): Promise<boolean> {
    const intent = (await this.meta.read()).intents.get(tablet);
    if (intent?.type !== 'move' || intent.add?.replicaId !== add?.replicaId) return false;
    if (givesUp !== (intent.givesUp ?? false)) return false;
    return remove === undefined || intent.remove === remove.replicaId;
  }

  /** Asks any node of node.json, again and again, until this node is a member. */
  #join(): void {
    const { env, config, opened, calls, peers, tablets } = this.#parts;
    if (this.#isClosed || opened.group.replica.lastIndex > 0) return;
    const isConnected = (node: number) => peers.isConnected(node);
    const refused = (error: RaftreeError) => tablets.report(error.code, error);
    void askToJoin({ config, calls, isConnected, refused });
    this.#joining = env.timers.after(config.raft.electionTimeoutMaxMs, () => this.#join());
  }

  async #takeIn(from: number, request: Extract<MapRequest, { type: 'join' }>): Promise<unknown> {
    const { opened, config, calls } = this.#parts;
    const { role, leader, configuration } = opened.group.replica;
    const { node, client: clientAddress, peer: peerAddress } = request;
    // A node registers itself; a member passes that on.
    if (node !== from && !membersOf(configuration).includes(from))
      throw new RaftreeError('NOT_PERMITTED', 'a node can register only itself', {
        info: { outcome: 'notCommitted' },
      });
    if (role !== 'leader') {
      if (leader === 0 || leader === config.nodeId || node !== from)
        throw new RaftreeError('NO_LEADER', 'no leader of the map is known', {
          info: { outcome: 'notCommitted' },
        });
      return calls.call(leader, request);
    }
    if (membersOf(configuration).includes(node)) return true;
    await this.#changeMembers([{ type: 'addLearner', nodeId: node, clientAddress, peerAddress }]);
    return true;
  }

  /** One joint change, of the members that the configuration `index` has. */
  #changeVoters({ promote, demote }: VoterChange, index: number): Promise<void> {
    const change = (type: 'promote' | 'demote', nodeId: number | undefined) =>
      nodeId === undefined ? [] : [{ type, nodeId, clientAddress: '', peerAddress: '' }];
    return this.#changeMembers([...change('promote', promote), ...change('demote', demote)], index);
  }

  /** As an operator who forces nothing: only if enough voters hold the log, and learners have caught up. */
  async #changeMembers(changes: readonly RequestedChange[], expectedIndex?: number): Promise<void> {
    const request = { type: 'changeMembers', expectedIndex, force: false, changes } as const;
    const answer = await this.#parts.admin()?.handle(request);
    if (answer?.type === 'error')
      throw new RaftreeError(answer.code, answer.message, { info: { outcome: answer.outcome } });
  }
}
