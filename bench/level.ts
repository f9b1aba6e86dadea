/**
 * `npm run bench:level`: `raftree/level` beside classic-level, in the cases of `level-cases.ts`. The two take turns in
 * each round; printed are medians, their ratios (of CPU time: of all threads), and the longest time for which the event
 * loop stood still.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { Command } from 'commander';
import { RaftreeLevel } from '../src/level/index.js';
import { CASES, type Database, type LevelCase } from './level-cases.js';
import { LoopDelayMeter } from './probes.js';

interface Options {
  readonly only: string;
  readonly rounds: string;
}

/** Through `unknown`: whether the compiler finds them compatible depends on the order in which it reads the files. */
const DATABASES: readonly ((directory: string) => Database)[] = [
  (directory) => new RaftreeLevel(directory) as unknown as Database,
  (directory) => new ClassicLevel(directory) as unknown as Database,
];

interface Sample {
  readonly ms: number;
  /** Of all threads of this process. */
  readonly cpuMs: number;
  readonly blockedMs: number;
}

async function measure(levelCase: LevelCase, open: (directory: string) => Database): Promise<Sample> {
  const directory = mkdtempSync(join(tmpdir(), 'raftree-bench-level-'));
  const db = open(directory);
  try {
    await db.open();
    await levelCase.fill?.(db);
    const run = (await levelCase.prepare?.(db)) ?? (() => levelCase.run?.(db));
    const delay = new LoopDelayMeter();
    await new Promise((resolve) => setTimeout(resolve, 20));
    delay.start();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const startMs = performance.now();
    const cpuBefore = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(cpuBefore);
    const ms = performance.now() - startMs;
    await new Promise((resolve) => setTimeout(resolve, 5));
    return { ms, cpuMs: (user + system) / 1000, blockedMs: delay.stop().max };
  } finally {
    await db.close().catch((error: unknown) => console.error(error));
    rmSync(directory, { recursive: true, force: true });
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

const HEADING = ['ms, ours', 'classic-level', 'ratio', 'ratio of CPU', 'blocked ms, ours', 'classic-level'];
const NAME_WIDTH = 34;

function line(name: string, cells: readonly string[]): string {
  const widths = HEADING.map((heading) => heading.length + 2);
  return name.padEnd(NAME_WIDTH) + cells.map((cell, i) => cell.padStart(widths[i] ?? 0)).join('');
}

const { only, rounds } = new Command('bench:level')
  .description('Times raftree/level beside classic-level where such databases have been slow.')
  .option('--only <text>', 'only cases whose names contain one of these, separated by commas', '')
  .option('--rounds <count>', 'repetitions', '3')
  .parse()
  .opts<Options>();
console.log(line('', HEADING));
for (const levelCase of CASES.filter(({ name }) => only.split(',').some((part) => name.includes(part)))) {
  const samples: Sample[][] = DATABASES.map(() => []);
  for (let round = 0; round < Number(rounds); round++) {
    for (const [i, open] of DATABASES.entries()) samples[i]?.push(await measure(levelCase, open));
  }
  const medianOf = (name: keyof Sample) => samples.map((of) => median(of.map((sample) => sample[name])));
  const [ours = 0, theirs = 0] = medianOf('ms');
  const [oursCpu = 0, theirsCpu = 0] = medianOf('cpuMs');
  const [oursBlocked = 0, theirsBlocked = 0] = medianOf('blockedMs');
  const cells = [ours, theirs, ours / theirs, oursCpu / theirsCpu, oursBlocked, theirsBlocked];
  console.log(
    line(
      levelCase.name,
      cells.map((cell, i) => cell.toFixed(i === 2 || i === 3 ? 2 : 1)),
    ),
  );
}
