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

/** What is known of a field by its name. */
interface Field {
  readonly name: string;
  readonly isDerived: boolean;
  readonly isNode: boolean;
  readonly isNodeList: boolean;
  readonly isMapByNode: boolean;
  readonly isBatch: boolean;
  readonly isTime: boolean;
  readonly isDeadline: boolean;
}

const fields = new Map<string, Field>();

/** A renamed private field (hook.ts) counts as what it was. */
function fieldOf(key: string): Field {
  const known = fields.get(key);
  if (known) return known;
  const name = key.startsWith('_') ? key.slice(1) : key;
  const field = {
    name,
    isDerived: DERIVED.has(name),
    isNode: NODES.has(name),
    isNodeList: NODE_LISTS.has(name),
    isMapByNode: MAPS_BY_NODE.has(name),
    isBatch: BATCHES.has(name),
    isTime: name.endsWith('Ms') && !DURATIONS.has(name),
    isDeadline: DEADLINES.has(name),
  };
  fields.set(key, field);
  return field;
}

const NO_FIELD = fieldOf('');

export function canonicalText(value: unknown, view: View): string {
  return write(value, NO_FIELD, view, new Set());
}

const renamed = (node: number, { renaming }: View) => renaming[node] ?? node;

function write(value: unknown, field: Field, view: View, seen: Set<object>): string {
  if (typeof value === 'number') return number(value, field, view);
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (Array.isArray(value)) {
    if (field.isNodeList) return `[${value.map((node) => renamed(node, view)).sort()}]`;
    return `[${value.map((item) => write(item, NO_FIELD, view, seen)).join()}]`;
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
    const inner = fieldOf(key);
    const { name } = inner;
    if (inner.isDerived || view.ignored.has(name)) continue;
    const item: unknown = (value as Record<string, unknown>)[key];
    // Only objects of the core's classes carry their node's id; a plain object's id is that of a read.
    const isNode = inner.isNode || (isInstance && name === 'id');
    text += `${name}:`;
    text += isNode && typeof item === 'number' ? renamed(item, view) : write(item, inner, view, seen);
    text += ';';
  }
  return `${text}}`;
}

function number(value: number, field: Field, view: View): string {
  if (field.isBatch) return String(Math.max(0, value - view.persistedBatch));
  if (field.isTime) {
    const least = field.isDeadline ? 0 : -view.horizonMs;
    return String(Math.max(least, value - view.nowMs));
  }
  return String(value);
}

function map(value: Map<unknown, unknown>, field: Field, view: View, seen: Set<object>): string {
  const items = [...value].map(([key, item]) => {
    const name = field.isMapByNode && typeof key === 'number' ? renamed(key, view) : String(key);
    return `${name}=${write(item, NO_FIELD, view, seen)}`;
  });
  return `(${(field.isMapByNode ? items.sort() : items).join()})`;
}

function entry(
  { term, kind, body }: { term: number; kind: string; body: Uint8Array },
  view: View,
  seen: Set<object>,
): string {
  const what = kind === 'configuration' ? write(view.decodeChange(body), NO_FIELD, view, seen) : String(body);
  return `${term}${kind[0]}${what}`;
}
