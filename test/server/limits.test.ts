/**
 * Limits that differ between nodes, as in every rolling change: what one leader has taken every node keeps and answers.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type RaftreeClient, RaftreeClientError, type ScanEntry } from '../../src/client/index.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

const MIB = 1024 * 1024;
const RAISED = { maxValueBytes: 18 * MIB, maxRequestBytes: 20 * MIB };
const PATIENT = { timeoutMs: 120_000 };

async function started(seed: number, raised: (id: number) => boolean): Promise<SimulatedCluster> {
  const cluster = new SimulatedCluster(seed, { config: (id) => (raised(id) ? { limits: RAISED } : {}) });
  await cluster.run(cluster.startAll());
  return cluster;
}

function sizeOf(client: RaftreeClient, key: string, options = {}): Promise<number | undefined> {
  return client.get(key, { ...PATIENT, ...options }).then((found) => found?.value.length);
}

async function refusalOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'done';
  } catch (error) {
    assert.instance(error, RaftreeClientError);
    const { code, outcome } = error as RaftreeClientError;
    return `${code} ${outcome}`;
  }
}

test('a value that one leader has taken is read, scanned and kept by nodes with lower limits', async () => {
  const cluster = await started(1, (id) => id === 1);
  const client = cluster.client(120_000);
  await cluster.run(client.transferLeadership(1));
  await cluster.run(client.put('large', Buffer.alloc(12 * MIB, 'x'), PATIENT));
  await cluster.run(client.append('large', Buffer.alloc(5 * MIB, 'y'), PATIENT));
  await cluster.run(client.put('next', 'z'));
  assert.is(
    await cluster.run(refusalOf(client.append('large', Buffer.alloc(2 * MIB)))),
    'VALUE_TOO_LARGE notCommitted',
  );

  await cluster.run(client.transferLeadership(2));
  for (const options of [
    {},
    { level: 'lease' },
    { level: 'follower', endpoint: cluster.endpoints[2] },
  ] as const)
    assert.is(await cluster.run(sizeOf(client, 'large', options)), 17 * MIB);
  const entries = async () => {
    const all: ScanEntry[] = [];
    for await (const entry of client.scan(PATIENT)) all.push(entry);
    return all;
  };
  assert.equal(
    (await cluster.run(entries())).map(({ key, value }) => `${key} ${value.length}`),
    [`large ${17 * MIB}`, 'next 1'],
  );
  const sizes = Promise.all([1, 2, 3].map(() => sizeOf(client, 'large')));
  assert.equal(
    await cluster.run(sizes),
    [1, 2, 3].map(() => 17 * MIB),
    'all at once on one connection',
  );

  for (const write of [client.append('large', 'z'), client.put('other', Buffer.alloc(2 * MIB))])
    assert.is(await cluster.run(refusalOf(write)), 'VALUE_TOO_LARGE notCommitted');
  await cluster.run(client.delete('large'));
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('a put of 10 to 16 MiB, above the limits of all nodes: refused at once, nothing is sent', async () => {
  const cluster = await started(2, () => false);
  const client = cluster.client(120_000);
  await cluster.run(client.put('first', 'x'));
  const index = () => cluster.leader?.status(0).lastIndex ?? 0;
  const [before, beforeMs] = [index(), cluster.world.scheduler.nowMs()];
  for (const mib of [2, 10, 12, 15, 16, 60])
    assert.is(
      await cluster.run(refusalOf(client.put('k', Buffer.alloc(mib * MIB)))),
      'VALUE_TOO_LARGE notCommitted',
      `${mib} MiB`,
    );
  assert.is(index(), before);
  assert.ok(cluster.world.scheduler.nowMs() - beforeMs < 1000, 'without another attempt');
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('the largest value of all: put, read, scanned', async () => {
  const cluster = new SimulatedCluster(3, {
    size: 1,
    config: { limits: { maxValueBytes: 64 * MIB, maxRequestBytes: 64 * MIB + 4096 } },
  });
  await cluster.run(cluster.startAll());
  const client = cluster.client(120_000);
  const key = Buffer.alloc(4096, 'k');
  await cluster.run(client.put(key, Buffer.alloc(64 * MIB, 'x'), PATIENT));
  const scanned = async () => {
    for await (const entry of client.scan(PATIENT)) return [entry.key.length, entry.value.length];
    return [];
  };
  assert.equal(await cluster.run(scanned()), [4096, 64 * MIB]);
  assert.is((await cluster.run(client.get(key, PATIENT)))?.value.length, 64 * MIB);
  assert.is(await cluster.run(refusalOf(client.append(key, 'x'))), 'VALUE_TOO_LARGE notCommitted');
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('a value above the whole budget of a node for what it buffers is answered all the same', async () => {
  const cluster = new SimulatedCluster(5, {
    config: (id) =>
      id === 1 ? { limits: RAISED } : { limits: { maxRequestBytes: 2 * MIB, maxBufferedBytes: 16 * MIB } },
  });
  await cluster.run(cluster.startAll());
  const client = cluster.client(60_000);
  await cluster.run(client.transferLeadership(1));
  await cluster.run(client.put('large', Buffer.alloc(18 * MIB, 'x'), PATIENT));
  await cluster.run(client.transferLeadership(2));
  assert.is(await cluster.run(sizeOf(client, 'large')), 18 * MIB);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('a large value over a slow link: longer than an attempt lasts, and still one attempt', async () => {
  const limits = { maxValueBytes: 8 * MIB };
  const cluster = new SimulatedCluster(4, { size: 1, tcp: 'real', config: { limits } });
  await cluster.run(cluster.startAll());
  const client = cluster.client(60_000);
  await cluster.run(client.put('first', 'x'));
  const { network, random, scheduler } = cluster.world;
  const index = () => cluster.leader?.status(0).lastIndex ?? 0;
  const before = index();
  for (const [from, to] of [
    ['n1', 'client1'],
    ['client1', 'n1'],
  ] as const)
    network.narrow(from, to, 1_200_000);
  const value = random.bytes(7 * MIB);
  await cluster.run(client.put('k', value));
  assert.is(index(), before + 1);
  const startMs = scheduler.nowMs();
  assert.equal((await cluster.run(client.get('k')))?.value, value);
  assert.ok(scheduler.nowMs() - startMs > 5000);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test.run();
