/** How a node stops, and what is left when it could not. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/client.js';
import { ProcessCluster, until } from '../support/process-cluster.js';

test('SIGTERM and Ctrl-C finish what is under way, sync, close and end with 0', async () => {
  const cluster = await ProcessCluster.create(1);
  try {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      await cluster.start(1);
      const client = cluster.client();
      const writes = Array.from({ length: 200 }, (_, i) =>
        client.put(`${signal} ${i}`, 'x', { timeoutMs: 1500 }).then(
          () => i,
          () => -1,
        ),
      );
      await Promise.race(writes);
      assert.is(await cluster.signal(1, signal), 0);
      const acknowledged = (await Promise.all(writes)).filter((i) => i >= 0);
      await client.close();
      assert.match(cluster.output(1), /"msg":"closed"/);

      await cluster.start(1);
      const after = cluster.client();
      for (const i of acknowledged) assert.ok(await after.get(`${signal} ${i}`), `${signal} ${i}`);
      await after.close();
      await cluster.signal(1, 'SIGTERM');
    }
  } finally {
    await cluster.destroy();
  }
});

test('a second signal ends the process at once', async () => {
  // Two of three nodes do not run: a write cannot finish, and the node waits for it.
  const cluster = await ProcessCluster.create(3);
  try {
    await cluster.startAll();
    const leader = await cluster.leader();
    const followers = [1, 2, 3].filter((id) => id !== leader);
    await Promise.all(followers.map((id) => cluster.signal(id, 'SIGKILL')));
    const client = cluster.client();
    client.put('never', 'x').catch(() => {});
    const endpoint = cluster.endpoint(leader);
    await until(async () => (await client.load(endpoint)).pendingRequests > 0, 'the node has the write');
    process.kill(cluster.pid(leader), 'SIGTERM');
    await until(() => cluster.output(leader).includes('"msg":"closing"'), 'the node is closing');
    await new Promise((resolve) => setTimeout(resolve, 400));
    // A node that had closed in peace would end with 0.
    assert.is(await cluster.signal(leader, 'SIGTERM'), 143);
    await client.close();
  } finally {
    await cluster.destroy();
  }
});

test('ledger 14: a leader that was stopped with SIGSTOP for longer than an election answers no lease read, and catches up', async () => {
  const cluster = await ProcessCluster.create(3);
  const client = cluster.client();
  const reader = new RaftreeClient({ endpoints: cluster.endpoints, attemptTimeoutMs: 60_000 });
  try {
    await cluster.startAll();
    const leader = await cluster.leader();
    await client.put('before', '1');
    // A client that knows this leader and none after it.
    const lease = { level: 'lease', timeoutMs: 60_000 } as const;
    assert.is((await reader.get('before', lease))?.value.toString(), '1');
    process.kill(cluster.pid(leader), 'SIGSTOP');
    // It waits in the socket, before whatever the next leader sends: the first thing this one sees.
    const read = reader.get('before', lease).then(
      (found) => found?.value.toString(),
      (error: Error) => `refused: ${error}`,
    );
    await client.put('before', '2', { timeoutMs: 60_000 });
    process.kill(cluster.pid(leader), 'SIGCONT');
    assert.is.not(await read, '1');
    await until(async () => {
      const status = await client.status(cluster.endpoint(leader), { timeoutMs: 2000 });
      return status.role === 'follower' && status.leaderId !== 0;
    }, 'the old leader follows');
    await client.put('after', '3');
    await until(
      async () =>
        (await client.get('after', { stale: true, endpoint: cluster.endpoint(leader) }))?.value.toString() ===
        '3',
      'it has caught up',
    );
  } finally {
    await client.close();
    await reader.close();
    await cluster.destroy();
  }
});

test.run();
