/**
 * npm run sim -- --seed 42 [--trace FILE] [--profile NAME]
 * npm run sim -- --seeds 1000 [--first 1] [--jobs 2] [--profile NAME] [--faults kill,partition] [--schedule NAME]
 *
 * Runs whole clusters in virtual time. A failure prints its seed, the broken rule and the last events; exit code 1.
 */
import * as fs from 'node:fs';
import { COVERAGE } from '../../src/sim/rules/coverage.js';
import { FAULTS } from '../../src/sim/setting/fault-names.js';
import { PROFILES } from '../../src/sim/setting/setting.js';
import { type RunResult, simulate } from '../../src/sim/simulation.js';
import { commandLine, flag, oneOf, someOf, text, wholeNumber } from '../support/command-line.js';
import { runSeeds } from './pool.js';
import { SCHEDULES, scheduleOf } from './schedules/schedules.js';

const { values } = commandLine({
  seed: wholeNumber(),
  seeds: wholeNumber(1),
  first: wholeNumber(1),
  stride: wholeNumber(1),
  jobs: wholeNumber(1),
  trace: text('FILE'),
  profile: oneOf(PROFILES, 'all'),
  faults: someOf(FAULTS.map(({ name }) => name)),
  schedule: oneOf(SCHEDULES.map(({ name }) => name)),
  json: flag(),
  'until-broken': flag(),
  'limit-ms': wholeNumber(Number.POSITIVE_INFINITY),
});
const { seed, seeds, first, profile, faults } = values;
const schedule = values.schedule === undefined ? undefined : scheduleOf(values.schedule);
if (seed !== undefined) await runOne(seed);
else if (values.json) await runHere();
else await runMany(Math.max(1, values.jobs));

async function runOne(one: number): Promise<void> {
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
    ...{ seed: one, profile, faults, schedule },
    ...(file === undefined ? {} : { sink }),
  });
  flush();
  if (result.failure) console.log(result.failure.report);
  else console.log(`seed ${one}: all rules held`);
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(
    `${(result.virtualMs / 1000).toFixed(1)} s of virtual time in ${seconds.toFixed(2)} s, ${result.events} events, ${result.calls} calls`,
  );
  if (result.reached.length > 0) console.log(`steps: ${result.reached.join(', ')}`);
  const met = COVERAGE.filter((kind) => (result.coverage[kind] ?? 0) > 0);
  console.log(met.map((kind) => `${kind}: ${result.coverage[kind]}`).join(', '));
  process.exitCode = result.failure ? 1 : 0;
}

/** Prints each result as a line of JSON, for the process that distributes the seeds. */
async function runHere(): Promise<void> {
  // Stack traces are slow, and of no use for the errors that runs expect.
  Error.stackTraceLimit = 0;
  for (let i = 0; i < seeds && performance.now() < values['limit-ms']; i++) {
    const result = await simulate({ seed: first + i * values.stride, profile, faults, schedule });
    process.stdout.write(`${JSON.stringify(result)}\n`);
    if (result.failure && values['until-broken']) return;
  }
}

async function runMany(jobs: number): Promise<void> {
  const startedMs = performance.now();
  let done = 0;
  const results = await runSeeds({
    ...{ first, seeds, jobs, profile, faults, schedule: schedule?.name },
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
