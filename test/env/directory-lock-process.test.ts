/** The directory lock between real processes, on real files. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
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

async function tryLock(path = directory): Promise<string> {
  try {
    (await lockDirectory(env, path)).release();
    return 'locked';
  } catch (error) {
    return errorCode(error) ?? errorMessage(error);
  }
}

test('a living holder keeps the lock, a killed one loses it at once', async () => {
  const { child } = await holder();
  assert.is(await tryLock(), 'LOCKED');
  await kill(child);
  assert.is(await tryLock(), 'locked');
  assert.equal(fs.readdirSync(directory), [], 'nothing is left lying about');
});

test('a stopped holder is alive', async () => {
  const { child } = await holder();
  child.kill('SIGSTOP');
  assert.is(await tryLock(), 'LOCKED');
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

test('a process that ends without letting go has let go, however deep the directory lies', async () => {
  const long = path.join(directory, 'x'.repeat(120), 'y'.repeat(120));
  fs.mkdirSync(long, { recursive: true });
  const lock = await lockDirectory(env, long);
  assert.is(await tryLock(long), 'LOCKED');
  assert.equal(fs.readdirSync(path.dirname(long)), ['y'.repeat(120)], 'no name was cut');
  lock.release();
  assert.equal(fs.readdirSync(long), []);
});

test('a worker thread that ends lets go of what it locked', async () => {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    Promise.all([import(workerData.lock), import(workerData.env)]).then(async ([{ lockDirectory }, { realEnv }]) => {
      await lockDirectory(realEnv(), workerData.directory);
      parentPort.postMessage('locked');
    });
    setInterval(() => {}, 1000);`;
  const url = (name: string) => new URL(`../../src/env/${name}.js`, import.meta.url).href;
  const workerData = { lock: url('directory-lock'), env: url('real/real-env'), directory };
  const worker = new Worker(source, { eval: true, workerData });
  assert.equal(await once(worker, 'message'), ['locked']);
  assert.is(await tryLock(), 'LOCKED');
  await worker.terminate();
  assert.is(await tryLock(), 'locked');
});

test('a copied directory is not held; a removed one is let go of, and only by its own holder', async () => {
  const first = await lockDirectory(env, directory);
  const copy = `${directory}-copy`;
  assert.is(spawnSync('cp', ['-r', directory, copy]).status, 0);
  assert.is(fs.readdirSync(copy).length, 1, 'the name was copied too');
  assert.is(await tryLock(copy), 'locked');
  fs.rmSync(directory, { recursive: true });
  fs.mkdirSync(directory);
  const second = await lockDirectory(env, directory);
  first.release();
  assert.is(await tryLock(), 'LOCKED');
  second.release();
  assert.is(await tryLock(), 'locked');
});

test('a directory that is moved stays locked, and its lock can be released', async () => {
  const { child } = await holder();
  const lock = await lockDirectory(env, path.dirname(directory));
  const moved = `${directory}-moved`;
  fs.renameSync(directory, moved);
  assert.is(await tryLock(moved), 'LOCKED');
  await kill(child);
  assert.is(await tryLock(moved), 'locked');
  lock.release();
});

/** Runs a program in a process namespace, and a network namespace, of its own, as another container does. */
function inContainer(program: string, ...parameters: string[]): ReturnType<typeof spawnSync> {
  return spawnSync('unshare', ['--pid', '--fork', '--net', '--mount-proc', program, ...parameters], {
    encoding: 'utf8',
    timeout: 100_000,
  });
}

const hasContainers = inContainer('true').status === 0;
if (!hasContainers) console.log('skipped: unshare may not make process namespaces here');

(hasContainers ? test : test.skip)('a holder in another container keeps the lock', async () => {
  await holder();
  const script = `
    const [lock, env] = process.argv.slice(1, 3);
    Promise.all([import(lock), import(env)]).then(async ([{ lockDirectory }, { realEnv }]) => {
      const locked = lockDirectory(realEnv(), process.argv[3]);
      console.log(process.pid, await locked.then(() => 'locked', (error) => error.code));
      process.exit();
    });`;
  const url = (name: string) => new URL(`../../src/env/${name}.js`, import.meta.url).href;
  const run = () =>
    inContainer(process.execPath, '-e', script, url('directory-lock'), url('real/real-env'), directory)
      .stdout;
  assert.is(run(), '1 LOCKED\n');
  await Promise.all(children.splice(0).map(kill));
  assert.is(run(), '1 locked\n');
  assert.is(await tryLock(), 'locked', 'it ended without letting go');
});

/** As on a file system without sockets: a bind fails as the system has it there. */
const withoutSockets = {
  ...env,
  fs: {
    ...env.fs,
    bindSocket: () => Promise.reject(Object.assign(new Error('EPERM: no sockets'), { code: 'EPERM' })),
  },
};

test('where there are no sockets, a process is told by its start, its boot and its namespace', async () => {
  const lock = await lockDirectory(withoutSockets, directory);
  assert.is(await tryLock(), 'LOCKED');
  const file = path.join(directory, fs.readdirSync(directory)[0] ?? '');
  const written = fs.readFileSync(file, 'utf8');
  const isHeldAs = async (change: Record<string, unknown>) => {
    fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(written), ...change }));
    return tryLock();
  };
  if (fs.existsSync('/proc/self/stat')) {
    assert.is(await isHeldAs({ pidNamespace: 'pid:[1]' }), 'LOCKED', 'nobody can know');
    assert.is(await isHeldAs({ startTime: '1' }), 'locked', 'the pid was given to another process');
    assert.is(await isHeldAs({ bootId: 'another' }), 'locked');
  }
  fs.writeFileSync(file, written);
  assert.is(await tryLock(), 'LOCKED');
  lock.release();
  assert.equal(fs.readdirSync(directory), []);
});

test.run();
