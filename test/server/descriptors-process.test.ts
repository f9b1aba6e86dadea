/** A node that may open few files: connections do not take those that its logs and tables need. */
import { spawn } from 'node:child_process';
import * as crypto from 'node:crypto';
import * as net from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { finish, MAIN, ProcessCluster, until } from '../support/process-cluster.js';

const limited = (max: number, file: string) =>
  spawn('sh', ['-c', `ulimit -n ${max}; exec "$0" "$@"`, process.execPath, MAIN, 'start', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });

test('more connections than there are descriptors', async () => {
  const KIB = 1024;
  const cluster = await ProcessCluster.create(1, {
    storage: { raftSegmentBytes: 64 * KIB, maxRaftLogBytes: 256 * KIB, writeBufferBytes: 64 * KIB },
  });
  const node = limited(300, cluster.configFile(1));
  let output = '';
  for (const stream of [node.stdout, node.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  const client = cluster.client();
  const sockets: net.Socket[] = [];
  try {
    await client.put('a', '1', { timeoutMs: 100_000 });
    assert.match(output, /at most \d+ client connections in place of 4096: this process may open 300 files/);
    const port = Number(cluster.endpoint(1).split(':')[1]);
    for (let i = 0; i < 400; i++) sockets.push(net.connect(port, '127.0.0.1').on('error', () => {}));
    for (let i = 0; i < 60; i++) await client.put(`k${i % 20}`, crypto.randomBytes(20_000));
    assert.is((await client.get('a'))?.value.toString(), '1');
    await until(() => output.includes('connection refused'), 'connections were refused');
    assert.is(node.exitCode, null);
    const ended = new Promise((resolve) => node.once('close', resolve));
    node.kill('SIGTERM');
    assert.is(await ended, 0);
  } finally {
    for (const socket of sockets) socket.destroy();
    node.kill('SIGKILL');
    await client.close();
    await cluster.destroy();
  }
});

test('a limit that leaves nothing to clients is refused, and said what to do about', async () => {
  const cluster = await ProcessCluster.create(1);
  try {
    const { code, stderr } = await finish(limited(150, cluster.configFile(1)));
    assert.is(code, 3);
    assert.match(
      stderr,
      /may open 150 files and sockets, which are too few for a node: raise the limit \(ulimit -n\)/,
    );
  } finally {
    await cluster.destroy();
  }
});

test.run();
