/** The seeds of `npm test`: all rules hold, and together the runs meet everything that the simulator can do. */
import * as assert from 'uvu/assert';
import { COVERAGE, RARE } from '../../src/sim/rules/coverage.js';
import { runSeeds } from './pool.js';

/** On a busy machine there may be time for fewer seeds, but at least for so many. */
const LEAST_SEEDS = 25;
const LIMIT_MS = 70_000;
/** This share of the seeds must have met each kind. Of fewer seeds than asked for, nothing can be expected. */
const LEAST_SHARE = 0.03;

export async function checkSeeds(first: number, seeds: number): Promise<void> {
  const results = await runSeeds({ first, seeds, jobs: 1, limitMs: LIMIT_MS });
  for (const { failure } of results) if (failure) console.log(failure.report);
  assert.equal(
    results.filter(({ failure }) => failure).map(({ seed }) => seed),
    [],
    'seeds that broke a rule',
  );
  assert.ok(results.length >= LEAST_SEEDS, `only ${results.length} seeds in ${LIMIT_MS / 1000} s`);
  if (results.length < seeds) {
    console.log(`there was time for ${results.length} of ${seeds} seeds: what they met is not judged`);
    return;
  }
  const least = LEAST_SHARE * seeds;
  const missed = COVERAGE.filter((kind) => !RARE.includes(kind)).filter((kind) => {
    const met = results.filter(({ coverage }) => (coverage[kind] ?? 0) > 0);
    return met.length < least;
  });
  assert.equal(missed, [], `kinds that fewer than ${least} of ${results.length} seeds met`);
}
