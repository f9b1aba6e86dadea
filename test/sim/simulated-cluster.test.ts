import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

/** What its page shows (src/sim/README.md), and what a client reads after it. */
async function story(seed: number): Promise<{ read: string | undefined; endMs: number; leader: number }> {
  const cluster = new SimulatedCluster(seed);
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  await cluster.run(client.put('key', 'value'));
  cluster.cutPower(1);
  await cluster.run(cluster.start(1));
  const read = await cluster.run(client.get('key'));
  assert.equal(cluster.failures, []);
  const leader = cluster.leadingMachine?.id ?? 0;
  await cluster.run(cluster.closeAll());
  return { read: read?.value.toString(), endMs: cluster.nowMs, leader };
}

test('a cluster that is driven by hand keeps what was acknowledged, over a power cut', async () => {
  for (const seed of [1, 2, 3]) assert.is((await story(seed)).read, 'value', `seed ${seed}`);
});

test('one seed gives one story, another seed another', async () => {
  assert.equal(await story(42), await story(42));
  assert.is.not((await story(42)).endMs, (await story(43)).endMs);
});

test('a machine that there is not is an error, and a second start on one folder leaves the first as it was', async () => {
  const cluster = new SimulatedCluster(5, { size: 1 });
  assert.throws(() => cluster.machine(2), /there is no machine 2/);
  await cluster.run(cluster.start(1));
  const code = await cluster.run(
    cluster.start(1).then(
      () => 'started',
      (error: unknown) => (error as { readonly code: string }).code,
    ),
  );
  assert.is(code, 'LOCKED');
  const client = cluster.client();
  await cluster.run(client.put('key', 'value'));
  assert.is((await cluster.run(client.get('key')))?.value.toString(), 'value');
});

test.run();
