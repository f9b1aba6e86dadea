/** What real networks do to whole nodes: silence without a reset, narrow links, and limits that differ. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/client.js';
import { silentLogger } from '../../src/env/env.js';
import { connectChannel } from '../../src/net/connect.js';
import { protocolPipeline } from '../../src/protocol/protocol-pipeline.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import type { Node } from '../../src/server/node.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';

const MIB = 1024 * 1024;

async function started(seed: number, options: SimulatedClusterOptions = {}): Promise<SimulatedCluster> {
  const cluster = new SimulatedCluster(seed, { tcp: 'real', ...options });
  await cluster.run(cluster.startAll());
  await cluster.world.scheduler.runUntil(() => cluster.leader !== undefined, 30_000);
  return cluster;
}

function leaderOf(cluster: SimulatedCluster): Node {
  const { leader } = cluster;
  if (!leader) throw new Error('no node leads');
  return leader;
}

/** Values of random bytes, which no compression makes smaller. */
function batchOf(
  cluster: SimulatedCluster,
  client: RaftreeClient,
  keys: string,
  values: number,
): Promise<unknown> {
  return client.batch(
    Array.from({ length: values }, (_, i) => ({
      action: 'put',
      key: `${keys}${i}`,
      value: cluster.world.random.bytes(MIB - 1024),
    })),
  );
}

async function caughtUp(cluster: SimulatedCluster, id: number, limitMs = 60_000): Promise<void> {
  const { scheduler } = cluster.world;
  const follower = () => cluster.nodes[id - 1]?.status(0).appliedIndex ?? 0;
  const isLevel = () => {
    const { leader } = cluster;
    return leader !== undefined && follower() === leader.status(0).lastIndex;
  };
  assert.ok(await scheduler.runUntil(isLevel, scheduler.nowMs() + limitMs), `node ${id} is behind`);
}

test('L1: after a minute without a packet the cluster goes on within seconds, not within another minute', async () => {
  const cluster = await started(1);
  const { network, scheduler } = cluster.world;
  const client = cluster.client(120_000);
  await cluster.run(client.put('a', '1'));
  cluster.forEachLink((from, to) => network.cut(from, to));
  await scheduler.runFor(60_000);
  network.mendAll();
  const mendedMs = scheduler.nowMs();
  await cluster.run(client.put('b', '2'));
  const downMs = scheduler.nowMs() - mendedMs;
  assert.ok(downMs < 10_000, `${Math.round(downMs)} ms until a write went through`);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('L1: connections that a firewall has forgotten are made anew, without a reset', async () => {
  const cluster = await started(2);
  const { network, scheduler } = cluster.world;
  const client = cluster.client(300_000);
  await cluster.run(client.put('a', '1'));
  cluster.kill(leaderOf(cluster).config.nodeId === 3 ? 2 : 3);
  cluster.forEachLink((from, to) => network.forgetConnections(from, to));
  const wasMs = scheduler.nowMs();
  await cluster.run(client.put('b', '2'), 400_000);
  const waitedMs = scheduler.nowMs() - wasMs;
  assert.ok(waitedMs < 10_000, `${Math.round(waitedMs)} ms until a write went through`);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('L2: the place of a client whose machine vanished is free again', async () => {
  const cluster = await started(3, { size: 1, config: { limits: { maxConnections: 1 } } });
  const vanishing = cluster.host('vanishing');
  const first = new RaftreeClient({ endpoints: cluster.endpoints, env: vanishing.env });
  await cluster.run(first.put('a', '1'));
  vanishing.losePower();
  const second = cluster.client(120_000);
  const wasMs = cluster.world.scheduler.nowMs();
  await cluster.run(second.put('b', '2'));
  const waitedMs = cluster.world.scheduler.nowMs() - wasMs;
  assert.ok(waitedMs < 60_000, `${Math.round(waitedMs)} ms until there was a place`);
  await cluster.run(Promise.all([second.close(), cluster.closeAll()]));
});

test('L2: a client that pinged and is heard no more loses its place', async () => {
  const cluster = await started(9, { size: 1, config: { limits: { maxConnections: 1 } } });
  const { network, scheduler } = cluster.world;
  const { env } = cluster.host('forgotten');
  const first = new RaftreeClient({ endpoints: cluster.endpoints, env });
  await cluster.run(first.put('a', '1'));
  await scheduler.runFor(60_000);
  const second = cluster.client(120_000);
  const answer = cluster.run(second.put('b', '2'));
  network.forgetConnections('forgotten', 'n1');
  const wasMs = scheduler.nowMs();
  await answer;
  const waitedMs = scheduler.nowMs() - wasMs;
  assert.ok(waitedMs > 20_000 && waitedMs < 45_000, `${Math.round(waitedMs)} ms until there was a place`);
  await cluster.run(Promise.all([first.close(), second.close(), cluster.closeAll()]));
});

test('a client that sends nothing loses its place after clientIdleTimeoutMs; one that pings keeps it', async () => {
  const logged: string[] = [];
  const cluster = await started(3, {
    size: 1,
    config: { limits: { clientIdleTimeoutMs: 60_000 } },
    logger: {
      ...silentLogger,
      warn: (fields, message) => {
        if (fields.code !== undefined) logged.push(`${fields.code} ${message}`);
      },
    },
  });
  const { scheduler } = cluster.world;
  const pings = cluster.client();
  await cluster.run(pings.put('a', '1'));
  let closedAtMs: number | undefined;
  const { env } = cluster.host('idle');
  const channel = await cluster.run(
    connectChannel(
      env,
      { host: 'n1', port: 7001 },
      {
        connectTimeoutMs: 1000,
        initialise: (opened) =>
          protocolPipeline(opened, {
            handshake: {
              side: 'connecting',
              identity: { role: 'client', clusterId: '', nodeId: 0, storeId: '' },
              expectedRoles: ['server'],
            },
            handler: {},
          }),
      },
    ),
  );
  const wasMs = scheduler.nowMs();
  void channel.closed.then(() => {
    closedAtMs = scheduler.nowMs();
  });
  await scheduler.runFor(59_000);
  assert.is(closedAtMs, undefined);
  await scheduler.runFor(61_000);
  assert.ok(closedAtMs !== undefined && closedAtMs - wasMs < 65_000);
  assert.equal(logged, ['IDLE_TIMEOUT client connection closed: nothing was received for 60000 ms']);
  await cluster.run(Promise.all([pings.close(), cluster.closeAll()]));
});

test('L2: a patient client notices that the machine which owes it an answer has vanished', async () => {
  const cluster = await started(4);
  const { scheduler } = cluster.world;
  const client = cluster.client(200_000, { attemptTimeoutMs: 150_000, connectTimeoutMs: 500 });
  await cluster.run(client.put('a', '1'));
  cluster.cutPower(leaderOf(cluster).config.nodeId);
  const wasMs = scheduler.nowMs();
  await cluster.run(client.put('b', '2'), 300_000);
  const waitedMs = scheduler.nowMs() - wasMs;
  assert.ok(waitedMs < 30_000, `${Math.round(waitedMs)} ms until another node was asked`);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('L3: a batch of 8 MB on links of 24 Mbit/s changes no leader', async () => {
  const cluster = await started(5);
  const { network } = cluster.world;
  const client = cluster.client(60_000, { attemptTimeoutMs: 50_000 });
  await cluster.run(client.put('a', '1'));
  const { term } = leaderOf(cluster).status(0);
  cluster.forEachLink((from, to) => network.narrow(from, to, 3_000_000));
  await cluster.run(batchOf(cluster, client, 'k', 7));
  await caughtUp(cluster, 1);
  await caughtUp(cluster, 2);
  await caughtUp(cluster, 3);
  assert.is(leaderOf(cluster).status(0).term, term, 'the leader has changed');
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

/**
 * A cluster of which one follower was down while 4 MiB were written, and which is started again with other settings.
 */
async function restartedWith(before: Partial<NodeConfigInput>, after: Partial<NodeConfigInput>) {
  let config = before;
  const cluster = await started(6, { config: () => config });
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  const behind = leaderOf(cluster).config.nodeId === 3 ? 2 : 3;
  cluster.kill(behind);
  await cluster.run(batchOf(cluster, client, 'k', 4));
  await cluster.run(cluster.closeAll());
  config = after;
  await cluster.run(cluster.startAll());
  return { cluster, client, behind };
}

test('L4: limits.maxRequestBytes may be lowered while a follower still needs a larger entry', async () => {
  const { cluster, client, behind } = await restartedWith(
    { limits: { maxRequestBytes: 8 * MIB } },
    { limits: { maxRequestBytes: MIB } },
  );
  await caughtUp(cluster, behind);
  assert.equal(cluster.failures, []);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('L5: limits.maxRequestBytes may be raised on the leader first', async () => {
  const cluster = await started(7, {
    config: (id) => ({ limits: { maxRequestBytes: (id === 1 ? 16 : 2) * MIB } }),
  });
  const client = cluster.client(30_000, { attemptTimeoutMs: 10_000 });
  await cluster.run(client.put('a', '1'));
  await cluster.run(client.transferLeadership(1));
  await cluster.run(batchOf(cluster, client, 'k', 10));
  for (const id of [1, 2, 3]) await caughtUp(cluster, id);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('L6: a snapshot arrives in chunks that are larger than any request', async () => {
  const storage = {
    maxRaftLogBytes: MIB,
    raftSegmentBytes: MIB,
    trailingEntries: 0,
    snapshotChunkBytes: 8 * MIB,
    writeBufferBytes: 16 * MIB,
  };
  const limits = { maxRequestBytes: MIB };
  const { cluster, client, behind } = await restartedWith({ storage }, { storage, limits });
  await caughtUp(cluster, behind);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('a leader that listens on every address names the one that others are told', async () => {
  const cluster = await started(8, { size: 1, config: { listen: { client: '0.0.0.0:7009' } } });
  assert.is(leaderOf(cluster).status(0).leaderAddress, 'n1:7001');
  await cluster.run(cluster.closeAll());
});

test.run();
