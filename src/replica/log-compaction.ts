/**
 * When the log is cut, and how far: up to what the state machine keeps without it, as far as every member holds it, and
 * further only if the log has grown too large. Whoever lacks what is cut then gets a snapshot; what members need that
 * are given one now stays, up to a limit of its own.
 */
export interface LogState {
  /** The log starts after this entry. */
  readonly baseIndex: number;
  readonly lastIndex: number;
  readonly sizeBytes: number;
  /** Every member holds the log up to here. */
  readonly allMatchedIndex: number;
  readonly appliedIndex: number;
  /** What the state machine keeps over a crash. */
  readonly durableIndex: number;
  /** Members that are given a snapshot need the log after this entry; undefined if there are none. */
  readonly heldIndex: number | undefined;
}

export interface LogLimits {
  /** A log larger than this makes the state machine flush and is cut, whoever may still lack entries of it … */
  readonly maxLogBytes: number;
  /**
   * … but for members that are given a snapshot, which count only above this (it means nothing below `maxLogBytes`), …
   */
  readonly maxSnapshotLogBytes: number;
  /** … and but for this many: a member that is only a little behind is helped without a snapshot. */
  readonly trailingEntries: number;
}

export interface CompactionPlan {
  /** The last entry to go; undefined if the log stays as it is. */
  readonly cutThrough: number | undefined;
  /** The state machine keeps too little yet for what should be cut. */
  readonly needsFlush: boolean;
}

/** The log is cut when this many entries can go, fewer of a log above its limit: each cut costs a synced record. */
const MIN_CUT_ENTRIES = 4096;

export function planCompaction(state: LogState, limits: LogLimits): CompactionPlan {
  const { baseIndex, lastIndex, sizeBytes, allMatchedIndex, appliedIndex, durableIndex } = state;
  const isLarge = sizeBytes > limits.maxLogBytes;
  const isHeld = !isLarge || sizeBytes <= limits.maxSnapshotLogBytes;
  const heldIndex = (isHeld ? state.heldIndex : undefined) ?? Number.POSITIVE_INFINITY;
  const unneeded = isLarge ? Math.max(allMatchedIndex, lastIndex - limits.trailingEntries) : allMatchedIndex;
  const wanted = Math.min(unneeded, heldIndex);
  const target = Math.min(wanted, durableIndex);
  const held = lastIndex - baseIndex;
  const leastEntries = isLarge ? Math.min(MIN_CUT_ENTRIES, Math.ceil(held / 8)) : MIN_CUT_ENTRIES;
  return {
    cutThrough: target - baseIndex >= Math.max(1, leastEntries) ? target : undefined,
    needsFlush: isLarge && durableIndex < Math.min(wanted, appliedIndex),
  };
}
