/**
 * The exploration is seen to find faults: each is planted on purpose, and a rule must break. Two test files share them,
 * so that they run side by side.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadCore } from './cores.js';
import { MUTATIONS } from './mutations.js';
import { story, verdict } from './report.js';
import type { Scenario } from './scenario.js';
import { scenarios } from './scenarios.js';
import { search } from './search.js';
import { World } from './world.js';

/** Every second one, from the one at `first` on. */
export function testMutations(first: 0 | 1): void {
  for (const { name, scenario, isLawful } of MUTATIONS.filter((_, at) => at % 2 === first)) {
    test(isLawful ? `lawful: ${name}` : `found: ${name}`, async () => {
      const wanted = scenarios().find((each) => each.name === scenario) as Scenario;
      const world = new World(await loadCore(name), wanted);
      const result = search(world, { depth: wanted.depth, calmEvery: 256 });
      if (isLawful) assert.is(result.found && story(world, result.found), undefined);
      else assert.ok(result.found, verdict(result));
    });
  }
  test.run();
}
