/**
 * Correct code survives every schedule; code with a mutation (../../mutate) does not. A schedule that misses a step
 * shows nothing.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { simulate } from '../../../src/sim/simulation.js';
import type { Schedule } from '../../../src/sim/stage.js';

const SEEDS = [1, 2, 3];

export function checkSchedules(schedules: readonly Schedule[]): void {
  for (const schedule of schedules) {
    const { name, steps } = schedule;
    test(`${name}: all rules hold`, async () => {
      for (const seed of SEEDS) {
        const { failure, reached } = await simulate({ seed, schedule });
        assert.not(failure, failure?.report);
        assert.equal(reached, steps, `the steps of seed ${seed}`);
      }
    });
  }
  test.run();
}
