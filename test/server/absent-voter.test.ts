/** A voter that was away while another node was added, under a new id or, empty, under its old one. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { SimDisk } from '../../src/sim/world/disk.js';

const config = { raft: { heartbeatMs: 20, electionTimeoutMinMs: 100, electionTimeoutMaxMs: 200 } };

for (const again of [5, 3]) {
  test(`a voter that was away follows a node that was added meanwhile as node ${again}`, async () => {
    const cluster = new SimulatedCluster(22, { size: 5, joining: [4, 5], config });
    const { scheduler } = cluster.world;
    await cluster.run(cluster.startAll());
    const client = cluster.client(20_000);
    await cluster.run(client.put('a', '1'));
    await cluster.run(client.transferLeadership(1));
    await cluster.run(client.changeMembers([{ type: 'addVoter', node: 4, ...cluster.machine(4).addresses }]));
    cluster.kill(2);
    await scheduler.runFor(500);
    await cluster.run(client.changeMembers([{ type: 'remove', node: 3 }]));
    if (again === 3) {
      cluster.kill(3);
      cluster.machine(3).disk = new SimDisk();
      const of = cluster.config.bind(cluster);
      cluster.config = (id) => ({ ...of(id), ...(id === 3 ? { join: true } : {}) });
      await cluster.run(cluster.start(3));
    }
    await cluster.run(
      client.changeMembers([{ type: 'addLearner', node: again, ...cluster.machine(again).addresses }]),
    );
    await scheduler.runFor(1000);
    await cluster.run(client.changeMembers([{ type: 'promote', node: again }]));
    await cluster.run(client.changeMembers([{ type: 'remove', node: 4 }]));
    await cluster.run(client.put('a', '2'));
    cluster.kill(4);
    cluster.kill(1);
    cluster.cutPower(again);
    await cluster.run(cluster.start(again));
    await cluster.run(cluster.start(2));
    await cluster.run(cluster.client(20_000).put('a', '3'));
    assert.is(cluster.leader?.config.nodeId, again);
    assert.equal(cluster.leader?.status(0).voters, [1, 2, again].sort());
  });
}

test.run();
