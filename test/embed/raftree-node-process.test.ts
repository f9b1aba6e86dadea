/** Nodes in a real process: when they are closed nothing of them is left, and the process ends by itself. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import { finish } from '../support/process-cluster.js';

const PROGRAM = fileURLToPath(new URL('programs.js', import.meta.url));

test('three nodes in one process close wholly, their folders can be opened at once, and it ends', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'raftree-program-'));
  try {
    const ports = await freePorts(6);
    const child = spawn(process.execPath, [PROGRAM, folder, ...ports.map(String)], { stdio: 'pipe' });
    const { code, stdout, stderr } = await finish(child);
    assert.is(code, 0, stderr);
    const { before, during, after, second, found } = JSON.parse(stdout.toString()) as Record<string, unknown>;
    assert.ok((during as number) > (before as number) + 6, `${during} while they run`);
    assert.is((after as string[]).length, before, `left: ${(after as string[]).join(', ')}`);
    assert.is(second, 'LOCKED');
    assert.equal(found, ['key 0=0', 'key 1=1', 'key 2=2']);
    assert.is(stderr, '');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
