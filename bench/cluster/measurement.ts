/** One case on one system, measured once: what a run prints, keeps and compares. */
import type { Case } from './cases.js';
import type { LoadResult } from './load/plan.js';
import type { ProcessSample } from './proc.js';
import type { LoopDelay } from './systems/system.js';

export interface ThreadUse {
  /** Threads of one name are added up. */
  readonly name: string;
  readonly cpuUs: number;
  readonly switches: number;
  readonly forcedSwitches: number;
}

export interface ProcessUse {
  readonly role: string;
  readonly cpuUs: number;
  readonly systemUs: number;
  readonly threads: readonly ThreadUse[];
  readonly reads: number;
  readonly writes: number;
  readonly bytesHandedOver: number;
  readonly bytesToDisk: number;
  readonly residentBytes: number;
  readonly peakResidentBytes: number;
  readonly loopDelayMs: LoopDelay | undefined;
}

export interface Measurement extends Case {
  readonly system: string;
  readonly round: number;
  readonly connections: number;
  /** Of the open loop. */
  readonly rate: number | undefined;
  readonly load: LoadResult;
  /** What the load of --beside got; its work is in the figures of the nodes, not in those of the client. */
  readonly beside: LoadResult | undefined;
  /** Of the measured time. */
  readonly processes: readonly ProcessUse[];
  readonly client: ProcessUse;
  /** CPU time of the system after the measured time, until it was at rest: work that it put off. */
  readonly postponedCpuUs: number;
  readonly entriesPerSync: number | undefined;
  /** Of the whole machine: processors busy with other things than this measurement, or taken away by the host. */
  readonly otherProcessors: number;
}

/** What happened between two samples of one process. */
export function useBetween(
  role: string,
  before: ProcessSample,
  after: ProcessSample,
  nameOf: (threadId: number, systemName: string) => string,
): Omit<ProcessUse, 'loopDelayMs'> {
  const earlier = new Map(before.threads.map((thread) => [thread.threadId, thread]));
  const threads = new Map<string, ThreadUse>();
  for (const { threadId, name: systemName, cpuUs, switches, forcedSwitches } of after.threads) {
    const name = nameOf(threadId, systemName);
    const start = earlier.get(threadId);
    const sum = threads.get(name);
    threads.set(name, {
      name,
      cpuUs: (sum?.cpuUs ?? 0) + cpuUs - (start?.cpuUs ?? 0),
      switches: (sum?.switches ?? 0) + switches - (start?.switches ?? 0),
      forcedSwitches: (sum?.forcedSwitches ?? 0) + forcedSwitches - (start?.forcedSwitches ?? 0),
    });
  }
  const ofThreads = [...threads.values()].reduce((sum, { cpuUs }) => sum + cpuUs, 0);
  return {
    role,
    // Of the process to 10 ms, of the threads exact, but without those that have ended.
    cpuUs: Math.max(ofThreads, after.cpuUs - before.cpuUs),
    systemUs: after.systemUs - before.systemUs,
    threads: [...threads.values()].sort((a, b) => b.cpuUs - a.cpuUs),
    reads: after.reads - before.reads,
    writes: after.writes - before.writes,
    bytesHandedOver: after.bytesHandedOver - before.bytesHandedOver,
    bytesToDisk: after.bytesToDisk - before.bytesToDisk,
    residentBytes: after.residentBytes,
    peakResidentBytes: after.peakResidentBytes,
  };
}

const total = (processes: readonly ProcessUse[], of: (one: ProcessUse) => number) =>
  processes.reduce((sum, one) => sum + of(one), 0);

/** Figures per operation; of all the system's processes together. */
export function perOperation(measurement: Measurement) {
  const { load, processes, client, valueBytes } = measurement;
  const operations = Math.max(1, load.operations);
  const each = (of: (one: ProcessUse) => number) => total(processes, of) / operations;
  const storedBytes = (load.writes * (KEY_BYTES + valueBytes)) / operations;
  const switches = ({ threads }: ProcessUse) => threads.reduce((sum, one) => sum + one.switches, 0);
  return {
    cpuUs: each(({ cpuUs }) => cpuUs),
    systemUs: each(({ systemUs }) => systemUs),
    postponedCpuUs: measurement.postponedCpuUs / operations,
    clientCpuUs: client.cpuUs / operations,
    switches: each(switches),
    ioCalls: each(({ reads, writes }) => reads + writes),
    bytesToDiskPerByteStored:
      storedBytes > 0 ? each(({ bytesToDisk }) => bytesToDisk) / storedBytes : undefined,
    bytesHandedOverPerByteStored:
      storedBytes > 0 ? each(({ bytesHandedOver }) => bytesHandedOver) / storedBytes : undefined,
  };
}

/** Bytes of a key. */
const KEY_BYTES = 16;

export function rateOf({ load }: Measurement): number {
  return load.operations / load.seconds;
}

/** Above these the load process had no time left: a faster store would not have shown. */
const FULL_LOOP = 0.95;
const FULL_THREAD = 0.85;

/** Whether the load process was the limit. */
export function isClientLimited({ load, client }: Measurement): boolean {
  const main = client.threads.find(({ name }) => name === 'main')?.cpuUs ?? 0;
  return load.loopUse > FULL_LOOP || main / (load.seconds * 1e6) > FULL_THREAD;
}

export function memoryBytes({ processes }: Measurement): {
  readonly resident: number;
  readonly peak: number;
} {
  return {
    resident: total(processes, ({ residentBytes }) => residentBytes),
    peak: total(processes, ({ peakResidentBytes }) => peakResidentBytes),
  };
}

/** The worst of the system's processes. */
export function worstLoopDelayMs({ processes }: Measurement): LoopDelay | undefined {
  const delays = processes.flatMap(({ loopDelayMs }) => (loopDelayMs ? [loopDelayMs] : []));
  if (delays.length === 0) return undefined;
  return { p99: Math.max(...delays.map(({ p99 }) => p99)), max: Math.max(...delays.map(({ max }) => max)) };
}
