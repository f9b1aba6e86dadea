/**
 * What the leader of meta does, again and again:
 *
 *     the first map       written once
 *     nodes               a member of the cluster has a record, and no one else
 *     splits              one that is recorded and not done is gone on with by the leader of the tablet
 *     merges              merge-driver.ts
 *     moves               each is brought one step further, until the tablet's log has the members; then the map has
 *
 * Each step is an update that names the versions it starts from, or an order that does nothing when it is repeated. So
 * two leaders, or one that begins again, do nothing twice. Nothing is remembered here that is not in the map. Which
 * moves there are is up to operators and the balancer (balancer.ts).
 */
import type { ClusterNode, Descriptor } from '../balance/cluster-map.js';
import type { Env, Timer } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import type { Meta, MetaChange } from '../meta/meta.js';
import { endMove } from '../meta/moves.js';
import { CLUSTER_KEY, intentKey, type MoveIntent, NEXT_ID_KEY, nodeKey, tabletKey } from '../meta/records.js';
import { firstReplicas, firstTablets, type Placement } from '../placement/placement.js';
import { askLeader } from './ask-leader.js';
import type { MergeDriver } from './merge-driver.js';
import type { MapRequest } from './node-calls.js';
import type { ChangeProgress } from './replica-change.js';

export interface MetaDriverParts {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly meta: Meta;
  readonly placement: Placement;
  /** The members of the cluster, in force. */
  readonly members: () => readonly number[];
  readonly merges: Pick<MergeDriver, 'look'>;
  /** A node that will not answer. */
  readonly isDead: (node: number) => boolean;
  /** Asks a node, perhaps this one. Rejects as that node does, or because it cannot be asked. */
  readonly ask: (node: number, request: MapRequest) => Promise<unknown>;
  readonly everyMs: number;
  /** A move whose new replica is no voter by then is given up. */
  readonly moveTimeoutMs: number;
  /** An error that passes by itself, for the log of the node. */
  readonly onFault: (error: unknown) => void;
}

/** So many looks a split has before it is taken for forgotten. */
const SPLIT_LOOKS = 5;

export class MetaDriver {
  readonly #parts: MetaDriverParts;
  /** By tablet: since when this leader has seen its intent. */
  readonly #moveSeenMs = new Map<number, number>();
  #timer: Timer | undefined;
  #isBusy = false;
  #isClosed = false;

  constructor(parts: MetaDriverParts) {
    this.#parts = parts;
  }

  /** This node may lead: while it does, it looks again and again. */
  look(): void {
    const { meta, env, everyMs, onFault } = this.#parts;
    if (this.#isBusy || this.#isClosed || !meta.leads) return;
    this.#isBusy = true;
    this.#timer?.cancel();
    this.#step()
      .catch((error: unknown) => {
        if (!this.#isClosed) onFault(error);
      })
      .finally(() => {
        this.#isBusy = false;
        if (!this.#isClosed) this.#timer = env.timers.after(everyMs, () => this.look());
      });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  async #step(): Promise<void> {
    const { meta, placement, members } = this.#parts;
    if (!meta.state.cluster) {
      const { cluster } = await meta.read();
      if (!cluster) await meta.update(firstMap(placement, members()));
      return;
    }
    await this.#keepNodes();
    const { intents } = meta.state;
    for (const tablet of this.#moveSeenMs.keys()) if (!intents.has(tablet)) this.#moveSeenMs.delete(tablet);
    this.#parts.merges.look();
    await Promise.all(
      [...intents].map(async ([tablet, intent]) => {
        if (intent.type === 'merge') return;
        const driven = intent.type === 'move' ? this.#drive(tablet, intent) : this.#resume(tablet);
        await driven.catch((error: unknown) => {
          if (!this.#isClosed) this.#parts.onFault(error);
        });
      }),
    );
  }

  async #keepNodes(): Promise<void> {
    const { meta, members } = this.#parts;
    const { state } = meta;
    const present = members();
    const changes = [
      ...present
        .filter((id) => !state.nodes.has(id))
        .map((id) => ({ key: nodeKey(id), expectedVersion: 0, value: newNode(id) })),
      ...[...state.nodes.keys()]
        .filter((id) => present.length > 0 && !present.includes(id))
        .map((id) => ({ key: nodeKey(id), expectedVersion: state.versionOf(nodeKey(id)), value: undefined })),
    ];
    if (changes.length > 0) await meta.update(changes);
  }

  async #drive(tablet: number, intent: MoveIntent): Promise<void> {
    const { generation, add, remove } = intent;
    const { meta, ask, env, moveTimeoutMs, isDead } = this.#parts;
    const nowMs = env.clock.nowMs();
    const sinceMs = this.#moveSeenMs.get(tablet) ?? nowMs;
    this.#moveSeenMs.set(tablet, sinceMs);
    const descriptor = meta.state.tablets.get(tablet);
    if (!descriptor || descriptor.generation !== generation) return;
    const leaving = descriptor.replicas.find(({ replicaId }) => replicaId === remove);
    const target = add && meta.state.nodes.get(add.node);
    const isLost = add !== undefined && (!target || target.isDraining || isDead(add.node));
    const givesUp = intent.givesUp === true || isLost || nowMs - sinceMs > moveTimeoutMs;
    if (givesUp && !intent.givesUp) {
      const key = intentKey(tablet);
      const value = { ...intent, givesUp };
      await meta.update([{ key, expectedVersion: meta.state.versionOf(key), value }]);
      return;
    }
    if (add && !givesUp) await ask(add.node, { type: 'createReplica', tablet, replicaId: add.replicaId });
    const placed = leaving && { replicaId: leaving.replicaId, node: leaving.node };
    const change = { type: 'changeReplicas', tablet, add, remove: placed, givesUp } as const;
    const progress = await this.#askLeader(descriptor, change).catch((error: unknown) => {
      // Its leader can change no members: nothing has begun.
      if (errorCode(error) === 'UNSUPPORTED') return { state: 'done', confIndex: 0, replicas: [] } as const;
      throw error;
    });
    if (progress.state === 'done') await meta.update(endMove(meta.state, tablet, progress));
  }

  /** Whoever has recorded the split may have died, or never learned what became of it. */
  async #resume(tablet: number): Promise<void> {
    const { meta, env, everyMs } = this.#parts;
    const descriptor = meta.state.tablets.get(tablet);
    const nowMs = env.clock.nowMs();
    const sinceMs = this.#moveSeenMs.get(tablet) ?? nowMs;
    this.#moveSeenMs.set(tablet, sinceMs);
    if (!descriptor || nowMs - sinceMs < SPLIT_LOOKS * everyMs) return;
    await this.#askLeader(descriptor, { type: 'resumeSplit', tablet });
  }

  async #askLeader({ replicas }: Descriptor, request: MapRequest): Promise<ChangeProgress> {
    const nodes = replicas.map(({ node }) => node);
    return (await askLeader<ChangeProgress>(nodes, request, this.#parts.ask)) ?? { state: 'underWay' };
  }
}

/** The changes that write the map of the birth. All of its leaders would write the same. */
export function firstMap(placement: Placement, founders: readonly number[]): MetaChange[] {
  const { by, hashVersion } = placement;
  const { replicas, nextId } = firstReplicas(placement, founders);
  const descriptors = firstTablets(placement).map((tablet): Descriptor => {
    const placed = (replicas.get(tablet.id) ?? []).map((each) => ({ ...each, role: 'voter' as const }));
    return { ...tablet, parents: [], replicas: placed, confIndex: 0 };
  });
  const created = (key: string, value: MetaChange['value']): MetaChange => ({
    key,
    expectedVersion: 0,
    value,
  });
  return [
    created(CLUSTER_KEY, { by, hashVersion, replicas: placement.replicas || founders.length }),
    created(NEXT_ID_KEY, nextId),
    ...founders.map((id) => created(nodeKey(id), newNode(id))),
    ...descriptors.map((descriptor) => created(tabletKey(descriptor.id), descriptor)),
  ];
}

/** A node of which nothing is said. */
export function newNode(id: number): ClusterNode {
  return { id, host: '', zone: '', isDraining: false, weight: 1 };
}
