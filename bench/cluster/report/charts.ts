/** Measurements as pictures: rates, CPU time per operation by process, and what happened second by second. */
import { type Dot, dotPlot } from '../../report/dot-plot.js';
import { COLOURS, escaped, number, rule, svg, text } from '../../report/svg.js';
import { caseName } from '../cases.js';
import type { Measurement } from '../measurement.js';
import { type ClusterSummary, summarize } from '../summary.js';

const LABEL = 270;
const PLOT = 620;
const RIGHT = 60;
const HEAD = 66;
const ROW = 22;

const titleOf = ({
  workload,
  valueBytes,
  clients,
}: Pick<ClusterSummary, 'workload' | 'valueBytes' | 'clients'>) =>
  `${workload}, ${valueBytes} B, ${clients} ${clients === 1 ? 'client' : 'clients'}`;

export function rateChart(measurements: readonly Measurement[], title: string): string {
  const dots = summarize(measurements)
    .filter(({ slowest }) => slowest > 0)
    .map(
      ({ system, workload, clients, ...rest }): Dot => ({
        ...rest,
        engine: system,
        workload: `${workload}, ${clients}`,
      }),
    );
  return dotPlot(dots, title);
}

function legend(names: readonly string[]): string[] {
  return names.map((name, i) => {
    const left = LABEL + i * 100;
    return `<rect x="${left}" y="30" width="10" height="10" fill="${colour(i)}"/>${text(left + 15, 39, name)}`;
  });
}

function colour(i: number): string {
  return COLOURS[i % COLOURS.length] ?? 'black';
}

/** A step of 1, 2 or 5 times a power of ten, of which there are five to ten up to `most`. */
function stepOf(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 5));
  return ([5, 2, 1].find((factor) => power * factor * 5 <= most) ?? 1) * power;
}

/** A bar per case and system: CPU microseconds per operation, process upon process, the load process last. */
export function cpuChart(measurements: readonly Measurement[], title: string): string {
  const summaries = summarize(measurements);
  const ofProcesses = (summary: ClusterSummary) =>
    summary.threads.filter(({ thread }) => thread === undefined);
  const roles = [...new Set(summaries.flatMap((summary) => ofProcesses(summary).map(({ role }) => role)))];
  const lengths = summaries.map((summary) => ofProcesses(summary).reduce((sum, { cpuUs }) => sum + cpuUs, 0));
  const most = Math.max(1, ...lengths);
  const x = (us: number) => LABEL + (PLOT * us) / most;
  const bottom = HEAD + summaries.length * ROW;
  const parts = [text(LABEL, 18, title, 'font-size="14"'), ...legend(roles)];
  const step = stepOf(most);
  for (let us = 0; us <= most; us += step) {
    parts.push(rule(x(us), HEAD, x(us), bottom, '#ccc'));
    parts.push(text(x(us), bottom + 14, number(us), 'text-anchor="middle" fill="#555"'));
  }
  summaries.forEach((summary, row) => {
    const y = HEAD + row * ROW;
    parts.push(text(LABEL - 8, y + 15, `${titleOf(summary)}: ${summary.system}`, 'text-anchor="end"'));
    let at = 0;
    for (const { role, cpuUs } of ofProcesses(summary)) {
      const tip = escaped(`${summary.system}, ${role}: ${number(cpuUs)} µs`);
      parts.push(
        `<rect x="${number(x(at))}" y="${y + 3}" width="${number(x(cpuUs) - LABEL)}" height="${ROW - 6}" ` +
          `fill="${colour(roles.indexOf(role))}"><title>${tip}</title></rect>`,
      );
      at += cpuUs;
    }
    parts.push(text(x(at) + 5, y + 15, number(at)));
  });
  return svg(LABEL + PLOT + RIGHT, bottom + 24, title, parts);
}

const PANEL = 90;
const PANEL_GAP = 34;
const MARGIN = 70;

/** Operations per second and their p99 over time, a pair of panels per case, a line per system and round. */
export function timeChart(measurements: readonly Measurement[], title: string): string {
  const systems = [...new Set(measurements.map(({ system }) => system))];
  const parts = [text(MARGIN, 18, title, 'font-size="14"'), ...legend(systems)];
  let top = HEAD;
  for (const name of new Set(measurements.map(caseName))) {
    const group = measurements.filter((one) => caseName(one) === name);
    const [first] = group;
    if (!first) continue;
    const panel = (what: string, of: (second: { operations: number; p99Ms: number }) => number) => {
      const highest = Math.max(1, ...group.flatMap(({ load }) => load.perSecond.map(of)));
      const most = Math.ceil(highest / stepOf(highest)) * stepOf(highest);
      const seconds = Math.max(1, ...group.map(({ load }) => load.perSecond.length));
      const x = (second: number) => MARGIN + ((LABEL + PLOT - MARGIN) * second) / seconds;
      const y = (value: number) => top + PANEL * (1 - value / most);
      parts.push(text(MARGIN, top - 6, `${titleOf(first)}: ${what}`, 'font-weight="bold"'));
      for (const value of [0, most / 2, most]) {
        parts.push(rule(MARGIN, y(value), x(seconds), y(value), '#ddd'));
        parts.push(text(MARGIN - 6, y(value) + 4, number(value), 'text-anchor="end" fill="#555"'));
      }
      parts.push(text(x(seconds), top + PANEL + 13, `${seconds} s`, 'text-anchor="end" fill="#555"'));
      for (const { system, load } of group) {
        const points = load.perSecond.map((second, i) => `${number(x(i + 0.5))},${number(y(of(second)))}`);
        const stroke = colour(systems.indexOf(system));
        parts.push(`<polyline points="${points.join(' ')}" fill="none" stroke="${stroke}"/>`);
      }
      top += PANEL + PANEL_GAP;
    };
    panel('operations per second', ({ operations }) => operations);
    panel('p99 in ms', ({ p99Ms }) => p99Ms);
  }
  return svg(LABEL + PLOT + RIGHT, top, title, parts);
}
