/** Lines over a common axis, as a picture. */
import { COLOURS, number, rule, svg, text } from '../report/svg.js';

export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly {
    readonly name: string;
    readonly points: readonly { readonly x: number; readonly y: number }[];
  }[];
}

const LEFT = 60;
const TOP = 60;
const WIDTH = 640;
const HEIGHT = 280;
const TICKS = 5;

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
  for (const [i, { name, points }] of series.entries()) {
    const colour = COLOURS[i % COLOURS.length] ?? 'black';
    const path = points.map(({ x, y }) => `${number(xOf(x))},${number(yOf(y))}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    const left = LEFT + 90 + i * 140;
    parts.push(rule(left, 40, left + 18, 40, colour), text(left + 24, 44, name));
  }
  return svg(LEFT + WIDTH + 30, TOP + HEIGHT + 50, title, parts);
}

/** 1, 2 or 5 times a power of ten, times up to ten. */
function niceAbove(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return Math.ceil(value / unit) * unit;
}
