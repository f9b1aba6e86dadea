import { parseArgs } from 'node:util';
import { AS_IT_IS, loadCore } from './cores.js';
import { SCENARIOS } from './scenarios.js';
import { search } from './search.js';
import { World } from './world.js';

const { values } = parseArgs({
  options: {
    scenario: { type: 'string' },
    depth: { type: 'string' },
    core: { type: 'string', default: AS_IT_IS },
    'limit-states': { type: 'string' },
    'limit-seconds': { type: 'string' },
  },
});
const core = await loadCore(values.core);
for (const scenario of SCENARIOS.filter(({ name }) => !values.scenario || name === values.scenario)) {
  const world = new World(core, scenario);
  const r = search(world, {
    depth: Number(values.depth ?? scenario.depth),
    ...(values['limit-states'] ? { states: Number(values['limit-states']) } : {}),
    ...(values['limit-seconds'] ? { seconds: Number(values['limit-seconds']) } : {}),
  });
  console.log(
    scenario.name,
    'depth',
    r.depth,
    r.states,
    'states',
    r.transitions,
    'transitions',
    r.seconds.toFixed(1),
    's',
    r.end,
    'hosts',
    world.space.hosts.length,
    'env',
    world.space.envelopes.length,
    'ghosts',
    world.space.ghosts.length,
    Math.round(process.memoryUsage().rss / 1e6),
    'MB',
  );
  if (r.found) {
    for (const { event, after } of r.found.path) {
      console.log('*', world.describe(event));
      for (const l of world.show(after)) console.log('     ', l);
    }
    console.log('=>', r.found.rule);
  }
}
