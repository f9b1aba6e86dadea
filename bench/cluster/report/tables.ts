/** Measurements as text: a line as each ends, then Markdown tables of medians, of ratios, and of CPU time by thread. */
import type { Measurement } from '../measurement.js';
import { type ClusterSummary, ratiosOf, summarize } from '../summary.js';

type Cell = readonly [heading: string, width: number, text: (summary: ClusterSummary) => string];

const count = (number: number) => Math.round(number).toLocaleString('en-US');
const fixed = (number: number | undefined, digits: number) => number?.toFixed(digits) ?? '-';
const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
/** Three digits that mean something. */
const short = (number: number | undefined) => {
  if (number === undefined) return '-';
  return number.toFixed(number >= 100 ? 0 : number >= 10 ? 1 : 2);
};

const CELLS: readonly Cell[] = [
  ['system', -9, ({ system }) => system],
  ['workload', -13, ({ workload }) => workload],
  ['value', 7, ({ valueBytes }) => String(valueBytes)],
  ['clients', 8, ({ clients }) => String(clients)],
  ['ops/s', 9, ({ operationsPerSecond }) => count(operationsPerSecond)],
  ['p50 ms', 8, ({ p50Ms }) => short(p50Ms)],
  ['p99', 7, ({ p99Ms }) => short(p99Ms)],
  ['p99.9', 7, ({ p999Ms }) => short(p999Ms)],
  ['max', 7, ({ maxMs }) => short(maxMs)],
  ['errors', 7, ({ errors }) => count(errors)],
  ['CPU µs/op', 10, ({ cpuUs }) => short(cpuUs)],
  ['later', 7, ({ postponedCpuUs }) => short(postponedCpuUs)],
  ['client', 7, ({ clientCpuUs }) => short(clientCpuUs)],
  ['switches', 9, ({ switches }) => short(switches)],
  ['r/w calls', 10, ({ ioCalls }) => short(ioCalls)],
  ['written B/B', 12, ({ bytesHandedOverPerByteStored }) => fixed(bytesHandedOverPerByteStored, 1)],
  ['entries/sync', 13, ({ entriesPerSync }) => fixed(entriesPerSync, 1)],
  ['RSS MB', 7, ({ residentBytes }) => megabytes(residentBytes)],
  ['peak', 6, ({ peakResidentBytes }) => megabytes(peakResidentBytes)],
  ['loop p99', 9, ({ loopP99Ms }) => fixed(loopP99Ms, 1)],
  ['others', 7, ({ otherProcessors }) => fixed(otherProcessors, 2)],
];

function noteOf({ isClientLimited, notBegun, besidePerSecond }: ClusterSummary): string {
  const notes = [
    ...(isClientLimited ? ['CLIENT IS THE LIMIT'] : []),
    ...(besidePerSecond === undefined ? [] : [`beside it ${count(besidePerSecond)}/s`]),
    ...(notBegun > 0 ? [`${count(notBegun)} were due and not begun`] : []),
  ];
  return notes.length > 0 ? `  ${notes.join(', ')}` : '';
}

function line(texts: readonly string[]): string {
  return texts
    .map((text, i) => {
      const width = CELLS[i]?.[1] ?? 0;
      return width < 0 ? text.padEnd(-width) : text.padStart(width);
    })
    .join('');
}

export function headingLine(): string {
  return line(CELLS.map(([heading]) => heading));
}

export function measurementLine(measurement: Measurement): string {
  return summarize([measurement]).map(summaryLine).join('\n');
}

export function summaryLine(summary: ClusterSummary): string {
  return line(CELLS.map(([, , text]) => text(summary))) + noteOf(summary);
}

function markdown(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  textColumns: number,
): string {
  const rule = headings.map((_, i) => (i < textColumns ? '---' : '---:'));
  return [headings, rule, ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

/** All figures, a row per case and system: medians of the rounds. */
export function medianTable(measurements: readonly Measurement[]): string {
  const summaries = summarize(measurements);
  return markdown(
    [...CELLS.map(([heading]) => heading), ''],
    summaries.map((summary) => [...CELLS.map(([, , text]) => text(summary)), noteOf(summary).trim()]),
    2,
  );
}

/** How the first system compares with each other one; undefined where there is none. */
export function ratioTable(measurements: readonly Measurement[]): string | undefined {
  const [ours, ...peers] = new Set(measurements.map(({ system }) => system));
  if (ours === undefined || peers.length === 0) return undefined;
  const rows = peers.flatMap((peer) =>
    ratiosOf(measurements, ours, peer).map(({ workload, valueBytes, clients, rate, p50, p99, cpu }) => [
      workload,
      peer,
      String(valueBytes),
      String(clients),
      `${short(rate[0])} (${short(rate[1])} to ${short(rate[2])})`,
      ...[p50, p99, cpu].map(short),
    ]),
  );
  const headings = ['workload', `${ours} ÷`, 'value', 'clients', 'ops/s (rounds)', 'p50', 'p99', 'CPU/op'];
  return markdown(headings, rows, 2);
}

/** Below this part of a microsecond per operation a thread is not worth a word. */
const LEAST_CPU_US = 0.05;

/** CPU microseconds per operation of every process and its threads, a row per case and system. */
export function cpuTable(measurements: readonly Measurement[]): string {
  const summaries = summarize(measurements);
  const followers = new Set(
    summaries
      .flatMap(({ threads }) => threads.map(({ role }) => role))
      .filter((role) => role.startsWith('follower')),
  );
  // Where one process is all, it stands where others have their leader.
  const columns = [['leader', 'server'], ...[...followers].sort().map((role) => [role]), ['client']];
  return markdown(
    ['system', 'workload', 'value', 'clients', 'all nodes', ...columns.map(([role = '']) => role)],
    summaries.map((summary) => [
      ...[summary.system, summary.workload, String(summary.valueBytes), String(summary.clients)],
      short(summary.cpuUs),
      ...columns.map((roles) => cpuOf(summary, roles)),
    ]),
    2,
  );
}

/** `33.5: main 20, V8 10.3` */
function cpuOf({ threads }: ClusterSummary, roles: readonly string[]): string {
  const own = threads.filter(({ role, cpuUs }) => roles.includes(role) && cpuUs >= LEAST_CPU_US);
  const whole = own.find(({ thread }) => thread === undefined);
  const parts = own.filter(({ thread }) => thread !== undefined);
  if (!whole) return '-';
  if (parts.length < 2) return short(whole.cpuUs);
  return `${short(whole.cpuUs)}: ${parts.map(({ thread, cpuUs }) => `${thread} ${short(cpuUs)}`).join(', ')}`;
}
