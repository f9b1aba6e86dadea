/**
 * The events of a run, in order. A run keeps the last ones for the report of a failure. A sink gets all of them as
 * lines of JSON: the same bytes for the same seed and commit.
 */
import { crc32 } from '../../record/checksum.js';

export interface TraceEvent {
  /** Milliseconds of virtual time. */
  readonly atMs: number;
  /** A host (`n1`, `c2`), a link (`n1>n2`), or `world`. */
  readonly who: string;
  readonly what: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

const KEPT_EVENTS = 4000;

export class Trace {
  readonly #nowMs: () => number;
  readonly #sink: ((line: string) => void) | undefined;
  readonly #ring: TraceEvent[] = [];
  #count = 0;

  constructor(nowMs: () => number, sink?: (line: string) => void) {
    this.#nowMs = nowMs;
    this.#sink = sink;
  }

  get count(): number {
    return this.#count;
  }

  /** `fields` must not be changed afterwards. */
  record(who: string, what: string, fields: Readonly<Record<string, unknown>> = {}): void {
    const event: TraceEvent = { atMs: this.#nowMs(), who, what, fields };
    this.#ring[this.#count++ % KEPT_EVENTS] = event;
    this.#sink?.(toJson(event));
  }

  /** The last events that `wanted` holds for, oldest first. */
  last(count: number, wanted: (event: TraceEvent) => boolean): TraceEvent[] {
    const start = this.#count % KEPT_EVENTS;
    const inOrder = [...this.#ring.slice(start), ...this.#ring.slice(0, start)];
    return inOrder.filter(wanted).slice(-count);
  }
}

export function toJson({ atMs, who, what, fields }: TraceEvent): string {
  return JSON.stringify({ t: Math.round(atMs * 1000) / 1000, who, what, ...(plain(fields) as object) });
}

/** For people: time, who, what, and the fields in short. */
export function toText({ atMs, who, what, fields }: TraceEvent): string {
  const shown = Object.entries(plain(fields) as object)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
  return `${(atMs / 1000).toFixed(6).padStart(11)} s  ${who.padEnd(6)} ${what.padEnd(18)} ${shown}`;
}

/** Bytes are shown as length and checksum, lists of entries as their number. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `${value.length} B ${crc32(value).toString(16)}`;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (Array.isArray(value)) return value.length > 8 ? `${value.length} items` : value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      name === 'entries' && Array.isArray(inner) ? inner.length : plain(inner),
    ]),
  );
}
