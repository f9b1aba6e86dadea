/** What cannot be done with tablets now: refused with a reason that names them, and nothing else is touched. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClientError } from '../../src/client/client-error.js';
import { intentKey } from '../../src/meta/records.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { RAFT } from '../support/tablet-cluster.js';

const WORDS = ['apple', 'fig', 'nut', 'plum'];

async function open(seed: number, size: number): Promise<SimulatedCluster> {
  const placement = { by: 'range' as const, splits: ['g'], replicas: 3 };
  const cluster = new SimulatedCluster(seed, { size, config: { placement, raft: RAFT } });
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
  await until(cluster, () => mapOf(cluster)?.cluster !== undefined, 'the map is written');
  await cluster.run(client.close());
  return cluster;
}

function metaOf(cluster: SimulatedCluster) {
  return cluster.machines.find(({ node }) => node?.meta?.leads)?.node?.meta;
}

function mapOf(cluster: SimulatedCluster) {
  return metaOf(cluster)?.state;
}

function nodesOf(cluster: SimulatedCluster, tablet: number): number[] {
  return (
    mapOf(cluster)
      ?.tablets.get(tablet)
      ?.replicas.map(({ node }) => node) ?? []
  );
}

async function until(cluster: SimulatedCluster, condition: () => boolean, what: string): Promise<void> {
  const { scheduler } = cluster.world;
  assert.ok(await scheduler.runUntil(condition, scheduler.nowMs() + 60_000), `it happens that ${what}`);
}

/** The code and the text of its error. */
async function refusalOf(cluster: SimulatedCluster, call: Promise<unknown>): Promise<string> {
  const said = call.then(
    () => 'done',
    (error: unknown) => {
      assert.instance(error, RaftreeClientError);
      return `${(error as RaftreeClientError).code}: ${(error as RaftreeClientError).message}`;
    },
  );
  return cluster.run(said, 60_000);
}

test('a tablet of which a replica moves is not split, and one that is being split is not moved', async () => {
  const cluster = await open(1, 4);
  const client = cluster.client(60_000);
  const tablet = 1;
  const [from = 0] = nodesOf(cluster, tablet);
  const to = cluster.machines.find(({ id }) => !nodesOf(cluster, tablet).includes(id))?.id ?? 0;
  const mover = cluster.client(60_000, { endpoints: [cluster.machine(from).endpoint] });
  const moving = mover.moveReplica({ tablet, from, to });
  const isThere = () => cluster.machine(to).disk.files(`/data/groups/${tablet}`).length > 0;
  await until(cluster, isThere, 'the new replica is made');
  const { network } = cluster.world;
  const toHost = cluster.machine(to).host;
  cluster.forEachLink((one, other) => {
    if (one === toHost || other === toHost) network.cut(one, other);
  });
  assert.match(
    await refusalOf(cluster, client.splitTablet('c', { timeoutMs: 1000 })),
    /CHANGE_PENDING: a move of tablet 1 is under way; try again when it is done/,
  );
  network.mendAll();
  await cluster.run(moving);
  assert.equal((await cluster.run(client.splitTablet('c'))).tablet, tablet);

  const meta = metaOf(cluster);
  const other = nodesOf(cluster, 2);
  const [first = 0] = other;
  const free = cluster.machines.find(({ id }) => !other.includes(id))?.id ?? 0;
  assert.ok(meta);
  const id = await cluster.run(meta.allocateIds(8));
  const child = (at: number) => ({
    id: id + at,
    replicas: other.map((node, i) => ({ replicaId: id + 2 + 3 * at + i, node, role: 'voter' as const })),
  });
  const intent = {
    ...{ type: 'split' as const, generation: 1, at: Buffer.from('r') },
    children: [child(0), child(1)] as const,
  };
  await cluster.run(meta.update([{ key: intentKey(2), expectedVersion: 0, value: intent }]));
  // The leader of the map goes on with the split after a second.
  const move = client.moveReplica({ tablet: 2, from: first, to: free }, { timeoutMs: 500 });
  assert.match(
    await refusalOf(cluster, move),
    /CHANGE_PENDING: a split of tablet 2 is under way; try again when it is done/,
  );
  for (const word of WORDS)
    assert.is((await cluster.run(client.get(word)))?.value.toString(), `is ${word}`, word);
  await cluster.run(Promise.all([client.close(), mover.close()]));
  await cluster.run(cluster.closeAll());
});

test('a tablet without a quorum: only its keys fail, and the error names it', async () => {
  const cluster = await open(2, 5);
  const client = cluster.client(3000);
  const [lost, others] = [nodesOf(cluster, 1), nodesOf(cluster, 2)];
  const pairs = lost.flatMap((one) => lost.filter((two) => two > one).map((two) => [one, two]));
  const gone = pairs.find((pair) => pair.filter((id) => others.includes(id)).length < 2) ?? [];
  assert.is(gone.length, 2);
  for (const id of gone) cluster.cutPower(id);
  await cluster.run(cluster.sleep(2000));
  for (const each of [client, cluster.client(3000)]) {
    for (const call of [each.get('fig'), each.put('apple', 'new')])
      assert.match(await refusalOf(cluster, call), /^TIMEOUT: no answer of tablet 1 within 3000 ms/);
    assert.is((await cluster.run(each.get('nut')))?.value.toString(), 'is nut');
    await cluster.run(each.put('plum', 'is plum'));
  }
  for (const id of gone) await cluster.run(cluster.start(id));
  const later = cluster.client(60_000);
  assert.is((await cluster.run(later.get('fig')))?.value.toString(), 'is fig');
  await cluster.run(Promise.all([client.close(), later.close()]));
  await cluster.run(cluster.closeAll());
});

test.run();
