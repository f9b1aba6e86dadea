/**
 * A mutation: a small change of the code such as a tired author might make, of which some test must tell. It is patched
 * into the compiled code of a child process; `src` knows nothing of it.
 */
import * as fs from 'node:fs';
import type { FaultName } from '../../src/sim/setting/fault-names.js';
import type { Profile } from '../../src/sim/setting/setting.js';

export interface Patch {
  /** Below dist/src; of a benchmark, below dist. */
  readonly file: string;
  /** Text that stands at exactly one place of the file, however it is broken into lines. */
  readonly find: string;
  readonly replace: string;
}

/** The simulator breaks a rule of its own: under a schedule (sim/schedules), or under random faults. */
export interface BySimulator {
  readonly schedule?: string;
  /** Of the seeds; `all` if none is given. */
  readonly profile?: Profile;
  /** The random faults that bring it to light soonest; all that a seed chooses, if none are given. */
  readonly faults?: readonly FaultName[];
  /** It does so within so many seeds, from 1 on. */
  readonly withinSeeds: number;
}

export interface Mutation {
  readonly name: string;
  /** Why somebody might write it. */
  readonly reason: string;
  readonly patches: readonly Patch[];
  /** What must tell: the simulator, or one of these test files (as test/run.ts names them). */
  readonly killedBy: BySimulator | readonly string[];
}

export function isBySimulator(killedBy: Mutation['killedBy']): killedBy is BySimulator {
  return 'withinSeeds' in killedBy;
}

/** Where a file of a patch is. */
export function pathIn(directory: string, file: string): string {
  return file.startsWith('bench/') ? `${directory}/${file}` : `${directory}/src/${file}`;
}

/** At most this many seeds count as "the simulator finds it". */
export const MOST_SEEDS = 200;

/**
 * The source with the patches made. A place that is not found exactly once is an error: so no mutation is lost quietly.
 */
export function patched(file: string, source: string, patches: readonly Patch[]): string {
  let text = source;
  for (const { find, replace } of patches.filter((patch) => patch.file === file)) {
    const place = new RegExp(find.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\s+/g, '\\s+'), 'g');
    const places = [...text.matchAll(place)].length;
    if (places !== 1) throw new Error(`\`${find}\` is at ${places} places in ${file}: it cannot be patched`);
    text = text.replace(place, () => replace);
  }
  return text;
}

/** Short forms for the lists. */
export function under(schedule: string, withinSeeds: number): BySimulator {
  return { schedule, withinSeeds };
}

export function randomFaults(withinSeeds: number, ...faults: readonly FaultName[]): BySimulator {
  return { withinSeeds, faults };
}

export function inProfile(
  profile: Profile,
  withinSeeds: number,
  ...faults: readonly FaultName[]
): BySimulator {
  return { profile, withinSeeds, faults };
}

export function inFile(file: string): (find: string, replace: string) => Patch {
  return (find, replace) => ({ file, find, replace });
}

/** Of mutations that cannot be made in this build, or change nothing, why not. Without that they would look killed. */
export function problemsOf(mutations: readonly Mutation[], dist: string): string[] {
  return mutations.flatMap(({ name, patches }) =>
    [...new Set(patches.map(({ file }) => file))].flatMap((file) => {
      const source = fs.readFileSync(pathIn(dist, file), 'utf8');
      try {
        return patched(file, source, patches) === source ? [`${name}: it changes nothing in ${file}`] : [];
      } catch (error) {
        return [`${name}: ${(error as Error).message}`];
      }
    }),
  );
}
