/** Requests of operators: changes of members, and transfers of leadership. */

import {
  ADMINISTRATION_ERROR_OUTCOMES,
  type Administration,
  type AdministrationDone,
  type AdministrationError,
  type AdministrationRequest,
  type Balance,
  type BalanceShown,
  type ChangeMembers,
  type DrainNode,
  isAdministrationErrorCode,
  type MergeTablets,
  type MoveReplica,
  type SplitTablet,
  type TabletSplit,
} from '../doors/ports.js';
import type { Env } from '../env/env.js';
import { RaftreeError, refused } from '../env/errors.js';
import type { KvError } from '../kv/kv-error.js';
import type { Split } from '../kv/split.js';
import { FIRST_TABLET } from '../placement/placement.js';
import {
  type Configuration,
  type ConfigurationChange,
  isJoint,
  isVoter,
  membersOf,
} from '../raft/configuration.js';
import type { NodeId, ReadMethod, Role } from '../raft/types.js';
import type { MapAdmin } from './map-admin.js';
import type { Member } from './member-context.js';
import { type MemberPlan, planChanges, quorumProblem } from './member-plan.js';

/** What it needs of the replica. */
export interface AdminReplica {
  readonly role: Role;
  readonly leader: NodeId;
  readonly lastIndex: number;
  readonly configuration: Configuration;
  readonly settledConfiguration: number;
  readonly hasPendingChange: boolean;
  matchIndexOf(node: NodeId): number;
  readIndex(method: ReadMethod): Promise<number>;
  changeConfiguration(
    change: ConfigurationChange,
    expectedIndex: number | undefined,
  ): Promise<{ readonly index: number }>;
  transferLeadership(to: NodeId): Promise<void>;
}

/** What it needs of the connections with the other nodes. */
export interface AdminPeers {
  /** It is connected, and was heard from within an election timeout. */
  isHeard(node: NodeId): boolean;
  isConnected(node: NodeId): boolean;
  /** The store id of a connected node. Undefined if it is not connected, or was not accepted. */
  storeIdOf(node: NodeId): string | undefined;
  /**
   * The store id of the node that answers at an address. Rejects with `MEMBER_UNREACHABLE` if it is another node.
   */
  reach(node: NodeId, address: string): Promise<string>;
}

export interface AdminParts {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly nodeId: NodeId;
  /** Of the group whose members are the cluster's. */
  readonly replica: AdminReplica;
  /** Undefined: it is not here, or it is 0 and there are several. */
  readonly replicaOf: (
    tablet: number,
  ) => Pick<AdminReplica, 'role' | 'configuration' | 'transferLeadership'> | undefined;
  /** Whether the members of the cluster are still those of `replica`: if a map has begun, they are not. */
  readonly isCurrent: () => boolean;
  /** Undefined in a cluster that keeps no map. */
  readonly map:
    | Pick<MapAdmin, 'isWritten' | 'move' | 'merge' | 'drain' | 'balance' | 'keeps' | 'read'>
    | undefined;
  /** Resolves when the cluster keeps a map. Rejects as `MapBirth.begin`. */
  readonly beginMap: () => Promise<void>;
  /** What takes requests now: when a map has begun, not this. */
  readonly current: () => Pick<Administration, 'handle'> | undefined;
  /** As `TabletSplits.split`. */
  readonly split: (tablet: number, key: Uint8Array) => Promise<Split>;
  readonly peers: AdminPeers;
  /** The nodes of node.json. */
  readonly listed: readonly Member[];
  /** How long a change waits for a member to be heard, or for a learner to catch up, before it is refused. */
  readonly electionTimeoutMaxMs: number;
  /** What an error of the replica means for the caller. */
  readonly failure: (error: unknown) => KvError;
}

const DONE: AdministrationDone = { type: 'done', index: 0, changed: true, warnings: [] };
/** How long an applied change may take to settle. After that its outcome is reported as unknown. */
const PATIENCE_MS = 10_000;
const LOOK_AGAIN_MS = 20;

export class Admin implements Administration {
  readonly #parts: AdminParts;

  constructor(parts: AdminParts) {
    this.#parts = parts;
  }

  /** Never rejects. */
  async handle(request: AdministrationRequest): Promise<AdministrationDone | AdministrationError | KvError> {
    try {
      if (request.type === 'changeMembers') return await this.#change(request);
      if (request.type === 'moveReplica' && !this.#parts.map) return await this.#moveFirst(request);
      if (request.type !== 'transferLeader') return { ...DONE, changed: await this.#changeMap(request) };
      const { tablet = 0 } = request;
      const replica = this.#parts.replicaOf(tablet);
      if (!replica)
        throw new RaftreeError(
          'WRONG_TABLET',
          tablet === 0 ? 'this cluster has several tablets: name one' : `tablet ${tablet} is not here`,
        );
      const { role, configuration } = replica;
      if (role === 'leader' && !isVoter(configuration, request.nodeId))
        throw refused('CHANGE_INVALID', `node ${request.nodeId} is no voter, and only a voter can lead`);
      await replica.transferLeadership(request.nodeId);
      return DONE;
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** Never rejects. */
  async split({ tablet, key }: SplitTablet): Promise<TabletSplit | AdministrationError | KvError> {
    try {
      // A leader that has begun with it waits for the map.
      if (this.#parts.replicaOf(tablet)?.role === 'leader') await this.#parts.map?.read();
      const { parent, children } = await this.#parts.split(tablet, key);
      return { type: 'tabletSplit', tablet: parent.id, left: children[0].id, right: children[1].id };
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** Never rejects. */
  async balance(request: Balance): Promise<BalanceShown | AdministrationError | KvError> {
    try {
      return await this.#map.balance(request);
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): AdministrationError | KvError {
    if (!(error instanceof RaftreeError && isAdministrationErrorCode(error.code)))
      return this.#parts.failure(error);
    const { code, message, info } = error;
    const isCertain = info.outcome === 'notCommitted';
    const outcome = isCertain ? 'notCommitted' : ADMINISTRATION_ERROR_OUTCOMES[code];
    return { type: 'error', code, message, outcome };
  }

  /**
   * Decides by the newest configuration of the log, and ties the change to it. If another operator changes members
   * meanwhile, the result is `CHANGE_CONFLICT`.
   */
  async #change(request: ChangeMembers): Promise<AdministrationDone> {
    const { force, changes: requested } = request;
    const { replica, peers, listed, map } = this.#parts;
    const { index: expectedIndex } = this.#newestConfiguration(request.expectedIndex);
    if (map?.isWritten === false)
      throw refused('CHANGE_PENDING', 'the map of this cluster is not written yet; try again shortly');
    for (const { type, nodeId } of requested) {
      const problem = type === 'remove' ? await map?.keeps(nodeId) : undefined;
      if (problem !== undefined) throw refused('CHANGE_INVALID', problem);
    }
    const reached = new Map<NodeId, string>();
    const plan = () =>
      planChanges(
        this.#newestConfiguration(expectedIndex),
        requested,
        listed,
        (node) => reached.get(node) ?? peers.storeIdOf(node),
      );
    const { changes, toReach } = plan();
    if (changes.length === 0) {
      // A former leader may not know the newest configuration: so the answer is confirmed like a read.
      await replica.readIndex('index');
      plan();
      return { type: 'done', index: expectedIndex, changed: false, warnings: [] };
    }
    const warnings: string[] = [];
    const risk = (error: RaftreeError) => {
      if (!force) throw error;
      warnings.push(error.message);
    };
    for (const { node, peer } of toReach) {
      try {
        reached.set(node, await peers.reach(node, peer));
      } catch (error) {
        if (!(error instanceof RaftreeError)) throw error;
        risk(error);
      }
    }
    const problem = await this.#problemOf(plan, new Set(reached.keys()), force);
    if (problem) risk(problem);
    // Directly before the change: map-birth.ts says why nothing can come in between.
    if (!this.#parts.isCurrent())
      throw refused('CHANGE_CONFLICT', 'the cluster keeps a map from now on; look again before the change');
    const { index } = await replica.changeConfiguration(
      { changes: plan().changes, transition: 'auto' },
      expectedIndex,
    );
    await this.#settled(index);
    return { type: 'done', index, changed: true, warnings };
  }

  /**
   * A replica of the only tablet is to go to a node that waits to join: the cluster begins to keep a map, the node
   * registers itself, and then it is a move like any other. Any of these may be what has been done already.
   */
  async #moveFirst(request: MoveReplica): Promise<AdministrationDone | AdministrationError | KvError> {
    const { env, replica, peers, beginMap, current } = this.#parts;
    const { tablet, from, to } = request;
    const { role, leader, configuration } = replica;
    if (role !== 'leader')
      throw new RaftreeError('NOT_LEADER', 'this node does not lead', {
        info: { leader, outcome: 'notCommitted' },
      });
    if (tablet !== FIRST_TABLET)
      throw refused('CHANGE_INVALID', `there is no tablet ${tablet}; see \`raftree shards\``);
    const members = membersOf(configuration);
    if (!members.includes(from))
      throw refused('CHANGE_INVALID', `node ${from} has no replica of tablet ${tablet}`);
    if (members.includes(to))
      throw refused(
        'CHANGE_INVALID',
        `node ${to} has a replica of tablet ${tablet} already: in a cluster that keeps no map all members hold the ` +
          'only tablet; it can move to a node that waits to join ("join": true in its node.json)',
      );
    if (!peers.isConnected(to))
      throw refused(
        'MEMBER_UNREACHABLE',
        `node ${to} is not connected now: start it with "join": true in its node.json, and with the addresses of members`,
      );
    await beginMap();
    for (let waitedMs = 0; ; waitedMs += LOOK_AGAIN_MS) {
      const next = current();
      const answer = next && next !== this ? await next.handle(request) : undefined;
      if (answer && !(answer.type === 'error' && answer.code === 'NOT_A_MEMBER')) return answer;
      if (waitedMs >= PATIENCE_MS)
        throw refused(
          'NOT_A_MEMBER',
          `the cluster keeps a map now, and node ${to} has not joined yet; move the replica when it has (\`raftree node list\`)`,
        );
      await new Promise<void>((resolve) => env.timers.after(LOOK_AGAIN_MS, resolve));
    }
  }

  async #changeMap(request: MoveReplica | DrainNode | MergeTablets): Promise<boolean> {
    if (request.type === 'mergeTablets') return this.#map.merge(request);
    return request.type === 'moveReplica' ? this.#map.move(request) : this.#map.drain(request);
  }

  /** Throws `CHANGE_INVALID` if there is none. */
  get #map(): NonNullable<AdminParts['map']> {
    const { map } = this.#parts;
    if (map) return map;
    throw refused(
      'CHANGE_INVALID',
      'this cluster has one tablet, on all of its nodes, and keeps no map; it gets one with its first split (`raftree tablet split`)',
    );
  }

  /** Throws `NOT_LEADER`, `CHANGE_PENDING`, or `CHANGE_CONFLICT` if it is not the expected one. */
  #newestConfiguration(expectedIndex: number | undefined): Configuration {
    const { role, leader, hasPendingChange, configuration } = this.#parts.replica;
    if (role !== 'leader')
      throw new RaftreeError('NOT_LEADER', 'this node does not lead', {
        info: { leader, outcome: 'notCommitted' },
      });
    if (hasPendingChange || isJoint(configuration))
      throw refused('CHANGE_PENDING', 'another change of membership is under way; try again when it is done');
    if (expectedIndex !== undefined && expectedIndex !== configuration.index)
      throw refused(
        'CHANGE_CONFLICT',
        'the membership has been changed since it was looked at; look again before another change',
      );
    return configuration;
  }

  /** What speaks against the plan, after some time for nodes that are late. Undefined if nothing does. */
  async #problemOf(
    plan: () => MemberPlan,
    reached: ReadonlySet<NodeId>,
    force: boolean,
  ): Promise<RaftreeError | undefined> {
    const { env, replica, electionTimeoutMaxMs } = this.#parts;
    const untilMs = env.clock.nowMs() + electionTimeoutMaxMs;
    const { lastIndex } = replica;
    for (;;) {
      const problem = this.#problemNow(plan(), reached, lastIndex);
      if (!problem || force || env.clock.nowMs() >= untilMs) return problem;
      await new Promise<void>((resolve) => env.timers.after(LOOK_AGAIN_MS, resolve));
    }
  }

  #problemNow(
    { promoted, result }: MemberPlan,
    reached: ReadonlySet<NodeId>,
    lastIndex: number,
  ): RaftreeError | undefined {
    const { nodeId, replica, peers, electionTimeoutMaxMs } = this.#parts;
    const isHeard = (node: NodeId) => node === nodeId || reached.has(node) || peers.isHeard(node);
    const behind = (node: NodeId) => lastIndex - replica.matchIndexOf(node);
    for (const node of promoted) {
      if (!isHeard(node))
        return refused(
          'MEMBER_UNREACHABLE',
          `node ${node} is not heard now: as a voter it would count, and not answer; see \`raftree member list\` for why`,
        );
      if (behind(node) > 0)
        return refused(
          'MEMBER_BEHIND',
          `node ${node} is ${behind(node)} entries behind and did not catch up within ${electionTimeoutMaxMs} ms: ` +
            'wait until `raftree member list` shows it near 0 behind',
        );
    }
    // A node that is heard may still wait for a snapshot, or for its disk. With a majority of such nodes nothing can be
    // committed, and if this node is lost then, acknowledged writes are lost.
    const problem = quorumProblem(replica.configuration, result, (node) => {
      if (node === nodeId || reached.has(node)) return undefined;
      if (!isHeard(node)) return 'silent';
      return behind(node) > 0 ? `${behind(node)} entries behind` : undefined;
    });
    if (problem === undefined) return undefined;
    return refused('QUORUM_AT_RISK', `${problem}; without them the cluster could not take a write any more`);
  }

  /**
   * Resolves when a quorum of the new members knows durably that the change is in force. Then removed nodes may be
   * stopped, and all others restarted. A joint change has settled when the joint configuration is left.
   */
  async #settled(index: number): Promise<void> {
    const { replica, env } = this.#parts;
    const isSettled = () => replica.settledConfiguration >= index && !isJoint(replica.configuration);
    for (let waitedMs = 0; !isSettled(); waitedMs += LOOK_AGAIN_MS) {
      if (replica.role !== 'leader' || waitedMs >= PATIENCE_MS) {
        throw new RaftreeError(
          'LEADERSHIP_LOST',
          'the change took effect here, but it is not known whether the others know it for good: ' +
            'stop no removed node before `member list` of another leader agrees',
          { info: { outcome: 'unknown' } },
        );
      }
      await new Promise<void>((resolve) => env.timers.after(LOOK_AGAIN_MS, resolve));
    }
  }
}
