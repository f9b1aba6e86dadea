/**
 * When the log is cut, and how far. Only entries are cut that the state machine holds durably. If every member holds
 * them they are cut in any case, otherwise only if the log has grown too large: a member that lacks them then gets a
 * snapshot. Entries that follow a snapshot in transfer stay, up to a limit of their own.
 */
export interface LogState {
  /** The log starts after this entry. */
  readonly baseIndex: number;
  readonly lastIndex: number;
  readonly sizeBytes: number;
  /** Every member holds the log up to here. */
  readonly allMatchedIndex: number;
  readonly appliedIndex: number;
  /** The state machine holds this durably. */
  readonly durableIndex: number;
  /** Members that are sent a snapshot need the log after this entry. Undefined if there are none. */
  readonly heldIndex: number | undefined;
}

export interface LogLimits {
  /** A larger log is cut although members lack entries of it, and for that the state machine is flushed. */
  readonly maxLogBytes: number;
  /**
   * Up to this size, entries stay that members need after a snapshot which they are sent. It has no effect below
   * `maxLogBytes`.
   */
  readonly maxSnapshotLogBytes: number;
  /** The last entries, which stay in any case: a member that is a little behind then needs no snapshot. */
  readonly trailingEntries: number;
}

export interface CompactionPlan {
  /** The last entry to be cut. Undefined if none is. */
  readonly cutThrough: number | undefined;
  /** The state machine does not hold enough durably for the cut that is wanted. */
  readonly needsFlush: boolean;
}

/** The least entries in one cut, unless the log is above its limit: each cut costs a synced record. */
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
