/** The connections between nodes, where a whole node is needed to see them. */
import { test } from 'uvu';
import { SimCluster } from '../support/sim-cluster.js';

test('a node closes while another is slow to say hello', async () => {
  const cluster = new SimCluster(1, { size: 2 });
  const { network, scheduler } = cluster.world;
  await cluster.run(cluster.start(2));
  network.slow('n2', 'n1', { minMs: 500, maxMs: 500 });
  const node = await cluster.run(cluster.start(1));
  await scheduler.runFor(100);
  await cluster.run(node.close(), 20_000);
});

test.run();
