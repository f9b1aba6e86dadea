/**
 * What the page shows: this node, and the others as they tell it themselves. Their status is asked for through the
 * client library, one request at a time and member, and only while somebody looks.
 */
import type { NodeStatus, RaftreeClient } from '../client/client.js';
import type { LiveSource } from '../doors/http/live.js';
import { bytesIn } from '../doors/http/schemas.js';
import type { Env, Timer } from '../env/env.js';
import type { MetaState } from '../meta/meta-state.js';
import { nodesOf } from '../meta/records.js';
import type { OutboundOf } from '../protocol/messages.js';
import { addedStats } from './added-stats.js';
import type { MemberView } from './member-view.js';
import type { Peers } from './peers.js';
import type { Recent } from './recent.js';
import type { OpenTablet, TabletSet } from './tablet-set.js';

export interface LiveViewParts {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly nodeId: number;
  readonly clusterId: string;
  readonly cluster: Pick<RaftreeClient, 'status' | 'tablets'>;
  readonly membership: Pick<MemberView, 'members'>;
  readonly peers: Pick<Peers, 'traffic'>;
  readonly recent: Recent;
  readonly tablets: Pick<TabletSet, 'all' | 'map' | 'has' | 'meta'>;
  readonly status: () => OutboundOf<'statusReply'>;
}

type Told = Pick<
  NodeStatus,
  'nodeId' | 'role' | 'term' | 'leaderId' | 'commitIndex' | 'appliedIndex' | 'lastIndex' | 'tablets' | 'leads'
> & { readonly peers: readonly { readonly nodeId: number; readonly matchIndex: number }[] };

interface Asked {
  told: Told | undefined;
  /** When that was heard. */
  heardMs: number;
  isUnderWay: boolean;
}

/** Longer than a view takes, shorter than people wait. */
const ASK_TIMEOUT_MS = 900;
/** A view does not wait longer for the others. */
const PATIENCE_MS = 200;
/** What was told longer ago than this is not shown: the node is not reached. */
const FRESH_MS = 1500;

export function liveSource(parts: LiveViewParts): LiveSource {
  const { env, nodeId, clusterId, membership, peers, recent } = parts;
  const asked = new Map<number, Asked>();
  const elsewhere = new LeadersElsewhere(parts);

  const ask = async (id: number, address: string) => {
    const known = asked.get(id) ?? { told: undefined, heardMs: 0, isUnderWay: false };
    asked.set(id, known);
    if (known.isUnderWay || address === '') return;
    known.isUnderWay = true;
    try {
      const told = await parts.cluster.status(address, { timeoutMs: ASK_TIMEOUT_MS });
      if (told.nodeId !== id) return;
      known.told = told;
      known.heardMs = env.clock.nowMs();
    } catch {
      // Its silence says that it is not reached.
    } finally {
      known.isUnderWay = false;
    }
  };

  return {
    history: () => ({ points: recent.points }),
    refresh: async () => {
      const others = membership.members.filter(({ id }) => id !== nodeId);
      for (const id of asked.keys()) if (!others.some((member) => member.id === id)) asked.delete(id);
      let timer: Timer | undefined;
      const patience = new Promise<void>((resolve) => {
        timer = env.timers.after(PATIENCE_MS, resolve);
      });
      const answers = others.map(({ id, client }) => ask(id, client));
      await Promise.race([patience, Promise.all([...answers, elsewhere.refresh()])]);
      timer?.cancel();
    },
    view: () => {
      const own = parts.status();
      const { all } = parts.tablets;
      const { members } = membership;
      const nowMs = env.clock.nowMs();
      const lags = lagsOf(all);
      const nodes = members.map(({ id, client }) => {
        const known = asked.get(id);
        const isFresh = known && nowMs - known.heardMs < FRESH_MS;
        const told = id === nodeId ? own : isFresh ? known.told : undefined;
        const isDraining = parts.tablets.meta?.state.nodes.get(id)?.isDraining ?? false;
        return { ...nodeView(id, client, told, own.voters), isDraining, lag: lags.get(id) };
      });
      const stats = addedStats(all.flatMap(({ group }) => group.stateMachine.engineStats() ?? []));
      return {
        atMs: env.clock.wallMs(),
        ...{ self: nodeId, clusterId, version: own.version },
        nodes,
        groups: groupViews(all, own),
        tablets: tabletViews(parts.tablets, elsewhere),
        traffic: members
          .filter(({ id }) => id !== nodeId)
          .map(({ id }) => ({ peer: id, ...peers.traffic(id) })),
        lsm: stats && {
          levels: stats.levels,
          memtableBytes: stats.memtableBytes,
          pendingBytes: stats.pendingBytes,
          ...{ flushes: stats.flushes, compactions: stats.compactions, compactedBytes: stats.compactedBytes },
          stalled: stats.stalled ?? null,
        },
        point: recent.points.at(-1),
      };
    },
  };
}

/** More are not shown. */
const MAX_GROUPS_SHOWN = 64;

function groupViews(all: readonly OpenTablet[], own: OutboundOf<'statusReply'>) {
  const [first] = all;
  const inOrder = all.toSorted((one, other) => Buffer.compare(one.tablet.start, other.tablet.start));
  const shown = inOrder.slice(0, MAX_GROUPS_SHOWN).map(({ tablet, group: { replica, stateMachine } }) => ({
    id: tablet.id,
    ...{
      role: replica.role,
      term: replica.term,
      leader: replica.leader,
      keys: stateMachine.approximateKeys(),
    },
    log: {
      first: replica.baseIndex + 1,
      snapshot: replica.durableIndex,
      commit: replica.commitIndex,
      applied: replica.appliedIndex,
      last: replica.lastIndex,
    },
  }));
  if (first) return shown;
  const { role, term, leaderId, keysApproximate } = own;
  const log = { first: 1, snapshot: 0, commit: 0, applied: 0, last: 0 };
  return [{ id: 1, role, term, leader: leaderId, keys: keysApproximate, log }];
}

/** What the others lack of the tablets that this node leads, in entries. */
function lagsOf(all: readonly OpenTablet[]): ReadonlyMap<number, number> {
  const lags = new Map<number, number>();
  for (const { group } of all) {
    const { replica } = group;
    if (replica.role !== 'leader') continue;
    for (const { id, matchIndex } of replica.peers())
      lags.set(id, (lags.get(id) ?? 0) + Math.max(0, replica.lastIndex - matchIndex));
  }
  return lags;
}

/** More would make each view large. */
const MAX_TABLETS_SHOWN = 256;
/** Of splits and moves. */
const MAX_CHANGES_SHOWN = 32;

/** The map of the keyspace in the order of the ranges, with sizes of what is here, and what is under way. */
function tabletViews(
  { map, all, meta }: Pick<TabletSet, 'map' | 'all' | 'meta'>,
  elsewhere: LeadersElsewhere,
) {
  if (!map) return undefined;
  const here = new Map(all.map(({ tablet, group }) => [tablet.id, group]));
  const changes = meta ? changesIn(meta.state) : [];
  return {
    by: map.by,
    isBalanced: meta?.state.isBalanced,
    count: map.tablets.length,
    shown: map.tablets.slice(0, MAX_TABLETS_SHOWN).map(({ id, start, end }) => {
      const group = here.get(id);
      const stats = group?.stateMachine.engineStats();
      const files = stats?.levels.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;
      const descriptor = meta?.state.tablets.get(id);
      return {
        id,
        ...bytesIn('start', start),
        ...(end ? bytesIn('end', end) : {}),
        leader: group?.replica.leader ?? elsewhere.leaderOf(id),
        ...(descriptor && { nodes: nodesOf(descriptor.replicas) }),
        ...(group && { keys: group.stateMachine.approximateKeys() }),
        ...(stats && { bytes: files + stats.memtableBytes }),
      };
    }),
    changes: changes.slice(0, MAX_CHANGES_SHOWN),
    changesCount: changes.length,
  };
}

/** What the map says to be under way with tablets. */
export function changesIn({ intents, tablets }: MetaState) {
  return [...intents].map(([tablet, intent]) => {
    if (intent.type === 'split') return { tablet, type: intent.type, ...bytesIn('at', intent.at) };
    if (intent.type === 'merge') {
      const { type, left, right, stage } = intent;
      return { tablet, type, with: tablet === left ? right : left, stage };
    }
    const leaving = tablets.get(tablet)?.replicas.find(({ replicaId }) => replicaId === intent.remove);
    return { tablet, type: intent.type, from: leaving?.node, to: intent.add?.node };
  });
}

/** The whole map is asked for: seldom if it is large. */
const ELSEWHERE_EVERY_MS = 2000;
const ELSEWHERE_PER_TABLET_MS = 2;

/** Who leads the tablets that this node does not hold: others are asked, while there are some and somebody looks. */
class LeadersElsewhere {
  readonly #parts: Pick<LiveViewParts, 'env' | 'cluster' | 'tablets'>;
  #leaders: ReadonlyMap<number, number> = new Map();
  #isAsking = false;
  #nextMs = 0;

  constructor(parts: Pick<LiveViewParts, 'env' | 'cluster' | 'tablets'>) {
    this.#parts = parts;
  }

  leaderOf(tablet: number): number {
    return this.#leaders.get(tablet) ?? 0;
  }

  async refresh(): Promise<void> {
    const { env, cluster, tablets } = this.#parts;
    const shown = tablets.map?.tablets.slice(0, MAX_TABLETS_SHOWN) ?? [];
    const nowMs = env.clock.nowMs();
    if (this.#isAsking || nowMs < this.#nextMs || shown.every(({ id }) => tablets.has(id))) return;
    this.#isAsking = true;
    this.#nextMs =
      nowMs + Math.max(ELSEWHERE_EVERY_MS, (tablets.map?.tablets.length ?? 0) * ELSEWHERE_PER_TABLET_MS);
    try {
      const located = await cluster.tablets({ timeoutMs: ASK_TIMEOUT_MS });
      this.#leaders = new Map(located.tablets.map(({ id, leader }) => [id, leader]));
    } catch {
      this.#leaders = new Map();
    } finally {
      this.#isAsking = false;
    }
  }
}

/** Without `told` the node is not reached. */
function nodeView(id: number, client: string, told: Told | undefined, voters: readonly number[]) {
  return {
    id,
    client,
    isVoter: voters.includes(id),
    reached: told !== undefined,
    ...(told && {
      ...{ role: told.role, term: told.term, leader: told.leaderId },
      ...{ holds: told.tablets, leads: told.leads },
      ...{ commit: told.commitIndex, applied: told.appliedIndex, last: told.lastIndex },
      // Only a leader knows what the others hold.
      matches:
        told.role === 'leader'
          ? told.peers.map(({ nodeId, matchIndex }) => ({ id: nodeId, matchIndex }))
          : [],
    }),
  };
}
