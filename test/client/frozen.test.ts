/** A tablet that is being merged takes no requests for a while: the client asks again, and its users see nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient, type RaftreeClientError } from '../../src/client/index.js';
import { FakeCluster } from './fake-cluster.js';

test('writes, reads and scans of a frozen tablet wait until it takes them, with its leader', async () => {
  const cluster = await FakeCluster.start(1);
  const { scheduler } = cluster.world;
  const client = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
  await scheduler.run(client.put('k', '1'));
  const { leader } = cluster;
  let isFrozen = true;
  cluster.script = () => (isFrozen ? 'TABLET_FROZEN' : undefined);
  cluster.seen.length = 0;
  scheduler.after(1500, () => {
    isFrozen = false;
  });
  const scan = async () => {
    const found: string[] = [];
    for await (const { key } of client.scan()) found.push(key.toString());
    return found;
  };
  const done = Promise.all([
    client.put('l', '2'),
    client.get('k'),
    client.get('k', { level: 'follower' }),
    scan(),
  ]);
  const [, linearizable, follower, scanned] = await scheduler.run(done, 10_000);
  assert.equal(
    [linearizable, follower].map((entry) => entry?.value.toString()),
    ['1', '1'],
  );
  assert.equal(scanned.slice(0, 1), ['k']);
  assert.is(cluster.data.get('l')?.value.toString(), '2');
  const writers = new Set(cluster.requests('write').map(({ node }) => node));
  assert.equal([...writers], [leader], 'it leads, although it takes nothing now');
  await scheduler.run(client.close());
});

test('a tablet that stays frozen is an answer for the deadline only: nothing was committed, and it says why', async () => {
  const cluster = await FakeCluster.start(2);
  const { scheduler } = cluster.world;
  const client = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
  await scheduler.run(client.put('k', '1'));
  cluster.script = () => 'TABLET_FROZEN';
  const calls = [client.put('k', '2', { timeoutMs: 3000 }), client.get('k', { timeoutMs: 3000 })];
  for (const call of calls) {
    const error = await scheduler.run(
      call.then(
        () => undefined,
        (thrown: RaftreeClientError) => thrown,
      ),
      10_000,
    );
    assert.equal([error?.code, error?.outcome], ['TIMEOUT', 'notCommitted']);
    assert.match(error?.message ?? '', /last: TABLET_FROZEN/);
  }
  await scheduler.run(client.close());
});

test.run();
