/** Watches of whole nodes: what a client is told, over kills, restarts, snapshots, and nodes that fall behind. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import { HistoryGoneError } from '../../src/client/client-error.js';
import type { Watch } from '../../src/client/watch.js';
import { errorCode } from '../../src/env/errors.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';

const KIB = 1024;
const raft = { heartbeatMs: 60, electionTimeoutMinMs: 300, electionTimeoutMaxMs: 600 };
const limits = { maxValueBytes: 64 * KIB, maxRequestBytes: 256 * KIB };

async function started(seed: number, options: SimulatedClusterOptions = {}): Promise<SimulatedCluster> {
  const config = { raft, limits, ...(typeof options.config === 'object' ? options.config : {}) };
  const cluster = new SimulatedCluster(seed, { hasSecret: false, ...options, config });
  await cluster.run(cluster.startAll());
  return cluster;
}

/** Takes all changes as they come, as text. */
function recorded(watch: Watch): { readonly told: string[]; readonly ended: Promise<unknown> } {
  const told: string[] = [];
  const ended = (async () => {
    try {
      for await (const { type, key, value, version } of watch)
        told.push(`${version} ${type} ${key}${type === 'put' ? `=${value}` : ''}`);
      return undefined;
    } catch (error) {
      return error;
    }
  })();
  return { told, ended };
}

async function until(cluster: SimulatedCluster, holds: () => boolean, limitMs = 60_000): Promise<void> {
  const untilMs = cluster.nowMs + limitMs;
  while (!holds() && cluster.nowMs < untilMs) await cluster.run(cluster.sleep(20));
  assert.ok(holds(), 'it does not come to that');
}

/** Which node tells it. */
function watchedNode(cluster: SimulatedCluster): number {
  const told = cluster.machines.filter(({ node }) => (node?.watchers ?? 0) > 0);
  return told[0]?.id ?? 0;
}

test('the changes of a key, a prefix, a range, or of all keys: from now on, or since a version', async () => {
  const cluster = await started(1);
  const client = cluster.client();
  const { version: first } = await cluster.run(client.put('a/1', 'old'));
  // A node that has not applied it yet would tell it as a new one.
  await cluster.run(cluster.sleep(500));
  const watches = {
    all: client.watch(),
    since: client.watch({ from: first }),
    key: client.watch({ key: 'a/1' }),
    prefix: client.watch({ prefix: 'a/' }),
    range: client.watch({ range: { from: 'a/2', to: 'b' } }),
    below: client.watch({ range: { to: 'a/2' } }),
    ahead: client.watch({ from: first + 3 }),
  };
  await cluster.run(Promise.all(Object.values(watches).map(({ ready }) => ready)));
  const recordings = Object.entries(watches).map(([name, watch]) => [name, recorded(watch).told] as const);
  const { index } = await cluster.run(
    client.batch([
      { action: 'put', key: 'a/1', value: 'x' },
      { action: 'put', key: 'a/2', value: 'y' },
      { action: 'put', key: 'b/1', value: 'z' },
    ]),
  );
  await cluster.run(client.delete('a/2'));
  await cluster.run(client.put('mortal', 'm', { ttlMs: 200 }));
  await cluster.run(cluster.sleep(3000));
  const told = Object.fromEntries(recordings);
  const all = [`${index} put a/1=x`, `${index} put a/2=y`, `${index} put b/1=z`, `${index + 1} delete a/2`];
  assert.equal(told.all?.slice(0, 5), [...all, `${index + 2} put mortal=m`]);
  assert.match(told.all?.[5] ?? '', /^\d+ expire mortal$/);
  assert.equal(told.since, [`${first} put a/1=old`, ...(told.all ?? [])]);
  assert.equal(told.key, [all[0]]);
  assert.equal(told.prefix, [all[0], all[1], all[3]]);
  assert.equal(told.range, [all[1], all[3]]);
  assert.equal(told.below, [all[0]]);
  assert.equal(
    told.ahead,
    told.all?.filter((text) => Number.parseInt(text, 10) >= first + 3),
  );
  await cluster.run(client.close());
});

test('each change once, in order, without a gap: over kills, restarts and good stops of every node', async () => {
  for (const seed of [2]) {
    const cluster = await started(seed);
    const client = cluster.client();
    const watcher = cluster.client();
    const watch = watcher.watch({ prefix: 'k', bufferBytes: 300 });
    await cluster.run(watch.ready);
    const { told } = recorded(watch);
    const made: string[] = [];
    let isOver = false;
    const writing = (async () => {
      for (let i = 0; !isOver; i++) {
        const keys = Array.from({ length: 1 + (i % 9) }, (_, n) => `k${i}.${n}`);
        const value = 'v'.repeat(1 + (i % 50));
        const { index } = await client.batch(keys.map((key) => ({ action: 'put', key, value })));
        made.push(...keys.map((key) => `${index} put ${key}=${value}`));
      }
    })();
    let moves = 0;
    for (let round = 0; round < 6; round++) {
      await cluster.run(cluster.sleep(300));
      const id = watchedNode(cluster) || 1;
      if (round % 2 === 0) cluster.kill(id);
      else {
        const { node } = cluster.machine(id);
        await cluster.run(node?.close() ?? Promise.resolve());
        cluster.kill(id);
      }
      await cluster.run(cluster.sleep(1500));
      if (watchedNode(cluster) !== id) moves++;
      await cluster.run(cluster.start(id));
    }
    isOver = true;
    await cluster.run(writing);
    await until(cluster, () => told.length >= made.length);
    await cluster.run(cluster.sleep(500));
    assert.equal(told, made);
    assert.ok(moves >= 5 && made.length > 300, `${moves} moves, ${made.length} changes`);
    await cluster.run(Promise.all([client.close(), watcher.close()]));
  }
});

test('a write of many keys that was told in part goes on with the next key, told by another node', async () => {
  const cluster = await started(4);
  const client = cluster.client();
  const watcher = cluster.client();
  const watch = watcher.watch({ bufferBytes: 100 });
  await cluster.run(watch.ready);
  const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
  const { index } = await cluster.run(client.batch(keys.map((key) => ({ action: 'put', key, value: 'v' }))));
  const told: string[] = [];
  for (let i = 0; i < 7; i++) told.push(`${(await cluster.run(watch.next())).value?.key}`);
  assert.is(watch.resumeFrom, index);
  // The node tells others of its connection how far they have come.
  await cluster.run(cluster.sleep(12_000));
  cluster.kill(watchedNode(cluster));
  while (told.length < keys.length) told.push(`${(await cluster.run(watch.next())).value?.key}`);
  assert.equal(told, keys);
  await cluster.run(client.put('last', 'v'));
  const { value } = await cluster.run(watch.next());
  assert.is(`${value?.key}`, 'last');
  await until(cluster, () => Number(watch.resumeFrom ?? 0) > index + 1);
  await cluster.run(Promise.all([client.close(), watcher.close()]));
});

/** Changes of more bytes than the nodes keep. */
async function writeMuch(cluster: SimulatedCluster, client: RaftreeClient): Promise<void> {
  for (let i = 0; i < 80; i++) await cluster.run(client.put(`much${i % 7}`, 'x'.repeat(32 * KIB)));
}

test('a slow watcher holds nobody up, is told from where the changes are kept, and can start there', async () => {
  const cluster = await started(5, { config: { watch: { maxHistoryBytes: 1024 * KIB } } });
  const client = cluster.client();
  const slow = client.watch({ prefix: 'much' });
  const fast = recorded(client.watch({ prefix: 'much' }));
  await cluster.run(slow.ready);
  await writeMuch(cluster, client);
  await until(cluster, () => fast.told.length === 80);
  const { told, ended } = recorded(slow);
  const error = await cluster.run(ended);
  assert.ok(error instanceof HistoryGoneError, `${error}`);
  assert.is(error.code, 'HISTORY_GONE');
  assert.ok(told.length > 3 && told.length < 40, `${told.length} were sent ahead`);
  assert.equal(told, fast.told.slice(0, told.length));
  const again = recorded(client.watch({ prefix: 'much', from: error.resumeFrom }));
  await cluster.run(cluster.sleep(1000));
  const kept = fast.told.filter((text) => Number.parseInt(text, 10) >= Number(error.resumeFrom));
  assert.equal(again.told, kept);
  assert.ok(kept.length > 5);
  const memory = cluster.nodes.map((node) => node?.historyBytes ?? 0);
  assert.ok(Math.max(...memory) <= 1024 * KIB, `${memory}`);
  await cluster.run(client.close());
});

test('a watcher to whose keys nothing happens keeps its place while others are written', async () => {
  const cluster = await started(6, { config: { watch: { maxHistoryBytes: 1024 * KIB } } });
  const client = cluster.client();
  const watch = client.watch({ key: 'quiet' });
  await cluster.run(watch.ready);
  const { told, ended } = recorded(watch);
  await writeMuch(cluster, client);
  await cluster.run(cluster.sleep(12_000));
  cluster.kill(watchedNode(cluster));
  const { index } = await cluster.run(client.put('quiet', 'no more'));
  await until(cluster, () => told.length === 1);
  assert.equal(told, [`${index} put quiet=no more`]);
  await cluster.run(client.close());
  assert.is(errorCode(await cluster.run(ended)), 'CLIENT_CLOSED');
});

test('what one node does not keep any more another one does', async () => {
  const cluster = await started(7);
  const client = cluster.client();
  const { index } = await cluster.run(client.put('a', '1'));
  await cluster.run(cluster.sleep(500));
  for (const id of [1, 2]) {
    await cluster.run(cluster.machine(id).node?.close() ?? Promise.resolve());
    cluster.kill(id);
    await cluster.run(cluster.start(id));
    await cluster.run(client.put(`after${id}`, '1'));
  }
  const { told } = recorded(client.watch({ from: index, prefix: 'a' }));
  await until(cluster, () => told.length === 3);
  assert.is(told[0], `${index} put a=1`);
  const [endpoint = ''] = cluster.endpoints;
  const error = await cluster.run(recorded(client.watch({ from: index, endpoint })).ended);
  assert.ok(error instanceof HistoryGoneError && Number(error.resumeFrom) > index, `${error}`);
  await cluster.run(client.close());
});

test('where no process listens nothing is kept: nobody waits for it', async () => {
  const cluster = await started(7);
  const client = cluster.client();
  const { index } = await cluster.run(client.put('a', '1'));
  await cluster.run(cluster.sleep(500));
  for (const id of [1, 2, 1, 2]) {
    await cluster.run(cluster.machine(id).node?.close() ?? Promise.resolve());
    cluster.kill(id);
    await cluster.run(cluster.start(id));
    await cluster.run(client.put(`after${id}`, '1'));
  }
  cluster.kill(3);
  await cluster.run(client.put('b', '1'));
  const startMs = cluster.world.scheduler.nowMs();
  const error = await cluster.run(recorded(client.watch({ from: index, prefix: 'a' })).ended);
  assert.ok(error instanceof HistoryGoneError, `${error}`);
  assert.ok(cluster.world.scheduler.nowMs() - startMs < 1000);
  await cluster.run(client.close());
});

test('a node that a snapshot has brought forward says that it has a gap; its watchers go on elsewhere', async () => {
  const cluster = await started(8, {
    config: {
      storage: {
        maxRaftLogBytes: 64 * KIB,
        raftSegmentBytes: 64 * KIB,
        trailingEntries: 10,
        writeBufferBytes: 64 * KIB,
      },
    },
  });
  const client = cluster.client();
  const behind = cluster.machines.find(({ node }) => node?.role !== 'leader');
  assert.ok(behind);
  const only = recorded(client.watch({ endpoint: behind.endpoint }));
  const free = recorded(client.watch());
  await cluster.run(client.put('first', '1'));
  await until(cluster, () => only.told.length === 1 && free.told.length === 1);
  const others = cluster.machines.filter(({ id }) => id !== behind.id);
  const links = others.flatMap(
    ({ host }) =>
      [
        [host, behind.host],
        [behind.host, host],
      ] as const,
  );
  for (const [from, to] of links) cluster.world.network.cut(from, to);
  for (let i = 0; i < 40; i++) await cluster.run(client.put(`k${i}`, 'x'.repeat(16 * KIB)));
  await cluster.run(cluster.sleep(12_000));
  for (const [from, to] of links) cluster.world.network.mend(from, to);
  const error = await cluster.run(only.ended);
  assert.ok(error instanceof HistoryGoneError, `${error}`);
  const oldest = Number(error.resumeFrom);
  assert.ok(oldest > 10);
  assert.is(only.told.length, 1);
  await until(cluster, () => free.told.length === 41);
  await cluster.run(client.close());
});

test('a node that knows no leader for long lets its watchers go to another one', async () => {
  const cluster = await started(9);
  const client = cluster.client();
  const watch = client.watch();
  await cluster.run(watch.ready);
  const { told } = recorded(watch);
  const cutOff = cluster.machine(watchedNode(cluster));
  for (const { host } of cluster.machines) {
    if (host === cutOff.host) continue;
    cluster.world.network.cut(host, cutOff.host);
    cluster.world.network.cut(cutOff.host, host);
  }
  await cluster.run(client.put('k', 'v'));
  await until(cluster, () => told.length === 1, 15_000);
  assert.is.not(watchedNode(cluster), cutOff.id);
  await cluster.run(client.close());
});

test('a watch ends by return, by a signal, with its client; then its node knows nothing of it', async () => {
  const cluster = await started(10);
  const client = cluster.client();
  const abort = new AbortController();
  const returned = client.watch();
  const aborted = client.watch({ signal: abort.signal });
  const closed = client.watch();
  const open = [returned, aborted, closed].map(recorded);
  await cluster.run(Promise.all([returned.ready, aborted.ready, closed.ready]));
  assert.is(
    cluster.nodes.reduce((sum, node) => sum + (node?.watchers ?? 0), 0),
    3,
  );
  await returned.return();
  abort.abort();
  assert.is(await cluster.run(open[0]?.ended ?? Promise.reject()), undefined);
  assert.is(errorCode(await cluster.run(open[1]?.ended ?? Promise.reject())), 'ABORTED');
  await cluster.run(cluster.sleep(100));
  assert.is(
    cluster.nodes.reduce((sum, node) => sum + (node?.watchers ?? 0), 0),
    1,
  );
  await cluster.run(client.close());
  assert.is(errorCode(await cluster.run(open[2]?.ended ?? Promise.reject())), 'CLIENT_CLOSED');
  await cluster.run(cluster.sleep(100));
  assert.is(
    cluster.nodes.reduce((sum, node) => sum + (node?.watchers ?? 0), 0),
    0,
  );
  assert.throws(
    () => client.watch(),
    (error: unknown) => errorCode(error) === 'CLIENT_CLOSED',
  );
});

test('what cannot be watched is refused', async () => {
  const cluster = await started(11);
  const client = cluster.client();
  const invalid = (watch: () => Watch) =>
    assert.throws(watch, (error: unknown) => errorCode(error) === 'INVALID_REQUEST');
  invalid(() => client.watch({ key: 'a', prefix: 'b' }));
  invalid(() => client.watch({ key: '' }));
  invalid(() => client.watch({ from: 0 }));
  invalid(() => client.watch({ from: 1.5 }));
  invalid(() => client.watch({ bufferBytes: 0 }));
  invalid(() => client.watch({ endpoint: 'nowhere' }));
  const large = client.watch({ prefix: 'x'.repeat(5000) });
  assert.is(errorCode(await cluster.run(recorded(large).ended)), 'KEY_TOO_LARGE');
  assert.is(errorCode(await cluster.run(large.ready.catch((error: unknown) => error))), 'KEY_TOO_LARGE');
  await cluster.run(client.close());
});

test.run();
