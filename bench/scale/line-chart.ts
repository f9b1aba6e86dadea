/** Lines over a common axis, as a picture. */
import { COLOURS, number, rule, svg, text } from '../report/svg.js';

export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly {
    readonly name: string;
    /** A mark at each point: full for what was measured, hollow for what was not. */
    readonly marks?: 'full' | 'hollow';
    readonly isDashed?: boolean;
    readonly points: readonly { readonly x: number; readonly y: number }[];
  }[];
}

const LEFT = 60;
const TOP = 60;
const WIDTH = 640;
const HEIGHT = 280;
const TICKS = 5;
/** From one name in the legend to the next, at most. */
const LEGEND = 200;

export function lineChart({ title, xLabel, yLabel, series }: LineChart): string {
  const all = series.flatMap(({ points }) => points);
  const right = niceAbove(Math.max(...all.map(({ x }) => x)));
  const top = niceAbove(Math.max(...all.map(({ y }) => y)));
  const xOf = (x: number) => LEFT + (WIDTH * x) / right;
  const yOf = (y: number) => TOP + HEIGHT - (HEIGHT * y) / top;
  const parts = [text(LEFT, 20, title, 'font-size="14"')];
  for (let tick = 0; tick <= TICKS; tick++) {
    const [x, y] = [(right * tick) / TICKS, (top * tick) / TICKS];
    parts.push(rule(LEFT, yOf(y), LEFT + WIDTH, yOf(y), '#ddd'));
    parts.push(text(LEFT - 6, yOf(y) + 4, number(y), 'text-anchor="end" fill="#555"'));
    parts.push(text(xOf(x), TOP + HEIGHT + 16, number(x), 'text-anchor="middle" fill="#555"'));
  }
  parts.push(text(LEFT + WIDTH / 2, TOP + HEIGHT + 34, xLabel, 'text-anchor="middle"'));
  parts.push(text(LEFT - 44, TOP - 10, yLabel));
  for (const [i, { name, points, marks, isDashed }] of series.entries()) {
    const colour = COLOURS[i % COLOURS.length] ?? 'black';
    const path = points.map(({ x, y }) => `${number(xOf(x))},${number(yOf(y))}`).join(' ');
    const dashes = isDashed ? ' stroke-dasharray="5 4"' : '';
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dashes}/>`);
    const left = LEFT + 90 + i * Math.min(LEGEND, (WIDTH - 80) / series.length);
    parts.push(rule(left, 40, left + 18, 40, colour), text(left + 24, 44, name));
    if (!marks) continue;
    const mark = (x: number, y: number) =>
      `<circle cx="${number(x)}" cy="${number(y)}" r="4" fill="${marks === 'full' ? colour : 'white'}" ` +
      `stroke="${colour}" stroke-width="2"/>`;
    parts.push(mark(left + 9, 40), ...points.map(({ x, y }) => mark(xOf(x), yOf(y))));
  }
  return svg(LEFT + WIDTH + 30, TOP + HEIGHT + 50, title, parts);
}

/** 1, 2 or 5 times a power of ten, times up to ten. */
function niceAbove(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return Math.ceil(value / unit) * unit;
}
