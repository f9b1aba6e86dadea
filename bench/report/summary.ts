/** Medians of the rounds, and ratios of one engine to another. */
import { amplificationOf, cpuMicrosecondsOf, type Measurement, rateOf } from '../measurement.js';
import type { Latency, LoopDelay } from '../probes.js';

/** One workload on one engine: medians of the rounds; of delays and memory the worst. */
export interface Summary {
  readonly engine: string;
  readonly workload: string;
  readonly valueBytes: number;
  readonly rounds: number;
  readonly operationsPerSecond: number;
  readonly slowest: number;
  readonly fastest: number;
  readonly cpuMicroseconds: number;
  readonly megabytesPerSecond: number;
  readonly latencyUs: Latency | undefined;
  readonly loopDelayMs: LoopDelay | undefined;
  readonly writeAmplification: number | undefined;
  readonly bytesOnDisk: number | undefined;
  readonly peakMemoryBytes: number;
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  const lower = sorted.length % 2 === 1 ? upper : sorted[middle - 1];
  if (upper === undefined || lower === undefined) throw new Error('there is no median of nothing');
  return (lower + upper) / 2;
}

/** In the order in which workloads first appear; engines in theirs. */
export function summarize(measurements: readonly Measurement[]): Summary[] {
  const groups = new Map<string, Measurement[]>();
  for (const measurement of measurements) {
    const name = `${measurement.valueBytes} ${measurement.workload} ${measurement.engine}`;
    const group = groups.get(name);
    if (group) group.push(measurement);
    else groups.set(name, [measurement]);
  }
  return [...groups.values()].map(summarizeGroup);
}

export function ratioOf(ours: Summary, peer: Summary): number {
  return ours.operationsPerSecond / peer.operationsPerSecond;
}

/** How many times the processor time of `ours` the peer's is. */
export function cpuRatioOf(ours: Summary, peer: Summary): number {
  return peer.cpuMicroseconds / ours.cpuMicroseconds;
}

function summarizeGroup(group: readonly Measurement[]): Summary {
  const [first] = group;
  if (!first) throw new Error('a group has at least one measurement');
  const rates = group.map(rateOf);
  const all = <T>(value: (measurement: Measurement) => T | undefined): T[] =>
    group.map(value).filter((one) => one !== undefined);
  const latencies = all(({ latencyUs }) => latencyUs);
  const delays = all(({ loopDelayMs }) => loopDelayMs);
  const amplifications = all(amplificationOf);
  const sizes = all(({ bytesOnDisk }) => bytesOnDisk);
  return {
    engine: first.engine,
    workload: first.workload,
    valueBytes: first.valueBytes,
    rounds: group.length,
    operationsPerSecond: median(rates),
    slowest: Math.min(...rates),
    fastest: Math.max(...rates),
    cpuMicroseconds: median(group.map(cpuMicrosecondsOf)),
    megabytesPerSecond: median(group.map(({ bytes, seconds }) => bytes / seconds / 1e6)),
    latencyUs:
      latencies.length > 0
        ? {
            p50: median(latencies.map(({ p50 }) => p50)),
            p99: median(latencies.map(({ p99 }) => p99)),
            p999: median(latencies.map(({ p999 }) => p999)),
          }
        : undefined,
    loopDelayMs:
      delays.length > 0
        ? { p99: median(delays.map(({ p99 }) => p99)), max: Math.max(...delays.map(({ max }) => max)) }
        : undefined,
    writeAmplification: amplifications.length > 0 ? median(amplifications) : undefined,
    bytesOnDisk: sizes.length > 0 ? median(sizes) : undefined,
    peakMemoryBytes: Math.max(...group.map(({ peakMemoryBytes }) => peakMemoryBytes)),
  };
}
