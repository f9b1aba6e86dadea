import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WatchChange } from '../../src/client/tablet-watch.js';
import { decodeToken } from '../../src/client/watch-token.js';
import { encodeSplitEntry } from '../../src/kv/split.js';
import { ringPoint } from '../../src/placement/placement.js';
import type { KvStore } from '../../src/server/kv-group.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { Store } from '../../src/store/store.js';

const stores: KvStore[] = [];
const open = Store.open.bind(Store);
Store.open = ((...given: Parameters<typeof open>) => {
  const store = open(...given);
  stores.push(store as unknown as KvStore);
  return store;
}) as typeof Store.open;

test('a watch of tablets by hash follows the parts of one that is split, and the others once', async () => {
  const placement = { placement: { by: 'hash', tablets: 2 } } as const;
  const cluster = new SimulatedCluster(7, { size: 1, config: placement });
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  const watch = client.watch({ prefix: 'k' });
  const told: string[] = [];
  void (async () => {
    for await (const { key, value } of watch as AsyncIterable<WatchChange>) told.push(`${key}=${value}`);
  })();
  await cluster.run(watch.ready);
  const keys = Array.from({ length: 12 }, (_, i) => `k${i}`);
  const putAll = (value: string) => cluster.run(Promise.all(keys.map((key) => client.put(key, value))));
  const expected = (...values: readonly string[]) =>
    values.flatMap((value) => keys.map((key) => `${key}=${value}`)).sort();
  await putAll('before');
  const split = stores[0]
    ?.group(1)
    ?.replica.proposeTablet(encodeSplitEntry({ left: 20, right: 21, point: ringPoint(2 ** 30) }));
  assert.is(
    (await cluster.run(split ?? Promise.reject(new Error('there is no tablet 1')))).result.type,
    'split',
  );
  await putAll('after');
  await cluster.run(cluster.sleep(5000));
  assert.equal(told.sort(), expected('before', 'after'));
  const { resumeFrom } = watch;
  assert.is(typeof resumeFrom === 'string' ? decodeToken(resumeFrom).pieces.length : 0, 3);
  await watch.return();
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test.run();
