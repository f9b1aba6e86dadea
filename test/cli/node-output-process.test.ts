/**
 * A node whose output nobody takes: a full pipe, a closed one, a full device. It goes on, and it ends when it is told
 * to.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { LineOutput } from '../../src/env/real/line-output.js';
import { MAIN, ProcessCluster, temporaryDirectory, until } from '../support/process-cluster.js';

const { O_RDWR, O_NONBLOCK, O_WRONLY } = fs.constants;

/** A pipe; `end` is open for both, so that neither side waits for the other. */
function pipe(directory: string, name: string): { path: string; end: number } {
  const path = `${directory}/${name}`;
  execFileSync('mkfifo', [path]);
  return { path, end: fs.openSync(path, O_RDWR | O_NONBLOCK) };
}

function fill(end: number): void {
  for (const bytes of [4096, 1]) {
    try {
      for (;;) fs.writeSync(end, Buffer.alloc(bytes, 'x'));
    } catch (error) {
      assert.is(errorCode(error), 'EAGAIN');
    }
  }
}

/** Everything that lies in the pipe. */
function drain(end: number): string {
  let text = '';
  const bytes = Buffer.alloc(65_536);
  try {
    for (;;) text += bytes.toString('utf8', 0, fs.readSync(end, bytes));
  } catch (error) {
    assert.is(errorCode(error), 'EAGAIN');
  }
  return text;
}

/** Starts a node with these as its standard output and error, uses it, and stops it. */
async function lives(stdout: number, stderr: number, meanwhile = () => {}): Promise<number | null> {
  const cluster = await ProcessCluster.create(1);
  const node = spawn(process.execPath, [MAIN, 'start', cluster.configFile(1)], {
    stdio: ['ignore', stdout, stderr],
  });
  const client = cluster.client();
  try {
    await client.put('a', '1', { timeoutMs: 100_000 });
    assert.is((await client.get('a'))?.value.toString(), '1');
    meanwhile();
    await client.put('b', '1', { timeoutMs: 100_000 });
    const ended = new Promise<number | null>((resolve) => node.once('close', resolve));
    node.kill('SIGTERM');
    return await ended;
  } finally {
    node.kill('SIGKILL');
    await client.close();
    await cluster.destroy();
  }
}

test('pipes that nobody reads hold nothing up', async () => {
  const directory = temporaryDirectory();
  const { path, end } = pipe(directory, 'full');
  fill(end);
  // As a shell opens it: writing to it waits.
  const full = fs.openSync(path, O_WRONLY);
  try {
    assert.is(await lives(full, full), 0);
  } finally {
    fs.closeSync(full);
    fs.closeSync(end);
    fs.rmSync(directory, { recursive: true });
  }
});

test('what could not be said is said when somebody reads again', async () => {
  const directory = temporaryDirectory();
  const { path, end } = pipe(directory, 'full');
  fill(end);
  const full = fs.openSync(path, O_WRONLY);
  let text = '';
  try {
    const devNull = fs.openSync('/dev/null', 'w');
    assert.is(await lives(devNull, full, () => drain(end)), 0);
    text = drain(end);
    fs.closeSync(devNull);
  } finally {
    fs.closeSync(full);
    fs.closeSync(end);
    fs.rmSync(directory, { recursive: true });
  }
  const messages = text
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { msg: string }).msg);
  assert.equal(messages.slice(-2), ['closing', 'closed']);
});

test('pipes whose reader is gone end nobody', async () => {
  const directory = temporaryDirectory();
  const { path, end } = pipe(directory, 'closed');
  const closed = fs.openSync(path, O_WRONLY);
  fs.closeSync(end);
  try {
    assert.is(await lives(closed, closed), 0);
  } finally {
    fs.closeSync(closed);
    fs.rmSync(directory, { recursive: true });
  }
});

test('a full device ends nobody', async () => {
  const full = fs.openSync('/dev/full', 'w');
  try {
    assert.is(await lives(full, full), 0);
  } finally {
    fs.closeSync(full);
  }
});

test('lines beyond the queue are dropped whole and counted', async () => {
  const directory = temporaryDirectory();
  const { path, end } = pipe(directory, 'pipe');
  const writer = fs.openSync(path, O_WRONLY);
  const said: string[] = [];
  const output: LineOutput = new LineOutput(writer, {
    maxQueuedBytes: 1000,
    resumed: (dropped) => said.push(`${dropped} dropped`),
  });
  try {
    fill(end);
    for (let i = 0; i < 30; i++) output.write(`${String(i).padStart(99)}\n`);
    assert.is(output.queued, 10);
    assert.match(drain(end), /^x+$/);
    await until(() => output.queued === 0, 'the queue is written');
    assert.equal(said, ['20 dropped']);
    const lines = drain(end).trimEnd().split('\n');
    assert.equal(
      lines.map(Number),
      Array.from({ length: 10 }, (_, i) => i),
    );
  } finally {
    fs.closeSync(writer);
    fs.closeSync(end);
    fs.rmSync(directory, { recursive: true });
  }
});

test('lines said at the very end of a process arrive, over a socket too', () => {
  // What `spawn` calls a pipe is a socket.
  const lines = Array.from({ length: 20 }, (_, i) => `line ${i}\n`).join('');
  const source = `
    import { LineOutput } from '${new URL('../../src/env/real/line-output.js', import.meta.url).href}';
    const output = new LineOutput(2);
    for (let i = 0; i < 10; i++) output.write('line ' + i + '\\n');
    process.once('exit', () => {
      for (let i = 10; i < 20; i++) output.write('line ' + i + '\\n');
    });`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', source], {
    encoding: 'utf8',
  });
  assert.is(status, 0);
  assert.is(stderr, lines);
});

test('SIGHUP closes the node in good order', async () => {
  const cluster = await ProcessCluster.create(1);
  try {
    await cluster.start(1);
    assert.is(await cluster.signal(1, 'SIGHUP'), 0);
    assert.match(cluster.output(1), /"msg":"closed"/);
  } finally {
    await cluster.destroy();
  }
});

test.run();
