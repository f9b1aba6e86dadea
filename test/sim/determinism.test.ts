import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FEWER_COMPILATIONS } from '../support/test-files.js';

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));
let directory = '';

test.before.each(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-sim-'));
});
test.after.each(() => fs.rmSync(directory, { recursive: true, force: true }));

function trace(seed: number, name: string): { readonly lines: string[]; readonly hash: string } {
  const file = path.join(directory, name);
  const args = [...FEWER_COMPILATIONS, MAIN, '--seed', `${seed}`, '--trace', file];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.is(status, 0, stdout);
  const text = fs.readFileSync(file, 'utf8');
  return { lines: text.trimEnd().split('\n'), hash: createHash('sha256').update(text).digest('hex') };
}

test('the same seed gives the same trace in another process, byte for byte; another seed gives another', () => {
  const [one, again, other] = [trace(5, 'one'), trace(5, 'again'), trace(8, 'other')];
  assert.is(one.hash, again.hash);
  assert.is.not(one.hash, other.hash);
  // It holds messages, disk operations and replies.
  for (const what of ['net.deliver', 'raft.receive', 'disk.write', 'disk.sync', 'call', 'return'])
    assert.ok(
      one.lines.some((line) => (JSON.parse(line) as { what: string }).what === what),
      what,
    );
});

test.run();
