/** Replicas that are on some of the nodes only, and go from one to another, while clients go on. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { codeOf, RAFT } from '../support/tablet-cluster.js';

const PLACEMENT: NodeConfigInput['placement'] = { by: 'range', splits: ['g', 'n', 't'], replicas: 3 };
const WORDS = ['apple', 'fig', 'grape', 'kiwi', 'lime', 'nut', 'pear', 'plum', 'tree', 'zest'];

interface Setting {
  readonly cluster: SimulatedCluster;
  readonly client: RaftreeClient;
}

async function open(seed: number, size = 4, joining: number[] = []): Promise<Setting> {
  const cluster = new SimulatedCluster(seed, { size, joining, config: { placement: PLACEMENT, raft: RAFT } });
  for (const { id } of cluster.machines) await cluster.run(cluster.start(id));
  const client = cluster.client(20_000);
  await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
  await until(cluster, () => mapOf(cluster)?.cluster !== undefined, 'the map is written');
  return { cluster, client };
}

function mapOf(cluster: SimulatedCluster) {
  return cluster.machines.find(({ node }) => node?.meta?.leads)?.node?.meta?.state;
}

async function until(cluster: SimulatedCluster, condition: () => boolean, what: string): Promise<void> {
  const { scheduler } = cluster.world;
  assert.ok(await scheduler.runUntil(condition, scheduler.nowMs() + 60_000), `it happens that ${what}`);
}

function nodesOf(cluster: SimulatedCluster, tablet: number): number[] {
  const replicas = mapOf(cluster)?.tablets.get(tablet)?.replicas ?? [];
  return replicas.map(({ node }) => node).sort((a, b) => a - b);
}

/** The tablets in the files of a node. */
function onDisk(cluster: SimulatedCluster, id: number): number[] {
  const names = cluster.machine(id).disk.mount().list('/data/groups') ?? [];
  return names.map(Number).filter((group) => group > 0);
}

async function checkWords({ cluster, client }: Setting): Promise<void> {
  await cluster.run(
    (async () => {
      for (const word of WORDS)
        for (const level of ['linearizable', 'follower'] as const)
          assert.is((await client.get(word, { level }))?.value.toString(), `is ${word}`, `${word} ${level}`);
    })(),
  );
}

test('fewer replicas than nodes: each node has some of the tablets, and clients see one store', async () => {
  const setting = await open(1);
  const { cluster, client } = setting;
  for (const { id } of cluster.machines) {
    const held = mapOf(cluster)?.tabletsOn(id) ?? [];
    assert.is(held.length, 3, `node ${id}`);
    assert.equal(onDisk(cluster, id), held);
  }
  await checkWords(setting);
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test('a replica goes to another node and back, again and again, while clients write', async () => {
  const setting = await open(2);
  const { cluster, client } = setting;
  const writer = cluster.client(60_000);
  let isOver = false;
  let written = 0;
  const write = async () => {
    for (; !isOver; written++) await writer.append('kiwi-log', `<${written}>`);
  };
  const tablet = 2;
  const out = [1, 2, 3, 4].find((id) => !nodesOf(cluster, tablet).includes(id)) ?? 0;
  const first = nodesOf(cluster, tablet)[0] ?? 0;
  await cluster.run(
    (async () => {
      const writing = write();
      for (let round = 0; round < 4; round++) {
        const [from, to] = round % 2 === 0 ? [first, out] : [out, first];
        assert.is(await client.moveReplica({ tablet, from, to }), true, `round ${round}`);
        assert.is(await client.moveReplica({ tablet, from, to }), false, 'it is so already');
      }
      isOver = true;
      await writing;
    })(),
    200_000,
  );
  assert.ok(nodesOf(cluster, tablet).includes(first));
  await until(cluster, () => !onDisk(cluster, out).includes(tablet), 'its files are gone');
  const log = (await cluster.run(client.get('kiwi-log')))?.value.toString();
  assert.is(log, Array.from({ length: written }, (_, i) => `<${i}>`).join(''));
  await checkWords(setting);
  // Nobody takes a node for one that has lost what it held.
  for (const { id } of cluster.machines) {
    cluster.cutPower(id);
    await cluster.run(cluster.start(id));
    await cluster.run(cluster.sleep(1500));
  }
  await checkWords(setting);
  assert.equal(cluster.failures, []);
  await cluster.run(Promise.all([client.close(), writer.close()]));
  await cluster.run(cluster.closeAll());
});

test('a move that cannot be made is refused, and says why', async () => {
  const { cluster, client } = await open(3);
  const tablet = 1;
  const [from, other] = nodesOf(cluster, tablet) as [number, number];
  const to = [1, 2, 3, 4].find((id) => !nodesOf(cluster, tablet).includes(id)) ?? 0;
  const move = (wanted: object) => cluster.run(codeOf(client.moveReplica({ tablet, from, to, ...wanted })));
  assert.is(await move({ tablet: 99 }), 'CHANGE_INVALID');
  assert.is(await move({ to: 9 }), 'NOT_A_MEMBER');
  assert.is(await move({ to: other }), 'CHANGE_INVALID');
  assert.is(await move({ from: 9 }), 'CHANGE_INVALID');
  assert.is(await cluster.run(client.drainNode(to)), true);
  assert.is(await cluster.run(client.drainNode(to)), false);
  assert.is(await move({}), 'CHANGE_INVALID', 'it drains');
  assert.is(await cluster.run(client.drainNode(to, false)), true);
  assert.is(await cluster.run(codeOf(client.drainNode(9))), 'NOT_A_MEMBER');
  cluster.cutPower(to);
  await cluster.run(cluster.sleep(2000));
  assert.is(await move({}), 'MEMBER_UNREACHABLE');
  const remove = codeOf(client.changeMembers([{ type: 'remove', node: to }]));
  assert.is(await cluster.run(remove), 'CHANGE_INVALID', 'it holds tablets');
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test("a node registers itself, gets a drained node's tablets, and that node is removed", async () => {
  const setting = await open(4, 5, [5]);
  const { cluster, client } = setting;
  await until(cluster, () => mapOf(cluster)?.nodes.has(5) === true, 'node 5 is registered');
  assert.equal(onDisk(cluster, 5), []);
  const drained = cluster.machines.find(({ node, id }) => id < 5 && node?.meta?.leads === false)?.id ?? 0;
  const held = mapOf(cluster)?.tabletsOn(drained) ?? [];
  assert.ok(held.length > 0);
  assert.is(await cluster.run(client.drainNode(drained)), true);
  const early = client.changeMembers([{ type: 'remove', node: drained }]).then(
    () => 'done',
    (error) => `${error.code} ${error.message}`,
  );
  assert.match(
    await cluster.run(early),
    /^CHANGE_INVALID node \d drains, and still holds .* tablets: wait until/,
  );
  await until(cluster, () => mapOf(cluster)?.tabletsOn(drained).length === 0, 'the node is empty');
  await until(cluster, () => onDisk(cluster, drained).length === 0, 'its files are gone');
  assert.ok(onDisk(cluster, 5).length > 0, 'the new node has some');
  await checkWords(setting);
  await cluster.run(client.changeMembers([{ type: 'remove', node: drained }]));
  await until(cluster, () => mapOf(cluster)?.nodes.has(drained) === false, 'it is out of the map');
  await cluster.run(cluster.machine(drained).node?.close() ?? Promise.resolve());
  await checkWords(setting);
  assert.equal(cluster.failures, []);
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test('a power cut at any time of a move: it ends, nothing is lost, no replica comes back', async () => {
  for (let seed = 11; seed <= 16; seed++) {
    const setting = await open(seed);
    const { cluster, client } = setting;
    const tablet = 3;
    const nodes = nodesOf(cluster, tablet);
    const from = nodes[seed % 3] ?? 0;
    const to = [1, 2, 3, 4].find((id) => !nodes.includes(id)) ?? 0;
    const moving = codeOf(client.moveReplica({ tablet, from, to }));
    await cluster.run(cluster.sleep((seed - 10) * 25));
    const victim = [from, to, nodes.find((id) => id !== from) ?? 0][seed % 3] ?? 0;
    cluster.cutPower(victim);
    await cluster.run(cluster.sleep(500));
    await cluster.run(cluster.start(victim));
    const code = await cluster.run(moving, 100_000);
    assert.ok(['ok', 'TIMEOUT', 'CHANGE_PENDING'].includes(code), `seed ${seed}: ${code}`);
    await until(
      cluster,
      () => mapOf(cluster)?.intents.size === 0 && nodesOf(cluster, tablet).includes(to),
      `the move ends (seed ${seed})`,
    );
    await until(cluster, () => !onDisk(cluster, from).includes(tablet), `the files are gone (seed ${seed})`);
    await checkWords(setting);
    assert.equal(cluster.failures, [], `seed ${seed}`);
    await cluster.run(client.close());
    await cluster.run(cluster.closeAll());
  }
});

test('parts of a split move too; a node that was away meanwhile gives up the whole, and may get parts again', async () => {
  const setting = await open(6, 5);
  const { cluster, client } = setting;
  const { tablets: before } = await cluster.run(client.tablets());
  const parent = before.find(({ start }) => start.toString() === 'g');
  const nodes = parent?.replicas ?? [];
  const away = nodes.find((id) => !cluster.machine(id).node?.meta?.leads) ?? 0;
  const [stays] = nodes.filter((id) => id !== away);
  const [one = 0, other = 0] = cluster.machines.map(({ id }) => id).filter((id) => !nodes.includes(id));
  cluster.cutPower(away);
  const { children } = await cluster.run(client.splitTablet('kiwi'), 60_000);
  await until(
    cluster,
    () => children.every((id) => mapOf(cluster)?.tablets.has(id)),
    'the map has the parts',
  );
  const early = codeOf(
    client.moveReplica({ tablet: children[0], from: stays ?? 0, to: one }, { timeoutMs: 3000 }),
  );
  assert.is.not(await cluster.run(early, 60_000), 'ok', 'a part is not moved while who stays lacks it');
  assert.ok(nodesOf(cluster, children[0]).includes(stays ?? 0));
  await cluster.run(cluster.start(away));
  await until(
    cluster,
    () => !nodesOf(cluster, children[0]).includes(stays ?? 0),
    'it goes on when the node is back',
  );
  for (const id of children) assert.ok(onDisk(cluster, away).includes(id), `tablet ${id}`);
  // Again, and now both parts leave the node before it comes back.
  cluster.cutPower(away);
  const again = await cluster.run(client.splitTablet('lime'), 60_000);
  await until(
    cluster,
    () => again.children.every((id) => mapOf(cluster)?.tablets.has(id)),
    'the map has them',
  );
  for (const tablet of again.children)
    await cluster.run(client.moveReplica({ tablet, from: away, to: other }), 60_000);
  await cluster.run(cluster.start(away));
  await until(cluster, () => !onDisk(cluster, away).includes(again.tablet), 'nothing is left of the whole');
  for (const id of again.children) assert.not.ok(onDisk(cluster, away).includes(id), `tablet ${id}`);
  await cluster.run(client.moveReplica({ tablet: again.children[1], from: other, to: away }), 60_000);
  cluster.cutPower(away);
  await cluster.run(cluster.start(away));
  await checkWords(setting);
  assert.equal(cluster.failures, []);
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test('the map without a quorum: tablets that have one are served', async () => {
  const setting = await open(5, 5);
  const { cluster, client } = setting;
  const tablet = 1;
  const nodes = nodesOf(cluster, tablet);
  const gone = cluster.machines.map(({ id }) => id).filter((id) => !nodes.includes(id));
  for (const id of [...gone, nodes[0] ?? 0]) cluster.cutPower(id);
  await cluster.run(client.put('apple', 'still'), 60_000);
  assert.is((await cluster.run(client.get('apple')))?.value.toString(), 'still');
  // Operators are told who is missing, and not after all of their patience.
  const orders = [
    client.moveReplica({ tablet, from: nodes[1] ?? 0, to: gone[0] ?? 0 }),
    client.mergeTablets(1, 2),
    client.splitTablet('c'),
    client.drainNode(nodes[1] ?? 0),
    client.balance(),
  ];
  const { scheduler } = cluster.world;
  const fromMs = scheduler.nowMs();
  const said = await cluster.run(Promise.allSettled(orders));
  const missing = [...gone, nodes[0] ?? 0].sort((a, b) => a - b).join(', ');
  for (const [i, each] of said.entries()) {
    assert.is(each.status === 'rejected' ? each.reason.code : 'done', 'MAP_UNAVAILABLE', `order ${i}`);
    if (each.status === 'rejected')
      assert.match(each.reason.message, `does not reach ${missing}; tablets with`);
  }
  const tookMs = scheduler.nowMs() - fromMs;
  assert.ok(tookMs < 10_000, `${tookMs} ms`);
  await cluster.run(client.close());
});

test('each tablet has a leader in the list, wherever it is; a node takes over what it holds, and no more', async () => {
  const { cluster, client } = await open(7);
  const { nodes, tablets } = await cluster.run(client.tablets());
  assert.equal(
    nodes.map(({ nodeId, client: address }) => [nodeId, address !== '']),
    [1, 2, 3, 4].map((id) => [id, true]),
  );
  for (const { id, leader, replicas } of tablets)
    assert.ok(replicas.includes(leader), `tablet ${id}: ${leader}`);
  assert.is(await codeOf(cluster.run(client.transferLeadership(2))), 'ok');
  const { tablets: after } = await cluster.run(client.tablets());
  for (const { leader, replicas } of after) assert.is(leader === 2, replicas.includes(2));
  assert.is(await codeOf(cluster.run(client.transferLeadership(9))), 'CHANGE_INVALID');
  await cluster.run(client.close());
});

test.run();
