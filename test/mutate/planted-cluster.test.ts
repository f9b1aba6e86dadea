/** The simulator is seen to catch bugs: each is planted on purpose, and a rule must break within its number of seeds. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PLANTED_BUGS } from './bugs.js';
import { hunt } from './hunt.js';

for (const bug of PLANTED_BUGS) {
  test(`caught: ${bug.name}`, async () => {
    const found = await hunt(bug);
    assert.ok(found, `not caught in ${bug.withinSeeds} seeds`);
  });
}

test.run();
