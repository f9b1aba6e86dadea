/**
 * `npm run bench`: the storage engine under db_bench's workloads, alone or against its peers. How to read what it
 * prints: README.md beside this.
 */
import { fork, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import type { Plan } from './engine-run.js';
import { ENGINE_NAMES, OURS } from './engines/engines.js';
import type { Measurement } from './measurement.js';
import { dotPlot } from './report/dot-plot.js';
import { summarize } from './report/summary.js';
import { comparisonTable, headingLine, summaryLine } from './report/table.js';
import { groupsOf, WORKLOAD_NAMES } from './workloads.js';

interface Options {
  readonly peers: readonly string[];
  readonly rounds: number | undefined;
  readonly valueBytes: readonly number[];
  readonly entries: readonly number[];
  readonly only: readonly string[];
  readonly directory: string | undefined;
  readonly results: string;
  readonly writeBufferBytes: number;
  readonly blockCacheBytes: number;
  readonly warmUpPercent: number;
  readonly restMs: number;
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number from 1 on is needed');
  return value;
}

function percent(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 100)) throw new InvalidArgumentError('a number from 0 to 100 is needed');
  return value;
}

const positives = (text: string) => text.split(',').map(positive);

function oneOf(names: readonly string[]) {
  return (text: string): string[] => {
    const given = text.split(',');
    const unknown = given.find((name) => !names.includes(name));
    if (unknown !== undefined) throw new InvalidArgumentError(`${unknown} is none of ${names.join(', ')}`);
    return given;
  };
}

function parseOptions(): Options {
  const results = fileURLToPath(new URL('../../bench/results', import.meta.url));
  return new Command('bench')
    .description('Benchmarks the storage engine, alone or against peers.')
    .option(
      '--peers <names>',
      `comma-separated, of ${ENGINE_NAMES.slice(1).join(', ')}`,
      oneOf(ENGINE_NAMES),
      [],
    )
    .option('--rounds <count>', 'repetitions, engine after engine; 3 with peers, otherwise 1', positive)
    .option('--value-bytes <sizes>', 'bytes of a value, comma-separated', positives, [100, 4096])
    .option('--entries <counts>', 'keys, for each of the value sizes', positives, [1_000_000, 100_000])
    .option('--only <names>', `comma-separated, of ${WORKLOAD_NAMES.join(', ')}`, oneOf(WORKLOAD_NAMES), [
      ...WORKLOAD_NAMES,
    ])
    .option('--directory <path>', 'where to put the data; a new one under the temporary directory by default')
    .option('--results <path>', 'where to write the JSON file and the chart', results)
    .option('--write-buffer-bytes <bytes>', 'memtable size', positive, 4 * 1024 * 1024)
    .option('--block-cache-bytes <bytes>', 'block cache', positive, 64 * 1024 * 1024)
    .option(
      '--warm-up-percent <percent>',
      'of the entries, for a run before that is not measured; 0: none',
      percent,
      20,
    )
    .option('--rest-ms <ms>', 'after writes, until nothing has gone on for so long', positive, 300)
    .parse()
    .opts<Options>();
}

/** Runs a plan in a process of its own. */
function runPlan(plan: Plan, report: (measurement: Measurement) => void): Promise<void> {
  // What engines before it left to the disk is not this one's burden.
  spawnSync('sync');
  const child = fork(fileURLToPath(new URL('./engine-run.js', import.meta.url)), [JSON.stringify(plan)]);
  child.on('message', (message) => report(message as Measurement));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${plan.engine} ended with ${signal ?? `exit code ${code}`}`));
    });
  });
}

function machine(): string {
  const gibibytes = Math.round(totalmem() / 2 ** 30);
  return (
    `${availableParallelism()} processors (${cpus()[0]?.model.trim() ?? 'unknown'}), ${gibibytes} GiB, ` +
    `${process.platform} ${release()}, node ${process.version}`
  );
}

async function runAll(options: Options, directory: string): Promise<Measurement[]> {
  const { writeBufferBytes, blockCacheBytes, restMs } = options;
  const engines = [...new Set([OURS, ...options.peers])];
  const rounds = options.rounds ?? (engines.length > 1 ? 3 : 1);
  const measurements: Measurement[] = [];
  for (const [i, valueBytes] of options.valueBytes.entries()) {
    const entries = options.entries[i] ?? options.entries.at(-1) ?? 1;
    console.log(`\n${entries.toLocaleString('en-US')} entries of 16 + ${valueBytes} bytes\n${headingLine()}`);
    for (const only of groupsOf(options.only)) {
      for (let round = 0; round < rounds; round++) {
        for (const engine of engines) {
          const plan = {
            engine,
            directory: join(directory, 'data'),
            entries,
            valueBytes,
            round,
            only,
            writeBufferBytes,
            blockCacheBytes,
            warmUpShare: options.warmUpPercent / 100,
            restMs,
          };
          await runPlan(plan, (measurement) => {
            measurements.push(measurement);
            for (const summary of summarize([measurement])) console.log(summaryLine(summary));
          });
          rmSync(plan.directory, { recursive: true, force: true });
        }
      }
    }
  }
  return measurements;
}

function writeResults(options: Options, startedAt: Date, measurements: readonly Measurement[]): void {
  const summaries = summarize(measurements);
  const stem = join(options.results, `lsm-${startedAt.toISOString().slice(0, 19).replaceAll(':', '')}`);
  mkdirSync(options.results, { recursive: true });
  const content = {
    startedAt: startedAt.toISOString(),
    machine: machine(),
    writeBufferBytes: options.writeBufferBytes,
    blockCacheBytes: options.blockCacheBytes,
    warmUpPercent: options.warmUpPercent,
    summaries,
    measurements,
  };
  writeFileSync(`${stem}.json`, `${JSON.stringify(content, undefined, 2)}\n`);
  writeFileSync(
    `${stem}.svg`,
    dotPlot(summaries, `operations per second, ${startedAt.toISOString().slice(0, 10)}`),
  );
  if (new Set(summaries.map(({ engine }) => engine)).size > 1) {
    if (summaries.some(({ rounds }) => rounds > 1)) {
      console.log(`\nMedians:\n${headingLine()}`);
      for (const summary of summaries) console.log(summaryLine(summary));
    }
    console.log(`\n${comparisonTable(summaries, OURS)}`);
  }
  console.log(`\n${stem}.json\n${stem}.svg`);
}

const options = parseOptions();
const startedAt = new Date();
const directory = mkdtempSync(join(options.directory ?? tmpdir(), 'raftree-bench-'));
console.log(`${machine()}, ${directory}`);
try {
  writeResults(options, startedAt, await runAll(options, directory));
} finally {
  rmSync(directory, { recursive: true, force: true });
}
