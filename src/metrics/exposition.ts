/**
 * The text format of Prometheus, version 0.0.4:
 *
 *     # HELP name What it is.
 *     # TYPE name counter
 *     name{label="value"} 1
 */
import type { Histogram } from './histogram.js';

export const EXPOSITION_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string | number>>;
export type Samples = number | readonly (readonly [labels: Labels, value: number])[];

export class Exposition {
  #text = '';

  /** The name ends in `_total`. */
  counter(name: string, help: string, samples: Samples): void {
    this.#family(name, 'counter', help, samples);
  }

  gauge(name: string, help: string, samples: Samples): void {
    this.#family(name, 'gauge', help, samples);
  }

  /** The name ends in the unit: `_seconds`, `_bytes`. */
  histogram(name: string, help: string, { bounds, sum, cumulative }: Histogram): void {
    this.#head(name, 'histogram', help);
    for (const [i, count] of cumulative.entries())
      this.#sample(`${name}_bucket`, { le: bounds[i] ?? '+Inf' }, count);
    this.#sample(`${name}_sum`, {}, sum);
    this.#sample(`${name}_count`, {}, cumulative.at(-1) ?? 0);
  }

  toString(): string {
    return this.#text;
  }

  #family(name: string, type: string, help: string, samples: Samples): void {
    const all = typeof samples === 'number' ? [[{}, samples] as const] : samples;
    if (all.length === 0) return;
    this.#head(name, type, help);
    for (const [labels, value] of all) this.#sample(name, labels, value);
  }

  #head(name: string, type: string, help: string): void {
    this.#text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }

  #sample(name: string, labels: Labels, value: number): void {
    const pairs = Object.entries(labels).map(([label, of]) => `${label}="${escaped(String(of))}"`);
    this.#text += `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}\n`;
  }
}

function escaped(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}
