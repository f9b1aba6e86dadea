/**
 * A change of members that is said to be done is never forgotten: removed machines are taken away, all others lose
 * power, no client has written since.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClientError } from '../../src/client/client-error.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { SHORT_TIMEOUTS } from '../support/four-nodes.js';

async function open(size: number, seed: number): Promise<SimulatedCluster> {
  const cluster = new SimulatedCluster(seed, { size, config: SHORT_TIMEOUTS });
  await cluster.run(cluster.startAll());
  await cluster.run(cluster.client().put('a', '1'));
  return cluster;
}

for (const { size, removed, leader } of [
  { size: 4, removed: [1, 2], leader: 4 },
  { size: 4, removed: [1], leader: 3 },
  { size: 3, removed: [1, 2], leader: 2 },
  { size: 2, removed: [1], leader: 2 },
  { size: 2, removed: [1], leader: 1 },
]) {
  const what = `${removed.join(' and ')} of ${size} removed, node ${leader} leads`;
  test(`all who are left restart after a change without a write: ${what}`, async () => {
    for (const seed of [1, 2, 3]) {
      const cluster = await open(size, seed);
      await cluster.run(cluster.client().transferLeadership(leader));
      const changes = removed.map((node) => ({ type: 'remove', node }) as const);
      await cluster.run(cluster.client().changeMembers(changes));
      await cluster.world.scheduler.runFor(seed === 1 ? 0 : 5000);
      const left = Array.from({ length: size }, (_, i) => i + 1).filter((id) => !removed.includes(id));
      for (const id of removed) cluster.kill(id);
      for (const id of left) cluster.cutPower(id);
      for (const id of left) await cluster.run(cluster.start(id));
      await cluster.run(cluster.client(30_000).put('a', '2'));
    }
  });
}

test('a removed leader that cannot tell the others does not say that the change is done', async () => {
  const cluster = await open(2, 1);
  const leader = cluster.leader?.config.nodeId ?? 0;
  const other = 3 - leader;
  const { network, scheduler } = cluster.world;
  const index = (cluster.leader?.status(0).lastIndex ?? 0) + 1;
  const told = cluster
    .client(5000)
    .changeMembers([{ type: 'remove', node: leader }])
    .catch((error: unknown) => error);
  await scheduler.runUntil(() => (cluster.nodes[other - 1]?.status(0).lastIndex ?? 0) >= index);
  network.cut(`n${leader}`, `n${other}`);
  assert.is(((await cluster.run(told)) as RaftreeClientError).outcome, 'unknown');
  // While it is there, it tells the other when that one asks for its vote.
  network.mendAll();
  await cluster.run(cluster.client(30_000).put('a', '2'));
  assert.equal(cluster.leader?.status(0).voters, [other]);
});

test.run();
