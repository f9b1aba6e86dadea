/** The directory lock between real processes, on real files. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lockDirectory } from '../../src/env/directory-lock.js';
import { errorCode, errorMessage } from '../../src/env/errors.js';
import { realEnv } from '../../src/env/real/real-env.js';

const contender = fileURLToPath(new URL('../support/lock-contender.js', import.meta.url));
const env = realEnv();
const children: ChildProcess[] = [];
let directory = '';
/** Beside the directory, so that nothing but locks is in it. */
let starter = '';

test.before.each(() => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-lock-'));
  directory = path.join(root, 'data');
  starter = path.join(root, 'go');
  fs.mkdirSync(directory);
});
test.after.each(async () => {
  await Promise.all(children.splice(0).map(kill));
  fs.rmSync(path.dirname(directory), { recursive: true, force: true });
});

interface Contender {
  readonly child: ChildProcess;
  line(): Promise<string>;
}

function start(...parameters: string[]): Contender {
  const child = spawn(process.execPath, [contender, directory, ...parameters], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const lines: string[] = [];
  let partial = '';
  let wake = () => {};
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (partial + text).split('\n');
    partial = parts.pop() ?? '';
    lines.push(...parts);
    wake();
  });
  return {
    child,
    async line() {
      while (lines.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return lines.shift() ?? '';
    },
  };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function holder(): Promise<Contender> {
  const started = start();
  assert.is(await started.line(), 'ready');
  assert.is(await started.line(), 'locked');
  return started;
}

function tryLock(): string {
  try {
    lockDirectory(env, directory).release();
    return 'locked';
  } catch (error) {
    return errorCode(error) ?? errorMessage(error);
  }
}

/** Changes what the lock file says of its holder. */
function forgeHolder(change: (holder: Record<string, unknown>) => Record<string, unknown>): void {
  const name = fs.readdirSync(directory).find((entry) => /^LOCK\.\d+$/.test(entry)) ?? '';
  const file = path.join(directory, name);
  fs.writeFileSync(file, JSON.stringify(change(JSON.parse(fs.readFileSync(file, 'utf8')))));
}

test('a living holder keeps the lock, a killed one loses it at once', async () => {
  const { child } = await holder();
  assert.is(tryLock(), 'LOCKED');
  await kill(child);
  assert.is(tryLock(), 'locked');
  assert.equal(fs.readdirSync(directory), ['LOCK.2'], 'nothing is left lying about');
});

test('a stopped holder is alive', async () => {
  const { child } = await holder();
  child.kill('SIGSTOP');
  assert.is(tryLock(), 'LOCKED');
});

test('of many processes that start after a kill -9, exactly one wins', async () => {
  for (let round = 0; round < 3; round++) {
    const { child } = await holder();
    const contenders = Array.from({ length: 5 }, () => start(starter));
    for (const started of contenders) assert.is(await started.line(), 'ready');
    await kill(child);
    fs.writeFileSync(starter, '');
    const results = await Promise.all(contenders.map((started) => started.line()));
    assert.equal(results.sort(), ['LOCKED', 'LOCKED', 'LOCKED', 'LOCKED', 'locked']);
    await Promise.all(contenders.map((started) => kill(started.child)));
    fs.unlinkSync(starter);
  }
});

const onLinux = fs.existsSync('/proc/self/stat') ? test : test.skip;

onLinux(
  'a pid that was given to another process, or is of another boot, does not hold the lock',
  async () => {
    for (const forged of [{ startTime: '1' }, { bootId: 'another' }]) {
      await holder();
      assert.is(tryLock(), 'LOCKED');
      forgeHolder((value) => ({ ...value, ...forged }));
      assert.is(tryLock(), 'locked', JSON.stringify(forged));
    }
  },
);

onLinux('a zombie does not hold the lock', async () => {
  // The shell starts the holder and never waits for it.
  const shell = spawn(
    '/bin/sh',
    ['-c', '"$0" "$@" & exec sleep 60', process.execPath, contender, directory],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  children.push(shell);
  let output = '';
  for await (const text of shell.stdout.setEncoding('utf8')) {
    output += text;
    if (output.includes('locked\n')) break;
  }
  assert.is(tryLock(), 'LOCKED');
  let pid = 0;
  forgeHolder((value) => {
    pid = Number(value.pid);
    return value;
  });
  process.kill(pid, 'SIGKILL');
  const state = () => fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) (.).*$/s, '$1');
  while (state() !== 'Z') await new Promise((resolve) => setTimeout(resolve, 5));
  assert.is(tryLock(), 'locked');
});

test.run();
