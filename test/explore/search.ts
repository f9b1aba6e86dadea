/**
 * Breadth first through the worlds that can follow from a scenario, so that the first broken rule has a shortest path.
 */
import { StateTable } from './state-table.js';
import type { Event, Numbers, World } from './world.js';

export interface Limits {
  readonly depth: number;
  /** Of so many worlds that were not met before, one is looked at for whether it can come to good. */
  readonly calmEvery?: number;
  readonly states?: number;
  readonly seconds?: number;
}

export interface Found {
  readonly rule: string;
  readonly path: readonly { readonly event: Event; readonly after: Numbers }[];
}

export interface Result {
  readonly states: number;
  readonly transitions: number;
  /** Levels that were explored whole. */
  readonly depth: number;
  readonly seconds: number;
  /** `exhausted`: nothing more can happen; `depth`: up to where it was asked for. */
  readonly end: 'found' | 'exhausted' | 'depth' | 'states' | 'seconds';
  readonly found: Found | undefined;
}

/** Worlds one after the other, as their numbers behind their count and their place. */
class Level {
  #numbers = new Int32Array(1 << 12);
  #end = 0;
  count = 0;

  push(place: number, world: Numbers): void {
    if (this.#end + world.length + 2 > this.#numbers.length) {
      const numbers = new Int32Array(this.#numbers.length * 2);
      numbers.set(this.#numbers);
      this.#numbers = numbers;
    }
    this.#numbers[this.#end] = world.length;
    this.#numbers[this.#end + 1] = place;
    this.#numbers.set(world, this.#end + 2);
    this.#end += world.length + 2;
    this.count++;
  }

  *worlds(): Generator<{ place: number; world: Numbers }> {
    for (let at = 0; at < this.#end; ) {
      const length = this.#numbers[at] as number;
      const place = this.#numbers[at + 1] as number;
      yield { place, world: [...this.#numbers.subarray(at + 2, at + 2 + length)] };
      at += length + 2;
    }
  }
}

export function search(world: World, limits: Limits): Result {
  const startedMs = performance.now();
  const table = new StateTable();
  const first = world.begin();
  table.add(leastName(world, first), 0, 0);
  let level = new Level();
  level.push(0, first);
  const calmEvery = limits.calmEvery ?? Number.POSITIVE_INFINITY;
  let transitions = 0;
  let depth = 0;
  let found: Found | undefined;
  const secondsNow = () => (performance.now() - startedMs) / 1000;
  const result = (end: Result['end']): Result => ({
    states: table.size,
    transitions,
    depth,
    seconds: secondsNow(),
    end,
    found,
  });
  for (; depth < limits.depth && level.count > 0; depth++) {
    const next = new Level();
    for (const { place, world: from } of level.worlds()) {
      if (limits.states !== undefined && table.size >= limits.states) return result('states');
      if (limits.seconds !== undefined && transitions % 64 === 0 && secondsNow() > limits.seconds) {
        return result('seconds');
      }
      let number = 0;
      world.successors(from, (event, after, broken) => {
        const to = broken === undefined ? world.tidied(after) : after;
        transitions++;
        const own = number++;
        if (found) return;
        let rule = broken;
        if (rule === undefined) {
          const added = table.add(leastName(world, to), place, own);
          if (added < 0) return;
          next.push(added, to);
          if (added % calmEvery === 0) rule = world.stuck(to);
        }
        if (rule === undefined) return;
        found = { rule, path: [...walk(world, first, table.pathTo(place)), { event, after: to }] };
      });
      if (found) return result('found');
    }
    level = next;
  }
  return result(level.count === 0 ? 'exhausted' : 'depth');
}

/** Of a world and the same with its nodes renamed, the one whose numbers come first. */
function leastName(world: World, numbers: Numbers): Numbers {
  let least = numbers;
  for (let by = 1; by < world.space.renamings.length; by++) {
    const other = world.renamed(numbers, by);
    if (isBefore(other, least)) least = other;
  }
  return least;
}

function isBefore(one: Numbers, other: Numbers): boolean {
  for (const [at, number] of one.entries()) {
    if (number !== other[at]) return number < (other[at] as number);
  }
  return false;
}

function walk(world: World, first: Numbers, path: readonly number[]): { event: Event; after: Numbers }[] {
  const steps: { event: Event; after: Numbers }[] = [];
  let at = first;
  for (const wanted of path) {
    let number = 0;
    let step: { event: Event; after: Numbers } | undefined;
    world.successors(at, (event, after) => {
      if (number++ === wanted) step = { event, after: world.tidied(after) };
    });
    if (!step) throw new Error('a world that was met is not met again: the exploration is not deterministic');
    steps.push(step);
    at = step.after;
  }
  return steps;
}
