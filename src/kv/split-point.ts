/** Where a tablet is split by itself: in the middle of what a sample of its keys stands for. */
import type { PlacementKind } from '../placement/placement.js';
import { splitPointOf } from './split.js';

export interface MiddlePoint {
  /** Where the right part is to begin: a bound as in `Tablet`. */
  readonly point: Buffer;
  /** The part of the sample that lies before it, above 0 and below 1. */
  readonly leftShare: number;
}

/** The point that divides the sample most evenly. Undefined if all of it lies in one place. */
export function middleOf(by: PlacementKind, keys: readonly Uint8Array[]): MiddlePoint | undefined {
  const points = keys.map((key) => splitPointOf(by, key)).sort(Buffer.compare);
  let best: MiddlePoint | undefined;
  for (let i = 1; i < points.length; i++) {
    const [before, point] = [points[i - 1] as Buffer, points[i] as Buffer];
    if (Buffer.compare(before, point) === 0) continue;
    const leftShare = i / points.length;
    if (!best || Math.abs(leftShare - 0.5) < Math.abs(best.leftShare - 0.5)) best = { point, leftShare };
  }
  return best;
}
