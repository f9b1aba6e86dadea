/**
 * How far flush and compaction are behind, and the effect on writes: none, a lower rate, or a stop. A pure function of
 * the tree's state. A slowdown before the stop replaces one long wait by many short ones: level 0 grows until
 * compaction takes out as much as writes bring in.
 *
 *     level-0 files   0 ....... slowdown trigger ................. stop trigger
 *     share           1         1      of the flush rate, falling        0
 */
import type { StallReason } from '../options.js';

export interface WriteState {
  readonly canFreeze: boolean;
  /** How full the active memtable is, with the bytes that will be inserted; 1 is full. */
  readonly fill: number;
  readonly level0Files: number;
  /** The bytes by which the levels below level 0 exceed their targets. */
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
  /** The share of the flush rate that writes get: 0 stops writes, 1 admits them at the full rate. */
  readonly share: number;
}

/** Above this fill, writes to a memtable are slowed down if the tree may freeze no further one. */
const SLOWDOWN_FILL = 0.5;

/** The highest pressure; undefined if there is none. */
export function writePressure(state: WriteState, options: PressureOptions): WritePressure | undefined {
  const { level0Files, pendingBytes, fill } = state;
  const { level0SlowdownTrigger, level0StopTrigger, slowdownPendingBytes, stopPendingBytes } = options;
  let highest: WritePressure | undefined;
  const consider = (reason: StallReason, at: number, slow: number, stop: number) => {
    if (at < slow) return;
    const left = at >= stop ? 0 : (stop - at) / (stop - slow);
    // Squared, so that there is an equilibrium even if compaction takes out far less than a flush brings in.
    const share = left * left;
    if (highest === undefined || share < highest.share) highest = { reason, share };
  };
  if (!state.canFreeze) consider('memtables', fill, SLOWDOWN_FILL, 1);
  consider('level-0 files', level0Files, level0SlowdownTrigger, level0StopTrigger);
  consider('pending bytes', pendingBytes, slowdownPendingBytes, stopPendingBytes);
  return highest;
}
