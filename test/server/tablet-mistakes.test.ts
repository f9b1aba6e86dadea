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

/** `done`, or the code and the text of its error. */
function saidOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'done',
    (error: unknown) => {
      assert.instance(error, RaftreeClientError);
      return `${(error as RaftreeClientError).code}: ${(error as RaftreeClientError).message}`;
    },
  );
}

async function refusalOf(cluster: SimulatedCluster, call: Promise<unknown>): Promise<string> {
  return cluster.run(saidOf(call), 60_000);
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
  // The node that is cut off has no leader of the map. Others have.
  for (let i = 0; i < 3; i++) {
    const endpoints = [to, from].map((id) => cluster.machine(id).endpoint);
    const another = cluster.client(60_000, { endpoints });
    assert.is((await cluster.run(another.balance())).isOn, true);
    await cluster.run(another.close());
  }
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

test('operators who exclude each other: each is told what came of it, and no key is lost', async () => {
  const cluster = await open(3, 4);
  const at = (id: number) => cluster.client(60_000, { endpoints: [cluster.machine(id).endpoint] });
  const clients = [at(1), at(2), at(3), at(4)] as const;
  const [one, two, three, four] = clients;
  const { children } = await cluster.run(one.splitTablet('c'));
  const [left, right] = children;
  const isSettled = () =>
    mapOf(cluster)?.intents.size === 0 && children.every((id) => mapOf(cluster)?.tablets.has(id));
  await until(cluster, isSettled, 'the map has the parts');
  const [from = 0, ...others] = nodesOf(cluster, left);
  const to = cluster.machines.find(({ id }) => id !== from && !others.includes(id))?.id ?? 0;
  const merge = saidOf(one.mergeTablets(left, right));
  await until(cluster, () => mapOf(cluster)?.intents.get(left)?.type === 'merge', 'the merge is recorded');
  const orders = [
    merge,
    saidOf(two.mergeTablets(left, right)),
    saidOf(three.splitTablet('e')),
    saidOf(four.moveReplica({ tablet: left, from, to })),
  ];
  assert.equal(await cluster.run(Promise.all(orders), 60_000), [
    ...['done', 'done', 'done'],
    `CHANGE_INVALID: there is no tablet ${left} any more, or not yet`,
  ]);

  await until(cluster, () => mapOf(cluster)?.intents.size === 0, 'the split is in the map');
  const tablet = 2;
  const [leaves = 0, ...stay] = nodesOf(cluster, tablet);
  const drained = cluster.machines.find(({ id }) => id !== leaves && !stay.includes(id))?.id ?? 0;
  const move = saidOf(one.moveReplica({ tablet, from: leaves, to: drained }));
  await until(cluster, () => mapOf(cluster)?.intents.get(tablet)?.type === 'move', 'the move is recorded');
  assert.is(await cluster.run(saidOf(two.drainNode(drained))), 'done');
  assert.match(
    await cluster.run(move, 60_000),
    /^CHANGE_CONFLICT: the move of tablet 2 to node \d was given up: /,
  );
  assert.not(nodesOf(cluster, tablet).includes(drained));
  for (const word of WORDS)
    assert.is((await cluster.run(three.get(word)))?.value.toString(), `is ${word}`, word);
  await cluster.run(Promise.all(clients.map((client) => client.close())));
  await cluster.run(cluster.closeAll());
});

test.run();
