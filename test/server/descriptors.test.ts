/** Descriptors: how they are shared out, and a system that has none left for a while. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { shareDescriptors } from '../../src/server/descriptors.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';

test('clients get what files and peers leave, and no more than they are allowed', () => {
  const sumOf = (max: number) => {
    const { clients, clientsFromLoopback, peers, tables } = shareDescriptors(4096, max);
    return clients + clientsFromLoopback + peers + tables;
  };
  assert.equal(shareDescriptors(4096, 20_000), {
    clients: 4096,
    http: 0,
    resp: 0,
    clientsFromLoopback: 16,
    peers: 256,
    tables: 512,
  });
  assert.equal(shareDescriptors(4096, 1024), {
    clients: 560,
    http: 0,
    resp: 0,
    clientsFromLoopback: 16,
    peers: 128,
    tables: 256,
  });
  const { clients, http } = shareDescriptors(4096, 1024, 256);
  assert.equal([clients, http], [420, 140], 'HTTP gets a quarter of what is left');
  const both = shareDescriptors(4096, 1024, 256, 1024);
  assert.equal([both.clients, both.http, both.resp], [280, 140, 140], 'and RESP another one');
  for (const max of [160, 256, 1024, 4096]) assert.ok(sumOf(max) <= max - 64, `${max}`);
  assert.throws(
    () => shareDescriptors(4096, 128),
    (error: unknown) => errorCode(error) === 'TOO_FEW_DESCRIPTORS',
  );
});

test('a Raft log that cannot open its next segment goes on in the present one, and the node takes writes', async () => {
  let none = false;
  const fault = ({ kind, path }: FileOperation) =>
    none && /^\/data\/raft\//.test(path) && (kind === 'create' || kind === 'open')
      ? systemError('EMFILE', kind, path)
      : undefined;
  const storage = { raftSegmentBytes: 64 * 1024 };
  const cluster = new SimulatedCluster(1, { size: 1, fault, config: { storage } });
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  none = true;
  const outcomes: (string | undefined)[] = [];
  for (let i = 0; i < 20; i++) {
    const put = client.put(`k${i}`, Buffer.alloc(10_000), { timeoutMs: 5000 });
    outcomes.push(
      await cluster.run(
        put.then(
          () => 'done',
          (error: unknown) => errorCode(error),
        ),
      ),
    );
  }
  assert.ok(
    outcomes.every((outcome) => outcome === 'done'),
    outcomes.join(),
  );
  none = false;
  await cluster.run(client.put('b', '1'));
  assert.equal(cluster.failures, []);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test.run();
