/**
 * Which two tablets should become one: neighbours on the same nodes that are small and little used together, for some
 * looks in a row. A split leaves two halves that together are as large as the whole: far too large to be merged, so the
 * two do not undo each other. Never fewer tablets than a cluster was made with.
 *
 * Clients wait while two tablets are frozen, and they are merged only when all replicas take part. So nothing is begun
 * where a node has not answered just now, or has no room.
 */
import type { Descriptor, NodeReport, SplitLimits } from './cluster-map.js';

export interface MergeSettings {
  /** Neighbours that have less together are merged; 0: none are. */
  readonly minTabletBytes: number;
  readonly leastTablets: number;
}

export interface SmallPair {
  readonly left: number;
  readonly right: number;
  readonly bytes: number;
}

/** Of what a tablet may have, or be asked, before it is split. */
const LITTLE_SHARE = 1 / 4;

/**
 * Of tablets with which nothing is under way, the smallest pair first. `isBusy`: something is. `reports`: of the nodes
 * that have answered just now.
 */
export function smallPairs(
  tablets: readonly Descriptor[],
  isBusy: (tablet: number) => boolean,
  reports: readonly NodeReport[],
  { minTabletBytes, leastTablets }: MergeSettings,
): readonly SmallPair[] {
  if (minTabletBytes === 0 || tablets.length <= leastTablets) return [];
  const said = new Map<number, { readonly bytes: number; readonly load: number }>();
  const fit = new Map(
    reports.flatMap(({ node, isFull, splitsAbove }) => (isFull ? [] : [[node, splitsAbove]])),
  );
  for (const { replicas } of reports)
    for (const { tablet, sizeBytes, leads } of replicas)
      if (leads) said.set(tablet, { bytes: sizeBytes, load: leads.operationsPerSecond });
  const sorted = [...tablets].sort((a, b) => Buffer.compare(a.start, b.start));
  const pairs = sorted.flatMap((left, i): SmallPair[] => {
    const right = sorted[i + 1];
    const [one, other] = [said.get(left.id), right && said.get(right.id)];
    if (!right || !one || !other || isBusy(left.id) || isBusy(right.id)) return [];
    const isTogether = left.end !== undefined && Buffer.compare(left.end, right.start) === 0;
    const isFit = left.replicas.every(({ node }) => fit.has(node));
    if (!isTogether || !isFit || nodesIn(left) !== nodesIn(right)) return [];
    const bytes = one.bytes + other.bytes;
    const load = one.load + other.load;
    // Any of them may lead what comes of it.
    const isLittle = left.replicas.every(({ node }) => isLittleFor(fit.get(node), bytes, load));
    return bytes < minTabletBytes && isLittle ? [{ left: left.id, right: right.id, bytes }] : [];
  });
  return pairs.sort((a, b) => a.bytes - b.bytes || a.left - b.left);
}

function isLittleFor(limits: SplitLimits | undefined, bytes: number, load: number): boolean {
  if (!limits) return true;
  const mostLoad = limits.operationsPerSecond * LITTLE_SHARE || Number.POSITIVE_INFINITY;
  return bytes <= limits.bytes * LITTLE_SHARE && load < mostLoad;
}

function nodesIn({ replicas }: Descriptor): string {
  return replicas
    .map(({ node }) => node)
    .sort((a, b) => a - b)
    .join();
}
