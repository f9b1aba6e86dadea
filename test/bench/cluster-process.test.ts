/** The cluster's benchmark as it is started, for a second on one node: every kind of operation, and all its figures. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Measurement, perOperation } from '../../bench/cluster/measurement.js';
import { until } from '../support/process-cluster.js';

const program = fileURLToPath(new URL('../../bench/cluster/main.js', import.meta.url));
const TINY = '--nodes 1 --seconds 2 --warmup-seconds 0 --keys 300 --clients 4 --connections 2'.split(' ');

function bench(...parameters: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...parameters], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

test('one node under every kind of operation', () => {
  const folder = mkdtempSync(join(tmpdir(), 'raftree-cluster-bench-test-'));
  try {
    const workload = 'half/64,ycsb-d/64,ycsb-e/64,ycsb-f/4096';
    const places = ['--directory', folder, '--results', join(folder, 'results')];
    const { status, stdout, stderr } = bench(...TINY, ...places, '--workload', workload, '--json');
    assert.is(status, 0, stderr);
    const { measurements } = JSON.parse(stdout) as { measurements: Measurement[] };
    assert.equal(
      measurements.map(({ workload: name, valueBytes }) => `${name} ${valueBytes}`),
      ['half 64', 'ycsb-d 64', 'ycsb-e 64', 'ycsb-f 4096'],
    );
    for (const measurement of measurements) {
      const { load, processes, client } = measurement;
      assert.is(load.errors, 0, load.firstError);
      assert.ok(load.operations > 0 && load.latencyMs.p50 > 0 && load.latencyMs.max >= load.latencyMs.p999);
      assert.equal(
        processes.map(({ role }) => role),
        ['leader'],
      );
      const names = processes[0]?.threads.map(({ name }) => name) ?? [];
      for (const name of ['main', 'pool', 'V8']) assert.ok(names.includes(name), name);
      assert.ok(perOperation(measurement).cpuUs > 0 && client.cpuUs > 0);
      assert.ok(processes[0]?.loopDelayMs, 'the node told its loop delay');
      if (load.writes > 20) assert.ok((measurement.entriesPerSync ?? 0) > 0, 'and how often it synced');
    }
    assert.ok((measurements[1]?.load.records ?? 0) > 300, 'records were inserted');
    assert.match(stderr, /\| leader \| client \|/);
    const kept = readdirSync(folder);
    assert.equal(kept, ['results'], 'the data are removed');
    assert.ok(readdirSync(join(folder, 'results')).some((name) => name.endsWith('.json')));
    assert.not.match(
      readFileSync(join(folder, 'results', readdirSync(join(folder, 'results'))[0] ?? ''), 'utf8'),
      /NaN/,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const etcd = spawnSync('etcd', ['--version']).status === 0 ? ['--etcd', 'etcd'] : [];
const redis = spawnSync('redis-server', ['--version']).status === 0 ? ['--redis', 'redis-server'] : [];

test('alternately with etcd and Redis, where they are installed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'raftree-cluster-bench-test-'));
  try {
    const places = ['--directory', folder, '--results', folder];
    const load = ['--workload', 'half/40000,ycsb-e/64', '--rounds', '1', '--rate', '20', '--beside', 'get/2'];
    const { status, stdout, stderr } = bench(...TINY, ...places, ...etcd, ...redis, ...load, '--json');
    assert.is(status, 0, stderr);
    const { measurements } = JSON.parse(stdout) as { measurements: Measurement[] };
    const expected = ['raftree', ...etcd.slice(1), ...(redis.length > 0 ? ['redis'] : [])];
    assert.equal(
      measurements.map(({ system, workload }) => `${workload} ${system}`),
      [
        ...expected.map((name) => `half ${name}`),
        ...expected.slice(0, 1 + etcd.length / 2).map((name) => `ycsb-e ${name}`),
      ],
    );
    for (const { system, load: result, beside, processes } of measurements) {
      assert.is(result.errors, 0, `${system}: ${result.firstError}`);
      assert.ok(
        result.operations > 0 && result.operations <= 50,
        `${system}: ${result.operations} at 20 a second`,
      );
      assert.is(beside?.errors, 0, beside?.firstError);
      assert.ok(beside && beside.reads > 0 && beside.writes === 0, 'gets beside it');
      assert.is(processes.length, system === 'etcd' ? 3 : 1);
      assert.ok(processes.every(({ cpuUs, threads }) => cpuUs > 0 && threads.length > 0));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a node that dies is named, with its last lines, and nothing is left', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'raftree-cluster-bench-test-'));
  const child = spawn(
    process.execPath,
    [program, ...TINY, '--seconds', '60', '--workload', 'put', '--directory', folder, '--results', folder],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  try {
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = once(child, 'close');
    // A node that has a folder has started.
    await until(
      () => nodesIn(folder).length > 0 && readdirSync(folder, { recursive: true }).some(isNodeFolder),
      'a node runs',
    );
    for (const pid of nodesIn(folder)) process.kill(pid, 'SIGKILL');
    const [code] = await ended;
    assert.is(code, 1);
    assert.match(said, /raftree, node 1 ended by SIGKILL\. Its last lines:/);
    assert.equal(nodesIn(folder), []);
    assert.equal(readdirSync(folder), []);
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a signal ends everything', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'raftree-cluster-bench-test-'));
  const parameters = [
    ...TINY,
    ...etcd,
    ...redis,
    '--seconds',
    '60',
    '--directory',
    folder,
    '--results',
    folder,
  ];
  const child = spawn(process.execPath, [program, ...parameters], { stdio: 'ignore' });
  try {
    const ended = once(child, 'close');
    await until(() => nodesIn(folder).length > 0, 'processes run');
    child.kill('SIGINT');
    assert.equal(await ended, [130, null]);
    assert.equal(nodesIn(folder), []);
    assert.equal(readdirSync(folder), []);
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});

const isNodeFolder = (name: string | Buffer) => /n1$/.test(String(name));

/** Processes, but for the benchmark itself, that were told of a file in the folder. */
function nodesIn(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return !words.includes(program) && words.some((word) => word.includes(`${folder}/`));
      } catch {
        return false;
      }
    });
}

test('what it does not know it says', () => {
  const says = (pattern: RegExp, ...parameters: string[]) => {
    const { status, stderr } = bench(...parameters);
    assert.is(status, 1);
    assert.match(stderr, pattern);
    assert.not.match(stderr, /\n {4}at /);
  };
  says(/write is none of put, get/, '--workload', 'write');
  says(/put\/x: expected a whole number from 1/, '--workload', 'put/x');
  says(/expected a whole number from 1/, '--seconds', '0');
  says(/Allowed choices are 1, 3, 5/, '--nodes', '2');
  says(/there is no program "\.\/etcd": install it/, '--etcd', './etcd');
  says(/the results cannot be written.*choose another folder/, '--results', program);
  says(/expected dist\/src\/cli\/main\.js of a build/, '--against', './main.js');
  says(/put\/x: expected a whole|expected a whole number/, '--beside', 'scan/x');
  says(/inserts nothing/, '--beside', 'ycsb-e/5');
  says(/too many arguments/, 'put');
});

test('a port that is taken is named', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    const child = spawn(process.execPath, [program, ...TINY, '--base-port', String(port)]);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    assert.equal(await once(child, 'close'), [1, null]);
    assert.match(said, new RegExp(`port ${port} cannot be used .*choose another --base-port`));
  } finally {
    server.close();
  }
});

test.run();
