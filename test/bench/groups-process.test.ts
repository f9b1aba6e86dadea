/** The benchmark of idle groups as it is started, with few of them. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';

const program = fileURLToPath(new URL('../../bench/groups.js', import.meta.url));

test('three nodes with groups are measured', async () => {
  const ports = await freePorts(3);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      program,
      ...['--replicas', '3', '--seconds', '1', '--rest-seconds', '0', '--json'],
      ...['--ports', ports.join()],
    ],
    { encoding: 'utf8' },
  );
  assert.is(status, 0, stderr);
  const [row] = JSON.parse(stdout) as Record<string, number>[];
  assert.is(row?.replicas, 3);
  for (const figure of ['cpuShare', 'kibPerReplica', 'residentMib', 'openMs', 'electMs'])
    assert.ok((row?.[figure] ?? 0) > 0, `${figure}: ${row?.[figure]}`);
});

test.run();
