/**
 * node dist/test/run.js [name filter…] [--jobs N] [--limit SECONDS]
 *
 * Runs the test files whose names contain one of the filters (all, if there are none), and ends with the line
 * `N passed, N failed`. Exit code 1 if any failed.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { formatCounts, killAllRunning, runTestFiles } from './support/test-files.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { jobs: { type: 'string', default: '2' }, limit: { type: 'string', default: '120' } },
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    killAllRunning();
    process.exit(130);
  });
}
const counts = await runTestFiles({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  filters: positionals,
  jobs: Math.max(1, Number(values.jobs) || 2),
  limitMs: (Number(values.limit) || 120) * 1000,
  print: (line) => console.log(line),
});
console.log(formatCounts(counts));
process.exitCode = counts.failed > 0 ? 1 : 0;
