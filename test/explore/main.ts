/**
 * npm run explore -- [--scenario NAME] [--nodes N] [--depth N] [--limit-states N] [--limit-seconds N]
 *                    [--mutation NAME] [--mutations]
 *
 * Explores small worlds, all of them if none is named, and prints a table; of the first rule that is broken, the
 * shortest way there. `--nodes`: worlds of so many nodes; `--depth`: up to so many events. `--mutation`: of a core that
 * has this fault; `--mutations`: of each core that has one, which is to be found. Exit code 1 if that is not how it
 * ends.
 */
import { commandLine, flag, oneOf, wholeNumber } from '../support/command-line.js';
import { AS_IT_IS, loadCore } from './cores.js';
import { MUTATIONS } from './mutations.js';
import { HEADINGS, resultRow, story } from './report.js';
import type { Scenario } from './scenario.js';
import { scenarios } from './scenarios.js';
import { type Result, search } from './search.js';
import { World } from './world.js';

const { values } = commandLine({
  scenario: oneOf(scenarios().map(({ name }) => name)),
  nodes: wholeNumber(),
  depth: wholeNumber(),
  mutation: oneOf(MUTATIONS.map(({ name }) => name)),
  mutations: flag(),
  'limit-states': wholeNumber(Number.POSITIVE_INFINITY),
  'limit-seconds': wholeNumber(Number.POSITIVE_INFINITY),
});

async function explore(scenario: Scenario, core: string): Promise<{ world: World; result: Result }> {
  const world = new World(await loadCore(core), scenario);
  const result = search(world, {
    depth: values.depth ?? scenario.depth,
    calmEvery: 256,
    states: values['limit-states'],
    seconds: values['limit-seconds'],
  });
  return { world, result };
}

async function exploreAll(core: string): Promise<boolean> {
  const wanted = scenarios(values.nodes).filter(
    ({ name }) => values.scenario === undefined || name === values.scenario,
  );
  if (wanted.length === 0) {
    console.error('no scenario has this name and so many nodes');
    process.exit(2);
  }
  console.log(HEADINGS);
  let states = 0;
  let seconds = 0;
  for (const scenario of wanted) {
    const { world, result } = await explore(scenario, core);
    console.log(resultRow(scenario.name, result));
    states += result.states;
    seconds += result.seconds;
    if (!result.found) continue;
    console.log(`\n${scenario.name}: ${scenario.about}\n${story(world, result.found)}`);
    const mutated = core === AS_IT_IS ? '' : ` --mutation '${core}'`;
    console.log(`\nTo see it again: npm run explore -- --scenario ${scenario.name}${mutated}`);
    return false;
  }
  console.log(`${states.toLocaleString('en')} states in ${seconds.toFixed(0)} s`);
  return true;
}

async function exploreMutations(): Promise<boolean> {
  let isAsItShould = true;
  for (const { name, scenario, isLawful = false } of MUTATIONS) {
    const world = scenarios().find((each) => each.name === scenario) as Scenario;
    const { result } = await explore(world, name);
    console.log(`${name}\n${resultRow(scenario, result)}`);
    if ((result.found === undefined) !== isLawful) isAsItShould = false;
  }
  return isAsItShould;
}

const isWell = values.mutations ? await exploreMutations() : await exploreAll(values.mutation ?? AS_IT_IS);
process.exitCode = isWell ? 0 : 1;
