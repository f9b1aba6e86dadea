/** `npm run bench`: the storage engine alone, under db_bench's workloads. How to read it: README.md beside this. */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { LsmTree } from '../src/lsm/index.js';
import { type Result, type Scale, WORKLOADS } from './workloads.js';

interface Options extends Scale {
  readonly only: readonly string[];
  readonly directory: string | undefined;
  readonly writeBufferBytes: number;
  readonly blockCacheBytes: number;
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number from 1 on is needed');
  return value;
}

function parseOptions(): Options {
  const names = WORKLOADS.map((workload) => workload.name);
  const command = new Command('bench')
    .description('Benchmarks the storage engine alone.')
    .option('--entries <count>', 'keys per workload', positive, 1_000_000)
    .option('--value-bytes <bytes>', 'bytes of a value', positive, 100)
    .option('--only <names>', `comma-separated, of ${names.join(', ')}`)
    .option('--directory <path>', 'where to put the data; a new one under the temporary directory by default')
    .option('--write-buffer-bytes <bytes>', 'memtable size', positive, 4 * 1024 * 1024)
    .option('--block-cache-bytes <bytes>', 'block cache', positive, 64 * 1024 * 1024)
    .parse();
  const given = command.opts<{
    entries: number;
    valueBytes: number;
    only?: string;
    directory?: string;
    writeBufferBytes: number;
    blockCacheBytes: number;
  }>();
  const only = given.only?.split(',') ?? names;
  for (const name of only) {
    if (!names.includes(name)) command.error(`error: ${name} is none of ${names.join(', ')}`);
  }
  return { ...given, only, directory: given.directory };
}

async function run(options: Options): Promise<void> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'raftree-bench-'));
  const { writeBufferBytes, blockCacheBytes } = options;
  const open = () => LsmTree.open(join(directory, 'tree'), { writeBufferBytes, blockCacheBytes });
  console.log(
    `${options.entries} entries of 16 + ${options.valueBytes} bytes, node ${process.version}, ` +
      `${availableParallelism()} processors, ${directory}\n`,
  );
  console.log(row(['workload', 'ops/s', 'p50 µs', 'p99 µs', 'p99.9 µs', 'MB/s']));
  let tree: LsmTree | undefined;
  try {
    let isFilled = false;
    for (const workload of WORKLOADS) {
      if (!options.only.includes(workload.name)) continue;
      await tree?.close();
      if (workload.needsEmpty) rmSync(join(directory, 'tree'), { recursive: true, force: true });
      tree = await open();
      if (!workload.needsEmpty && !isFilled) await fill(tree, options);
      const result = await workload.run(tree, options);
      isFilled = workload.name !== 'fillsync' && workload.name !== 'deleterandom';
      console.log(row(cells(result)));
    }
  } finally {
    await tree?.close();
    rmSync(options.directory === undefined ? directory : join(directory, 'tree'), {
      recursive: true,
      force: true,
    });
  }
}

/** What a workload that needs data finds if none that writes it ran before. */
async function fill(tree: LsmTree, options: Options): Promise<void> {
  await WORKLOADS.find((workload) => workload.name === 'fillrandom')?.run(tree, options);
}

function cells(result: Result): string[] {
  const { latencyUs } = result;
  const percentile = (share: number) =>
    latencyUs ? (latencyUs.getValueAtPercentile(share) / 10).toFixed(1) : '-';
  return [
    result.workload,
    Math.round(result.operations / result.seconds).toLocaleString('en-US'),
    percentile(50),
    percentile(99),
    percentile(99.9),
    (result.bytes / result.seconds / 1e6).toFixed(1),
  ];
}

function row(columns: readonly string[]): string {
  return columns.map((text, i) => (i === 0 ? text.padEnd(14) : text.padStart(12))).join('');
}

await run(parseOptions());
