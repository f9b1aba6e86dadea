/**
 * The tablets that this node is to hold, and the replicas that it held before, durable in `replicas.json`:
 *
 *     here       by tablet: the id of its replica, the version of the map that made it, and the range
 *     removed    the ids of replicas that are gone: recorded before their files go, so that none comes back
 *
 * The file is written before a replica is made or removed. At the next start what a crash has interrupted is done.
 */
import { z } from 'zod';
import type { Env } from '../env/env.js';
import type { Tablet } from '../placement/placement.js';
import { readJson, replaceFile, unreadable } from './json-file.js';

export const REPLICAS_FILE = 'replicas.json';

const id = z.int().min(1);
const here = z.object({
  replicaId: id,
  /** Index of the entry of meta that ordered it; 0: none did, it is of the birth or of a split. */
  sinceVersion: z.int().min(0),
  /** If it was ordered: the range of its tablet, in base64. Its own state says it only when it has a snapshot. */
  range: z.object({ generation: id, start: z.base64(), end: z.base64().optional() }).optional(),
});
const content = z.object({
  here: z.record(z.string(), here),
  removed: z.array(z.object({ tablet: id, replicaId: id })),
});

export type LocalReplica = z.output<typeof here>;

/** The latest ones. */
const MAX_REMOVED = 10_000;

export class LocalReplicas {
  readonly #env: Env;
  readonly #directory: string;
  readonly #here: Map<number, LocalReplica>;
  #removed: z.output<typeof content>['removed'];

  /** Throws `CORRUPTION` if the file cannot be read. */
  constructor(env: Env, directory: string) {
    this.#env = env;
    this.#directory = directory;
    const path = `${directory}/${REPLICAS_FILE}`;
    const read = content.safeParse(readJson(env, path) ?? { here: {}, removed: [] });
    if (!read.success) throw unreadable(path);
    this.#here = new Map(Object.entries(read.data.here).map(([tablet, each]) => [Number(tablet), each]));
    this.#removed = read.data.removed;
  }

  get tablets(): number[] {
    return [...this.#here.keys()];
  }

  of(tablet: number): LocalReplica | undefined {
    return this.#here.get(tablet);
  }

  /** The tablet of a replica that was ordered, as the map had it then. */
  tabletOf(tablet: number): Tablet | undefined {
    const { range } = this.#here.get(tablet) ?? {};
    if (!range) return undefined;
    const { generation, start, end } = range;
    return {
      id: tablet,
      generation,
      start: fromBase64(start),
      end: end === undefined ? end : fromBase64(end),
    };
  }

  /** The id of the replica of a tablet; 0: there is none. */
  idOf(tablet: number): number {
    return this.#here.get(tablet)?.replicaId ?? 0;
  }

  /** Replicas that were here, by id. */
  get removed(): readonly { readonly tablet: number; readonly replicaId: number }[] {
    return this.#removed;
  }

  wasRemoved(replicaId: number): boolean {
    return this.#removed.some((each) => each.replicaId === replicaId);
  }

  /** Durable when it returns. Throws what the disk throws. */
  add(replicas: readonly (LocalReplica & { readonly tablet: number })[]): void {
    const next = new Map(this.#here);
    for (const { tablet, ...each } of replicas) next.set(tablet, each);
    this.#write(next, this.#removed);
    for (const { tablet, ...each } of replicas) this.#here.set(tablet, each);
  }

  /** `number`: of one that has no id here; 0: none. Durable when it returns. Throws what the disk throws. */
  remove(tablet: number, number = 0): void {
    const replicaId = this.idOf(tablet) || number;
    if (replicaId === 0) return;
    const next = new Map(this.#here);
    next.delete(tablet);
    const removed = [...this.#removed, { tablet, replicaId }].slice(-MAX_REMOVED);
    this.#write(next, removed);
    this.#here.delete(tablet);
    this.#removed = removed;
  }

  #write(all: ReadonlyMap<number, LocalReplica>, removed: readonly object[]): void {
    replaceFile(this.#env, this.#directory, REPLICAS_FILE, { here: Object.fromEntries(all), removed });
  }
}

/** As it is recorded. */
export function rangeOf({ generation, start, end }: Tablet): NonNullable<LocalReplica['range']> {
  return { generation, start: base64(start), ...(end ? { end: base64(end) } : {}) };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function fromBase64(text: string): Buffer {
  return Buffer.from(text, 'base64');
}
