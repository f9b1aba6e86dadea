/** What an exploration has found, for people. */
import type { Found, Result } from './search.js';
import type { World } from './world.js';

/** Event by event, with the nodes that it has changed. */
export function story(world: World, { rule, path }: Found): string {
  let shown: string[] = [];
  const lines = path.flatMap(({ event, after }) => {
    const nodes = world.show(after);
    const changed = nodes.filter((node, at) => node !== shown[at]);
    shown = nodes;
    return [world.describe(event), ...changed.map((node) => `    ${node}`)];
  });
  return [...lines, `=> ${rule}`].join('\n');
}

export function verdict({ end, found }: Result): string {
  if (found) return `BROKEN after ${found.path.length} events: ${found.rule.split('\n')[0]}`;
  if (end === 'exhausted') return 'nothing found, and nothing more can happen';
  return end === 'depth' ? 'nothing found' : `nothing found when the limit of ${end} was reached`;
}

export const HEADINGS = row('scenario', 'depth', 'states', 'transitions', 'seconds', 'verdict');

export function resultRow(name: string, result: Result): string {
  const { depth, states, transitions, seconds } = result;
  const numbers = [String(depth), states.toLocaleString('en'), transitions.toLocaleString('en')] as const;
  return row(name, ...numbers, seconds.toFixed(1), verdict(result));
}

function row(name: string, depth: string, states: string, transitions: string, seconds: string, end: string) {
  const numbers = [depth.padStart(6), states.padStart(12), transitions.padStart(13), seconds.padStart(8)];
  return `${name.padEnd(23)}${numbers.join('')}  ${end}`;
}
