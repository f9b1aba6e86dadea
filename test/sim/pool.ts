/** Distributes seeds over processes, and collects their results. */
import { spawn } from 'node:child_process';
import * as readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { RunResult } from '../../src/sim/simulation.js';
import { FEWER_COMPILATIONS } from '../support/test-files.js';

export interface PoolOptions {
  readonly first: number;
  readonly seeds: number;
  readonly jobs: number;
  readonly profile?: string;
  readonly faults?: readonly string[];
  /** The name of a schedule (schedules/). */
  readonly schedule?: string | undefined;
  /** Each process ends at its first broken rule. */
  readonly untilBroken?: boolean;
  /** No seed is begun after so long. */
  readonly limitMs?: number;
  /** The name of a mutation (../mutate) that is patched into the code. */
  readonly mutation?: string;
  readonly take?: (result: RunResult) => void;
}

/** Most objects of a run live briefly: with a larger nursery the collector copies fewer of them. */
const LESS_COLLECTION = ['--max-semi-space-size=64', '--min-semi-space-size=16'];

/** The results in the order they came. Rejects if a process ends with an error, with what it said. */
export async function runSeeds(options: PoolOptions): Promise<RunResult[]> {
  const { seeds, jobs, take } = options;
  const results: RunResult[] = [];
  const collect = (result: RunResult) => {
    results.push(result);
    take?.(result);
  };
  await Promise.all(
    Array.from({ length: Math.min(jobs, seeds) }, (_, job) => runShare(job, options, collect)),
  );
  return results;
}

async function runShare(
  job: number,
  options: PoolOptions,
  collect: (result: RunResult) => void,
): Promise<void> {
  const {
    first,
    seeds,
    jobs,
    profile = 'all',
    faults = [],
    schedule,
    untilBroken,
    limitMs,
    mutation,
  } = options;
  const plant = new URL('../mutate/plant.js', import.meta.url).href;
  const args = [
    ...['--json', '--profile', profile, '--faults', faults.join()],
    ...['--first', `${first + job}`, '--stride', `${jobs}`, '--seeds', `${Math.ceil((seeds - job) / jobs)}`],
    ...(schedule === undefined ? [] : ['--schedule', schedule]),
    ...(untilBroken ? ['--until-broken'] : []),
    ...(limitMs === undefined ? [] : ['--limit-ms', `${limitMs}`]),
  ];
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const nodeArgs = [...(mutation ? ['--import', plant] : []), ...LESS_COLLECTION, ...FEWER_COMPILATIONS];
  const child = spawn(process.execPath, [...nodeArgs, main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, MUTATION: mutation ?? '' },
  });
  let problems = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    problems += text;
  });
  readline
    .createInterface({ input: child.stdout })
    .on('line', (line) => collect(JSON.parse(line) as RunResult));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`a simulator ended with ${code}: ${problems}`);
}
