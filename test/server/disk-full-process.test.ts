/** A real node on a real file system that fills up; skipped where this process may not mount one. */
import { execFileSync } from 'node:child_process';
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClientError } from '../../src/client/client-error.js';
import { ProcessCluster, until } from '../support/process-cluster.js';

const MIB = 1024 * 1024;

function mounts(directory: string): boolean {
  try {
    fs.mkdirSync(directory);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', directory], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('a node whose disk fills up refuses writes, serves reads, and goes on when there is space', async () => {
  const cluster = await ProcessCluster.create(1, {
    dataDirectory: 'mounted/n1',
    storage: { raftSegmentBytes: MIB, maxRaftLogBytes: 4 * MIB, writeBufferBytes: MIB },
  });
  const mounted = `${cluster.directory}/mounted`;
  if (!mounts(mounted)) {
    console.log('skipped: no file system can be mounted here');
    await cluster.destroy();
    return;
  }
  const client = cluster.client();
  try {
    const ballast = `${mounted}/ballast`;
    fs.writeFileSync(ballast, Buffer.alloc(16 * MIB));
    await cluster.start(1);
    await client.put('a', '1');
    const refusals: string[] = [];
    for (let i = 0; i < 400 && !refusals.includes('DISK_FULL notCommitted'); i++) {
      await client
        .put(`k${i}`, crypto.randomBytes(200_000))
        .catch(({ code, outcome }: RaftreeClientError) => refusals.push(`${code} ${outcome}`));
    }
    // One that is in the log already is told that, too, before its time is over.
    assert.is(refusals.at(-1), 'DISK_FULL notCommitted');
    for (const refusal of refusals) assert.match(refusal, /^DISK_FULL /);
    assert.is((await client.get('a', { stale: true }))?.value.toString(), '1');
    fs.unlinkSync(ballast);
    // The node looks again from time to time.
    const isPut = () =>
      client.put('b', '2').then(
        () => true,
        (error: RaftreeClientError) => {
          assert.is(error.code, 'DISK_FULL');
          return false;
        },
      );
    await until(isPut, 'a write is taken');
    assert.is((await client.get('b'))?.value.toString(), '2');
    const says = (text: string) => cluster.output(1).split(text).length - 1;
    assert.ok(says('the disk is full: writes are refused') >= 1);
    assert.is(says('the disk is full: writes are refused'), says('the disk can be written again'));
    assert.is(await cluster.signal(1, 'SIGTERM'), 0, cluster.output(1));
  } finally {
    await client.close();
    await cluster.killAll();
    execFileSync('umount', [mounted]);
    await cluster.destroy();
  }
});

test.run();
