/** The state of a tree in numbers. */
import type { MaintenanceStats } from './maintenance.js';
import type { StallReason } from './options.js';

export interface LsmStats extends MaintenanceStats {
  readonly lastSequence: number;
  readonly durableSequence: number;
  readonly flushedSequence: number;
  /** In memtables and tables, hidden versions and tombstones included. */
  readonly entries: number;
  /** Of these, deletions. */
  readonly tombstones: number;
  readonly memtableBytes: number;
  readonly frozenMemtables: number;
  /** By level. */
  readonly levels: readonly { readonly files: number; readonly bytes: number }[];
  readonly walBytes: number;
  readonly waitingWrites: number;
  readonly waitingBytes: number;
  /** Why writes wait, if they do. */
  readonly stalled: StallReason | undefined;
  /** Why writes are slowed down, if they are, and to how many bytes per second. */
  readonly slowed: { readonly reason: StallReason; readonly bytesPerSecond: number } | undefined;
  /** Bytes of the levels below level 0 beyond their targets. */
  readonly pendingBytes: number;
  readonly diskIsFull: boolean;
  readonly isReadOnly: boolean;
  readonly snapshots: number;
  readonly openTables: number;
  readonly blockCache: { readonly bytes: number; readonly hits: number; readonly misses: number };
}
