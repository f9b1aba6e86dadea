/**
 * A node dies at some moment of a move, a split or a merge, by a power cut or a kill: the step ends, or can be ordered
 * again; no write is lost or applied twice; nobody keeps what he should not have. `npm run test:cuts` tries every
 * moment.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { STEPS, type Step } from './tablet-cut-steps.js';
import { DEATHS, TabletCuts } from './tablet-cuts.js';

const SEED = 2;

/** Who dies, and before which of its changes of files: the first one that is so, or the n-th. */
const MOMENTS: Readonly<Record<string, readonly (readonly [victim: string, at: RegExp | number])[]>> = {
  move: [
    ['from', /^unlink .*\/groups\/\d+$/],
    ['leadingFrom', /^sync-directory \/data$/],
    ['to', /^write .*\/replicas/],
    ['map', 9],
  ],
  'split by range': [
    ['leader', /^link /],
    ['both', 12],
    ['follower', /^unlink .*\/groups\/\d+$/],
  ],
  'split by hash': [['leader', /^write .*\/replicas/]],
  'merge by range': [
    ['left', /^rename .*\/state[^/]*$/],
    ['right', /^write .*\.begins\/.*sst$/],
    ['map', 14],
    ['follower', /^write .*\/replicas/],
  ],
  'merge by hash': [
    ['all', /^unlink .*\.begins$/],
    ['follower', /^unlink .*\/groups\/\d+$/],
  ],
};

const begun = new Map<Step['placement'], TabletCuts>();

for (const step of STEPS)
  test(`a node dies at file operations of a ${step.name}`, async () => {
    const cuts = begun.get(step.placement) ?? (await TabletCuts.begin(step));
    begun.set(step.placement, cuts);
    const moments = MOMENTS[step.name] ?? [];
    assert.ok(moments.length > 0);
    for (const [i, [victim, moment]] of moments.entries()) {
      const at = (operation: string, n: number) =>
        typeof moment === 'number' ? n === moment : moment.test(operation);
      const death = DEATHS[i % DEATHS.length] ?? 'kill';
      const { isCut } = await cuts.run(step, SEED, { victim, at, death });
      assert.ok(isCut, `${step.name}: ${victim} dies at ${moment}`);
    }
  });

test.run();
