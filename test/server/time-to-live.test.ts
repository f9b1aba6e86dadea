/** Lives of keys on whole nodes: over kills, pauses and restarts of leaders, at every read level. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

const ELECTION_MAX_MS = 600;
const config = {
  raft: { heartbeatMs: 60, electionTimeoutMinMs: 300, electionTimeoutMaxMs: ELECTION_MAX_MS },
};

async function started(seed: number, size = 3): Promise<SimulatedCluster> {
  const cluster = new SimulatedCluster(seed, { size, config, hasSecret: false });
  await cluster.run(cluster.startAll());
  return cluster;
}

/** How long after its call a put with a life is seen to be over, in ms, with what happens meanwhile. */
async function livedMs(
  cluster: SimulatedCluster,
  ttlMs: number,
  meanwhile: () => Promise<void>,
): Promise<{ readonly leastMs: number; readonly mostMs: number }> {
  const client = cluster.client();
  const calledMs = cluster.nowMs;
  await cluster.run(client.put('key', 'value', { ttlMs }));
  const returnedMs = cluster.nowMs;
  const events = meanwhile();
  let seenMs = returnedMs;
  for (;;) {
    const level = cluster.world.random.pick(['linearizable', 'lease', 'follower'] as const);
    const found = await cluster.run(client.get('key', { level }));
    if (!found) break;
    seenMs = cluster.nowMs;
    await cluster.run(cluster.sleep(15));
  }
  const goneMs = cluster.nowMs;
  // It does not come back, on no node and at no level.
  for (const { endpoint, node } of cluster.machines)
    if (node) {
      assert.not(await cluster.run(client.get('key', { level: 'follower', endpoint })), 'follower');
      assert.not(await cluster.run(client.get('key', { level: 'stale', endpoint })), 'stale');
    }
  await cluster.run(events);
  await cluster.run(client.close());
  assert.equal(cluster.failures, []);
  return { leastMs: goneMs - calledMs, mostMs: seenMs - returnedMs };
}

test('a leader that stays: a key lives as long as it should', async () => {
  const cluster = await started(1);
  const { leastMs, mostMs } = await livedMs(cluster, 3000, async () => {});
  assert.ok(leastMs >= 3000 && mostMs <= 3040, `${leastMs} to ${mostMs} ms`);
});

test('each change of leader lengthens a life by less than an election timeout and a second', async () => {
  for (const seed of [1, 2]) {
    const cluster = await started(seed);
    let changes = 0;
    const { leastMs, mostMs } = await livedMs(cluster, 6000, async () => {
      for (changes = 0; changes < 3; changes++) {
        await cluster.sleep(1500);
        const { id } = cluster.leadingMachine ?? cluster.machine(1);
        cluster.kill(id);
        await cluster.sleep(1000);
        await cluster.start(id);
      }
    });
    assert.ok(leastMs >= 6000, `seed ${seed}: ${leastMs} ms`);
    assert.ok(
      mostMs < 6000 + changes * (ELECTION_MAX_MS + 1000),
      `seed ${seed}: ${mostMs} ms, ${changes} changes`,
    );
  }
});

test('a leader that is stopped and goes on, deposed meanwhile: nothing is over early', async () => {
  for (const seed of [1, 2]) {
    const cluster = await started(seed);
    const { leastMs, mostMs } = await livedMs(cluster, 5000, async () => {
      await cluster.sleep(1000);
      const { process } = cluster.leadingMachine ?? cluster.machine(1);
      process?.pause();
      await cluster.sleep(2000);
      process?.resume('timers first');
    });
    assert.ok(leastMs >= 5000 && mostMs < 5000 + ELECTION_MAX_MS + 1000, `${leastMs} to ${mostMs} ms`);
  }
});

test('a cluster that is down as a whole: the time stands still', async () => {
  const cluster = await started(1);
  const { leastMs, mostMs } = await livedMs(cluster, 4000, async () => {
    await cluster.sleep(1000);
    cluster.cutPowerOfAll();
    await cluster.sleep(20_000);
    await cluster.startAll();
  });
  assert.ok(
    leastMs >= 4000 + 20_000 && mostMs < 4000 + 20_000 + 2 * (ELECTION_MAX_MS + 1000),
    `${leastMs} to ${mostMs} ms`,
  );
});

test('wall clocks do not matter', async () => {
  const cluster = await started(1);
  const { leastMs, mostMs } = await livedMs(cluster, 2000, async () => {
    await cluster.sleep(500);
    for (const { process } of cluster.machines) process?.clock.jumpWall(3_600_000);
    await cluster.sleep(500);
    for (const { process } of cluster.machines) process?.clock.jumpWall(-7_200_000);
  });
  assert.ok(leastMs >= 2000 && mostMs <= 2040, `${leastMs} to ${mostMs} ms`);
});

test('a group whose keys have no deadlines stays quiet; one with a deadline does not, until it is over', async () => {
  const cluster = new SimulatedCluster(1, { config: { raft: { ...config.raft, quietAfterMs: 1000 } } });
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  const lastIndex = () => cluster.leader?.status(0).lastIndex ?? 0;
  await cluster.run(client.put('plain', 'value'));
  await cluster.run(cluster.sleep(3000));
  const before = lastIndex();
  await cluster.run(cluster.sleep(10_000));
  assert.equal([lastIndex(), cluster.leader?.status(0).quietGroups], [before, 1]);
  await cluster.run(client.put('key', 'value', { ttlMs: 3000 }));
  await cluster.run(cluster.sleep(10_000));
  assert.equal([lastIndex() > before, cluster.leader?.status(0).quietGroups], [true, 1]);
  assert.not(await cluster.run(client.get('key')));
});

test('a refresh in time keeps a key for ever; the calls of the client', async () => {
  const cluster = await started(2);
  const client = cluster.client();
  await cluster.run(client.put('key', '1', { ttlMs: 1000 }));
  for (let i = 0; i < 8; i++) {
    await cluster.run(cluster.sleep(700));
    const { changed } = await cluster.run(
      i % 2 ? client.expire('key', 1000) : client.expire('key', 1000, { when: 'ifLater' }),
    );
    assert.ok(changed, `round ${i}`);
  }
  const found = await cluster.run(client.get('key'));
  assert.is(found?.value.toString(), '1');
  const ttl = await cluster.run(client.ttl('key'));
  assert.ok((ttl?.remainingMs ?? 0) > 500 && (ttl?.remainingMs ?? 0) <= 1000);
  assert.equal((await cluster.run(client.increment('key', { by: 41n }))).value, 42n);
  assert.equal((await cluster.run(client.persist('key'))).changed, true);
  assert.equal((await cluster.run(client.persist('key'))).changed, false);
  assert.is((await cluster.run(client.ttl('key')))?.remainingMs, undefined);
  assert.is(await cluster.run(client.ttl('other')), undefined);
  assert.equal((await cluster.run(client.expire('other', 5))).changed, false);
  await cluster.run(client.put('text', 'x'));
  const code = await cluster.run(client.increment('text').catch((error: { code: string }) => error.code));
  assert.is(code, 'NOT_A_NUMBER');
  for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 49])
    assert.is(
      await cluster.run(client.put('a', 'b', { ttlMs: bad }).catch((error: { code: string }) => error.code)),
      'INVALID_REQUEST',
    );
  await cluster.run(client.close());
});

test.run();
