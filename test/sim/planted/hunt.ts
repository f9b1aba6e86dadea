/** Runs the simulator on a planted bug until a rule is broken. */
import { spawn } from 'node:child_process';
import * as readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { RunResult } from '../simulation.js';
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
  const plant = new URL('./plant.js', import.meta.url).href;
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const seeds = ['--first', `${bug.firstSeed}`, '--seeds', `${bug.withinSeeds}`];
  const child = spawn(
    process.execPath,
    ['--import', plant, main, '--json', '--until-broken', '--profile', bug.profile, ...seeds],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SIM_PLANTED_BUG: bug.name } },
  );
  let problems = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    problems += text;
  });
  const results: RunResult[] = [];
  readline.createInterface({ input: child.stdout }).on('line', (line) => {
    results.push(JSON.parse(line) as RunResult);
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the simulator ended with ${code}: ${problems}`);
  const last = results.at(-1);
  if (!last?.failure) return undefined;
  const { rule, detail } = last.failure;
  return { seeds: results.length, seed: last.seed, rule, detail };
}
