/** `raftree watch` as a process. */
import { spawn } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MAIN, ProcessCluster, raftree } from '../support/process-cluster.js';

let cluster: ProcessCluster;

test.before(async () => {
  cluster = await ProcessCluster.create(1);
  await cluster.start(1);
});

test.after(() => cluster.destroy());

test('changes since a version, one a line; what is not kept is told; Ctrl-C ends it', async () => {
  const endpoints = ['--endpoints', cluster.endpoint(1)];
  const { stdout } = await raftree(['put', 'a/1', 'x', ...endpoints]);
  const version = Number(/version (\d+)/.exec(stdout.toString())?.[1]);
  await raftree(['delete', 'a/1', ...endpoints]);
  const from = ['--from', `${version}`, '--limit', '2', ...endpoints];
  const lines = await raftree(['watch', 'a/', ...from]);
  const deleted = Number(/(\d+)\tdelete/.exec(lines.stdout.toString())?.[1]);
  assert.equal(
    [lines.code, lines.stdout.toString()],
    [0, `${version}\tput\ta/1\tx\n${deleted}\tdelete\ta/1\n`],
  );
  const json = await raftree(['watch', '--key', 'a/1', '--json', ...from]);
  assert.equal(
    json.stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [
      { type: 'put', key: 'a/1', value: 'x', version },
      { type: 'delete', key: 'a/1', version: deleted },
    ],
  );
  const gone = await raftree(['watch', '--from', '1', ...endpoints]);
  assert.is(gone.code, 3);
  assert.match(gone.stderr, /watch from version \d+ on \(HISTORY_GONE/);
  assert.is((await raftree(['watch', 'a', '--key', 'b', ...endpoints])).code, 2);

  const watch = spawn(process.execPath, [MAIN, 'watch', ...endpoints]);
  let output = '';
  watch.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const ended = new Promise((resolve) => watch.once('exit', resolve));
  for (let i = 0; output === ''; i++) await raftree(['put', `b/${i}`, 'y', ...endpoints]);
  assert.match(output, /^\d+\tput\tb\/\d+\ty\n/);
  watch.kill('SIGINT');
  assert.is(await ended, 0);
});

test.run();
