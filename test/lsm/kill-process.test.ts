/** kill -9 of a process that writes, flushes and compacts in its worker, again and again: what it was told is there. */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { realEnv } from '../../src/env/real/real-env.js';
import { LsmTree } from '../../src/lsm/index.js';
import { verifyDirectory } from '../../src/lsm/tools/verify-directory.js';
import { temporaryDirectory } from '../support/process-cluster.js';

const WRITER = fileURLToPath(new URL('./killed-writer.js', import.meta.url));

/** Runs the writer until it has acknowledged so many more; returns the last number that it told. */
async function writeAndKill(directory: string, from: number, count: number): Promise<number> {
  const child = spawn(process.execPath, [WRITER, directory, String(from)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let told = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    told += text;
    if (Number(told.slice(0, told.lastIndexOf('\n')).split('\n').at(-1)) >= from + count)
      child.kill('SIGKILL');
  });
  const signal = await new Promise((resolve) => child.once('close', (_, by) => resolve(by)));
  assert.is(signal, 'SIGKILL', 'the writer ended by itself');
  return Number(told.slice(0, told.lastIndexOf('\n')).split('\n').at(-1));
}

test('four lives, each killed: every acknowledged write is there, and nothing is there in part', async () => {
  const directory = path.join(temporaryDirectory(), 'tree');
  let last = 0;
  for (const count of [40, 700, 300, 900]) {
    const told = await writeAndKill(directory, last, count);
    assert.equal((await verifyDirectory(realEnv(), directory)).problems, []);
    const tree = await LsmTree.open(directory, { worker: false });
    const read = (key: string) => tree.getSync(Buffer.from(key))?.toString();
    last = Number(read('last'));
    assert.ok(last >= told, `${told} was acknowledged, ${last} is the last one there`);
    for (let number = Math.max(1, last - 49); number <= last; number++) {
      assert.match(read(`key${number % 50}`) ?? '', new RegExp(`^${number}:x+$`));
    }
    const { levels } = tree.stats();
    if (last > 1000)
      assert.ok(
        levels.slice(1).some((level) => level.files > 0),
        'it has compacted',
      );
    await tree.close();
  }
  fs.rmSync(path.dirname(directory), { recursive: true });
});

test.run();
