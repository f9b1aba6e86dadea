/** Members come, are promoted, lead and go, in whole simulated clusters. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient, ReadLevel } from '../../src/client/index.js';
import { errorCode } from '../../src/env/errors.js';
import { Direct } from '../../src/sim/cluster/direct.js';
import { SECRET } from '../../src/sim/cluster/secrets.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';
import { SimDisk } from '../../src/sim/world/disk.js';

const KEYS = 200;

interface Setting {
  readonly cluster: SimulatedCluster;
  readonly client: RaftreeClient;
}

/** Three nodes with some keys, and a fourth that waits to be added. */
async function open(seed: number, options: SimulatedClusterOptions = {}): Promise<Setting> {
  const cluster = new SimulatedCluster(seed, { size: 4, joining: [4], ...options });
  for (const id of [1, 2, 3, 4]) await cluster.run(cluster.start(id));
  const client = cluster.client();
  await cluster.run(fill(client, 'first'));
  return { cluster, client };
}

async function fill(client: RaftreeClient, value: string): Promise<void> {
  await Promise.all(Array.from({ length: KEYS }, (_, i) => client.put(`key ${i}`, `${value} ${i}`)));
}

async function until({ cluster }: Setting, condition: () => boolean, what: string): Promise<void> {
  const { scheduler } = cluster.world;
  assert.ok(await scheduler.runUntil(condition, scheduler.nowMs() + 60_000), `it happened that ${what}`);
}

async function add(setting: Setting, node: number): Promise<void> {
  const { cluster, client } = setting;
  await cluster.run(client.changeMembers([{ type: 'addLearner', node, ...cluster.machine(node).addresses }]));
  await until(setting, () => isEqual(cluster, node), 'the learner caught up');
}

function isEqual(cluster: SimulatedCluster, node: number): boolean {
  const applied = cluster.nodes[node - 1]?.status(0).appliedIndex ?? 0;
  return applied > 0 && applied === cluster.leader?.status(0).lastIndex;
}

async function recordsOf({ cluster, client }: Setting, node: number, level: ReadLevel): Promise<string[]> {
  const read = async () => {
    const records: string[] = [];
    const endpoint = cluster.machine(node).addresses.client;
    for await (const { key, value, version } of client.scan({ level, endpoint })) {
      records.push(`${key} ${value} @${version}`);
    }
    return records;
  };
  return cluster.run(read());
}

function membersOf(cluster: SimulatedCluster): { voters: readonly number[]; learners: readonly number[] } {
  const { voters = [], learners = [] } = cluster.leader?.status(0) ?? {};
  return { voters, learners };
}

test('a node joins as a learner, is promoted, leads, and the first leader goes', async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const setting = await open(seed);
    const { cluster, client } = setting;
    await add(setting, 4);
    assert.equal(membersOf(cluster), { voters: [1, 2, 3], learners: [4] });
    assert.equal(await recordsOf(setting, 4, 'stale'), await recordsOf(setting, 1, 'follower'));
    await cluster.run(client.changeMembers([{ type: 'promote', node: 4 }]));
    await cluster.run(client.transferLeadership(1));
    assert.is(cluster.leader?.config.nodeId, 1);
    await cluster.run(client.changeMembers([{ type: 'remove', node: 1 }]));
    await cluster.run(client.put('key 0', 'after the leader went'));
    assert.equal(membersOf(cluster), { voters: [2, 3, 4], learners: [] });
    await cluster.run(client.transferLeadership(4));
    assert.is(cluster.leader?.config.nodeId, 4);
    await cluster.run(fill(client, 'second'));
    for (const id of [2, 3]) {
      await until(setting, () => isEqual(cluster, id), `node ${id} follows`);
      assert.equal(await recordsOf(setting, id, 'stale'), await recordsOf(setting, 4, 'follower'));
    }
    assert.equal(cluster.failures, []);
  }
});

test('a removed node disturbs nobody, and nobody needs it', async () => {
  const { cluster, client } = await open(4);
  await cluster.run(client.transferLeadership(2));
  await cluster.run(client.changeMembers([{ type: 'remove', node: 1 }]));
  await cluster.run(client.put('a', '1'));
  const term = cluster.leader?.status(0).term;
  await cluster.world.scheduler.runFor(30_000);
  assert.is(cluster.leader?.status(0).term, term, 'it deposed nobody');
  cluster.kill(1);
  await cluster.run(client.put('a', '2'));
  assert.equal(cluster.failures, []);
});

test('whoever joined is known by the log alone: all restart, and it is still a member', async () => {
  const setting = await open(5);
  const { cluster, client } = setting;
  await add(setting, 4);
  await cluster.run(client.changeMembers([{ type: 'promote', node: 4 }]));
  cluster.cutPowerOfAll();
  for (const id of [1, 2, 3, 4]) await cluster.run(cluster.start(id));
  await cluster.run(client.put('a', '1'));
  assert.equal(membersOf(cluster), { voters: [1, 2, 3, 4], learners: [] });
  await cluster.run(client.transferLeadership(4));
  await cluster.run(
    client.changeMembers([
      { type: 'remove', node: 1 },
      { type: 'remove', node: 2 },
    ]),
  );
  cluster.kill(1);
  cluster.kill(2);
  await cluster.run(client.put('a', '2'));
  assert.equal(membersOf(cluster), { voters: [3, 4], learners: [] });
  assert.equal(cluster.failures, []);
});

test('a node that is no member needs addresses to become one', async () => {
  const { cluster, client } = await open(9);
  const direct = new Direct(cluster.world.start('operator', new SimDisk()).env, SECRET);
  const leader = cluster.machine(cluster.leader?.config.nodeId ?? 0).addresses.client;
  const addresses = { clientAddress: '', peerAddress: '' };
  for (const type of ['addVoter', 'addLearner'] as const) {
    const changes = [{ type, nodeId: 4, ...addresses }];
    const request = { type: 'changeMembers' as const, expectedIndex: undefined, force: true, changes };
    assert.is(await cluster.run(direct.ask(leader, request, 5000)), 'CHANGE_INVALID');
    const early = client.changeMembers([{ type, node: 4, client: '', peer: '' }]).catch(errorCode);
    assert.is(await cluster.run(early), 'INVALID_REQUEST');
  }
  await cluster.run(direct.close());
  assert.equal(membersOf(cluster), { voters: [1, 2, 3], learners: [] });
});

test('a change that was made for another configuration is refused, on the wire and after a restart', async () => {
  const setting = await open(10);
  const { cluster, client } = setting;
  const direct = new Direct(cluster.world.start('operator', new SimDisk()).env, SECRET);
  const configurationIndex = () => cluster.leader?.status(0).configurationIndex ?? -1;
  /** What the leader says to "node 4 is to be a learner". */
  const ask = async (expectedIndex: number | undefined) => {
    const leader = cluster.leader?.config.nodeId ?? 0;
    const { client: clientAddress, peer: peerAddress } = cluster.machine(4).addresses;
    const changes = [{ type: 'addLearner' as const, nodeId: 4, clientAddress, peerAddress }];
    const answer = await cluster.run(
      direct.ask(
        cluster.machine(leader).addresses.client,
        { type: 'changeMembers', expectedIndex, force: false, changes },
        5000,
      ),
    );
    return typeof answer === 'string' ? answer : answer.type;
  };
  const first = configurationIndex();
  assert.is(await ask(first + 1), 'CHANGE_CONFLICT');
  assert.is(await ask(first), 'done');
  const second = configurationIndex();
  assert.ok(second > first);
  await cluster.run(client.changeMembers([{ type: 'remove', node: 4 }]));
  assert.is(await ask(first), 'CHANGE_CONFLICT', 'its repetition');
  assert.is(await ask(second), 'CHANGE_CONFLICT');
  assert.equal(membersOf(cluster), { voters: [1, 2, 3], learners: [] });
  const third = configurationIndex();
  cluster.cutPowerOfAll();
  for (const id of [1, 2, 3, 4]) await cluster.run(cluster.start(id));
  await cluster.run(client.put('a', '1'));
  assert.is(configurationIndex(), third);
  assert.is(await ask(second), 'CHANGE_CONFLICT');
  assert.is(await ask(undefined), 'done');
  await cluster.run(direct.close());
  assert.equal(cluster.failures, []);
});

test('a joint change: two come and two go at once', async () => {
  const setting = await open(6, { size: 5, joining: [4, 5] });
  const { cluster, client } = setting;
  await cluster.run(cluster.start(5));
  await add(setting, 4);
  await add(setting, 5);
  await cluster.run(
    client.changeMembers([
      { type: 'promote', node: 4 },
      { type: 'promote', node: 5 },
      { type: 'remove', node: 1 },
      { type: 'demote', node: 2 },
    ]),
  );
  await cluster.run(client.put('a', '1'));
  assert.equal(membersOf(cluster), { voters: [3, 4, 5], learners: [2] });
  assert.equal(cluster.leader?.status(0).outgoing, []);
  assert.equal(cluster.failures, []);
});

test('a read by a learner at level follower sees what was acknowledged before', async () => {
  const setting = await open(7);
  const { cluster, client } = setting;
  await add(setting, 4);
  for (let i = 0; i < 20; i++) {
    await cluster.run(client.put('a', `${i}`));
    const found = await cluster.run(client.get('a', { level: 'follower', endpoint: 'n4:7001' }));
    assert.is(found?.value.toString(), `${i}`);
    assert.is((await cluster.run(client.get('a', { level: 'lease' })))?.value.toString(), `${i}`);
  }
});

const SMALL_LOG = {
  config: {
    storage: {
      maxRaftLogBytes: 65_536,
      trailingEntries: 20,
      snapshotChunkBytes: 4096,
      raftSegmentBytes: 65_536,
    },
  },
} as const;

async function fillLarge(client: RaftreeClient, round: number): Promise<void> {
  const value = Buffer.alloc(2000, `${round}`);
  await Promise.all(Array.from({ length: 100 }, (_, i) => client.put(`large ${i}`, value)));
}

test('a node that was away longer than the log reaches back gets a snapshot', async () => {
  const setting = await open(8, SMALL_LOG);
  const { cluster, client } = setting;
  cluster.cutPower(3);
  for (let round = 0; round < 4; round++) await cluster.run(fillLarge(client, round));
  await cluster.run(cluster.start(3));
  await until(setting, () => isEqual(cluster, 3), 'it caught up');
  assert.equal(await recordsOf(setting, 3, 'stale'), await recordsOf(setting, 1, 'follower'));
  const names = cluster.machine(3).disk.mount().list('/data/groups/1') ?? [];
  assert.is(names.length, 1, `${names}`);
  assert.not.equal(names, ['state-0-0']);
  cluster.cutPower(3);
  await cluster.run(cluster.start(3));
  await cluster.run(client.put('after', 'all'));
  await until(setting, () => isEqual(cluster, 3), 'it caught up again');
  assert.equal(await recordsOf(setting, 3, 'stale'), await recordsOf(setting, 1, 'follower'));
  assert.equal(cluster.failures, []);
});

test('power cuts while a snapshot travels: the old state or the new one, and in the end the same as the others', async () => {
  let moved = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const setting = await open(seed, SMALL_LOG);
    const { cluster, client } = setting;
    const { scheduler, random } = cluster.world;
    cluster.cutPower(3);
    for (let round = 0; round < 4; round++) await cluster.run(fillLarge(client, round));
    await cluster.run(cluster.start(3));
    for (let cut = 0; cut < 5; cut++) {
      await scheduler.runFor(random.float() * 700);
      const id = random.chance(0.8) ? 3 : (cluster.leader?.config.nodeId ?? 1);
      cluster.cutPower(id);
      await cluster.run(cluster.start(id));
    }
    await cluster.run(client.put('after', 'all'));
    await until(setting, () => isEqual(cluster, 3), 'it caught up');
    const expected = await recordsOf(setting, 1, 'follower');
    assert.equal(await recordsOf(setting, 3, 'stale'), expected, `seed ${seed}`);
    assert.equal(cluster.failures, [], `seed ${seed}`);
    if (!cluster.machine(3).disk.mount().list('/data/groups/1').includes('state-0-0')) moved++;
  }
  assert.ok(moved > 3, `${moved} took a snapshot over`);
});

test.run();
