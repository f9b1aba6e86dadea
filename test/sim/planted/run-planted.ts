/**
 * node dist/test/sim/planted/run-planted.js [NAME PART…]
 *
 * Looks for each planted bug with seed after seed, and tells how many it took and which rule was broken.
 */
import { PLANTED_BUGS } from './bugs.js';
import { hunt } from './hunt.js';

const wanted = process.argv.slice(2);
for (const bug of PLANTED_BUGS.filter(
  ({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
)) {
  const startedMs = performance.now();
  const found = await hunt(bug);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(
    found
      ? `${bug.name}: ${found.seeds} seeds, ${seconds} s: ${found.rule}: ${found.detail.slice(0, 160)}`
      : `${bug.name}: NOT FOUND in ${bug.withinSeeds} seeds, ${seconds} s`,
  );
}
