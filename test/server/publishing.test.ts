/** What tablets have become gets into the map in its order, whoever says it first. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Descriptor } from '../../src/balance/cluster-map.js';
import type { TabletChange } from '../../src/kv/lineage.js';
import type { Split } from '../../src/kv/split.js';
import type { Meta } from '../../src/meta/meta.js';
import { tabletKey } from '../../src/meta/records.js';
import type { Tablet } from '../../src/placement/placement.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { Publishing } from '../../src/server/publishing.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { RAFT } from '../support/tablet-cluster.js';

const tablet = (id: number, start: string, end: string | undefined, generation: number): Tablet => ({
  ...{ id, start: Buffer.from(start), generation },
  end: end === undefined ? undefined : Buffer.from(end),
});

function split(parent: Tablet, left: Tablet, right: Tablet): Split {
  return {
    ...{
      by: 'range',
      index: 9,
      term: 1,
      configuration: configurationOf([1]),
      parent,
      children: [left, right],
    },
    ...{ replicas: [{ node: 1, left: 10 * left.id, right: 10 * right.id }], deadlines: [0, 0] },
  };
}

/** A map in memory, with one tablet. */
function mapOf(first: Tablet) {
  const tablets = new Map<number, unknown>([[first.id, first]]);
  const meta = {
    state: { cluster: {}, tablets, intents: new Map(), versionOf: () => 1 },
    read: async () => meta.state,
    allocateIds: async () => 100,
    update: async (changes: readonly { key: string; value: Descriptor | undefined }[]) => {
      for (const { key, value } of changes) {
        if (value) tablets.set(value.id, value);
        else for (const id of [...tablets.keys()]) if (tabletKey(id) === key) tablets.delete(id);
      }
    },
  };
  return { tablets, publishing: new Publishing(() => meta as unknown as Meta) };
}

test('a tablet that is split before the map has it is not taken for one that the map has no more', async () => {
  const whole = tablet(1, '', undefined, 1);
  const [left, right] = [tablet(2, '', 'm', 2), tablet(3, 'm', undefined, 2)];
  const first = split(whole, left, right);
  const second: TabletChange = split(left, tablet(4, '', 'g', 3), tablet(5, 'g', 'm', 3));
  const { tablets, publishing } = mapOf(whole);
  assert.equal([publishing.isDone(first), publishing.isDone(second)], [false, false]);
  await publishing.publish(second);
  assert.equal([...tablets.keys()], [1], 'what made its tablet comes first');
  await publishing.publish(first);
  assert.equal([...tablets.keys()], [2, 3]);
  assert.equal([publishing.isDone(first), publishing.isDone(second)], [true, false]);
  await publishing.publish(second);
  assert.equal([...tablets.keys()], [3, 4, 5]);
  assert.equal([publishing.isDone(first), publishing.isDone(second)], [true, true]);
});

test('a tablet that has ended goes though nothing more is written, and its leader has let it go already', async () => {
  const cluster = new SimulatedCluster(4, {
    config: { placement: { by: 'range', splits: ['t'] }, raft: RAFT },
  });
  await cluster.run(cluster.startAll());
  const client = cluster.client(60_000);
  /** Those that have the whole still: two parts, the tablet that was not split, and meta come to four. */
  const holders = async () => {
    const having: number[] = [];
    for (const id of [1, 2, 3]) if ((await client.status(`n${id}:7001`)).groups > 4) having.push(id);
    return having;
  };
  let left = [1, 2, 3];
  await cluster.run(
    (async () => {
      await client.put('a', '');
      await client.splitTablet('g');
      for (; left.length === 3; left = await holders()) await cluster.sleep(1);
    })(),
    100_000,
  );
  assert.ok(left.length > 0, 'some have it still');
  cluster.cutPowerOfAll();
  await cluster.run(cluster.startAll());
  await cluster.run(
    (async () => {
      const other = [1, 2, 3].find((id) => !left.includes(id)) ?? 0;
      for (const { id } of (await client.tablets()).tablets)
        await client.transferLeadership(other, { tablet: id });
      for (let i = 0; left.length > 0 && i < 20; i++) {
        await cluster.sleep(1000);
        left = await holders();
      }
      await client.close();
    })(),
    100_000,
  );
  assert.equal(left, []);
  await cluster.run(cluster.closeAll());
});

test.run();
