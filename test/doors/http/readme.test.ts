/** The commands of README.md's chapter on HTTP do what it says. */
import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startHttpNode } from '../../support/http-node.js';
import { finish } from '../../support/process-cluster.js';

const README = fs.readFileSync(fileURLToPath(new URL('../../../../README.md', import.meta.url)), 'utf8');
const [, chapter = ''] = /\n## HTTP and metrics\n([\s\S]*?)\n## /.exec(README) ?? [];
const [, listing = ''] = /```console\n([\s\S]*?)```/.exec(chapter) ?? [];

interface Step {
  readonly command: string;
  /** `…` stands for anything. */
  readonly shown: string;
}

/** A command goes on while a quote is open. */
function stepsOf(text: string): Step[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const lines = part.split('\n');
      let command = lines.shift() ?? '';
      while ((command.match(/'/g)?.length ?? 0) % 2 === 1 && lines.length > 0)
        command += `\n${lines.shift()}`;
      return { command, shown: lines.join('\n').trim() };
    });
}

test('there are commands to run', () => {
  assert.ok(stepsOf(listing).length >= 8);
});

const hasCurl = !spawnSync('curl', ['--version']).error;
if (!hasCurl) console.log('skipped: there is no curl');

test('every command shows what the page shows', async () => {
  if (!hasCurl) return;
  const node = await startHttpNode();
  try {
    for (const { command, shown } of stepsOf(listing)) {
      const here = command
        .replaceAll('127.0.0.1:8001', `127.0.0.1:${node.port}`)
        .replace(/^curl/, 'curl -sS');
      const { code, stdout, stderr } = await finish(spawn('sh', ['-c', here], { stdio: 'pipe' }));
      assert.is(code, 0, `${command}: ${stderr}`);
      const pattern = shown
        .split('…')
        .map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        .join('.*');
      assert.match(stdout.toString().trim(), new RegExp(`^${pattern}$`, 's'), command);
    }
  } finally {
    await node.close();
  }
});

test.run();
