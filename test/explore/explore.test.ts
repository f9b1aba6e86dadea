/** The core as it is, in every small world to a small depth; and that an exploration is the same every time. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AS_IT_IS, loadCore } from './cores.js';
import { story, verdict } from './report.js';
import type { Scenario } from './scenario.js';
import { scenarios } from './scenarios.js';
import { type Result, search } from './search.js';
import { World } from './world.js';

const core = await loadCore(AS_IT_IS);

function explored(scenario: Scenario, depth: number): { world: World; result: Result } {
  const world = new World(core, scenario);
  return { world, result: search(world, { depth, calmEvery: 64 }) };
}

const named = (name: string, nodes?: number) =>
  scenarios(nodes).find((scenario) => scenario.name === name) as Scenario;

for (const scenario of scenarios()) {
  test(`${scenario.name}: ${scenario.about}`, () => {
    const { world, result } = explored(scenario, 6);
    assert.is(result.found && story(world, result.found), undefined);
    assert.is(result.depth, 6);
  });
}

// A change of what a core remembers or sends changes these numbers: look at whether it should, and write down the new
// ones.
test('the same worlds are met every time', () => {
  for (const [name, states] of [
    ['election', 6833],
    ['votes', 3007],
    ['leaseOverRestart', 2171],
  ] as const) {
    assert.is(explored(named(name), 7).result.states, states, name);
  }
});

test('worlds that differ by the names of nodes are one', () => {
  const election = named('election');
  const { alike: _, ...named3 } = election;
  const one = explored(election, 4).result;
  const all = explored(named3, 4).result;
  assert.ok(one.states * 3 < all.states && all.states <= one.states * 6, `${one.states} of ${all.states}`);
});

test('nothing more happens when everything is used up', () => {
  const { result } = explored({ ...named('votes'), budgets: { timeouts: 1 }, lateDisks: [] }, 50);
  assert.is(result.end, 'exhausted');
  assert.is(verdict(result), 'nothing found, and nothing more can happen');
});

test.run();
