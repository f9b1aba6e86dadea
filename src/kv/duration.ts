/** Lives of keys as text: a number with its unit. */
import { MAX_TTL_MS } from './replicated-time.js';

const UNITS_MS = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

export const DURATION_HELP = 'a number with its unit: 500ms, 30s, 5m, 2h, 7d';

/** In whole ms, from 1 to MAX_TTL_MS. Undefined for other text. */
export function durationMs(text: string): number | undefined {
  const [, number = '', unit = ''] = /^(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d)$/.exec(text) ?? [];
  const ms = Math.round(Number(number) * (UNITS_MS.get(unit) ?? 0));
  return ms >= 1 && ms <= MAX_TTL_MS ? ms : undefined;
}

/** `durationMs` takes it back. */
export function durationText(ms: number): string {
  return ms % 1000 === 0 && ms > 0 ? `${ms / 1000}s` : `${ms}ms`;
}
