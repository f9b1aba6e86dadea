/**
 * When the log is cut, and how far: up to what the state machine keeps without it, as far as every member holds it, and
 * further only if the log has grown too large. Whoever lacks what is cut then gets a snapshot.
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
}

export interface LogLimits {
  /** A log larger than this makes the state machine flush and is cut, whoever may still lack entries of it … */
  readonly maxLogBytes: number;
  /** … but for this many: a member that is only a little behind is helped without a snapshot. */
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
  const { baseIndex, lastIndex, allMatchedIndex, appliedIndex, durableIndex } = state;
  const isLarge = state.sizeBytes > limits.maxLogBytes;
  const wanted = isLarge ? Math.max(allMatchedIndex, lastIndex - limits.trailingEntries) : allMatchedIndex;
  const target = Math.min(wanted, durableIndex);
  const held = lastIndex - baseIndex;
  const leastEntries = isLarge ? Math.min(MIN_CUT_ENTRIES, Math.ceil(held / 8)) : MIN_CUT_ENTRIES;
  return {
    cutThrough: target - baseIndex >= Math.max(1, leastEntries) ? target : undefined,
    needsFlush: isLarge && durableIndex < Math.min(wanted, appliedIndex),
  };
}
