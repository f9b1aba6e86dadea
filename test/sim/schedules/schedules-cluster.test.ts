/** What the schedules lead to is survived; the planted bugs (../planted) are not. A schedule that misses its window shows nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { simulate } from '../simulation.js';
import { SCHEDULES } from './schedules.js';

const SEEDS = [1, 2, 3, 4, 5];

for (const { name, steps } of SCHEDULES) {
  test(`${name}: all rules hold`, async () => {
    for (const seed of SEEDS) {
      const { failure, reached } = await simulate({ seed, schedule: name });
      assert.not(failure, failure?.report);
      assert.equal(reached, steps, `the steps of seed ${seed}`);
    }
  });
}

test.run();
