/** The map in whole simulated clusters: its first leader writes it, every node has it, only nodes change it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import type { Meta } from '../../src/meta/meta.js';
import { type Intent, intentKey, NEXT_ID_KEY, tabletKey } from '../../src/meta/records.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

const RAFT = { heartbeatMs: 50, electionTimeoutMinMs: 200, electionTimeoutMaxMs: 400 };

async function begun(seed = 1) {
  const cluster = new SimulatedCluster(seed, {
    config: { placement: { by: 'range', splits: ['g', 'n'] }, raft: RAFT },
  });
  await cluster.run(cluster.startAll());
  await until(cluster, () => cluster.machines.every(({ node }) => node?.meta?.state.cluster !== undefined));
  return cluster;
}

async function until(cluster: SimulatedCluster, condition: () => boolean): Promise<void> {
  const { scheduler } = cluster.world;
  assert.ok(await scheduler.runUntil(condition, scheduler.nowMs() + 30_000), 'it happens in time');
}

function metaOf(cluster: SimulatedCluster, id: number): Meta {
  const meta = cluster.machine(id).node?.meta;
  assert.ok(meta);
  return meta;
}

function follower(cluster: SimulatedCluster): number {
  return cluster.machines.find(({ node }) => node?.meta?.leads === false)?.id ?? 0;
}

test('the map is written once, and every node has it', async () => {
  const cluster = await begun();
  const { state } = metaOf(cluster, 1);
  assert.equal([...state.tablets.keys()], [1, 2, 3]);
  assert.equal([...state.nodes.keys()], [1, 2, 3]);
  assert.equal(state.cluster, { by: 'range', hashVersion: 0, replicas: 3 });
  const [first, second] = [...state.tablets.values()];
  assert.is(Buffer.from(first?.end ?? []).toString(), 'g');
  assert.is(Buffer.from(second?.start ?? []).toString(), 'g');
  const ids = [...state.tablets.values()].flatMap(({ replicas }) =>
    replicas.map(({ replicaId }) => replicaId),
  );
  assert.is(new Set([1, 2, 3, ...ids]).size, 12, 'no id is given twice');
  assert.ok(ids.every((id) => id < state.nextId));
  const version = state.versionOf(tabletKey(1));
  // Another leader finds it written.
  const leader = cluster.machines.find(({ node }) => node?.meta?.leads)?.id ?? 0;
  cluster.cutPower(leader);
  await until(cluster, () => cluster.machines.some(({ node }) => node?.meta?.leads === true));
  await cluster.run(cluster.start(leader));
  await until(cluster, () => metaOf(cluster, leader).state.cluster !== undefined);
  await cluster.run(cluster.sleep(3000));
  for (const { id } of cluster.machines)
    assert.is(metaOf(cluster, id).state.versionOf(tabletKey(1)), version, `node ${id}`);
  await cluster.run(cluster.closeAll());
});

test('any node changes it; who names an old version changes nothing', async () => {
  const cluster = await begun(2);
  const meta = metaOf(cluster, follower(cluster));
  const tablet = (await cluster.run(meta.read())).tablets.get(2);
  assert.ok(tablet);
  const intent: Intent = {
    type: 'split',
    generation: tablet.generation,
    at: new Uint8Array(Buffer.from('k')),
    children: [
      { id: 90, replicas: [] },
      { id: 91, replicas: [] },
    ],
  };
  const tabletVersion = meta.state.versionOf(tabletKey(2));
  const record = [
    { key: tabletKey(2), expectedVersion: tabletVersion, value: null },
    { key: intentKey(2), expectedVersion: 0, value: intent },
  ];
  assert.is(await cluster.run(meta.update(record)), true);
  assert.is(await cluster.run(meta.update(record)), false, 'a tablet has one intent');
  for (const { id } of cluster.machines)
    assert.equal((await cluster.run(metaOf(cluster, id).read())).intents.get(2), intent, `node ${id}`);
  const moved = { ...tablet, generation: 2 };
  const stale = { key: tabletKey(2), expectedVersion: tabletVersion - 1, value: moved };
  const dropped = {
    key: intentKey(2),
    expectedVersion: meta.state.versionOf(intentKey(2)),
    value: undefined,
  };
  assert.is(await cluster.run(meta.update([dropped, stale])), false, 'all of an update, or nothing');
  assert.ok((await cluster.run(meta.read())).intents.get(2));
  assert.is(await cluster.run(meta.update([dropped])), true);
  assert.is((await cluster.run(meta.read())).intents.get(2), undefined);
  await cluster.run(cluster.closeAll());
});

test('no id is given twice, though leaders die', async () => {
  const cluster = await begun(3);
  const given: number[] = [];
  let isOver = false;
  const ask = async (id: number) => {
    while (!isOver) {
      const meta = cluster.machine(id).node?.meta;
      // A call at a node that dies has no end.
      const asked = meta?.allocateIds(2).catch(() => undefined);
      const first = await Promise.race([asked, cluster.sleep(1000)]);
      if (typeof first === 'number') given.push(first, first + 1);
      await cluster.sleep(20);
    }
  };
  await cluster.run(
    (async () => {
      const asking = [ask(1), ask(2), ask(3)];
      for (let round = 0; round < 3; round++) {
        await cluster.sleep(700);
        const leader = cluster.machines.find(({ node }) => node?.meta?.leads)?.id;
        if (leader === undefined) continue;
        cluster.cutPower(leader);
        await cluster.sleep(600);
        await cluster.start(leader);
      }
      isOver = true;
      await Promise.all(asking);
    })(),
    100_000,
  );
  assert.ok(given.length > 40, `${given.length}`);
  assert.is(new Set(given).size, given.length);
  await cluster.run(cluster.closeAll());
});

test('no client reaches it', async () => {
  const cluster = await begun(4);
  const client = cluster.client(5000);
  await cluster.run(client.put(NEXT_ID_KEY, '1'));
  await cluster.run(client.put(tabletKey(1), 'a key of a user'));
  assert.is((await cluster.run(client.get(tabletKey(1))))?.value.toString(), 'a key of a user');
  const { tablets } = await cluster.run(client.tablets());
  assert.equal(
    tablets.map(({ id, replicas }) => ({ id, replicas })),
    [1, 2, 3].map((id) => ({ id, replicas: [1, 2, 3] })),
  );
  for (const { id } of cluster.machines) {
    const { state } = metaOf(cluster, id);
    assert.ok(state.nextId > 3, `node ${id}`);
    assert.is(state.tablets.size, 3);
  }
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test('a node that cannot ask the leader says so', async () => {
  const cluster = await begun(5);
  const id = follower(cluster);
  for (const machine of cluster.machines) if (machine.id !== id) cluster.kill(machine.id);
  const meta = metaOf(cluster, id);
  const code = await cluster.run(
    meta.update([{ key: NEXT_ID_KEY, expectedVersion: 0, value: 7 }]).then(String, errorCode),
  );
  assert.ok(code === 'MEMBER_UNREACHABLE' || code === 'NO_LEADER', code);
  assert.is(meta.state.tablets.size, 3, 'what it has applied is there');
});

test.run();
