/**
 * npm run test:cuts -- [STEP PART…] [--seed 1]
 *
 * Every k of test/server/tablet-cuts.ts, for each step (or those whose names hold one of the parts), each node that
 * dies, and each death.
 */
import { commandLine, wholeNumber } from '../support/command-line.js';
import { STEPS } from './tablet-cut-steps.js';
import { DEATHS, TabletCuts } from './tablet-cuts.js';

const { values, names } = commandLine({ seed: wholeNumber(1) }, true);
const { seed } = values;
const startedMs = performance.now();
let runs = 0;
const failures: string[] = [];
for (const step of STEPS) {
  if (names.length > 0 && !names.some((part) => step.name.includes(part))) continue;
  const cuts = await TabletCuts.begin(step);
  for (const victim of step.victims) {
    const { operations } = await cuts.run(step, seed, { victim, at: () => false, death: 'kill' });
    for (const death of DEATHS) {
      const beganMs = performance.now();
      let [done, cut] = [0, 0];
      for (let k = 1; k <= operations.length; k++) {
        runs++;
        try {
          const outcome = await cuts.run(step, seed, { victim, at: (_, n) => n === k, death });
          if (outcome.isCut) cut++;
          if (outcome.isDone) done++;
        } catch (error) {
          failures.push(String(error));
          console.log(error);
        }
      }
      console.log(
        `${step.name}, ${death} of ${victim}: ${cut} moments of ${operations.length}, ` +
          `done by the first order ${done} times; ${secondsSince(beganMs)} s`,
      );
    }
  }
}
console.log(`${runs} runs in ${secondsSince(startedMs)} s, ${failures.length} failed`);
if (failures.length > 0) process.exitCode = 1;

function secondsSince(ms: number): string {
  return ((performance.now() - ms) / 1000).toFixed(1);
}
