/** The benchmark as it is started, on little data: every engine does every workload, and the results are written. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ENGINE_NAMES } from '../../bench/engines/engines.js';
import type { Measurement } from '../../bench/measurement.js';
import { groupsOf, WORKLOAD_NAMES } from '../../bench/workloads.js';

const program = fileURLToPath(new URL('../../bench/lsm.js', import.meta.url));

function bench(...parameters: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...parameters], {
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
}

test('every engine does every workload', () => {
  const results = mkdtempSync(join(tmpdir(), 'raftree-bench-test-'));
  try {
    const { status, output } = bench(
      ...['--peers', ENGINE_NAMES.slice(1).join(','), '--rounds', '1', '--results', results],
      ...['--entries', '300', '--value-bytes', '100', '--write-buffer-bytes', '65536', '--rest-ms', '20'],
    );
    assert.is(status, 0, output);
    assert.match(output, /\| readseq \| 100 B \|/);
    const [json = '', svg = ''] = readdirSync(results).sort();
    const { measurements } = JSON.parse(readFileSync(join(results, json), 'utf8')) as {
      measurements: Measurement[];
    };
    assert.equal(
      measurements.map(({ engine, workload }) => `${engine} ${workload}`),
      groupsOf(WORKLOAD_NAMES).flatMap((group) =>
        ENGINE_NAMES.flatMap((engine) => group.map((workload) => `${engine} ${workload}`)),
      ),
    );
    assert.ok(measurements.every(({ operations, seconds }) => operations > 0 && seconds > 0));
    assert.match(readFileSync(join(results, svg), 'utf8'), /^<svg /);
  } finally {
    rmSync(results, { recursive: true, force: true });
  }
});

test('a group begins empty, and holds what builds on it', () => {
  assert.equal(groupsOf(['readseq', 'fillseq', 'fillsync', 'overwrite']), [
    ['fillsync'],
    ['fillseq', 'overwrite', 'readseq'],
  ]);
  assert.equal(groupsOf(['readrandom', 'readseq']), [['readrandom', 'readseq']]);
  assert.equal(groupsOf(WORKLOAD_NAMES).flat(), WORKLOAD_NAMES);
});

test('what it does not know it says', () => {
  assert.match(bench('--peers', 'nobody').output, /nobody is none of raftree/);
  assert.match(bench('--only', 'nothing').output, /nothing is none of fillsync/);
  assert.is(bench('--entries', '0').status, 1);
});

test.run();
