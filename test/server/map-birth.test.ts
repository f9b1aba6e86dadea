/** A cluster that began with one tablet gets a map with its first split, without copying data. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { begun, keysOf } from '../support/tablet-cluster.js';

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

test.run();
