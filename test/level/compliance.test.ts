/** abstract-level's published suite passes whole, and covers here what it covers on classic-level. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

interface Outcome {
  readonly exitCode: number | null;
  readonly named: readonly string[];
  readonly passed: number;
  /** Assertions that failed or were skipped. */
  readonly others: readonly string[];
}

/** Tests and assertions of TAP (testanything.org), as tape prints it. */
function readTap(text: string): Omit<Outcome, 'exitCode'> {
  const named: string[] = [];
  const others: string[] = [];
  let passed = 0;
  for (const line of text.split('\n')) {
    if (/^# (?!tests +\d+$|pass +\d+$|fail +\d+$|ok$)/.test(line)) named.push(line.slice(2));
    else if (/^not ok |^Bail out!|^ok .* # (?:SKIP|TO[D]O)\b/.test(line)) others.push(line);
    else if (line.startsWith('ok ')) passed++;
  }
  return { named, passed, others };
}

async function runSuite(on: 'raftree' | 'classic'): Promise<Outcome> {
  const program = fileURLToPath(new URL('./compliance-suite.js', import.meta.url));
  const child = spawn(process.execPath, [program, on], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { exitCode, ...readTap(text) };
}

function describe(name: string, { named, passed }: Outcome): string {
  return `note: abstract-level's suite on ${name}: ${named.length} tests, ${passed} assertions passed`;
}

test('the suite passes whole', async () => {
  const [ours, classic] = await Promise.all([runSuite('raftree'), runSuite('classic')]);
  console.log(`${describe('raftree/level', ours)}\n${describe('classic-level', classic)}`);
  assert.equal(ours.others, []);
  assert.is(ours.exitCode, 0);
  assert.equal(ours.named, classic.named, 'the same tests run on both');
  assert.ok(ours.passed >= classic.passed, 'and assert as much');
  assert.ok(ours.named.length > 1000, 'the suite did run');
});

test('what did not pass is seen', () => {
  const tap = [
    'TAP version 13',
    '# one',
    'ok 1 a',
    'not ok 2 b',
    '# two',
    'ok 3 c # SKIP later',
    '# tests 3',
  ];
  assert.equal(readTap(tap.join('\n')), {
    named: ['one', 'two'],
    passed: 1,
    others: ['not ok 2 b', 'ok 3 c # SKIP later'],
  });
});

test.run();
