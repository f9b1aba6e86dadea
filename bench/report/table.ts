/** Summaries as lines of text: as they come, and side by side as a Markdown table. */
import { cpuRatioOf, ratioOf, type Summary } from './summary.js';

type Cell = readonly [heading: string, width: number, text: (summary: Summary) => string];

const count = (number: number) => Math.round(number).toLocaleString('en-US');
const megabytes = (bytes: number | undefined) => (bytes === undefined ? '-' : (bytes / 1e6).toFixed(0));
const fixed = (number: number | undefined, digits: number) => number?.toFixed(digits) ?? '-';

const CELLS: readonly Cell[] = [
  ['engine', -15, ({ engine }) => engine],
  ['workload', -13, ({ workload }) => workload],
  ['ops/s', 11, (summary) => count(summary.operationsPerSecond)],
  ['cpu µs', 9, ({ cpuMicroseconds }) => fixed(cpuMicroseconds, 1)],
  ['p50 µs', 9, ({ latencyUs }) => fixed(latencyUs?.p50, 1)],
  ['p99 µs', 9, ({ latencyUs }) => fixed(latencyUs?.p99, 1)],
  ['p99.9 µs', 10, ({ latencyUs }) => fixed(latencyUs?.p999, 1)],
  ['MB/s', 8, (summary) => summary.megabytesPerSecond.toFixed(1)],
  ['w-amp', 7, (summary) => fixed(summary.writeAmplification, 2)],
  ['disk MB', 9, (summary) => megabytes(summary.bytesOnDisk)],
  ['loop p99 ms', 13, ({ loopDelayMs }) => fixed(loopDelayMs?.p99, 1)],
  ['peak MB', 9, (summary) => megabytes(summary.peakMemoryBytes)],
];

function line(texts: readonly string[]): string {
  return texts
    .map((text, i) => {
      const width = CELLS[i]?.[1] ?? 0;
      return width < 0 ? text.padEnd(-width) : text.padStart(width);
    })
    .join('')
    .trimEnd();
}

export function headingLine(): string {
  return line(CELLS.map(([heading]) => heading));
}

export function summaryLine(summary: Summary): string {
  return line(CELLS.map(([, , text]) => text(summary)));
}

/**
 * A row per workload: every engine's rate, how many times as fast `ours` is as each of the others, and how many times
 * the processor time of ours each of them uses.
 */
export function comparisonTable(summaries: readonly Summary[], ours: string): string {
  const engines = [...new Set(summaries.map(({ engine }) => engine))];
  const peers = engines.filter((engine) => engine !== ours);
  const rows = [
    ['workload', 'value', ...engines, ...peers.flatMap((peer) => [`${ours} ÷ ${peer}`, 'by CPU'])],
    ['---', '---:', ...engines.map(() => '---:'), ...peers.flatMap(() => ['---:', '---:'])],
  ];
  for (const valueBytes of new Set(summaries.map((summary) => summary.valueBytes))) {
    for (const workload of new Set(summaries.map((summary) => summary.workload))) {
      const find = (engine: string) =>
        summaries.find(
          (summary) =>
            summary.engine === engine && summary.workload === workload && summary.valueBytes === valueBytes,
        );
      const own = find(ours);
      const rate = (summary: Summary | undefined) => (summary ? count(summary.operationsPerSecond) : '-');
      const ratio = (peer: Summary | undefined, of: typeof ratioOf) =>
        own && peer ? of(own, peer).toFixed(2) : '-';
      rows.push([
        workload,
        `${valueBytes} B`,
        ...engines.map((engine) => rate(find(engine))),
        ...peers.flatMap((peer) => [ratio(find(peer), ratioOf), ratio(find(peer), cpuRatioOf)]),
      ]);
    }
  }
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
}
