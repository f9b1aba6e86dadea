/** The balancer in a running cluster: joins, deaths, returns, drains, and the death of whoever plans. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { codeOf } from '../support/tablet-cluster.js';

const PLACEMENT: NodeConfigInput['placement'] = { by: 'range', splits: ['g', 'n'], replicas: 3 };
const RAFT = { heartbeatMs: 100, electionTimeoutMinMs: 400, electionTimeoutMaxMs: 800 };
const WORDS = ['apple', 'fig', 'grape', 'kiwi', 'lime', 'nut', 'pear', 'plum', 'tree', 'zest'];
const EVERY_MS = 500;
const DEAD_AFTER_MS = 5000;
const balance = { everyMs: EVERY_MS, deadAfterMs: DEAD_AFTER_MS, maxMoves: 2 };

interface Setting {
  readonly cluster: SimulatedCluster;
  readonly client: RaftreeClient;
}

async function open(seed: number, options: SimulatedClusterOptions = {}): Promise<Setting> {
  const config = { placement: PLACEMENT, raft: RAFT, balance };
  const cluster = new SimulatedCluster(seed, { size: 4, config, ...options });
  const joining = options.joining ?? [];
  for (const { id } of cluster.machines) if (!joining.includes(id)) await cluster.run(cluster.start(id));
  const client = cluster.client(20_000);
  await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
  await until(cluster, () => mapOf(cluster)?.cluster !== undefined, 'the map is written');
  return { cluster, client };
}

async function close({ cluster, client }: Setting): Promise<void> {
  await cluster.run(
    (async () => {
      for (const word of WORDS) assert.is((await client.get(word))?.value.toString(), `is ${word}`);
      await client.close();
    })(),
    60_000,
  );
  assert.equal(cluster.failures, []);
  await cluster.run(cluster.closeAll());
}

function plannerOf(cluster: SimulatedCluster): number {
  return cluster.machines.find(({ node }) => node?.meta?.leads)?.id ?? 0;
}

function mapOf(cluster: SimulatedCluster) {
  return cluster.machine(plannerOf(cluster) || 1).node?.meta?.state;
}

async function until(cluster: SimulatedCluster, condition: () => boolean, what: string): Promise<void> {
  const { scheduler } = cluster.world;
  assert.ok(await scheduler.runUntil(condition, scheduler.nowMs() + 90_000), `it happens that ${what}`);
}

/** Who votes on the map. */
function votersOf(cluster: SimulatedCluster): readonly number[] {
  const { voters = [] } = cluster.machine(plannerOf(cluster) || 1).node?.status(0) ?? {};
  return voters;
}

const heldBy = (cluster: SimulatedCluster, id: number) => mapOf(cluster)?.tabletsOn(id) ?? [];

/** The tablets in the files of a node. */
function onDisk(cluster: SimulatedCluster, id: number): number[] {
  const names = cluster.machine(id).disk.mount().list('/data/groups') ?? [];
  return names.map(Number).filter((group) => group > 0);
}

/** How many tablets each running node leads. */
function leadsOf(cluster: SimulatedCluster): number[] {
  return cluster.machines.map(({ node }) => node?.status(0).leads ?? 0);
}

test('a node that joins gets its share, also if whoever plans dies meanwhile; then nothing moves any more', async () => {
  const setting = await open(1, { joining: [4] });
  const { cluster } = setting;
  await cluster.run(cluster.sleep(4 * EVERY_MS));
  assert.is(mapOf(cluster)?.intents.size, 0, 'an even cluster stays as it is');
  await cluster.run(cluster.start(4));
  await until(cluster, () => (mapOf(cluster)?.intents.size ?? 0) > 0, 'a move begins');
  assert.ok((mapOf(cluster)?.intents.size ?? 0) <= balance.maxMoves);
  const planner = plannerOf(cluster);
  cluster.cutPower(planner);
  await cluster.run(cluster.sleep(1000));
  await cluster.run(cluster.start(planner));
  const isEven = () => mapOf(cluster)?.intents.size === 0 && heldBy(cluster, 4).length >= 2;
  await until(cluster, isEven, 'the new node has its share');
  const before = [...(mapOf(cluster)?.tablets.values() ?? [])];
  for (const { replicas } of before) assert.is(replicas.length, 3);
  await cluster.run(cluster.sleep(10 * EVERY_MS));
  assert.equal([...(mapOf(cluster)?.tablets.values() ?? [])], before);
  await close(setting);
});

test('a dead node is replaced after its time, not before; when it is back it has nothing old, and gets a share', async () => {
  const setting = await open(2);
  const { cluster, client } = setting;
  const dead = plannerOf(cluster) === 2 ? 3 : 2;
  const held = heldBy(cluster, dead);
  cluster.cutPower(dead);
  await cluster.run(cluster.sleep(DEAD_AFTER_MS - 1000));
  assert.equal(heldBy(cluster, dead), held, 'it may come back');
  assert.is(mapOf(cluster)?.intents.size, 0);
  const { nodes } = await cluster.run(client.balance());
  assert.is(nodes.find(({ nodeId }) => nodeId === dead)?.condition, 'silent');
  await until(cluster, () => heldBy(cluster, dead).length === 0, 'its replicas are replaced');
  for (const { replicas } of mapOf(cluster)?.tablets.values() ?? []) assert.is(replicas.length, 3);
  await cluster.run(cluster.start(dead));
  await until(cluster, () => heldBy(cluster, dead).length > 0, 'it gets some again');
  await until(cluster, () => mapOf(cluster)?.intents.size === 0, 'the moves end');
  await until(
    cluster,
    () => onDisk(cluster, dead).every((id) => heldBy(cluster, dead).includes(id)),
    'the old ones are gone',
  );
  await close(setting);
});

test('while it is off nothing is replaced or evened out, and it says what it would do; nodes that drain are emptied', async () => {
  const setting = await open(3, { size: 5 });
  const { cluster, client } = setting;
  assert.is((await cluster.run(client.balance('off'))).changed, true);
  assert.is((await cluster.run(client.balance('off'))).changed, false);
  const dead = plannerOf(cluster) === 2 ? 3 : 2;
  const held = heldBy(cluster, dead);
  cluster.cutPower(dead);
  await cluster.run(cluster.sleep(2 * DEAD_AFTER_MS));
  assert.equal(heldBy(cluster, dead), held);
  const shown = await cluster.run(client.balance());
  assert.is(shown.isOn, false);
  assert.is(shown.nodes.find(({ nodeId }) => nodeId === dead)?.condition, 'dead');
  const repairs = shown.steps.filter(
    ({ reason, state, from }) => reason === 'repair' && state === 'next' && from === dead,
  );
  assert.equal(
    repairs.map(({ kind }) => kind),
    ['vote', ...held.map(() => 'move')],
  );
  const drained = [1, 4, 5].find((id) => id !== plannerOf(cluster)) ?? 0;
  const whole = heldBy(cluster, drained).filter((id) => !held.includes(id));
  await cluster.run(client.drainNode(drained));
  await until(cluster, () => whole.every((id) => !heldBy(cluster, drained).includes(id)), 'it is emptied');
  // Whoever was off stays off with another leader.
  cluster.cutPower(plannerOf(cluster));
  await cluster.run(cluster.sleep(3000));
  assert.is((await cluster.run(client.balance())).isOn, false);
  for (const { id, node } of cluster.machines) if (!node) await cluster.run(cluster.start(id));
  assert.is((await cluster.run(client.balance('on'))).changed, true);
  await close(setting);
});

test('a tablet without a quorum is left alone: its members must come back', async () => {
  const setting = await open(4, { size: 5 });
  const { cluster } = setting;
  const { replicas = [] } = mapOf(cluster)?.tablets.get(1) ?? {};
  const gone = replicas
    .map(({ node }) => node)
    .filter((id) => id !== plannerOf(cluster))
    .slice(0, 2);
  for (const id of gone) cluster.cutPower(id);
  await cluster.run(cluster.sleep(2 * DEAD_AFTER_MS));
  assert.equal(mapOf(cluster)?.tablets.get(1)?.replicas, replicas);
  assert.not.ok(mapOf(cluster)?.intents.has(1));
  for (const id of gone) await cluster.run(cluster.start(id));
  await until(cluster, () => mapOf(cluster)?.intents.size === 0, 'the moves end');
  await close(setting);
});

test('leaders are spread; a node that drains leads nothing, the map neither, and leads again when it is back', async () => {
  const setting = await open(5, { size: 3 });
  const { cluster, client } = setting;
  await until(cluster, () => leadsOf(cluster).every((count) => count >= 1 && count <= 2), 'each leads some');
  const drained = plannerOf(cluster);
  await cluster.run(client.drainNode(drained));
  await until(
    cluster,
    () => plannerOf(cluster) !== drained && plannerOf(cluster) > 0 && leadsOf(cluster)[drained - 1] === 0,
    'it leads nothing',
  );
  assert.is(heldBy(cluster, drained).length, 3, 'there is no other node to take its replicas');
  await cluster.run(cluster.machine(drained).node?.close() ?? Promise.resolve());
  await cluster.run(cluster.start(drained));
  await cluster.run(client.drainNode(drained, false));
  await until(cluster, () => (leadsOf(cluster)[drained - 1] ?? 0) >= 1, 'it leads again');
  await close(setting);
});

test('a move whose new node dies first is given up, and the operator is told', async () => {
  const setting = await open(7);
  const { cluster, client } = setting;
  const { replicas = [] } = mapOf(cluster)?.tablets.get(1) ?? {};
  const from = replicas[0]?.node ?? 0;
  const to = [1, 2, 3, 4].find((id) => replicas.every(({ node }) => node !== id)) ?? 0;
  await cluster.run(client.balance('off'));
  const moving = codeOf(client.moveReplica({ tablet: 1, from, to }, { timeoutMs: 20_000 }));
  await until(cluster, () => mapOf(cluster)?.intents.has(1) === true, 'it is recorded');
  cluster.cutPower(to);
  // The node may have led the map: then the answer to whoever recorded the move is lost.
  const code = await cluster.run(moving, 60_000);
  assert.ok(['CHANGE_CONFLICT', 'MEMBER_UNREACHABLE'].includes(code), code);
  await until(cluster, () => mapOf(cluster)?.intents.size === 0, 'it is given up');
  assert.equal(mapOf(cluster)?.tablets.get(1)?.replicas, replicas);
  await cluster.run(cluster.start(to));
  await cluster.run(cluster.sleep(2000));
  assert.is(await cluster.run(codeOf(client.moveReplica({ tablet: 1, from, to })), 60_000), 'ok');
  await close(setting);
});

test('a node whose disk is full gets nothing, from the balancer and from an operator', async () => {
  const full = new Set<number>();
  const fault = ({ kind, path }: FileOperation, id: number) => {
    if (!full.has(id)) return undefined;
    if (kind === 'write') return 'short';
    return kind === 'create' || kind === 'mkdir' ? systemError('ENOSPC', kind, path) : undefined;
  };
  const setting = await open(6, { fault });
  const { cluster, client } = setting;
  const { replicas = [] } = mapOf(cluster)?.tablets.get(1) ?? {};
  const [from = 0] = replicas.map(({ node }) => node);
  const to = [1, 2, 3, 4].find((id) => replicas.every(({ node }) => node !== id)) ?? 0;
  full.add(to);
  await cluster.run(client.balance('off'));
  await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
  const becomes = async (condition: string) => {
    for (;;) {
      const { nodes } = await client.balance();
      if (nodes.find(({ nodeId }) => nodeId === to)?.condition === condition) return;
      await cluster.sleep(200);
    }
  };
  await cluster.run(becomes('full'), 60_000);
  const move = () => cluster.run(codeOf(client.moveReplica({ tablet: 1, from, to })), 60_000);
  assert.is(await move(), 'CHANGE_INVALID');
  full.delete(to);
  await cluster.run(becomes('takesPart'), 60_000);
  assert.is(await move(), 'ok');
  await close(setting);
});

test('nodes that vote on the map and die for good are replaced, one after the other: a majority of the first may go', async () => {
  const setting = await open(8, { size: 5, joining: [4, 5] });
  const { cluster, client } = setting;
  for (const id of [4, 5]) await cluster.run(cluster.start(id));
  await until(cluster, () => mapOf(cluster)?.nodes.size === 5, 'they have joined');
  assert.equal(votersOf(cluster), [1, 2, 3]);
  // Whoever plans dies first.
  const gone = plannerOf(cluster);
  const next = [1, 2, 3].find((id) => id !== gone) ?? 0;
  for (const dead of [gone, next]) {
    const before = votersOf(cluster);
    cluster.cutPower(dead);
    await cluster.run(cluster.sleep(DEAD_AFTER_MS - 1000));
    assert.equal(votersOf(cluster), before, 'it may come back');
    await until(
      cluster,
      () => votersOf(cluster).length === 3 && !votersOf(cluster).includes(dead),
      'it is replaced',
    );
    await until(cluster, () => heldBy(cluster, dead).length === 0, 'its tablets are elsewhere');
  }
  assert.is(await cluster.run(codeOf(client.balance('off'))), 'ok', 'the map can be changed');
  assert.is((await cluster.run(client.balance('on'))).steps.filter(({ kind }) => kind === 'vote').length, 0);
  // Back without a vote.
  await cluster.run(cluster.start(gone));
  await until(
    cluster,
    () => heldBy(cluster, gone).length > 0 || mapOf(cluster)?.intents.size === 0,
    'it is back',
  );
  await cluster.run(cluster.sleep(4 * EVERY_MS));
  assert.not.ok(votersOf(cluster).includes(gone));
  await close(setting);
});

test('a node that drains gives up its vote, also while balancing is off and if it leads, and can be stopped and removed', async () => {
  const setting = await open(9, { joining: [4] });
  const { cluster, client } = setting;
  await cluster.run(cluster.start(4));
  await until(cluster, () => mapOf(cluster)?.nodes.size === 4, 'it has joined');
  await cluster.run(client.balance('off'));
  const drained = plannerOf(cluster);
  await cluster.run(client.drainNode(drained));
  await until(
    cluster,
    () => !votersOf(cluster).includes(drained) && heldBy(cluster, drained).length === 0,
    'it has neither vote nor tablets',
  );
  assert.equal(
    votersOf(cluster),
    [1, 2, 3, 4].filter((id) => id !== drained),
  );
  await cluster.run(cluster.machine(drained).node?.close() ?? Promise.resolve());
  cluster.kill(drained);
  await cluster.run(client.changeMembers([{ type: 'remove', node: drained }]), 60_000);
  await until(cluster, () => mapOf(cluster)?.nodes.size === 3, 'the map has forgotten it');
  await close(setting);
});

test('one that votes and holds nothing any more is removed at once; another one votes in its place', async () => {
  const setting = await open(10, { size: 5, joining: [4, 5] });
  const { cluster, client } = setting;
  for (const id of [4, 5]) await cluster.run(cluster.start(id));
  await until(cluster, () => mapOf(cluster)?.nodes.size === 5, 'they have joined');
  const removed = plannerOf(cluster);
  await cluster.run(
    (async () => {
      await client.drainNode(removed);
      for (;;) {
        const code = await codeOf(client.changeMembers([{ type: 'remove', node: removed }]));
        if (code === 'ok') return;
        assert.ok(['CHANGE_INVALID', 'CHANGE_PENDING', 'CHANGE_CONFLICT', 'NO_LEADER'].includes(code), code);
        await cluster.sleep(50);
      }
    })(),
    90_000,
  );
  await cluster.run(cluster.machine(removed).node?.close() ?? Promise.resolve());
  cluster.kill(removed);
  await until(
    cluster,
    () => votersOf(cluster).length === 3 && mapOf(cluster)?.nodes.size === 4,
    'three vote',
  );
  assert.not.ok(votersOf(cluster).includes(removed));
  await close(setting);
});

test.run();
