/** What the load process is told, and what it says. */
import type { Target } from '../clients/connection.js';
import type { LoopDelay } from '../systems/system.js';

export interface Plan {
  readonly task: 'preload' | 'measure';
  readonly target: Target;
  readonly workload: string;
  readonly valueBytes: number;
  readonly clients: number;
  readonly connections: number;
  /** Records that exist. */
  readonly records: number;
  /** The number of the first record: records of each value size have numbers of their own. */
  readonly firstRecord: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** Operations per second of the open loop; undefined for the closed loop. */
  readonly rate: number | undefined;
  /** The share of a value's bytes that compress away. */
  readonly compressible: number;
  readonly seed: number;
  /** Where the CPU profile of this process's measured time goes, if it is wanted. */
  readonly profileFile?: string | undefined;
}

export interface LatencyMs {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface Second {
  readonly operations: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface LoadResult {
  readonly seconds: number;
  /** Ended within the measured time. */
  readonly operations: number;
  /** Of them, reads, writes and scans; a read-modify-write is a read and a write. */
  readonly reads: number;
  readonly writes: number;
  readonly scans: number;
  readonly latencyMs: LatencyMs;
  readonly errors: number;
  readonly firstError: string | undefined;
  /** Of the open loop: that should have begun in the measured time and did not. */
  readonly notBegun: number;
  readonly perSecond: readonly Second[];
  /** Records that exist afterwards. */
  readonly records: number;
  readonly loopDelayMs: LoopDelay;
  /** The share of the time in which the event loop had something to do. */
  readonly loopUse: number;
}

export type LoadMessage =
  | { readonly type: 'begin' }
  | { readonly type: 'end' }
  | { readonly type: 'result'; readonly result: LoadResult }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly reason: string };
