import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findTestFiles, formatCounts, runTestFiles } from './support/test-files.js';

const uvu = JSON.stringify(import.meta.resolve('uvu'));
let root = '';

function addTestFile(name: string, source: string): void {
  for (const file of [`test/${name}.test.ts`, `dist/test/${name}.test.js`]) {
    fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    fs.writeFileSync(path.join(root, file), source);
  }
}

async function runAll(limitMs = 60_000): Promise<{ summary: string; printed: string }> {
  const lines: string[] = [];
  const print = (line: string) => lines.push(line);
  const counts = await runTestFiles({ root, filters: [], jobs: 2, limitMs, print });
  return { summary: formatCounts(counts), printed: lines.join('\n') };
}

test.before.each(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-run-'));
  fs.writeFileSync(path.join(root, 'package.json'), '{"type":"module"}');
});
test.after.each(() => fs.rmSync(root, { recursive: true, force: true }));

test('counts what uvu counts, and shows the output of the files that fail', async () => {
  addTestFile(
    'good',
    `import { test } from ${uvu}; test('a', () => {}); test.skip('b', () => {}); test.run();`,
  );
  addTestFile(
    'bad',
    `import { test } from ${uvu}; test('a', () => {}); test('b', () => { throw new Error('the reason'); }); test.run();`,
  );
  const { summary, printed } = await runAll();
  assert.is(summary, '2 passed, 1 failed, 1 skipped');
  assert.match(printed, /FAIL bad {2}1 passed, 1 failed/);
  assert.match(printed, /the reason/);
});

test('what test.before throws is shown', async () => {
  addTestFile(
    'before',
    `import { test } from ${uvu}; test.before(() => { throw new Error('the reason'); }); test('a', () => {}); test.run();`,
  );
  const { summary, printed } = await runAll();
  assert.is(summary, '0 passed, 1 failed');
  assert.match(printed, /test\.before failed: Error: the reason/);
});

test('notes are shown although the file passes', async () => {
  addTestFile(
    'noted',
    `import { test } from ${uvu}; test('a', () => console.log('note: 7 of 7')); test.run();`,
  );
  assert.match((await runAll()).printed, /ok {3}noted.*\n {5}note: 7 of 7/);
});

test('a crash, a hang, an early end, a file without a test and a bad exit code are failures', async () => {
  addTestFile('crash', `throw new Error('at the top');`);
  addTestFile('early', `import { test } from ${uvu}; test('a', () => process.exit(0)); test.run();`);
  addTestFile('empty', `import { test } from ${uvu}; test.run();`);
  addTestFile(
    'exit',
    `import { test } from ${uvu}; test('a', () => {}); test.run(); process.on('exit', () => { process.exitCode = 3; });`,
  );
  assert.is((await runAll()).summary, '1 passed, 4 failed');
});

test('a file that does not end is killed at its time limit', async () => {
  addTestFile('hang', `import { test } from ${uvu}; test.run(); setInterval(() => {}, 1000);`);
  const { summary, printed } = await runAll(1000);
  assert.is(summary, '0 passed, 1 failed');
  assert.match(printed, /FAIL hang.*not finished within 1 s/);
});

test('what a test file has started ends with it', async () => {
  const pidFile = path.join(root, 'pid');
  const script = `setInterval(() => {}, 1000)`;
  addTestFile(
    'parent',
    `import { spawn } from 'node:child_process'; import fs from 'node:fs'; import { test } from ${uvu};
     test('a', () => {
       const child = spawn(process.execPath, ['-e', ${JSON.stringify(script)}], { stdio: 'inherit' });
       fs.writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
       child.unref();
     });
     test.run();`,
  );
  assert.is((await runAll()).summary, '1 passed, 0 failed');
  const pid = Number(fs.readFileSync(pidFile, 'utf8'));
  for (let i = 0; i < 100 && isRunning(pid); i++) await sleep(20);
  assert.not(isRunning(pid));
});

function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test('long files start first, and a compiled file whose source is gone is not run', () => {
  for (const name of ['a', 'deep/process-kill', 'z-cluster']) addTestFile(name, '');
  addTestFile('gone', '');
  fs.unlinkSync(path.join(root, 'test/gone.test.ts'));
  assert.equal(findTestFiles(root), ['deep/process-kill', 'z-cluster', 'a']);
  assert.equal(findTestFiles(root, ['deep', 'z-']), ['deep/process-kill', 'z-cluster']);
});

test('nothing to run is a failure', async () => {
  assert.is((await runAll()).summary, '0 passed, 1 failed');
});

test('finds the test files of this project', () => {
  assert.ok(findTestFiles(fileURLToPath(new URL('../..', import.meta.url))).includes('run'));
});

test.run();
