/** A tablet is split, and one of its members comes late: what it may answer, what it makes, what it must not keep. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Node } from '../../src/server/node.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { begun, RAFT } from '../support/tablet-cluster.js';

const RANGE = { by: 'range' as const, splits: ['n'] };
const WORDS = ['apple', 'grape', 'kiwi', 'nut'];
/** Virtual time. */
const LIMIT_MS = 20_000;

function mapOf(cluster: SimulatedCluster) {
  return cluster.machines.find(({ node }) => node?.meta?.leads)?.node?.meta?.state;
}

/** Those of the tablets that have files on a node. */
function heldBy({ machines }: SimulatedCluster, node: number, tablets: readonly number[]): number[] {
  const disk = machines.find(({ id }) => id === node)?.disk;
  return tablets.filter((id) => disk && disk.files(`/data/groups/${id}`).length > 0);
}

async function until(cluster: SimulatedCluster, condition: () => boolean, what: string): Promise<void> {
  const { scheduler } = cluster.world;
  assert.ok(await scheduler.runUntil(condition, scheduler.nowMs() + LIMIT_MS), `it happens that ${what}`);
}

test('a split that comes late leaves no replica that is no member (tikv #5852, yugabyte #27056)', async () => {
  const config = { placement: { ...RANGE, replicas: 3 }, raft: RAFT };
  const cluster = new SimulatedCluster(8, { size: 5, config });
  await cluster.run(cluster.startAll());
  const client = cluster.client(60_000);
  await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
  await until(cluster, () => mapOf(cluster)?.cluster !== undefined, 'the map is written');
  const parent = 1;
  const nodes =
    mapOf(cluster)
      ?.tablets.get(parent)
      ?.replicas.map(({ node }) => node) ?? [];
  const away = nodes.find((id) => !cluster.machine(id).node?.meta?.leads) ?? 0;
  const other = cluster.machines.find(({ id }) => !nodes.includes(id))?.id ?? 0;
  cluster.cutPower(away);
  const { children } = await cluster.run(client.splitTablet('kiwi'), 60_000);
  const isKnown = () => children.every((id) => mapOf(cluster)?.tablets.has(id));
  await until(cluster, isKnown, 'the map has the parts');
  // One part leaves the node before it has heard of the split; the other one stays.
  await cluster.run(client.moveReplica({ tablet: children[0], from: away, to: other }), 60_000);
  await cluster.run(cluster.start(away));
  const held = () => heldBy(cluster, away, [parent, ...children]);
  await until(
    cluster,
    () => held().join() === `${children[1]}`,
    'it has the part that stays, and nothing else',
  );
  cluster.cutPower(away);
  await cluster.run(cluster.start(away));
  await cluster.run(cluster.sleep(1500));
  assert.equal(held(), [children[1]]);
  const { tablets: shown } = await cluster.run(client.tablets());
  assert.not.ok(shown.find(({ id }) => id === children[0])?.replicas.includes(away));
  for (const word of WORDS) assert.is((await cluster.run(client.get(word)))?.value.toString(), `is ${word}`);
  assert.equal(cluster.failures, []);
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test('a laggard answers nothing about a part that it has not made (tikv PR 4125)', async () => {
  const cluster = await begun(RANGE, 3);
  const client = cluster.client(60_000);
  const direct = cluster.direct(cluster.host('asker').env);
  const { network } = cluster.world;
  await cluster.run(client.put('kiwi', 'old'));
  const leads = (node: Node | undefined) => node?.status(1).role === 'leader' || node?.meta?.leads === true;
  const laggard = cluster.machines.find(({ node }) => !leads(node)) ?? cluster.machine(3);
  await cluster.run(cluster.sleep(500));
  cluster.forEachLink((from, to) => {
    if (from === laggard.host || to === laggard.host) network.cut(from, to);
  });
  const { tablet, children } = await cluster.run(client.splitTablet('grape'));
  await cluster.run(client.put('kiwi', 'new'));
  const ask = async (of: number, consistency: 'stale' | 'follower') => {
    const key = Buffer.from('kiwi');
    const get = { type: 'get', tablet: of, consistency, key, omitValue: false } as const;
    const answer = await cluster.run(direct.ask(laggard.endpoint, get, 3000));
    if (typeof answer === 'string') return answer;
    return answer.type === 'getReply' ? answer.value.toString() : answer.type === 'error' && answer.code;
  };
  for (const level of ['stale', 'follower'] as const)
    for (const child of children) assert.is(await ask(child, level), 'WRONG_TABLET', level);
  assert.is(await ask(tablet, 'stale'), 'old', 'of what it has it shows an old state to who wants that');
  assert.is.not(await ask(tablet, 'follower'), 'old');
  network.mendAll();
  while ((await ask(children[1], 'follower')) !== 'new') await cluster.run(cluster.sleep(100));
  assert.is(await ask(tablet, 'stale'), 'WRONG_TABLET');
  await cluster.run(Promise.all([client.close(), direct.close()]));
  await cluster.run(cluster.closeAll());
});

test('a node whose disk did not let it make the parts keeps the whole, and makes them after a restart', async () => {
  let isBroken = false;
  const fault = ({ kind, path }: FileOperation, id: number) => {
    const group = Number(/\/groups\/(\d+)/.exec(path)?.[1] ?? 0);
    return isBroken && id === 3 && group > 2 ? systemError('EIO', kind, path) : undefined;
  };
  const cluster = new SimulatedCluster(4, { config: { placement: RANGE, raft: RAFT }, fault });
  await cluster.run(cluster.startAll());
  const client = cluster.client(60_000);
  await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
  isBroken = true;
  const { tablet, children } = await cluster.run(client.splitTablet('grape'));
  await cluster.run(cluster.sleep(1000));
  isBroken = false;
  // Another one is split there, so what was split is looked through.
  await cluster.run(client.splitTablet('pear'));
  await cluster.run(cluster.sleep(4000));
  const held = () => heldBy(cluster, 3, [tablet, ...children]);
  assert.equal(held(), [tablet]);
  cluster.kill(3);
  await cluster.run(cluster.start(3));
  await until(cluster, () => held().join() === children.join(), 'it makes the parts');
  for (const word of WORDS) {
    const read = client.get(word, { level: 'follower', endpoint: cluster.machine(3).endpoint });
    assert.is((await cluster.run(read))?.value.toString(), `is ${word}`);
  }
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

for (const failing of ['sync', 'write', 'create'] as const)
  test(`a part opens later where it could not be noted that this node has it: its ${failing} failed`, async () => {
    let isBroken = false;
    const cluster = new SimulatedCluster(9, {
      ...{ size: 3, config: { placement: { ...RANGE, replicas: 3 }, raft: RAFT } },
      fault: ({ path, kind }, id) =>
        isBroken && id === 2 && kind === failing && path.includes('replicas.json')
          ? systemError('EIO', kind, path)
          : undefined,
    });
    await cluster.run(cluster.startAll());
    const client = cluster.client(60_000);
    await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
    await until(cluster, () => mapOf(cluster)?.cluster !== undefined, 'the map is written');
    const watcher = cluster.client(60_000, { endpoints: [cluster.machine(2).endpoint] });
    const watch = watcher.watch({ key: 'kiwi' });
    await cluster.run(watch.ready);
    isBroken = true;
    await cluster.run(client.splitTablet('kiwi'), 60_000);
    await cluster.run(client.put('kiwi', 'new'));
    // Other nodes have the part.
    const told = await cluster.run(watch.next(), 2500);
    assert.is(told.value?.key.toString(), 'kiwi');
    await cluster.run(watcher.close());
    await cluster.run(cluster.sleep(2500));
    const isOpen = () => cluster.machine(2).node?.status(0).tablets === 3;
    assert.not(isOpen());
    isBroken = false;
    await until(cluster, isOpen, 'all parts are open');
    cluster.cutPower(2);
    await cluster.run(cluster.start(2));
    await until(cluster, isOpen, 'all parts are open after a power cut');
    await cluster.run(client.close());
    await cluster.run(cluster.closeAll());
  });

test.run();
