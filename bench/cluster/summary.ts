/** Medians of the rounds of one case on one system, and ratios between systems. */
import { median } from '../report/summary.js';
import { type Case, caseName } from './cases.js';
import {
  isClientLimited,
  type Measurement,
  memoryBytes,
  perOperation,
  rateOf,
  worstLoopDelayMs,
} from './measurement.js';

export interface ThreadSummary {
  readonly role: string;
  /** Undefined for the whole process. */
  readonly thread: string | undefined;
  readonly cpuUs: number;
  readonly switches: number;
}

/** Figures are medians of the rounds; of errors the sum, of the longest time the worst. */
export interface ClusterSummary extends Case {
  readonly system: string;
  readonly rounds: number;
  readonly operationsPerSecond: number;
  readonly slowest: number;
  readonly fastest: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly errors: number;
  readonly notBegun: number;
  /** Of the load of --beside. */
  readonly besidePerSecond: number | undefined;
  /** Per operation, from here. */
  readonly cpuUs: number;
  readonly postponedCpuUs: number;
  readonly clientCpuUs: number;
  readonly switches: number;
  readonly ioCalls: number;
  readonly bytesToDiskPerByteStored: number | undefined;
  readonly bytesHandedOverPerByteStored: number | undefined;
  readonly entriesPerSync: number | undefined;
  readonly residentBytes: number;
  readonly peakResidentBytes: number;
  readonly loopP99Ms: number | undefined;
  readonly clientLoopP99Ms: number;
  readonly otherProcessors: number;
  /** In any round. */
  readonly isClientLimited: boolean;
  readonly threads: readonly ThreadSummary[];
}

export function summarize(measurements: readonly Measurement[]): ClusterSummary[] {
  const groups = new Map<string, Measurement[]>();
  for (const measurement of measurements) {
    const name = `${caseName(measurement)} ${measurement.system}`;
    groups.set(name, [...(groups.get(name) ?? []), measurement]);
  }
  return [...groups.values()].flatMap((group) => summarizeGroup(group) ?? []);
}

function summarizeGroup(group: readonly Measurement[]): ClusterSummary | undefined {
  const [first] = group;
  if (!first) return undefined;
  const { workload, valueBytes, clients, system } = first;
  const middle = (of: (one: Measurement) => number) => median(group.map(of));
  const middleOfKnown = (of: (one: Measurement) => number | undefined) => {
    const known = group.map(of).filter((value) => value !== undefined);
    return known.length > 0 ? median(known) : undefined;
  };
  const sum = (of: (one: Measurement) => number) => group.reduce((all, one) => all + of(one), 0);
  const rates = group.map(rateOf);
  return {
    ...{ workload, valueBytes, clients, system },
    rounds: group.length,
    operationsPerSecond: median(rates),
    slowest: Math.min(...rates),
    fastest: Math.max(...rates),
    p50Ms: middle(({ load }) => load.latencyMs.p50),
    p99Ms: middle(({ load }) => load.latencyMs.p99),
    p999Ms: middle(({ load }) => load.latencyMs.p999),
    maxMs: Math.max(...group.map(({ load }) => load.latencyMs.max)),
    errors: sum(({ load }) => load.errors),
    notBegun: sum(({ load }) => load.notBegun),
    besidePerSecond: middleOfKnown(({ beside }) => beside && beside.operations / beside.seconds),
    cpuUs: middle((one) => perOperation(one).cpuUs),
    postponedCpuUs: middle((one) => perOperation(one).postponedCpuUs),
    clientCpuUs: middle((one) => perOperation(one).clientCpuUs),
    switches: middle((one) => perOperation(one).switches),
    ioCalls: middle((one) => perOperation(one).ioCalls),
    bytesToDiskPerByteStored: middleOfKnown((one) => perOperation(one).bytesToDiskPerByteStored),
    bytesHandedOverPerByteStored: middleOfKnown((one) => perOperation(one).bytesHandedOverPerByteStored),
    entriesPerSync: middleOfKnown(({ entriesPerSync }) => entriesPerSync),
    residentBytes: middle((one) => memoryBytes(one).resident),
    peakResidentBytes: Math.max(...group.map((one) => memoryBytes(one).peak)),
    loopP99Ms: middleOfKnown((one) => worstLoopDelayMs(one)?.p99),
    clientLoopP99Ms: middle(({ load }) => load.loopDelayMs.p99),
    otherProcessors: middle(({ otherProcessors }) => otherProcessors),
    isClientLimited: group.some(isClientLimited),
    threads: threadsOf(group),
  };
}

/** Of every process and thread that any round had; where a round did not have it, it took nothing. */
function threadsOf(group: readonly Measurement[]): ThreadSummary[] {
  const rows = group.flatMap((one) =>
    [...one.processes, one.client].flatMap(({ role, threads }) => [
      `${role}\n`,
      ...threads.map(({ name }) => `${role}\n${name}`),
    ]),
  );
  return [...new Set(rows)].map((row) => {
    const [role = '', thread = ''] = row.split('\n');
    const uses = group.map((one) => {
      const process = [...one.processes, one.client].find((candidate) => candidate.role === role);
      const threads = process?.threads.filter(({ name }) => thread === '' || name === thread) ?? [];
      const cpuUs =
        thread === '' ? (process?.cpuUs ?? 0) : threads.reduce((sum, { cpuUs: used }) => sum + used, 0);
      const operations = Math.max(1, one.load.operations);
      return {
        cpuUs: cpuUs / operations,
        switches: threads.reduce((sum, { switches }) => sum + switches, 0) / operations,
      };
    });
    return {
      role,
      thread: thread === '' ? undefined : thread,
      cpuUs: median(uses.map(({ cpuUs }) => cpuUs)),
      switches: median(uses.map(({ switches }) => switches)),
    };
  });
}

export interface Ratios extends Case {
  readonly peer: string;
  /** Of ours to the peer's of the same round; the median, the least and the greatest. */
  readonly rate: readonly [middle: number, least: number, most: number];
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
}

/** Medians of the ratios within each round: what slows a round down slows both. */
export function ratiosOf(measurements: readonly Measurement[], ours: string, peer: string): Ratios[] {
  const cases = new Map(measurements.map((one) => [caseName(one), one]));
  return [...cases.entries()].flatMap(([name, { workload, valueBytes, clients }]) => {
    const of = (system: string) =>
      measurements.filter((one) => caseName(one) === name && one.system === system);
    const pairs = of(ours).flatMap((own) => {
      const other = of(peer).find(({ round }) => round === own.round);
      return other && other.load.operations > 0 && own.load.operations > 0 ? [{ own, other }] : [];
    });
    if (pairs.length === 0) return [];
    const all = (figure: (one: Measurement) => number) =>
      pairs.map(({ own, other }) => figure(own) / figure(other));
    const rates = all(rateOf);
    return [
      {
        ...{ workload, valueBytes, clients, peer },
        rate: [median(rates), Math.min(...rates), Math.max(...rates)] as const,
        p50: median(all(({ load }) => load.latencyMs.p50)),
        p99: median(all(({ load }) => load.latencyMs.p99)),
        cpu: median(all((one) => perOperation(one).cpuUs)),
      },
    ];
  });
}
