/** What is set on a mutation, and what it says when it has found it out. */
import { fileURLToPath } from 'node:url';
import type { RunResult } from '../../src/sim/simulation.js';
import { runSeeds } from '../sim/pool.js';
import { SCHEDULES, scheduleOf } from '../sim/schedules/schedules.js';
import { runTestFile } from '../support/test-files.js';
import { type BySimulator, isBySimulator, MOST_SEEDS, type Mutation } from './mutation.js';

/** A test file that has not ended after so long has failed. */
const FILE_LIMIT_MS = 120_000;
/** With seeds up to this one correct code comes to every step of a schedule (sim/schedules/check-schedules.ts). */
const SURE_SEEDS = 3;
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** What told: a rule of the simulator and the seed, or a test file and its test. Undefined: the mutation survives. */
export async function kill(mutation: Mutation): Promise<string | undefined> {
  const { name, killedBy } = mutation;
  if (isBySimulator(killedBy)) return hunt(name, killedBy);
  for (const file of killedBy) {
    const failed = await runMutated(file, name);
    if (failed !== undefined) return failed;
  }
  return undefined;
}

/** Rejects if the simulator itself does not run. */
async function hunt(mutation: string, how: BySimulator): Promise<string | undefined> {
  const { schedule, profile = 'all', faults = [], withinSeeds } = how;
  const results: RunResult[] = await runSeeds({
    ...{ first: 1, seeds: withinSeeds, jobs: 1, profile, faults, schedule, untilBroken: true, mutation },
  });
  const where = schedule ?? (profile === 'all' ? 'random faults' : `profile ${profile}`);
  const broken = results.find(({ failure }) => failure !== undefined);
  if (broken?.failure) {
    const { rule, detail } = broken.failure;
    return `${where}, seed ${broken.seed}: ${rule}: ${detail}`;
  }
  const steps = schedule === undefined ? 0 : scheduleOf(schedule).steps.length;
  const short = results.find(({ seed, reached }) => seed <= SURE_SEEDS && reached.length < steps);
  return short && `${where}, seed ${short.seed}: it came no further than to "${short.reached.at(-1)}"`;
}

/** Whatever might find it: every schedule and random faults, so many seeds each. */
export async function search(name: string, seedsOfSchedules: number, seeds: number): Promise<string[]> {
  const found: string[] = [];
  for (const schedule of SCHEDULES) {
    const how = await hunt(name, { schedule: schedule.name, withinSeeds: seedsOfSchedules });
    if (how !== undefined) found.push(how);
  }
  const how = await hunt(name, { withinSeeds: Math.min(seeds, MOST_SEEDS) });
  return how === undefined ? found : [...found, how];
}

/** The first of its tests that failed; undefined if all passed. */
async function runMutated(file: string, mutation: string): Promise<string | undefined> {
  const plant = new URL('./plant.js', import.meta.url).href;
  const { counts, fault, output } = await runTestFile(file, {
    root: ROOT,
    limitMs: FILE_LIMIT_MS,
    nodeArguments: ['--import', plant],
    environment: { MUTATION: mutation },
  });
  if (counts.failed === 0) return undefined;
  const test = /^ *FAIL +(.*)$/m.exec(output)?.[1]?.trim() ?? fault ?? 'it failed';
  return `${file}: ${test}`;
}

/** Whether a test file fails without any mutation: then what it says about one is worth nothing. */
export async function failsAnyhow(file: string): Promise<boolean> {
  const { counts } = await runTestFile(file, { root: ROOT, limitMs: FILE_LIMIT_MS });
  return counts.failed > 0;
}
