/** The client knows from each node how large a request it takes: what the leader would refuse is not sent. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/index.js';
import { MAX_ANSWER_BYTES } from '../../src/protocol/limits.js';
import { clientFailure } from '../support/client-failure.js';
import { FakeCluster, LIMITS } from './fake-cluster.js';

function scenario(name: string, body: (client: RaftreeClient, cluster: FakeCluster) => Promise<void>): void {
  test(name, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const cluster = await FakeCluster.start(seed);
      const client = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
      await cluster.world.scheduler.run(body(client, cluster));
      await cluster.world.scheduler.run(client.close());
    }
  });
}

const SMALL = { ...LIMITS, maxValueBytes: 1000, maxRequestBytes: 2000, maxOperationsPerRequest: 3 };
const bytes = (count: number) => Buffer.alloc(count, 'x');

scenario('what the leader takes is the limit, and it is final: nothing is sent', async (client, cluster) => {
  cluster.limitsOf = () => SMALL;
  const put = (key: string, value: Buffer) => ({ action: 'put', key, value }) as const;
  const refused: [string, Promise<unknown>][] = [
    ['VALUE_TOO_LARGE', client.put('k', bytes(1001))],
    ['VALUE_TOO_LARGE', client.append('k', bytes(1001))],
    ['REQUEST_TOO_LARGE', client.batch([1, 2, 3].map((i) => put(`k${i}`, bytes(700))))],
    ['REQUEST_TOO_LARGE', client.batch([1, 2, 3, 4].map((i) => put(`k${i}`, bytes(1))))],
    ['REQUEST_TOO_LARGE', client.cas('k', 'v', { expectedValue: bytes(2000) })],
    ['KEY_TOO_LARGE', client.put(bytes(4097), 'v')],
    ['KEY_EMPTY', client.put('', 'v')],
    ['KEY_TOO_LARGE', client.get(bytes(4097))],
    ['KEY_TOO_LARGE', client.get(bytes(20_000_000), { stale: true })],
  ];
  for (const [code, call] of refused) {
    const error = await clientFailure(call);
    assert.equal([error.code, error.outcome], [code, 'notCommitted']);
  }
  assert.equal([cluster.requests('write').length, cluster.requests('get').length], [0, 0]);
  await client.put('k', bytes(1000));
  assert.is(cluster.data.get('k')?.value.length, 1000);
});

scenario('the limits of a node that does not lead say nothing', async (client, cluster) => {
  cluster.limitsOf = (node) => (node === 3 ? LIMITS : SMALL);
  cluster.leader = 3;
  await client.put('k', bytes(100_000));
  assert.is(cluster.data.get('k')?.value.length, 100_000);
  assert.is(cluster.requests('write').filter(({ node }) => node !== 3).length, 0);
});

scenario(
  'while no leader is known, a request that others would refuse waits for one',
  async (client, cluster) => {
    cluster.limitsOf = (node) => (node === 2 ? LIMITS : SMALL);
    await client.put('first', 'x');
    cluster.leader = 0;
    const put = client.put('k', bytes(100_000));
    await cluster.world.scheduler.sleep(2000);
    cluster.leader = 2;
    await put;
    assert.is(cluster.data.get('k')?.value.length, 100_000);
  },
);

scenario('after a failover the limits of the new leader count', async (client, cluster) => {
  cluster.limitsOf = (node) => (node === 1 ? LIMITS : SMALL);
  await client.put('k', bytes(100_000));
  cluster.leader = 2;
  const error = await clientFailure(client.put('k', bytes(100_001)));
  assert.equal([error.code, error.outcome], ['VALUE_TOO_LARGE', 'notCommitted']);
  assert.is(cluster.data.get('k')?.value.length, 100_000);
});

scenario('refused after an attempt that may be in a log: unknown', async (client, cluster) => {
  cluster.limitsOf = (node) => (node === 1 ? LIMITS : SMALL);
  await client.put('first', 'x');
  cluster.script = (request, node) => {
    if (request.type !== 'write' || node !== 1) return undefined;
    cluster.answer(request, node);
    cluster.leader = 2;
    return 'break before';
  };
  const error = await clientFailure(client.put('k', bytes(100_000)));
  assert.equal([error.code, error.outcome], ['VALUE_TOO_LARGE', 'unknown']);
  assert.is(cluster.data.get('k')?.value.length, 100_000);
});

scenario('a node that does not tell its limits is left for another', async (client, cluster) => {
  cluster.limitsOf = (node) => (node === 1 ? undefined : LIMITS);
  cluster.leader = 2;
  const startMs = cluster.world.scheduler.nowMs();
  for (let i = 0; i < 5; i++) await client.get('k', { stale: true });
  assert.ok(cluster.world.scheduler.nowMs() - startMs < 8000);
});

scenario('the largest answer that any node may send is taken', async (client, cluster) => {
  cluster.data.set('k', { value: bytes(MAX_ANSWER_BYTES - 100), version: 1 });
  const found = await client.get('k', { timeoutMs: 60_000 });
  assert.is(found?.value.length, MAX_ANSWER_BYTES - 100);
});

test.run();
