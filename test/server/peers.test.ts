/** The connections between nodes, where a whole node is needed to see them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../src/env/env.js';
import { BufferBudget } from '../../src/net/buffer-budget.js';
import { ONE_TABLET } from '../../src/placement/placement.js';
import type { ReplicaMessage } from '../../src/replica/snapshot-messages.js';
import { KnownPeers } from '../../src/server/known-peers.js';
import { Peers } from '../../src/server/peers.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

test('a node closes while another is slow to say hello', async () => {
  const cluster = new SimulatedCluster(1, { size: 2 });
  const { network, scheduler } = cluster.world;
  await cluster.run(cluster.start(2));
  network.slow('n2', 'n1', { minMs: 500, maxMs: 500 });
  const node = await cluster.run(cluster.start(1));
  await scheduler.runFor(100);
  await cluster.run(node.close(), 20_000);
});

function setting(seed: number) {
  const world = new SimWorld(seed);
  const told: string[] = [];
  const heard: ReplicaMessage[] = [];
  const peersOf = (id: number) => {
    const { env } = world.start(`n${id}`, new SimDisk());
    env.fs.makeDirectory('/data');
    return new Peers({
      env,
      logger: { ...silentLogger, error: (_fields, message) => told.push(message) },
      maxConnections: 16,
      budget: new BufferBudget(env, 64 * 1024 * 1024),
      identity: { role: 'peer', clusterId: 'c', nodeId: id, storeId: `s${id}` },
      security: { secrets: [], random: env.random },
      known: new KnownPeers(env, '/data'),
      electionTimeoutMinMs: 1000,
      electionTimeoutMaxMs: 2000,
      announcement: () => ({
        ...{ phase: 'born', incarnation: 'a', founders: [], joins: false, placement: ONE_TABLET },
        ...{ configurationIndex: 0, members: [], isMember: false, starts: 1, run: `${id}`, logs: [] },
        engine: 'lsm',
      }),
      bornIn: () => 'a',
      announced: () => undefined,
      left() {},
      outdated() {},
      received: (_group, _from, message) => heard.push(message),
      alive() {},
      unreachable() {},
    });
  };
  return { world, told, heard, peersOf };
}

test('L4: a message that cannot be encoded is dropped and told, and the next one arrives', async () => {
  const { world, told, heard, peersOf } = setting(2);
  const [one, other] = [peersOf(1), peersOf(2)];
  await world.scheduler.run(other.listen({ host: 'n2', port: 1 }));
  one.setMembers([{ id: 2, addresses: ['n2:1'] }]);
  await world.scheduler.runFor(1000);
  one.send(2, 1, { type: 'timeoutNow', term: -1 });
  one.send(2, 1, { type: 'timeoutNow', term: 5 });
  await world.scheduler.runFor(1000);
  assert.is(one.unsendable, 1);
  assert.is(told.length, 1);
  assert.match(told[0] ?? '', /cannot be sent and is dropped: timeoutNow: /);
  assert.equal(
    heard.map(({ type, term }) => [type, term]),
    [['timeoutNow', 5]],
  );
  await world.scheduler.run(Promise.all([one.close(), other.close()]));
});

test('several may look at once whether a node answers at its own address', async () => {
  const { world, peersOf } = setting(3);
  const one = peersOf(1);
  await world.scheduler.run(one.listen({ host: 'n1', port: 1 }));
  const looks = [1, 2, 3].map(() => one.reach(1, 'n1:1'));
  assert.equal(await world.scheduler.run(Promise.all(looks)), ['s1', 's1', 's1']);
  await world.scheduler.run(one.close());
});

test.run();
