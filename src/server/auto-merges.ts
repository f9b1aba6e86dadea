/**
 * Merges small neighbours, on the leader of meta: one pair at a time, after it was small in several looks in a row
 * (balance/merge-plan.ts). Off unless `placement.minTabletBytes` is set: otherwise what an operator has split would be
 * merged again.
 */
import type { NodeReport } from '../balance/cluster-map.js';
import { type MergeSettings, type SmallPair, smallPairs } from '../balance/merge-plan.js';
import type { Env } from '../env/env.js';
import { checkMerge, idsOfMerge, recordMerge } from '../meta/merges.js';
import type { Meta } from '../meta/meta.js';

export interface AutoMergesParts {
  readonly env: Pick<Env, 'clock'>;
  readonly meta: Pick<Meta, 'state' | 'update' | 'allocateIds'>;
  readonly settings: MergeSettings;
}

/** Looks in a row in which a pair must be small. */
const LOOKS = 3;

export class AutoMerges {
  readonly #parts: AutoMergesParts;
  /** By pair: looks in a row in which it was small. */
  #seen = new Map<string, number>();

  constructor(parts: AutoMergesParts) {
    this.#parts = parts;
  }

  /** Resolves with whether a merge was recorded. Rejects as meta does. */
  async look(reports: readonly NodeReport[]): Promise<boolean> {
    const { meta, settings } = this.#parts;
    const { state } = meta;
    const isBusy = (tablet: number) => state.intents.has(tablet);
    const pairs = smallPairs([...state.tablets.values()], isBusy, reports, settings);
    this.#seen = new Map(pairs.map((pair) => [nameOf(pair), (this.#seen.get(nameOf(pair)) ?? 0) + 1]));
    const isUnderWay = [...state.intents.values()].some(({ type }) => type === 'merge');
    const due = pairs.find((pair) => (this.#seen.get(nameOf(pair)) ?? 0) >= LOOKS);
    return due !== undefined && !isUnderWay && this.#record(due);
  }

  async #record({ left, right, bytes }: SmallPair): Promise<boolean> {
    const { meta, env, settings } = this.#parts;
    const reason = `they have ${bytes} bytes, and minTabletBytes is ${settings.minTabletBytes}`;
    const [{ replicas }] = checkMerge(meta.state, { left, right });
    const firstId = await meta.allocateIds(idsOfMerge(replicas.length));
    return meta.update(recordMerge(meta.state, { left, right, reason }, firstId, env.clock.nowMs()));
  }
}

function nameOf({ left, right }: SmallPair): string {
  return `${left} ${right}`;
}
