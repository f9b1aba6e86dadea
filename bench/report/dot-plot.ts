/**
 * The comparison as a picture (a dot plot after Cleveland, The Elements of Graphing Data, 1985): a panel per value
 * size, a row per workload, a dot per engine, operations per second on a logarithmic axis. Dots and not bars, since
 * the length of a bar means nothing where there is no zero. A thin line spans the slowest and the fastest round.
 */
import type { Summary } from './summary.js';
import { COLOURS, escaped, number, rule, svg, text } from './svg.js';

const ROW = 22;
const LABEL = 110;
const PLOT = 620;
const HEAD = 72;
const GAP = 44;
const RIGHT = 24;

/** What a dot needs of a summary. */
export type Dot = Pick<
  Summary,
  'engine' | 'workload' | 'valueBytes' | 'operationsPerSecond' | 'slowest' | 'fastest'
>;

export function dotPlot(summaries: readonly Dot[], title: string): string {
  const engines = [...new Set(summaries.map(({ engine }) => engine))];
  const panels = [...new Set(summaries.map(({ valueBytes }) => valueBytes))];
  const rates = summaries.flatMap(({ slowest, fastest }) => [slowest, fastest]);
  const low = Math.floor(Math.log10(Math.min(...rates)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...rates))));
  const x = (rate: number) => LABEL + (PLOT * (Math.log10(rate) - low)) / (high - low);
  const parts: string[] = [];
  let top = HEAD;
  for (const valueBytes of panels) {
    const panel = summaries.filter((summary) => summary.valueBytes === valueBytes);
    const workloads = [...new Set(panel.map(({ workload }) => workload))];
    const bottom = top + workloads.length * ROW;
    parts.push(text(LABEL, top - 8, `values of ${valueBytes} bytes`, 'font-weight="bold"'));
    for (let power = low; power <= high; power++) {
      parts.push(rule(x(10 ** power), top, x(10 ** power), bottom, '#ccc'));
      parts.push(text(x(10 ** power), bottom + 14, rateLabel(power), 'text-anchor="middle" fill="#555"'));
    }
    workloads.forEach((workload, row) => {
      const y = top + (row + 0.5) * ROW;
      parts.push(text(LABEL - 8, y + 4, workload, 'text-anchor="end"'));
      parts.push(rule(LABEL, y, LABEL + PLOT, y, '#eee'));
      for (const summary of panel) {
        if (summary.workload === workload) parts.push(dot(summary, x, y, colourOf(summary.engine)));
      }
    });
    top = bottom + GAP;
  }
  const legend = engines.map((engine, i) => {
    const left = LABEL + i * 130;
    return `<circle cx="${left}" cy="34" r="5" fill="${colourOf(engine)}"/>${text(left + 10, 38, engine)}`;
  });
  const heading = text(LABEL, 18, title, 'font-size="14"');
  return svg(LABEL + PLOT + RIGHT, top, title, [heading, ...legend, ...parts]);

  function colourOf(engine: string): string {
    return COLOURS[engines.indexOf(engine) % COLOURS.length] ?? 'black';
  }
}

function dot(summary: Dot, x: (rate: number) => number, y: number, colour: string): string {
  const { engine, workload, operationsPerSecond, slowest, fastest } = summary;
  const tip = `${engine}, ${workload}: ${Math.round(operationsPerSecond)} operations/s`;
  return (
    rule(x(slowest), y, x(fastest), y, colour) +
    `<circle cx="${number(x(operationsPerSecond))}" cy="${number(y)}" r="5" fill="${colour}">` +
    `<title>${escaped(tip)}</title></circle>`
  );
}

function rateLabel(power: number): string {
  const units = ['', 'k', 'M', 'G'];
  const unit = Math.max(0, Math.floor(power / 3));
  return `${10 ** (power - 3 * unit)}${units[unit] ?? ''}/s`;
}
