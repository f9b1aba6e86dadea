/**
 * Which two tablets should become one: neighbours on the same nodes that are small and little used together, for some
 * looks in a row. A split leaves two halves that together are as large as the whole: far too large to be merged, so the
 * two do not undo each other. Never fewer tablets than a cluster was made with.
 */
import type { Descriptor, NodeReport } from './cluster-map.js';

export interface MergeSettings {
  /** Neighbours that have less together are merged; 0: none are. */
  readonly minTabletBytes: number;
  /** Above it tablets are split by their load; 0: they are not. Half of a quarter each is little. */
  readonly maxTabletOperationsPerSecond: number;
  readonly leastTablets: number;
}

export interface SmallPair {
  readonly left: number;
  readonly right: number;
  readonly bytes: number;
}

/** Of what a tablet may be asked before it is split. */
const LITTLE_LOAD_SHARE = 1 / 4;

/** Of tablets with which nothing is under way, the smallest pair first. `isBusy`: something is. */
export function smallPairs(
  tablets: readonly Descriptor[],
  isBusy: (tablet: number) => boolean,
  reports: readonly NodeReport[],
  { minTabletBytes, maxTabletOperationsPerSecond, leastTablets }: MergeSettings,
): readonly SmallPair[] {
  if (minTabletBytes === 0 || tablets.length <= leastTablets) return [];
  const said = new Map<number, { readonly bytes: number; readonly load: number }>();
  for (const { replicas } of reports)
    for (const { tablet, sizeBytes, leads } of replicas)
      if (leads) said.set(tablet, { bytes: sizeBytes, load: leads.operationsPerSecond });
  const mostLoad = maxTabletOperationsPerSecond * LITTLE_LOAD_SHARE || Number.POSITIVE_INFINITY;
  const sorted = [...tablets].sort((a, b) => Buffer.compare(a.start, b.start));
  const pairs = sorted.flatMap((left, i): SmallPair[] => {
    const right = sorted[i + 1];
    const [one, other] = [said.get(left.id), right && said.get(right.id)];
    if (!right || !one || !other || isBusy(left.id) || isBusy(right.id)) return [];
    const isTogether = left.end !== undefined && Buffer.compare(left.end, right.start) === 0;
    if (!isTogether || nodesIn(left) !== nodesIn(right)) return [];
    const bytes = one.bytes + other.bytes;
    const isSmall = bytes < minTabletBytes && one.load + other.load < mostLoad;
    return isSmall ? [{ left: left.id, right: right.id, bytes }] : [];
  });
  return pairs.sort((a, b) => a.bytes - b.bytes || a.left - b.left);
}

function nodesIn({ replicas }: Descriptor): string {
  return replicas
    .map(({ node }) => node)
    .sort((a, b) => a - b)
    .join();
}
