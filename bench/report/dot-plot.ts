/**
 * The comparison as a picture (a dot plot after Cleveland, The Elements of Graphing Data, 1985): a panel per value
 * size, a row per workload, a dot per engine, operations per second on a logarithmic axis. Dots and not bars, since
 * the length of a bar means nothing where there is no zero. A thin line spans the slowest and the fastest round.
 */
import type { Summary } from './summary.js';

const ROW = 22;
const LABEL = 110;
const PLOT = 620;
const HEAD = 72;
const GAP = 44;
const RIGHT = 24;
/** Told apart with any colour vision (Okabe and Ito). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00'];

export function dotPlot(summaries: readonly Summary[], title: string): string {
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
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${LABEL + PLOT + RIGHT}" height="${top}" ` +
      'font-family="sans-serif" font-size="12">',
    '<rect width="100%" height="100%" fill="white"/>',
    text(LABEL, 18, title, 'font-size="14"'),
    ...legend,
    ...parts,
    '</svg>',
    '',
  ].join('\n');

  function colourOf(engine: string): string {
    return COLOURS[engines.indexOf(engine) % COLOURS.length] ?? 'black';
  }
}

function dot(summary: Summary, x: (rate: number) => number, y: number, colour: string): string {
  const { engine, workload, operationsPerSecond, slowest, fastest } = summary;
  const tip = `${engine}, ${workload}: ${Math.round(operationsPerSecond)} operations/s`;
  return (
    rule(x(slowest), y, x(fastest), y, colour) +
    `<circle cx="${number(x(operationsPerSecond))}" cy="${number(y)}" r="5" fill="${colour}">` +
    `<title>${escaped(tip)}</title></circle>`
  );
}

function rule(x1: number, y1: number, x2: number, y2: number, colour: string): string {
  return `<line x1="${number(x1)}" y1="${number(y1)}" x2="${number(x2)}" y2="${number(y2)}" stroke="${colour}"/>`;
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${number(x)}" y="${number(y)}" ${attributes}>${escaped(content)}</text>`;
}

function number(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function rateLabel(power: number): string {
  const units = ['', 'k', 'M', 'G'];
  const unit = Math.max(0, Math.floor(power / 3));
  return `${10 ** (power - 3 * unit)}${units[unit] ?? ''}/s`;
}

function escaped(content: string): string {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}
