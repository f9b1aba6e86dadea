/**
 * Takes what tablets have become into the map, and lets go what they were, by what a tablet's own log says: whichever
 * node leads a child does so, and does not ask what the intent said.
 */
import type { Descriptor, Replica } from '../balance/cluster-map.js';
import { isMerge, parentsOf, placedIn, type TabletChange } from '../kv/lineage.js';
import type { Meta } from '../meta/meta.js';
import { intentKey, tabletKey } from '../meta/records.js';
import { overlap } from '../placement/tablet-map.js';

export class Publishing {
  readonly #meta: () => Meta | undefined;

  /** `meta`: undefined in a cluster that keeps no map. */
  constructor(meta: () => Meta | undefined) {
    this.#meta = meta;
  }

  /**
   * Whether the map has the children, or what they have become; no tablet from before them. As far as this node has
   * heard. That it does not have the parents is not enough: it may not have heard of them yet.
   */
  isDone({ children }: TabletChange): boolean {
    const state = this.#meta()?.state;
    if (!state) return true;
    const isBefore = (each: Descriptor) =>
      children.some((child) => each.generation < child.generation && overlap(each, child));
    return state.cluster !== undefined && ![...state.tablets.values()].some(isBefore);
  }

  /** Takes the children into the map. Rejects as meta does; it may be repeated. */
  async publish(change: TabletChange): Promise<void> {
    const meta = this.#meta();
    if (!meta || this.isDone(change)) return;
    const state = await meta.read();
    const parents = parentsOf(change);
    // What made the parents has to be in the map first.
    if (this.isDone(change) || !parents.every(({ id }) => state.tablets.has(id))) return;
    const intended = new Map<number, readonly Replica[]>();
    const removed: string[] = [];
    for (const { id } of parents) {
      const intent = state.intents.get(id);
      removed.push(tabletKey(id));
      if (intent?.type !== (isMerge(change) ? 'merge' : 'split')) continue;
      removed.push(intentKey(id));
      if (intent.type === 'split')
        for (const child of intent.children) intended.set(child.id, child.replicas);
    }
    const created: Descriptor[] = [];
    for (const child of change.children) {
      const placed = placedIn(change, child.id).map((each) => ({ ...each, role: 'voter' as const }));
      const { voters, index: confIndex } = change.configuration;
      // Those of an earlier version have ids in the map only.
      const given = placed.length > 0 ? placed : intended.get(child.id);
      const replicas = given ?? (await this.#newReplicas(meta, voters));
      created.push({ ...child, parents: parents.map(({ id }) => id), replicas, confIndex });
    }
    await meta.update([
      ...removed.map((key) => ({ key, expectedVersion: state.versionOf(key), value: undefined })),
      ...created.map((value) => ({ key: tabletKey(value.id), expectedVersion: 0, value })),
    ]);
  }

  async #newReplicas(meta: Meta, nodes: readonly number[]): Promise<Replica[]> {
    const first = await meta.allocateIds(nodes.length);
    return nodes.map((node, i) => ({ replicaId: first + i, node, role: 'voter' as const }));
  }
}
