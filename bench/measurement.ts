/** One workload on one engine, measured once: what a run prints, keeps and compares. */
import type { Latency, LoopDelay } from './probes.js';

export interface Measurement {
  readonly engine: string;
  readonly workload: string;
  readonly valueBytes: number;
  readonly entries: number;
  /** Of the repetitions, from 0 on. */
  readonly round: number;
  readonly operations: number;
  readonly seconds: number;
  /** The processor time of all threads of the engine's process, of user and system together. */
  readonly cpuSeconds: number;
  readonly bytes: number;
  readonly latencyUs: Latency | undefined;
  /** Of workloads that write: while they ran, and what they left once the engine was at rest. */
  readonly loopDelayMs: LoopDelay | undefined;
  readonly bytesWritten: number | undefined;
  readonly bytesOnDisk: number | undefined;
  /** Of the engine's process, until the end of this workload. */
  readonly peakMemoryBytes: number;
}

export function rateOf({ operations, seconds }: Measurement): number {
  return operations / seconds;
}

export function cpuMicrosecondsOf({ operations, cpuSeconds }: Measurement): number {
  return (cpuSeconds * 1e6) / operations;
}

export function amplificationOf({ bytesWritten, bytes }: Measurement): number | undefined {
  return bytesWritten === undefined || bytes === 0 ? undefined : bytesWritten / bytes;
}
