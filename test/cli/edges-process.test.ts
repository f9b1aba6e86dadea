/**
 * Ordinary mistakes at the command line: each ends in one clear line and an exit code, and nothing is changed or lost.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import {
  type CommandResult,
  finish,
  MAIN,
  ProcessCluster,
  raftree,
  temporaryDirectory,
} from '../support/process-cluster.js';

let cluster: ProcessCluster;
let directory: string;
const at = (name: string) => path.join(directory, name);
const node = () => ['--endpoints', cluster.endpoint(1)];

test.before(async () => {
  directory = temporaryDirectory();
  cluster = await ProcessCluster.create(1);
  await cluster.start(1);
});

test.after(async () => {
  fs.rmSync(directory, { recursive: true, force: true });
  await cluster.destroy();
});

/** Through a shell, in which `raftree` is the command and the arguments are $1, $2 … */
function shell(script: string, ...args: string[]): Promise<CommandResult> {
  const command = `raftree() { "${process.execPath}" "${MAIN}" "$@"; }\n${script}`;
  return finish(spawn('bash', ['-c', command, 'bash', ...args], { stdio: 'pipe' }));
}

function said({ code, stderr }: CommandResult, expected: number, pattern: RegExp): void {
  assert.is(code, expected, stderr);
  assert.match(stderr, pattern);
  assert.not.match(stderr, /\n\s+at /, 'no stack trace');
}

test('RAFTREE_ENDPOINTS: only a command that connects complains', async () => {
  for (const RAFTREE_ENDPOINTS of ['', 'nowhere']) {
    assert.is((await raftree(['--version'], '', { RAFTREE_ENDPOINTS })).code, 0);
    said(
      await raftree(['get', 'a'], '', { RAFTREE_ENDPOINTS }),
      2,
      /^raftree: the environment variable RAFTREE_ENDPOINTS: /,
    );
  }
  assert.is((await raftree(['get', 'a', '--help'], '', { RAFTREE_ENDPOINTS: '' })).code, 0);
  const given = await raftree(['put', 'given', 'x'], '', { RAFTREE_ENDPOINTS: cluster.endpoint(1) });
  assert.is(given.code, 0, given.stderr);
});

test('arguments that are no UTF-8 are refused; any bytes are given as base64', async () => {
  for (const octal of ['377', '376'])
    said(
      await shell(`raftree put "$(printf 'k\\${octal}')" v "$@"`, ...node()),
      2,
      /not UTF-8.*--key-base64/,
    );
  for (const [key, value] of [
    ['/w==', 'AAE='],
    ['/g==', 'AAI='],
  ] as const)
    assert.is((await raftree(['put', key, value, '--key-base64', '--value-base64', ...node()])).code, 0);
  assert.equal((await raftree(['get', '/w==', '--key-base64', ...node()])).stdout, Buffer.of(0, 1));
  const scanned = await raftree(['scan', '--from', '/g==', '--key-base64', '--value-base64', ...node()]);
  assert.is(scanned.stdout.toString(), '/g==\tAAI=\n/w==\tAAE=\n');
  said(await raftree(['get', '/w', '--key-base64', ...node()]), 2, /is not base64/);
  said(await raftree(['put', 'a', '/w', '--value-base64', ...node()]), 2, /is not base64/);
});

test('with --json errors are JSON on standard error, also those of usage', async () => {
  for (const [args, code] of [
    [['get', '--json'], 'USAGE'],
    [['put', '', 'x', '--json', ...node()], 'KEY_EMPTY'],
    [['put', 'a', '--json', '--value-file', '/no/such/file'], 'USAGE'],
  ] as const) {
    const result = await raftree(args);
    assert.equal([result.code, result.stdout.length], [2, 0]);
    const { error } = JSON.parse(result.stderr) as {
      error: { code: string; message: string; outcome: string };
    };
    assert.equal([error.code, error.outcome], [code, 'notCommitted']);
    assert.ok(error.message.length > 5);
  }
});

test('a folder is no file: import, values, standard input', async () => {
  said(await raftree(['import', directory, ...node()]), 2, /is a folder/);
  said(await raftree(['put', 'a', '--value-file', directory, ...node()]), 2, /is a folder/);
  said(await shell('raftree put a - "$@" < /', ...node()), 2, /standard input is a folder/);
  said(await shell('raftree put a --value-file /dev/zero "$@"', ...node()), 2, /longer than \d+ bytes/);
});

test('export --output: the old backup stays whole whatever happens', async () => {
  const backup = at('backup.jsonl');
  fs.writeFileSync(backup, 'old');
  const [port] = await freePorts(1);
  said(
    await raftree(['export', '--output', backup, '--endpoints', `127.0.0.1:${port}`]),
    5,
    /no node listens/,
  );
  said(
    await raftree(['export', '--output', at('missing/backup'), ...node()]),
    2,
    /its folder does not exist/,
  );
  await raftree(['put', 'export', ...node()], Buffer.alloc(100_000, 'x'));
  said(
    await shell('ulimit -f 8; raftree export --output "$@"', backup, ...node()),
    3,
    /cannot write .*OUTPUT_FAILED/,
  );
  said(
    await shell('raftree export "$@" > /dev/full', ...node()),
    3,
    /cannot write to standard output.*ENOSPC/,
  );
  said(
    await shell('raftree put full x "$@" > /dev/full', ...node()),
    4,
    /cannot write to standard output.*ENOSPC/,
  );
  assert.is(fs.readFileSync(backup, 'utf8'), 'old');
  assert.equal(fs.readdirSync(directory), ['backup.jsonl']);
  const done = await raftree(['export', '--prefix', 'export', '--output', backup, '--json', ...node()]);
  assert.equal(JSON.parse(done.stdout.toString()), { records: 1, output: backup });
  assert.is(fs.readFileSync(backup, 'utf8'), `{"key":"export","value":"${'x'.repeat(100_000)}"}\n`);
});

test('a fault of the program itself ends in one line and an exit code', async () => {
  const [port] = await freePorts(1);
  const fault = at('fault.mjs');
  const isReady = "process.listenerCount('uncaughtException') > 0";
  fs.writeFileSync(fault, `setInterval(() => { if (${isReady}) throw new TypeError('planted'); }, 5);`);
  const args = ['get', 'a', '--wait', '--timeout', 'infinity', '--endpoints', `127.0.0.1:${port}`];
  const result = await raftree(args, '', { NODE_OPTIONS: `--import=${fault}` });
  assert.equal([result.code, result.stderr], [4, 'raftree: planted\n']);
});

test('whoever reads the output may stop', async () => {
  const result = await shell('set -o pipefail; raftree export "$@" | head -c 5; echo " $?"', ...node());
  assert.equal([result.stdout.toString(), result.stderr], ['{"key 0\n', '']);
});

test('cluster: ports that cannot be, or contradict the cluster that is there, are refused and nothing is written', async () => {
  const folder = at('cluster');
  const start = (...more: string[]) => raftree(['cluster', '--directory', folder, ...more]);
  said(await start('--base-port', '65500'), 2, /--base-port: expected 1 to 65433, got 65500/);
  said(await start('--base-port', '65430', '--nodes', '9'), 2, /--base-port/);
  assert.not(fs.existsSync(folder));
  said(await raftree(['cluster', '--directory', '/proc/raftree']), 2, /cannot be created: ENOENT/);
  said(await raftree(['cluster', '--directory', MAIN]), 2, /is a file/);
  fs.mkdirSync(path.join(folder, 'n1'), { recursive: true });
  const nodes = [{ id: 1, client: '127.0.0.1:7001', peer: '127.0.0.1:7101' }];
  const config = { clusterId: 'local', nodeId: 1, dataDirectory: 'store', nodes };
  fs.writeFileSync(path.join(folder, 'n1', 'node.json'), JSON.stringify(config));
  said(await start('--base-port', '8001'), 2, /whose first node has port 7001/);
  said(await start('--nodes', '3'), 2, /holds a cluster of 1 nodes/);
  assert.equal(fs.readdirSync(folder), ['n1']);
  assert.match((await raftree(['cluster', '--help'])).stdout.toString(), /--nodes <n>/);
});

test('what lies in the place of a folder or file of the data folder is told with a code', async () => {
  const broken = await ProcessCluster.create(1);
  const start = () => raftree(['start', broken.configFile(1)]);
  const place = (name: string) => path.join(broken.dataDirectory(1), name);
  try {
    fs.mkdirSync(broken.dataDirectory(1));
    fs.writeFileSync(place('groups'), '');
    said(await start(), 3, /cannot be used: ENOTDIR.*\(DATA_DIRECTORY\)/);
    fs.rmSync(broken.dataDirectory(1), { recursive: true });
    await broken.start(1);
    await broken.signal(1, 'SIGKILL');
    for (const name of ['peers.json', 'identity.json']) {
      fs.renameSync(place(name), place('kept'));
      fs.mkdirSync(place(name));
      said(await start(), 3, new RegExp(`${name} is damaged.*CORRUPTION`));
      fs.rmdirSync(place(name));
      fs.renameSync(place('kept'), place(name));
    }
    fs.rmSync(place('raft'), { recursive: true });
    fs.writeFileSync(place('raft'), '');
    said(await start(), 3, /cannot be used: EEXIST.*\(DATA_DIRECTORY\)/);
  } finally {
    await broken.destroy();
  }
});

test('ids that no node can have, and a leader that is no voter', async () => {
  const update = ['member', 'update', '4294967296', '--client', '127.0.0.1:1', ...node()];
  said(await raftree(update), 2, /expected a whole number from 1 to 4294967295/);
  said(await raftree(['transfer', '9', ...node()]), 3, /node 9 is no voter.*CHANGE_INVALID/);
});

test.run();
