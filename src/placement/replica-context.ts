/** The id of a replica in the configuration of its tablet: the context of the member. */
import type { PlacedReplica } from './placement.js';

export function replicaContext(replicaId: number): string {
  return JSON.stringify({ replicaId });
}

/** The id in a member's context; 0: it has none. */
export function replicaIdIn(context: string | undefined): number {
  try {
    const value: unknown = JSON.parse(context ?? '');
    const id = typeof value === 'object' && value !== null && 'replicaId' in value ? value.replicaId : 0;
    return typeof id === 'number' && Number.isInteger(id) && id > 0 ? id : 0;
  } catch {
    return 0;
  }
}

/** The contexts of replicas. */
export function contextsOf(replicas: readonly PlacedReplica[]): Readonly<Record<number, string>> {
  return Object.fromEntries(replicas.map(({ node, replicaId }) => [node, replicaContext(replicaId)]));
}
