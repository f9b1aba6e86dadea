/**
 * What the leader of meta does: it writes the first map, once. Each step is an update that names the versions it starts
 * from, so two leaders, or one that begins again, change nothing twice.
 */
import type { ClusterNode, Descriptor } from '../balance/cluster-map.js';
import type { Env, Timer } from '../env/env.js';
import type { Meta, MetaChange } from '../meta/meta.js';
import { CLUSTER_KEY, NEXT_ID_KEY, nodeKey, tabletKey } from '../meta/records.js';
import { firstTablets, type Placement } from '../placement/placement.js';

export interface MetaDriverParts {
  readonly env: Pick<Env, 'timers'>;
  readonly meta: Meta;
  readonly placement: Placement;
  /** The first members of the cluster. */
  readonly founders: () => readonly number[];
  readonly everyMs: number;
  /** An error that passes by itself, for the log of the node. */
  readonly onFault: (error: unknown) => void;
}

export class MetaDriver {
  readonly #parts: MetaDriverParts;
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
      .catch(onFault)
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
    const { meta, placement, founders } = this.#parts;
    if (meta.state.cluster) return;
    const { cluster } = await meta.read();
    if (!cluster) await meta.update(firstMap(placement, founders()));
  }
}

/** The changes that write the map of the birth. All of its leaders would write the same. */
export function firstMap(placement: Placement, founders: readonly number[]): MetaChange[] {
  const nodes = [...founders].sort((a, b) => a - b);
  const tablets = firstTablets(placement);
  const { by, hashVersion } = placement;
  let nextId = tablets.length + 1;
  const descriptors = tablets.map((tablet): Descriptor => {
    const replicas = nodes.map((node) => ({ replicaId: nextId++, node, role: 'voter' as const }));
    return { ...tablet, parents: [], replicas, confIndex: 0 };
  });
  const created = (key: string, value: MetaChange['value']): MetaChange => ({
    key,
    expectedVersion: 0,
    value,
  });
  return [
    created(CLUSTER_KEY, { by, hashVersion, replicas: nodes.length }),
    created(NEXT_ID_KEY, nextId),
    ...nodes.map((id) => created(nodeKey(id), newNode(id))),
    ...descriptors.map((descriptor) => created(tabletKey(descriptor.id), descriptor)),
  ];
}

/** A node of which nothing is said. */
export function newNode(id: number): ClusterNode {
  return { id, host: '', zone: '', isDraining: false, weight: 1 };
}
