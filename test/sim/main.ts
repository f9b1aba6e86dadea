/**
 * npm run sim -- --seed 42 [--trace FILE] [--profile NAME]
 * npm run sim -- --seeds 1000 [--first 1] [--jobs 2] [--profile NAME] [--faults kill,partition] [--schedule NAME]
 *
 * Runs whole clusters in virtual time. A failure prints its seed, the broken rule and the last events; exit code 1.
 */
import * as fs from 'node:fs';
import { parseArgs } from 'node:util';
import { COVERAGE } from '../../src/sim/rules/coverage.js';
import { FAULTS } from '../../src/sim/setting/fault-names.js';
import { PROFILES, type Profile } from '../../src/sim/setting/setting.js';
import { type RunResult, simulate } from '../../src/sim/simulation.js';
import { runSeeds } from './pool.js';
import { scheduleOf } from './schedules/schedules.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    first: { type: 'string', default: '1' },
    stride: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '1' },
    trace: { type: 'string' },
    profile: { type: 'string', default: 'all' },
    faults: { type: 'string', default: '' },
    schedule: { type: 'string' },
    json: { type: 'boolean', default: false },
    'until-broken': { type: 'boolean', default: false },
    'limit-ms': { type: 'string', default: 'Infinity' },
  },
});
const profile = PROFILES.find((name) => name === values.profile);
if (!profile) throw new Error(`--profile is one of ${PROFILES.join(', ')}`);
const faults = FAULTS.map(({ name }) => name).filter((name) => values.faults.split(',').includes(name));
const schedule = values.schedule === undefined ? undefined : scheduleOf(values.schedule);
const first = Number(values.first);
if (values.seed !== undefined) await runOne(Number(values.seed), profile);
else if (values.json) await runHere(Number(values.seeds ?? 1), profile);
else await runMany(Number(values.seeds ?? 1), Math.max(1, Number(values.jobs)), profile);

async function runOne(seed: number, chosen: Profile): Promise<void> {
  const file = values.trace === undefined ? undefined : fs.openSync(values.trace, 'w');
  let buffered: string[] = [];
  const flush = () => {
    if (file !== undefined) fs.writeSync(file, buffered.join(''));
    buffered = [];
  };
  const sink = (line: string) => {
    buffered.push(`${line}\n`);
    if (buffered.length > 5000) flush();
  };
  const startedMs = performance.now();
  const result = await simulate({
    ...{ seed, profile: chosen, faults, schedule },
    ...(file === undefined ? {} : { sink }),
  });
  flush();
  if (result.failure) console.log(result.failure.report);
  else console.log(`seed ${seed}: all rules held`);
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(
    `${(result.virtualMs / 1000).toFixed(1)} s of virtual time in ${seconds.toFixed(2)} s, ${result.events} events, ${result.calls} calls`,
  );
  if (result.reached.length > 0) console.log(`steps: ${result.reached.join(', ')}`);
  const met = COVERAGE.filter((kind) => (result.coverage[kind] ?? 0) > 0);
  console.log(met.map((kind) => `${kind}: ${result.coverage[kind]}`).join(', '));
  process.exitCode = result.failure ? 1 : 0;
}

/** Each result as a line of JSON, for the process that shares the seeds out. */
async function runHere(count: number, chosen: Profile): Promise<void> {
  // Stack traces cost more than whatever they would tell about errors that the house expects.
  Error.stackTraceLimit = 0;
  for (let i = 0; i < count && performance.now() < Number(values['limit-ms']); i++) {
    const seed = first + i * Number(values.stride);
    const result = await simulate({ seed, profile: chosen, faults, schedule });
    process.stdout.write(`${JSON.stringify(result)}\n`);
    if (result.failure && values['until-broken']) return;
  }
}

async function runMany(count: number, jobs: number, chosen: Profile): Promise<void> {
  const startedMs = performance.now();
  let done = 0;
  const results = await runSeeds({
    ...{ first, seeds: count, jobs, profile: chosen, faults, schedule: schedule?.name },
    take: ({ failure }) => {
      if (failure) console.log(`${failure.report}\n`);
      if (++done % 50 === 0) console.log(`${done} seeds`);
    },
  });
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(coverageTable(results));
  const virtualMinutes = results.reduce((sum, { virtualMs }) => sum + virtualMs, 0) / 60_000;
  console.log(
    `${results.length} seeds, ${virtualMinutes.toFixed(1)} min of virtual time in ${seconds.toFixed(1)} s` +
      `: ${(results.length / seconds).toFixed(2)} seeds/s, ${(virtualMinutes / seconds).toFixed(2)} min/s`,
  );
  const failed = results.filter(({ failure }) => failure).map(({ seed }) => seed);
  console.log(
    failed.length === 0 ? 'all rules held' : `FAILED: seeds ${failed.sort((a, b) => a - b).join(', ')}`,
  );
  process.exitCode = failed.length > 0 ? 1 : 0;
}

function coverageTable(results: readonly RunResult[]): string {
  const rows = COVERAGE.map((kind) => {
    const counts = results.map(({ coverage }) => coverage[kind] ?? 0);
    const share = Math.round((100 * counts.filter((times) => times > 0).length) / results.length);
    const total = counts.reduce((sum, times) => sum + times, 0);
    return `${kind.padEnd(30)}   ${`${share} %`.padStart(5)}   ${total}`;
  });
  return [`${'kind'.padEnd(30)}   seeds   times`, ...rows].join('\n');
}
