/** The cluster's benchmark as it is started, for a second on one node: every kind of operation, and all its figures. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Measurement, perOperation } from '../../bench/cluster/measurement.js';

const program = fileURLToPath(new URL('../../bench/cluster/main.js', import.meta.url));
const TINY = '--nodes 1 --seconds 1 --warmup-seconds 0 --keys 300 --clients 4 --connections 2'.split(' ');

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
  says(/too many arguments/, 'put');
});

test.run();
