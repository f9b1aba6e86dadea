/**
 * npm run test:crash -- [--seeds N] [--first S] [--jobs 2]
 *
 * Runs N random histories of the storage engine, with power cuts, kills and failing operations, from seed S on. For
 * one that goes wrong it prints the seed, what is wrong and a shortened history. Exit code 1 if any did.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { commandLine, wholeNumber } from '../support/command-line.js';
import { generateHistory } from './crash-generator.js';
import { formatHistory } from './crash-history.js';
import { runHistory } from './crash-run.js';
import { shorten } from './crash-shorten.js';

const { seeds, first, jobs } = commandLine({
  seeds: wholeNumber(1000),
  first: wholeNumber(1),
  jobs: wholeNumber(1),
}).values;

/** The share of another process: each takes a run of seeds. */
function runElsewhere(from: number, count: number): Promise<boolean> {
  const args = [fileURLToPath(import.meta.url), '--first', String(from), '--seeds', String(count)];
  const child = spawn(process.execPath, ['--enable-source-maps', ...args], { stdio: 'inherit' });
  return new Promise((resolve) => child.once('exit', (code) => resolve(code === 0)));
}

async function runHere(): Promise<boolean> {
  let failures = 0;
  const startMs = performance.now();
  for (let seed = first; seed < first + seeds; seed++) {
    const history = generateHistory(seed);
    const wrong = await runHistory(history);
    if (wrong === undefined) continue;
    failures++;
    console.log(`seed ${seed} failed: ${wrong}`);
    const short = await shorten(history, async (candidate) => (await runHistory(candidate)) !== undefined);
    console.log(`shortened: ${await runHistory(short)}\n${formatHistory(short)}\n`);
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(
    `seeds ${first} to ${first + seeds - 1}: ${seeds - failures} clean, ${failures} failed, ${seconds} s`,
  );
  return failures === 0;
}

const share = Math.ceil(seeds / jobs);
const isClean =
  jobs <= 1
    ? await runHere()
    : (
        await Promise.all(
          Array.from({ length: jobs }, (_, i) => Math.min(share, seeds - i * share))
            .filter((count) => count > 0)
            .map((count, i) => runElsewhere(first + i * share, count)),
        )
      ).every(Boolean);
process.exitCode = isClean ? 0 : 1;
