/** A cluster that began with one tablet gets a map with its first split, without copying data. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { parseNodeConfig } from '../../src/server/config.js';
import { MapBirth } from '../../src/server/map-birth.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { begun, codeOf, keysOf, RAFT } from '../support/tablet-cluster.js';

test('a cluster of one tablet is split: same data, one map, each write once; nodes come back as they were', async () => {
  const cluster = await begun(undefined, 3);
  const client = cluster.client(60_000, { window: 8 });
  await cluster.run(
    (async () => {
      for (const key of ['apple', 'grape', 'nut', 'plum']) await client.put(key, key);
      let isOver = false;
      let last = 0;
      const writer = (async () => {
        for (; !isOver; last++) {
          await Promise.all([client.append('grape', ` ${last}`), client.append('nut', ` ${last}`)]);
          await cluster.sleep(20);
        }
      })();
      await cluster.sleep(300);
      assert.equal(await client.splitTablet('lime'), { tablet: 1, children: [5, 6] });
      await cluster.sleep(300);
      isOver = true;
      await writer;
      const written = Array.from({ length: last }, (_, i) => ` ${i}`).join('');
      const check = async () => {
        const fresh = cluster.client(60_000);
        assert.equal(await keysOf(fresh.scan()), ['apple', 'grape', 'nut', 'plum']);
        for (const key of ['grape', 'nut'])
          assert.is((await fresh.get(key))?.value.toString(), key + written);
        const { tablets, nodes } = await fresh.tablets();
        assert.equal(
          tablets.map(({ id, generation, replicas }) => [id, generation, replicas]),
          [
            [5, 2, [1, 2, 3]],
            [6, 2, [1, 2, 3]],
          ],
        );
        assert.is(nodes.length, 3);
        await fresh.close();
      };
      await check();
      await cluster.sleep(3000);
      for (const id of [1, 2, 3])
        assert.is((await client.status(`n${id}:7001`)).groups, 3, 'the first tablet has gone');
      cluster.cutPowerOfAll();
      await cluster.startAll();
      await check();
      await client.close();
    })(),
    400_000,
  );
  await cluster.run(cluster.closeAll());
});

test('members that are away, or have nothing yet, or are of an earlier version: no map, and the answer names them', async () => {
  const cluster = new SimulatedCluster(7, { size: 4, joining: [4], config: { raft: RAFT } });
  await cluster.run(Promise.all([1, 2, 3].map((id) => cluster.start(id))));
  const client = cluster.client(60_000);
  const refusal = async () => String(await client.splitTablet('m').catch((error: unknown) => error));
  await cluster.run(
    (async () => {
      await client.put('a', 'v');
      const leader = (await client.status()).leaderId;
      const away = leader === 3 ? 2 : 3;
      cluster.kill(away);
      assert.match(await refusal(), new RegExp(`node ${away} cannot be asked.*all members must be there`));
      await cluster.start(away);
      await cluster.start(4);
      await client.changeMembers([{ type: 'addLearner', node: 4, ...cluster.machine(4).addresses }]);
      assert.match(await refusal(), /one of the members is a learner|one of its members is a learner/);
      await client.put('z', 'v');
      for (const id of [1, 2, 3, 4])
        assert.is((await client.status(`n${id}:7001`)).groups, 1, 'nothing has begun');
      await client.close();
    })(),
    200_000,
  );
  await cluster.run(cluster.closeAll());

  const answers = { 2: 'MEMBER_UNREACHABLE', 3: 'UNSUPPORTED' } as const;
  let promised = 0;
  const replica = { role: 'leader', leader: 1, lastIndex: 9, configuration: configurationOf([1, 2, 3]) };
  const birth = new MapBirth({
    env: cluster.host('client').env,
    config: parseNodeConfig(cluster.config(1), 'test', '/'),
    tablet: () => ({ replica }) as never,
    meta: () => undefined,
    calls: { call: (node) => Promise.reject(new RaftreeError(answers[node as 2 | 3], 'no')) },
    isConnected: () => true,
    refusal: () => undefined,
    promise: () => promised++,
    joined: async () => {},
    onFault: () => {},
  });
  const problem = String(await birth.begin().catch((error: unknown) => error));
  assert.match(problem, /node 3 runs an earlier version|no; all members must be there/);
  assert.is(promised, 0);
  assert.is(birth.promise(), true);
  assert.is(promised, 1, 'durable before it is answered');
  replica.lastIndex = 0;
  assert.throws(() => birth.promise(), /it has nothing of the tablet yet/);
});

test('a node that joins registers itself when there is a map, and is given tablets', async () => {
  const cluster = new SimulatedCluster(8, { size: 4, joining: [4], config: { raft: RAFT } });
  await cluster.run(cluster.startAll());
  const client = cluster.client(60_000);
  const groups = async () => (await client.status('n4:7001')).groups;
  await cluster.run(
    (async () => {
      await client.put('a', 'v');
      await client.put('z', 'v');
      await cluster.sleep(2000);
      assert.is(await groups(), 1, 'it waits for an operator, as ever');
      assert.is((await client.status('n4:7001')).configurationIndex, 0);
      await client.splitTablet('m');
      for (let i = 0; i < 50 && (await client.tablets()).nodes.length < 4; i++) await cluster.sleep(200);
      assert.is((await client.tablets()).nodes.length, 4);
      await cluster.sleep(1000);
      assert.is((await client.status('n4:7001')).tablets, 0);
      assert.equal(cluster.machine(4).disk.mount().list('/data/groups'), ['0']);
      cluster.cutPower(4);
      await cluster.start(4);
      await cluster.sleep(1000);
      await client.moveReplica({ tablet: 5, from: 1, to: 4 });
      assert.equal((await client.tablets()).tablets[0]?.replicas, [2, 3, 4]);
      assert.is((await client.get('a'))?.value.toString(), 'v');
      await client.close();
    })(),
    200_000,
  );
  await cluster.run(cluster.closeAll());
});

test('a member that is added while the map begins belongs to the map, too, or the map does not begin', async () => {
  for (let delayMs = 5.5; delayMs < 7.5; delayMs += 0.5) {
    const cluster = new SimulatedCluster(5, { size: 4, joining: [4], config: { raft: RAFT } });
    await cluster.run(cluster.startAll());
    const [client, other] = [cluster.client(), cluster.client()];
    const change = { type: 'addVoter', node: 4, ...cluster.machine(4).addresses } as const;
    await cluster.run(
      (async () => {
        await client.put('a', 'v');
        await client.put('z', 'v');
        const splitting = codeOf(other.splitTablet('m'));
        await cluster.sleep(delayMs);
        await Promise.all([codeOf(client.changeMembers([change])), splitting]);
        await cluster.sleep(2000);
        const { nodes, tablets } = await client.tablets();
        const members = nodes.map(({ nodeId }) => nodeId);
        for (const { id, replicas } of tablets)
          assert.ok(
            replicas.every((node) => members.includes(node)),
            `after ${delayMs} ms: tablet ${id} on ${replicas}, nodes ${members}`,
          );
        await Promise.all([client.close(), other.close()]);
      })(),
      200_000,
    );
    await cluster.run(cluster.closeAll());
  }
});

test('a first replica that leaves is gone for good, whenever its power fails, and the balancer replaces one that is dead', async () => {
  const balance = { everyMs: 300, deadAfterMs: 3000 };
  for (const [seed, delayMs] of [0, 8, 300].entries()) {
    const config = { raft: RAFT, balance };
    const cluster = new SimulatedCluster(20 + seed, { size: 4, joining: [4], config });
    await cluster.run(cluster.startAll());
    const client = cluster.client(60_000);
    const replicas = async () => (await client.tablets()).tablets[0]?.replicas;
    await cluster.run(
      (async () => {
        for (const key of ['a', 'b', 'c']) await client.put(key, key);
        await cluster.sleep(1000);
        await client.moveReplica({ tablet: 1, from: 1, to: 4 });
        await cluster.sleep(delayMs);
        cluster.cutPower(1);
        await cluster.sleep(500);
        await cluster.start(1);
        await cluster.sleep(2000);
        assert.equal(await replicas(), [2, 3, 4]);
        assert.equal(cluster.machine(1).disk.mount().list('/data/groups'), ['0']);
        cluster.cutPower(3);
        await cluster.sleep(15_000);
        assert.equal(await replicas(), [1, 2, 4], 'it is replaced');
        for (const key of ['a', 'b', 'c']) assert.is((await client.get(key))?.value.toString(), key);
        await cluster.start(3);
        await cluster.sleep(3000);
        assert.equal(cluster.machine(3).disk.mount().list('/data/groups'), ['0']);
        await client.close();
      })(),
      600_000,
    );
    assert.equal(cluster.failures, []);
    await cluster.run(cluster.closeAll());
  }
});

test('the only tablet moves to a node that waits to join: the map begins first, nothing is lost, what was there goes', async () => {
  const cluster = new SimulatedCluster(11, { size: 4, joining: [4], config: { raft: RAFT } });
  await cluster.run(Promise.all([1, 2, 3].map((id) => cluster.start(id))));
  const client = cluster.client(60_000, { window: 8 });
  const refusal = (order: { tablet: number; from: number; to: number }) => codeOf(client.moveReplica(order));
  const groupsOf = (id: number) => cluster.machine(id).disk.mount().list('/data/groups');
  const goes = async (id: number) => {
    for (let i = 0; i < 100 && groupsOf(id)?.includes('1'); i++) await cluster.sleep(100);
    assert.equal(groupsOf(id), ['0'], `node ${id}`);
  };
  await cluster.run(
    (async () => {
      for (const key of ['apple', 'nut']) await client.put(key, key);
      const from = (await client.status()).leaderId;
      assert.is(await refusal({ tablet: 1, from, to: 4 }), 'MEMBER_UNREACHABLE');
      await cluster.start(4);
      await cluster.sleep(1000);
      const other = from === 3 ? 2 : 3;
      assert.is(await refusal({ tablet: 1, from, to: other }), 'CHANGE_INVALID');
      assert.is(await refusal({ tablet: 2, from, to: 4 }), 'CHANGE_INVALID');
      assert.is(await refusal({ tablet: 1, from: 4, to: 4 }), 'CHANGE_INVALID');
      assert.is((await client.status()).groups, 1, 'nothing has begun');
      let isOver = false;
      let last = 0;
      const writer = (async () => {
        for (; !isOver; last++) {
          await Promise.all([client.append('apple', ` ${last}`), client.append('nut', ` ${last}`)]);
          await cluster.sleep(20);
        }
      })();
      const check = async () => {
        const written = Array.from({ length: last }, (_, i) => ` ${i}`).join('');
        for (const key of ['apple', 'nut'])
          assert.is((await client.get(key))?.value.toString(), key + written);
      };
      const replicas = async () => (await client.tablets()).tablets.map(({ id, replicas: on }) => [id, on]);
      const without = (id: number) => [1, 2, 3, 4].filter((each) => each !== id);
      // The leader itself.
      assert.is(await client.moveReplica({ tablet: 1, from, to: 4 }), true);
      assert.equal(await replicas(), [[1, without(from)]]);
      await goes(from);
      // One that is away, and comes back to find itself replaced.
      cluster.cutPower(other);
      await client.moveReplica({ tablet: 1, from: other, to: from });
      assert.equal(await replicas(), [[1, without(other)]]);
      await cluster.start(other);
      await goes(other);
      isOver = true;
      await writer;
      await check();
      cluster.cutPowerOfAll();
      await cluster.startAll();
      await check();
      await client.moveReplica({ tablet: 1, from: 4, to: other });
      await goes(4);
      await check();
      await client.splitTablet('lime');
      await check();
      assert.is((await client.tablets()).tablets.length, 2);
      const left = (await client.tablets()).tablets[0];
      await client.moveReplica({ tablet: left?.id ?? 0, from: other, to: 4 });
      await check();
      await client.close();
    })(),
    600_000,
  );
  assert.equal(cluster.failures, []);
  await cluster.run(cluster.closeAll());
});

test.run();
