/**
 * The state of a host or a message as a text that is equal for states that behave alike:
 *   - nodes are renamed as asked, so that worlds which differ by names only can be found to be one;
 *   - times count from now, and what lies further back than any rule looks is all the same;
 *   - numbers of batches count from the last durable one.
 * What is not known here is written as it is: equal texts still behave alike, only fewer are equal.
 */
import type { CoreModules } from './cores.js';

export type Renaming = readonly number[];

export interface View {
  readonly renaming: Renaming;
  readonly nowMs: number;
  readonly persistedBatch: number;
  /** Times further back are all the same. */
  readonly horizonMs: number;
  /** Fields that nothing depends on in this kind of world. */
  readonly ignored: ReadonlySet<string>;
  readonly decodeChange: CoreModules['decodeChange'];
}

const NODES = new Set(['vote', 'leader', 'termLeader', 'to', 'from', 'node', 'target']);
const NODE_LISTS = new Set(['voters', 'outgoing', 'learners', 'learnersNext', 'snapshotsNeeded']);
const MAPS_BY_NODE = new Set(['votes', 'progress']);
const BATCHES = new Set(['batch', 'issuedBatch', 'termBatch', 'persistedBatch']);
const DURATIONS = new Set(['promisedMs', 'longestPromiseMs']);
/** Times that matter only while they are ahead. */
const DEADLINES = new Set(['deadlineMs', 'silentUntilMs', 'heartbeatDueMs']);
/** Known from the rest. */
const DERIVED = new Set(['options', 'limits', 'sizes', 'sizesBase', 'notes']);

export function canonicalText(value: unknown, view: View): string {
  return write(value, '', view, new Set());
}

const renamed = (node: number, { renaming }: View) => renaming[node] ?? node;

function write(value: unknown, field: string, view: View, seen: Set<object>): string {
  if (typeof value === 'number') return number(value, field, view);
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (Array.isArray(value)) {
    if (NODE_LISTS.has(field)) return `[${value.map((node) => renamed(node, view)).sort()}]`;
    return `[${value.map((item) => write(item, '', view, seen)).join()}]`;
  }
  if (value instanceof Map) return map(value, field, view, seen);
  const isInstance = Object.getPrototypeOf(value) !== Object.prototype;
  if (isInstance) {
    if (seen.has(value)) return '';
    seen.add(value);
  }
  if ('kind' in value && 'body' in value) return entry(value as never, view, seen);
  let text = '{';
  for (const key in value) {
    if (!Object.hasOwn(value, key)) continue;
    const name = key.startsWith('_') ? key.slice(1) : key;
    if (DERIVED.has(name) || view.ignored.has(name)) continue;
    const item: unknown = (value as Record<string, unknown>)[key];
    // Only objects of the core's classes carry their node's id; a plain object's id is that of a read.
    const isNode = NODES.has(name) || (isInstance && name === 'id');
    text += `${name}:`;
    text += isNode && typeof item === 'number' ? renamed(item, view) : write(item, name, view, seen);
    text += ';';
  }
  return `${text}}`;
}

function number(value: number, field: string, view: View): string {
  if (BATCHES.has(field)) return String(Math.max(0, value - view.persistedBatch));
  if (field.endsWith('Ms') && !DURATIONS.has(field)) {
    const least = DEADLINES.has(field) ? 0 : -view.horizonMs;
    return String(Math.max(least, value - view.nowMs));
  }
  return String(value);
}

function map(value: Map<unknown, unknown>, field: string, view: View, seen: Set<object>): string {
  const items = [...value].map(([key, item]) => {
    const name = MAPS_BY_NODE.has(field) && typeof key === 'number' ? renamed(key, view) : String(key);
    return `${name}=${write(item, '', view, seen)}`;
  });
  return `(${(MAPS_BY_NODE.has(field) ? items.sort() : items).join()})`;
}

function entry(
  { term, kind, body }: { term: number; kind: string; body: Uint8Array },
  view: View,
  seen: Set<object>,
): string {
  const what = kind === 'configuration' ? write(view.decodeChange(body), '', view, seen) : String(body);
  return `${term}${kind[0]}${what}`;
}
