/** `raftree shell` as a process: commands from standard input, and typed on a terminal. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import { MAIN, ProcessCluster, raftree } from '../support/process-cluster.js';
import { hasTerminals, Terminal } from '../support/terminal.js';

let cluster: ProcessCluster;

test.before(async () => {
  cluster = await ProcessCluster.create(1);
  await cluster.start(1);
});

test.after(() => cluster.destroy());

async function shell(input: string | Buffer, ...args: string[]) {
  const { code, stdout, stderr } = await raftree(
    ['shell', '--endpoints', cluster.endpoint(1), ...args],
    input,
  );
  assert.not.match(stderr, /\n\s+at /, 'no stack trace');
  return { code, stdout: stdout.toString(), stderr };
}

test('commands from standard input, one a line; quotes go on; one client for all', async () => {
  const result = await shell(
    `# a comment\r\nput s/a 'one\ntwo'\r\n\nget s/a\ncas s/a "\\x41\\tb" --expect 'one\ntwo'\nget s/a --json\nincr s/n -- -5\n`,
  );
  assert.is(result.code, 0, result.stderr);
  const [first, ...others] = result.stdout.split('\n');
  assert.match(first ?? '', /^ok, version \d+$/);
  assert.equal(others.slice(0, 2), ['one', 'two']);
  const version = Number(/version (\d+)/.exec(first ?? '')?.[1]);
  // Each command of its own session would be an entry more.
  assert.is(others[2], `ok, version ${version + 1}`);
  assert.is(others[3], `{"key":"s/a","found":true,"value":"A\\tb","version":${version + 1}}`);
  assert.is(others[4], '-5');
});

test('the first command that fails ends it with its exit code; --keep-going goes on', async () => {
  const input = 'get none\nput s/b\nput s/b later\n';
  const stopped = await shell(input);
  assert.equal([stopped.code, stopped.stdout], [2, '']);
  assert.match(stopped.stderr, /^not found\nraftree: in the shell, standard input has the commands/);
  const whole = await shell(`${input}\\quit\nput s/b never\n`, '--keep-going');
  assert.is(whole.code, 2);
  assert.match(whole.stdout, /^ok, version/);
  const found = await shell('get none\nget s/b\n');
  assert.equal([found.code, found.stdout], [1, 'later\n']);
});

test('what is no command is told, as JSON too', async () => {
  const inputs = [
    '\\fly\n',
    'fly away\n',
    Buffer.from('get \xff\n', 'latin1'),
    'put a "\\xff"\n',
    `put a 'x\n`,
  ];
  const { code, stderr } = await shell(
    Buffer.concat(inputs.map((each) => Buffer.from(each))),
    '--json',
    '--keep-going',
  );
  assert.is(code, 2);
  const errors = stderr
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { error: { code: string; message: string } }).error);
  assert.equal(
    errors.map((error) => error.code),
    inputs.map(() => 'USAGE'),
  );
  for (const [i, part] of [
    'there is no \\fly',
    "unknown command 'fly'",
    'not UTF-8',
    'not UTF-8',
    'not complete',
  ].entries())
    assert.ok(errors[i]?.message.includes(part), errors[i]?.message);
});

test('\\help and \\timing; options of the shell hold for its commands, those of a command for it alone', async () => {
  const [port] = await freePorts(1);
  const elsewhere = `--endpoints 127.0.0.1:${port}`;
  const { code, stdout, stderr } = await shell(
    `\\help cas\n\\timing on\nget none\n\\timing\nget none ${elsewhere}\nget none ${elsewhere} --wait\nget none\n`,
    ...['--json', '--keep-going', '--timeout', '400'],
  );
  assert.is(code, 5);
  assert.match(stdout, /cas \[options\] <key>.*--expect-version.*"found":false.*"found":false/s);
  assert.match(
    stderr,
    /^timing is on\ntime: \d+\.\d{3} ms\ntiming is off\n.*"CONNECTION_REFUSED".*\n.*"UNREACHABLE".*\n$/,
  );
});

test('export, import, members and status run in it', async () => {
  const file = path.join(cluster.directory, 'exported.jsonl');
  const result = await shell(
    `put e/1 one\nexport --prefix e/ --output ${file}\ndelete e/1\nimport ${file}\nget e/1\nmember list\nstatus\n`,
  );
  assert.is(result.code, 0, result.stderr);
  assert.match(result.stdout, /deleted\none\nnode +member.*\nnode +role/s);
  assert.is(fs.readFileSync(file, 'utf8'), '{"key":"e/1","value":"one"}\n');
});

test('on a terminal: prompt, completion, quotes, history, Ctrl-C and Ctrl-D', async () => {
  if (!hasTerminals) {
    console.log('note: skipped: without Python there is no terminal');
    return;
  }
  const state = path.join(cluster.directory, 'state');
  const [port] = await freePorts(1);
  const open = () =>
    new Terminal([process.execPath, MAIN, 'shell', '--endpoints', cluster.endpoint(1)], {
      XDG_STATE_HOME: state,
    });
  const first = open();
  try {
    await first.shows(/raftree 0.*raftree> /s);
    first.type("put terminal/one 'a\r");
    await first.shows(/'> /);
    first.type("b'\r");
    await first.shows(/ok, version \d+.*raftree> /s);
    first.type('get term');
    await first.shows(/get term/);
    // A tab within a paste is a character.
    for (const part of [/inal\//, /one /]) {
      first.type('\t');
      await first.shows(part);
    }
    first.type('\r');
    await first.shows(/a\r\nb\r\n.*raftree> /s);
    // A command that would run for ever.
    first.type(`put x y --wait --timeout infinity --endpoints 127.0.0.1:${port}\r`);
    await first.shows(/\r\n/);
    await new Promise((resolve) => setTimeout(resolve, 300));
    first.type('\x03');
    await first.shows(/cancelled \(ABORTED\).*raftree> /s);
    first.type("put dropped 'x\r");
    await first.shows(/'> /);
    first.type('\x03');
    await first.shows(/raftree> /);
    first.type(' put secret x\r');
    await first.shows(/ok, version \d+.*raftree> /s);
    first.type('\x04');
    assert.is(await first.ended(), 0);
  } finally {
    first.kill();
  }
  const file = path.join(state, 'raftree', 'history');
  assert.is(fs.statSync(file).mode & 0o777, 0o600);
  const kept = fs.readFileSync(file, 'utf8').split('\n');
  assert.equal(kept.slice(0, 2), ['put terminal/one "a\\nb"', 'get terminal/one']);
  assert.equal(kept.slice(3), [''], 'neither what was dropped nor what began with a space');
  const second = open();
  try {
    await second.shows(/raftree> /);
    second.type('\x1b[A\x1b[A');
    await second.shows(/get terminal\/one/);
    second.type('\r');
    await second.shows(/a\r\nb\r\n.*raftree> /s);
    second.type('\\quit\r');
    assert.is(await second.ended(), 0);
  } finally {
    second.kill();
  }
});

test.run();
