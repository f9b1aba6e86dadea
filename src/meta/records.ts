/**
 * The records of meta, the group that keeps the map: keys with JSON values.
 *
 *     cluster        how keys are placed, and how many replicas a tablet is to have
 *     next-id        tablets and replicas get their ids from here: none is given twice
 *     balance        whether replicas and leaders are moved without being asked; without it they are
 *     node/ID        a node: its zone and host, whether it drains
 *     tablet/ID      a descriptor: range, generation, parents, replicas
 *     intent/ID      what is under way with this tablet: there is at most one. A merge is one of both tablets
 */
import { z } from 'zod';
import type { ClusterNode, Descriptor, Replica } from '../balance/cluster-map.js';

const id = z.int().min(1).max(0xffff_ffff);
const count = z.int().min(0);
const bytes = z.base64().transform((text) => new Uint8Array(Buffer.from(text, 'base64')));
const replica = z.object({ replicaId: id, node: id, role: z.enum(['voter', 'learner']) });
const replicas = z.array(replica).readonly();

const cluster = z.object({
  by: z.enum(['range', 'hash']),
  hashVersion: count,
  /** How many replicas each tablet is to have. */
  replicas: z.int().min(1),
});

const node = z.object({
  id,
  host: z.string(),
  zone: z.string(),
  isDraining: z.boolean(),
  weight: z.number().positive(),
});

const descriptor = z.object({
  id,
  start: bytes,
  end: bytes.optional(),
  generation: z.int().min(1),
  parents: z.array(id).readonly(),
  replicas,
  confIndex: count,
});

const move = z.object({
  type: z.literal('move'),
  generation: z.int().min(1),
  add: z.object({ replicaId: id, node: id }).optional(),
  /** The replica that leaves. */
  remove: id.optional(),
  sinceMs: z.number(),
  /** Why; an operator wanted it if there is none. */
  reason: z.string().optional(),
  /** It takes place no more, whatever happens: what was added of it goes, and its id is never added again. */
  givesUp: z.boolean().optional(),
});

const balance = z.object({ isOn: z.boolean() });

const child = z.object({ id, replicas });

const split = z.object({
  type: z.literal('split'),
  generation: z.int().min(1),
  /** A partition key: where the second child begins. */
  at: bytes,
  children: z.tuple([child, child]).readonly(),
});

const merge = z.object({
  type: z.literal('merge'),
  generation: z.int().min(1),
  /** A number that no other attempt has, or had. */
  attempt: id,
  left: id,
  right: id,
  child,
  /** Of the two last ones, one is decided for ever. */
  stage: z.enum(['freezing', 'merging', 'ending']),
  /** The entry that has frozen the right one. Known when the merge is decided. */
  frozen: z.object({ index: count, term: count }).optional(),
  sinceMs: z.number(),
  /** Why; an operator wanted it if there is none. */
  reason: z.string().optional(),
});

const intent = z.discriminatedUnion('type', [move, split, merge]);

export type ClusterRecord = z.output<typeof cluster>;
export type MoveIntent = z.output<typeof move>;
export type SplitIntent = z.output<typeof split>;
export type MergeIntent = z.output<typeof merge>;
export type Intent = z.output<typeof intent>;

/** One record. A key says which kind it is of. */
export type MetaRecord =
  | { readonly kind: 'cluster'; readonly value: ClusterRecord }
  | { readonly kind: 'next-id'; readonly value: number }
  | { readonly kind: 'balance'; readonly value: { readonly isOn: boolean } }
  | { readonly kind: 'node'; readonly id: number; readonly value: ClusterNode }
  | { readonly kind: 'tablet'; readonly id: number; readonly value: Descriptor }
  | { readonly kind: 'intent'; readonly id: number; readonly value: Intent };

export const CLUSTER_KEY = 'cluster';
export const NEXT_ID_KEY = 'next-id';
export const BALANCE_KEY = 'balance';
export const nodeKey = (node: number): string => `node/${node}`;
export const tabletKey = (tablet: number): string => `tablet/${tablet}`;
export const intentKey = (tablet: number): string => `intent/${tablet}`;

/** What a record is written as. */
export function encodeRecord(value: MetaRecord['value']): string {
  // A Buffer has a form of its own in JSON, and the function is given that.
  return JSON.stringify(value, function (this: Readonly<Record<string, unknown>>, name, part: unknown) {
    const bytesOf = this[name];
    return bytesOf instanceof Uint8Array ? Buffer.from(bytesOf).toString('base64') : part;
  });
}

/** Undefined for a record that this version does not know, or cannot read. */
export function decodeRecord(key: string, text: string): MetaRecord | undefined {
  const [kind, number, ...more] = key.split('/');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (key === CLUSTER_KEY) return known(cluster.safeParse(value), (it) => ({ kind: 'cluster', value: it }));
  if (key === NEXT_ID_KEY) return known(id.safeParse(value), (it) => ({ kind: 'next-id', value: it }));
  if (key === BALANCE_KEY) return known(balance.safeParse(value), (it) => ({ kind: 'balance', value: it }));
  const of = id.safeParse(Number(number));
  if (more.length > 0 || !of.success) return undefined;
  switch (kind) {
    case 'node':
      return known(node.safeParse(value), (it) => ({ kind, id: of.data, value: it }));
    case 'tablet':
      return known(descriptor.safeParse(value), (it) => ({ kind, id: of.data, value: it as Descriptor }));
    case 'intent':
      return known(intent.safeParse(value), (it) => ({ kind, id: of.data, value: it }));
  }
  return undefined;
}

function known<T>(
  read: { readonly success: true; readonly data: T } | { readonly success: false },
  record: (value: T) => MetaRecord,
): MetaRecord | undefined {
  return read.success ? record(read.data) : undefined;
}

/** The nodes that hold a tablet, in their order. */
export function nodesOf(replicas: readonly Replica[]): number[] {
  return replicas.map(({ node: of }) => of).sort((a, b) => a - b);
}
