/**
 * npm run mutate -- [NAME PART…] [--jobs 2] [--only-simulator] [--search SEEDS]
 *
 * Makes each mutation of the list (or those whose names hold one of the parts), sets on it what should kill it, and
 * says what did. Exit code 1 if one survives. With `--search` it tells instead which schedules, and whether random
 * faults, find a mutation within so many seeds.
 */
import { fileURLToPath } from 'node:url';
import { commandLine, flag, wholeNumber } from '../support/command-line.js';
import { failsAnyhow, kill, search } from './killers.js';
import { isBySimulator, type Mutation, problemsOf } from './mutation.js';
import { MUTATIONS } from './mutations.js';

const { values, names } = commandLine(
  { jobs: wholeNumber(2), 'only-simulator': flag(), search: wholeNumber() },
  true,
);

const chosen = MUTATIONS.filter(
  ({ name, killedBy }) =>
    (names.length === 0 || names.some((part) => name.includes(part))) &&
    (!values['only-simulator'] || isBySimulator(killedBy)),
);
const startedMs = performance.now();
if (chosen.length === 0) {
  console.log('no mutation has such a name');
  process.exitCode = 1;
} else if (values.search !== undefined) {
  const seeds = values.search;
  await forEach(chosen, async ({ name }) => {
    const found = await search(name, Math.min(seeds, 3), seeds);
    console.log([name, ...(found.length > 0 ? found : ['nothing found it'])].join('\n    ').slice(0, 4000));
  });
} else await runAll();

async function runAll(): Promise<void> {
  const problems = problemsOf(chosen, fileURLToPath(new URL('../..', import.meta.url)));
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const files = new Set(chosen.flatMap(({ killedBy }) => (isBySimulator(killedBy) ? [] : killedBy)));
  const failing: string[] = [];
  await forEach([...files], async (file) => {
    if (await failsAnyhow(file)) failing.push(file);
  });
  if (failing.length > 0) throw new Error(`these tests fail without any mutation: ${failing.join(', ')}`);
  const results = new Map<Mutation, { readonly by: string | undefined; readonly seconds: string }>();
  await forEach(chosen, async (mutation) => {
    const beganMs = performance.now();
    const by = await kill(mutation);
    results.set(mutation, { by, seconds: secondsSince(beganMs) });
    const verdict = by === undefined ? 'SURVIVES' : 'killed';
    console.log(`${results.size} of ${chosen.length}: ${mutation.name}: ${verdict}`);
  });
  for (const mutation of chosen) {
    const { by = 'SURVIVES', seconds = '' } = results.get(mutation) ?? {};
    console.log(
      `${mutation.name.padEnd(78)} ${seconds.padStart(6)} s  ${by.replace(/\s+/g, ' ').slice(0, 160)}`,
    );
  }
  const survivors = chosen.filter((mutation) => results.get(mutation)?.by === undefined);
  const bySimulator = chosen.filter(({ killedBy }) => isBySimulator(killedBy));
  const killedBySimulator = bySimulator.filter((mutation) => !survivors.includes(mutation)).length;
  for (const { name, reason } of survivors) console.log(`survivor: ${name} (${reason})`);
  console.log(
    `${chosen.length} mutations in ${secondsSince(startedMs)} s: ${killedBySimulator} killed by the simulator, ` +
      `${chosen.length - survivors.length - killedBySimulator} by tests, ${survivors.length} survive`,
  );
  if (survivors.length > 0) process.exitCode = 1;
}

async function forEach<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  const waiting = [...all];
  const work = async () => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) await run(one);
  };
  await Promise.all(Array.from({ length: Math.max(1, values.jobs) }, work));
}

function secondsSince(ms: number): string {
  return ((performance.now() - ms) / 1000).toFixed(1);
}
