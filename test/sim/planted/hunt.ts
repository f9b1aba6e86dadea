/** Runs the simulator on a planted bug until a rule is broken. */
import { runSeeds } from '../pool.js';
import type { PlantedBug } from './bugs.js';

export interface Catch {
  /** How many seeds it took. */
  readonly seeds: number;
  readonly seed: number;
  readonly rule: string;
  readonly detail: string;
}

/** Undefined if every seed went well. Rejects if the simulator itself does not run. */
export async function hunt(bug: PlantedBug): Promise<Catch | undefined> {
  const results = await runSeeds({
    first: 1,
    seeds: bug.withinSeeds,
    jobs: 1,
    faults: bug.faults,
    schedule: bug.schedule,
    untilBroken: true,
    planted: bug.name,
  });
  const last = results.at(-1);
  if (!last?.failure) return undefined;
  const { rule, detail } = last.failure;
  return { seeds: results.length, seed: last.seed, rule, detail };
}
