/**
 * Runs compiled test files, each in a process group of its own, and sums what uvu reports. A file that crashes,
 * outlives its time limit or runs no test is a failure, whatever it printed. Of a file that passed, the lines that
 * begin with `note: ` are shown.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { performance } from 'node:perf_hooks';

/**
 * For processes that live briefly and run much code a little. By default V8 soon compiles what gets warm, with all
 * that can be inlined. Here it waits longer and inlines less: simulated clusters took 0.7 to 0.85 of the CPU time, and
 * tests with hot loops 1.05 to 1.1.
 */
export const FEWER_COMPILATIONS = ['--interrupt-budget=270000', '--max-inlined-bytecode-size-cumulative=300'];
/** A nursery that is large from the beginning is collected less often. */
const LESS_COLLECTION = ['--min-semi-space-size=16', '--max-semi-space-size=16'];
const HOOKS = new URL('report-hooks.js', import.meta.url).href;

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface RunOptions {
  /** Holds `test/` (sources) and `dist/test/` (what is run). */
  readonly root: string;
  /** A file runs if its name contains one of these; all run if there are none. */
  readonly filters: readonly string[];
  /** Files that run at a time. */
  readonly jobs: number;
  /** After this many milliseconds a file's whole process group is killed. */
  readonly limitMs: number;
  readonly print: (line: string) => void;
}

/** What a file's process is given. */
export interface FileOptions {
  readonly root: string;
  readonly limitMs: number;
  readonly nodeArguments?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface FileResult {
  readonly counts: Counts;
  /** What went wrong and is no test's failure. */
  readonly fault: string | undefined;
  readonly output: string;
}

/** Names relative to `dist/test`, without `.test.js`. A compiled file whose source is gone does not count. */
export function findTestFiles(root: string, filters: readonly string[] = []): string[] {
  const compiled = path.join(root, 'dist', 'test');
  const names: string[] = [];
  for (const entry of fs.existsSync(compiled) ? fs.readdirSync(compiled, { recursive: true }) : []) {
    const name = String(entry);
    if (!name.endsWith('.test.js')) continue;
    const stem = name.slice(0, -'.test.js'.length);
    if (!fs.existsSync(path.join(root, 'test', `${stem}.test.ts`))) continue;
    if (filters.length === 0 || filters.some((filter) => stem.includes(filter))) names.push(stem);
  }
  const isLong = (name: string) => (/cluster|process/.test(name) ? 0 : 1);
  return names.sort((a, b) => isLong(a) - isLong(b) || (a < b ? -1 : 1));
}

export async function runTestFiles(options: RunOptions): Promise<Counts> {
  const waiting = findTestFiles(options.root, options.filters);
  const sum: Counts = { passed: 0, failed: 0, skipped: 0 };
  if (waiting.length === 0) {
    options.print('no test file to run');
    sum.failed = 1;
  }
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const counts = await runFile(name, options);
      sum.passed += counts.passed;
      sum.failed += counts.failed;
      sum.skipped += counts.skipped;
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, work));
  return sum;
}

export function formatCounts({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

async function runFile(name: string, options: RunOptions): Promise<Counts> {
  const startMs = performance.now();
  const { counts, fault, output } = await runTestFile(name, options);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const verdict = counts.failed > 0 ? 'FAIL' : 'ok  ';
  options.print(`${verdict} ${name}  ${formatCounts(counts)}  ${seconds} s${fault ? `  (${fault})` : ''}`);
  if (counts.failed > 0) options.print(output.trimEnd().replace(/^/gm, '     | '));
  else for (const note of output.match(/^note: .*/gm) ?? []) options.print(`     ${note}`);
  return counts;
}

/** Runs one file, named relative to `dist/test`, without `.test.js`. */
export async function runTestFile(name: string, options: FileOptions): Promise<FileResult> {
  const end = await runToEnd(path.join(options.root, 'dist', 'test', `${name}.test.js`), options);
  return { ...judge(end, options.limitMs), output: end.output };
}

interface End {
  readonly output: string;
  readonly code: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
}

/** What uvu counted, plus one failure for anything wrong that it could not count. */
function judge(end: End, limitMs: number): { counts: Counts; fault: string | undefined } {
  const total = lastNumber(end.output, 'Total');
  const passed = lastNumber(end.output, 'Passed');
  const skipped = lastNumber(end.output, 'Skipped');
  const counts = { passed: passed ?? 0, failed: (total ?? 0) - (passed ?? 0), skipped: skipped ?? 0 };
  const fault = end.timedOut
    ? `not finished within ${limitMs / 1000} s`
    : end.signal !== null
      ? `killed by ${end.signal}`
      : total === undefined || passed === undefined || skipped === undefined
        ? `ended early with exit code ${end.code}`
        : total + skipped === 0
          ? 'it holds no test'
          : end.code !== 0 && counts.failed === 0
            ? `exit code ${end.code}`
            : undefined;
  if (fault !== undefined) counts.failed++;
  return { counts, fault };
}

function lastNumber(output: string, label: string): number | undefined {
  const match = [...output.matchAll(new RegExp(`^ {2}${label}: +(\\d+)$`, 'gm'))].at(-1);
  return match ? Number(match[1]) : undefined;
}

const runningGroups = new Set<number>();

/** For the end of the runner itself: no test process outlives it. */
export function killAllRunning(): void {
  for (const group of runningGroups) killGroup(group);
}

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // The group is gone.
  }
}

function runToEnd(file: string, options: FileOptions): Promise<End> {
  const { root, limitMs, nodeArguments = [], environment = {} } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [
        '--enable-source-maps',
        ...LESS_COLLECTION,
        ...FEWER_COMPILATIONS,
        '--import',
        HOOKS,
        ...nodeArguments,
        file,
      ],
      {
        cwd: root,
        // A group of its own, so that what a test has started ends with it.
        detached: true,
        env: { ...process.env, ...environment, FORCE_COLOR: '0' },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    child.once('error', reject);
    const group = child.pid;
    if (group === undefined) return;
    runningGroups.add(group);
    let output = '';
    let timedOut = false;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(group);
    }, limitMs);
    child.once('exit', () => {
      clearTimeout(timer);
      killGroup(group);
    });
    child.once('close', (code, signal) => {
      runningGroups.delete(group);
      resolve({ output, code, signal, timedOut });
    });
  });
}
