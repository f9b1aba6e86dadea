/** Two tablets are merged, and one of their nodes comes late: what it lacks has moved away meanwhile, in part. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { systemError } from '../../src/sim/world/file-operation.js';
import { RAFT } from '../support/tablet-cluster.js';

const PLACEMENT: NodeConfigInput['placement'] = { by: 'range', splits: ['m'], replicas: 3 };

for (const [code, moved] of [
  ['ENOSPC', 'left'],
  ['ENOSPC', 'right'],
  ['ENOSPC', 'both'],
  ['EIO', 'both'],
] as const) {
  test(`a node that cannot write what was merged (${code}) gets the half that stays: ${moved} moved away`, async () => {
    let full = 0;
    const cluster = new SimulatedCluster(5, {
      ...{ size: 4, joining: [4], config: { placement: PLACEMENT, raft: RAFT } },
      fault: ({ path, kind }, id) =>
        id === full && /\/groups\/([3-9]|\d\d+)\//.test(path) && kind !== 'read'
          ? systemError(code, kind, path)
          : undefined,
    });
    await cluster.run(cluster.startAll());
    const client = cluster.client(60_000);
    const { scheduler } = cluster.world;
    const onDisk = (id: number) =>
      (cluster.machine(id).disk.mount().list('/data/groups') ?? [])
        .map(Number)
        .filter((group) => group > 0)
        .sort((a, b) => a - b);
    await cluster.run(client.balance('off'));
    const leadsMeta = () => cluster.machines.find(({ node }) => node?.meta?.leads)?.node?.meta;
    const hasJoined = () => leadsMeta()?.state.nodes.has(4) === true;
    assert.ok(await scheduler.runUntil(hasJoined, scheduler.nowMs() + 60_000));
    for (const word of ['apple', 'zest']) await cluster.run(client.put(word, `is ${word}`));
    const { tablets: before } = await cluster.run(client.tablets());
    full = [1, 2, 3].find((id) => before.every(({ leader }) => leader !== id)) ?? 0;
    assert.ok(full > 0);
    const late = full;
    await cluster.run(client.mergeTablets(1, 2));
    await cluster.run(client.splitTablet('m'));
    // The map comes to other nodes a little later.
    const hasParts = () => leadsMeta()?.state.tablets.size === 2;
    assert.ok(await scheduler.runUntil(hasParts, scheduler.nowMs() + 60_000));
    const parts = leadsMeta()?.state.map?.tablets.map(({ id }) => id) ?? [];
    const away = parts.filter((_, i) => moved === 'both' || moved === (i === 0 ? 'left' : 'right'));
    for (const tablet of away) await cluster.run(client.moveReplica({ tablet, from: late, to: 4 }));
    await cluster.run(cluster.sleep(2000));
    full = 0;
    await cluster.run(cluster.sleep(15_000));
    assert.equal(cluster.failures, []);
    for (const { id } of cluster.machines)
      if (id < 4)
        assert.equal(onDisk(id), id === late ? parts.filter((each) => !away.includes(each)) : parts);
    assert.equal(onDisk(4), away);
    for (const word of ['apple', 'zest'])
      assert.is((await cluster.run(client.get(word)))?.value.toString(), `is ${word}`);
    await cluster.run(client.close());
    await cluster.run(cluster.closeAll());
  });
}

test('who knows the old map can open a session while a node has not made what was merged', async () => {
  let full = 0;
  const cluster = new SimulatedCluster(6, {
    ...{ size: 3, config: { placement: PLACEMENT, raft: RAFT } },
    fault: ({ path, kind }, id) =>
      id === full && /\/groups\/([3-9]|\d\d+)\//.test(path) && kind !== 'read'
        ? systemError('ENOSPC', kind, path)
        : undefined,
  });
  await cluster.run(cluster.startAll());
  const client = cluster.client(60_000);
  const { scheduler } = cluster.world;
  const others = [cluster.client(10_000), cluster.client(10_000)];
  // They get the map, and open no session.
  for (const other of others) await cluster.run(other.tablets());
  await cluster.run(client.put('zest', 'is zest'));
  const { tablets } = await cluster.run(client.tablets());
  full = [1, 2, 3].find((id) => tablets.every(({ leader }) => leader !== id)) ?? 0;
  assert.ok(full > 0);
  await cluster.run(client.mergeTablets(1, 2));
  const startMs = scheduler.nowMs();
  for (const other of others) await cluster.run(other.put(other === others[0] ? 'apple' : 'zest', 'new'));
  assert.ok(scheduler.nowMs() - startMs < 2000);
  for (const key of ['apple', 'zest'])
    assert.is((await cluster.run(client.get(key)))?.value.toString(), 'new');
  for (const one of [client, ...others]) await cluster.run(one.close());
  await cluster.run(cluster.closeAll());
});

test.run();
