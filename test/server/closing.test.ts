/** Whole nodes that close in good order: the others have a leader at once. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

test('a leader that closes transfers leadership first: clients wait no election timeout', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const cluster = new SimulatedCluster(seed);
    await cluster.run(cluster.startAll());
    const client = cluster.client();
    await cluster.run(client.put('a', '1'));
    const { leader } = cluster;
    const { term = 0 } = leader?.status(0) ?? {};
    const { scheduler } = cluster.world;
    const startMs = scheduler.nowMs();
    await cluster.run(leader?.close() ?? Promise.resolve());
    assert.ok(cluster.leader && cluster.leader !== leader, `seed ${seed}`);
    assert.is(cluster.leader.status(0).term, term + 1);
    await cluster.run(client.put('a', '2'));
    const tookMs = scheduler.nowMs() - startMs;
    assert.ok(tookMs < 1000, `seed ${seed}: ${tookMs} ms`);
    await cluster.run(client.close());
  }
});

test('when all nodes close at once, none waits for an election timeout', async () => {
  const cluster = new SimulatedCluster(2);
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  await cluster.run(client.close());
  const { scheduler } = cluster.world;
  const startMs = scheduler.nowMs();
  await cluster.run(Promise.all(cluster.nodes.map((node) => node?.close())));
  const tookMs = scheduler.nowMs() - startMs;
  assert.ok(tookMs < 1000, `${tookMs} ms`);
});

test.run();
