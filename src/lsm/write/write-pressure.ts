/**
 * How far flush and compaction are behind, and what that means for writes: nothing, fewer of them, or none. A pure
 * function of the tree's state. Slowing down before stopping spreads one long wait over many short ones: level 0
 * fills up to where as much comes in as compaction takes out.
 *
 *     level-0 files   0 ....... slowdown trigger ................. stop trigger
 *     share           1         1      of the flush rate, falling        0
 */
import type { StallReason } from '../options.js';

export interface WriteState {
  readonly canFreeze: boolean;
  /** Of the active memtable, with what is on its way there; 1 is full. */
  readonly fill: number;
  readonly level0Files: number;
  /** Bytes of the levels below level 0 beyond their targets. */
  readonly pendingBytes: number;
}

export interface PressureOptions {
  readonly level0SlowdownTrigger: number;
  readonly level0StopTrigger: number;
  readonly slowdownPendingBytes: number;
  readonly stopPendingBytes: number;
}

export interface WritePressure {
  readonly reason: StallReason;
  /** Of the rate at which memtables can be flushed: 0 stops writes, 1 lets them come as fast as that. */
  readonly share: number;
}

/** From here on a memtable that has no successor fills more slowly. */
const SLOWDOWN_FILL = 0.5;

/** The highest pressure there is, or undefined. */
export function writePressure(state: WriteState, options: PressureOptions): WritePressure | undefined {
  const { level0Files, pendingBytes, fill } = state;
  const { level0SlowdownTrigger, level0StopTrigger, slowdownPendingBytes, stopPendingBytes } = options;
  let highest: WritePressure | undefined;
  const consider = (reason: StallReason, at: number, slow: number, stop: number) => {
    if (at < slow) return;
    const left = at >= stop ? 0 : (stop - at) / (stop - slow);
    // Squared, so that there is an equilibrium also where compaction takes out far less than a flush brings in.
    const share = left * left;
    if (highest === undefined || share < highest.share) highest = { reason, share };
  };
  if (!state.canFreeze) consider('memtables', fill, SLOWDOWN_FILL, 1);
  consider('level-0 files', level0Files, level0SlowdownTrigger, level0StopTrigger);
  consider('pending bytes', pendingBytes, slowdownPendingBytes, stopPendingBytes);
  return highest;
}
