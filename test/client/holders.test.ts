/** Reads that need no leader, of a cluster in which not every node has every tablet. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/client.js';
import { FakeCluster } from './fake-cluster.js';

const tablet = (id: number, start: string, end: string | undefined, node: number) => ({
  ...{ id, start: Buffer.from(start), end: end === undefined ? undefined : Buffer.from(end) },
  ...{ generation: 1, leaderId: node, term: 1, sizeBytes: 0, replicas: [node], splitVersion: 0 },
});

test('stale and follower reads by way of a node without the tablets go on at nodes that have them', async () => {
  const cluster = await FakeCluster.start(7);
  const { scheduler } = cluster.world;
  cluster.script = (request, node) => {
    const { requestId } = request;
    if (request.type === 'tablets') return cluster.map([tablet(1, '', 'm', 1), tablet(2, 'm', undefined, 2)]);
    if (request.type !== 'get' && request.type !== 'scan') return undefined;
    if (request.tablet !== node) return 'WRONG_TABLET';
    const entry = { version: node, value: Buffer.from(`of node ${node}`) };
    if (request.type === 'get') return () => ({ type: 'getReply', requestId, found: true, ...entry });
    const entries = [{ ...entry, key: Buffer.from(node === 1 ? 'a' : 'z') }];
    return () => ({ type: 'scanReply', requestId, entries, more: false });
  };
  const client = new RaftreeClient({ endpoints: [cluster.endpoint(3)], env: cluster.client.env });
  for (const level of ['stale', 'follower'] as const) {
    assert.is((await scheduler.run(client.get('z', { level })))?.value.toString(), 'of node 2');
    const found: string[] = [];
    const scan = async () => {
      for await (const { key, version } of client.scan({ level })) found.push(`${key} ${version}`);
    };
    await scheduler.run(scan(), 20_000);
    assert.equal(found, ['a 1', 'z 2']);
  }
  await scheduler.run(client.close());
});

test.run();
