/**
 * node dist/test/run.js [name filter…] [--jobs N] [--limit SECONDS]
 *
 * Runs the test files whose names contain one of the filters (all, if there are none), and ends with the line
 * `N passed, N failed`. Exit code 1 if any failed.
 */
import { fileURLToPath } from 'node:url';
import { commandLine, wholeNumber } from './support/command-line.js';
import { formatCounts, killAllRunning, runTestFiles } from './support/test-files.js';

/** For two processors: some files wait for their nodes more than they work, and a third one uses that time. */
const JOBS = 3;

const { values, names } = commandLine({ jobs: wholeNumber(JOBS), limit: wholeNumber(300) }, true);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    killAllRunning();
    process.exit(130);
  });
}
const counts = await runTestFiles({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  filters: names,
  jobs: Math.max(1, values.jobs),
  limitMs: values.limit * 1000,
  print: (line) => console.log(line),
});
console.log(formatCounts(counts));
process.exitCode = counts.failed > 0 ? 1 : 0;
