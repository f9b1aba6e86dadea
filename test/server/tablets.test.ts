/** Clusters with several tablets, by range and by hash: each has a leader of its own, and clients see one store. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import type { BatchOperation } from '../../src/client/operations.js';
import { errorCode } from '../../src/env/errors.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { begun, codeOf, keysOf, RAFT } from '../support/tablet-cluster.js';

const RANGE: NodeConfigInput['placement'] = { by: 'range', splits: ['g', 'n'], replicas: 3 };
const HASH: NodeConfigInput['placement'] = { by: 'hash', tablets: 5 };
const PLACEMENTS = [RANGE, HASH];
const WORDS = [
  'apple',
  'fig',
  'g',
  'grape',
  'kiwi',
  'lime',
  'n',
  'nut',
  'pear',
  'plum',
  'zest',
  'a',
  'm~',
  'mango',
];

const SOME = ['apple', 'grape', 'nut', 'zest', 'm~'];

/** So that each tablet has another leader, as far as there are nodes. */
async function spread(client: RaftreeClient): Promise<void> {
  const { tablets } = await client.tablets();
  for (const [i, { id }] of tablets.entries()) await client.transferLeadership((i % 3) + 1, { tablet: id });
}

for (const placement of PLACEMENTS) {
  const by = placement?.by;

  test(`by ${by}: every call of a client, whoever leads the tablets`, async () => {
    const cluster = await begun(placement);
    const client = cluster.client(60_000, { pageEntries: 3 });
    await cluster.run(
      (async () => {
        await Promise.all(WORDS.map((word) => client.put(word, `is ${word}`)));
        await spread(client);
        assert.is(new Set((await client.tablets()).tablets.map(({ leader }) => leader)).size, 3);
        for (const word of WORDS) {
          for (const level of ['linearizable', 'lease', 'follower', 'stale'] as const)
            assert.is((await client.get(word, { level }))?.value.toString(), `is ${word}`);
          assert.not((await client.insert(word, 'again')).applied);
          assert.ok((await client.cas(word, 'new', { expectedValue: `is ${word}` })).applied);
          assert.is((await client.increment(`${word}/count`, { by: 2 })).value, 2n);
          assert.ok((await client.expire(`${word}/count`, 60_000)).existed);
          assert.ok((await client.ttl(`${word}/count`))?.remainingMs);
          assert.ok((await client.delete(`${word}/count`)).existed);
        }
        assert.is(await client.get('nothing'), undefined);
        const sorted = [...WORDS].sort();
        assert.equal(await keysOf(client.scan()), sorted);
        assert.equal(await keysOf(client.scan({ reverse: true })), [...sorted].reverse());
        assert.equal(await keysOf(client.scan({ level: 'stale' })), sorted);
        const random = new SeededRandom(3);
        for (let i = 0; i < 25; i++) {
          const [from, to] = [random.pick([...WORDS, '', 'h', 'q']), random.pick([...WORDS, 'zz', 'o'])];
          const limit = random.between(1, 9);
          const within = sorted.filter((word) => word >= from && word < to);
          assert.equal(await keysOf(client.scan({ from, to })), within, `${from} to ${to}`);
          assert.equal(await keysOf(client.scan({ from, to, limit })), within.slice(0, limit));
          const back = client.scan({ from, to, limit, reverse: true });
          assert.equal(await keysOf(back), [...within].reverse().slice(0, limit), `${to} back to ${from}`);
          assert.equal(
            await keysOf(client.scan({ prefix: from, keysOnly: true })),
            sorted.filter((word) => word.startsWith(from)),
          );
        }
        await client.close();
      })(),
    );
    await cluster.run(cluster.closeAll());
  });

  test(`by ${by}: a write with keys of several tablets is refused, and changes nothing`, async () => {
    const cluster = await begun(placement);
    const client = cluster.client();
    const other = cluster.client();
    await cluster.run(
      (async () => {
        const operations = WORDS.map((key): BatchOperation => ({ action: 'put', key, value: 'v' }));
        // One client knows the map already, the other one learns it now.
        await client.put('apple', 'first');
        assert.is(await codeOf(client.batch(operations)), 'SPANS_TABLETS');
        assert.is(await codeOf(other.batch(operations)), 'SPANS_TABLETS');
        assert.equal(await keysOf(other.scan()), ['apple']);
        const same = by === 'hash' ? ['{x}1', '{x}2', 'y{x}'] : ['a1', 'a2', 'f'];
        const batch = same.map((key): BatchOperation => ({ action: 'put', key, value: 'v' }));
        assert.ok((await client.batch(batch)).applied);
        const absent = { action: 'check', key: same[0] as string, condition: { exists: false } } as const;
        assert.not((await other.batch([absent, ...batch])).applied);
        await Promise.all([client.close(), other.close()]);
      })(),
    );
    await cluster.run(cluster.closeAll());
  });

  test(`by ${by}: writes to a key keep their order, nodes die, and all that was acknowledged is there`, async () => {
    const cluster = await begun(placement, 7);
    const client = cluster.client(60_000, { window: 8 });
    const acknowledged = new Map<string, number>();
    let isOver = false;
    const writer = async (word: string) => {
      for (let i = 1; !isOver; i++) {
        await Promise.all([client.append(word, `${2 * i - 1} `), client.append(word, `${2 * i} `)]);
        acknowledged.set(word, 2 * i);
        await cluster.sleep(20);
      }
    };
    await cluster.run(
      (async () => {
        await client.put('start', '');
        await spread(client);
        const writers = SOME.map(writer);
        for (const id of [1, 2, 3]) {
          await cluster.sleep(500);
          cluster.cutPower(id);
          await cluster.sleep(700);
          await cluster.start(id);
        }
        await cluster.sleep(500);
        isOver = true;
        await Promise.all(writers);
        for (const word of SOME) {
          const value = (await client.get(word))?.value.toString() ?? '';
          const last = acknowledged.get(word) ?? 0;
          assert.ok(last > 4, `${word}: ${last}`);
          assert.is(value, Array.from({ length: last }, (_, i) => `${i + 1} `).join(''), word);
        }
        await client.close();
      })(),
      400_000,
    );
    assert.equal(cluster.failures, []);
    await cluster.run(cluster.closeAll());
  });

  test(`by ${by}: a member with tablets stays, and leadership of all tablets can be transferred`, async () => {
    const cluster = await begun(placement);
    const client = cluster.client();
    await cluster.run(
      (async () => {
        assert.is(await codeOf(client.changeMembers([{ type: 'remove', node: 3 }])), 'CHANGE_INVALID');
        await client.transferLeadership(2);
        assert.equal(new Set((await client.tablets()).tablets.map(({ leader }) => leader)), new Set([2]));
        const status = await client.status('n2:7001');
        assert.is(status.tablets, placement?.by === 'hash' ? 5 : 3);
        assert.is(status.leads, status.tablets);
        assert.is(status.groups, status.tablets + 1);
        await client.close();
      })(),
    );
    await cluster.run(cluster.closeAll());
  });
}

test('keys with a deadline go in each tablet', async () => {
  const cluster = await begun(HASH);
  const client = cluster.client();
  await cluster.run(
    (async () => {
      await Promise.all(WORDS.map((word) => client.put(word, 'v', { ttlMs: word < 'm' ? 2000 : 600_000 })));
      await cluster.sleep(4000);
      assert.equal(await keysOf(client.scan()), WORDS.filter((word) => word >= 'm').sort());
      const { keysWithDeadline } = await client.status('n1:7001');
      assert.is(keysWithDeadline, WORDS.filter((word) => word >= 'm').length);
      await client.close();
    })(),
  );
  await cluster.run(cluster.closeAll());
});

test('a birth that a power cut interrupts, at any operation of the disk, goes on with all its tablets', async () => {
  let interrupted = 0;
  for (let at = 1; at <= 40; at++) {
    let operations = 0;
    let cut: () => void = () => {};
    const fault = () => {
      if (++operations === at) cut();
      return undefined;
    };
    const config = { placement: { by: 'hash', tablets: 4 }, raft: RAFT } as const;
    const cluster = new SimulatedCluster(at, { size: 1, config, fault });
    cut = () => {
      cluster.world.scheduler.after(0, () => cluster.cutPower(1));
    };
    void cluster.start(1).catch(() => {});
    await cluster.run(cluster.sleep(30));
    const wasBorn = cluster.machine(1).node !== undefined;
    if (!wasBorn) interrupted++;
    else cluster.cutPower(1);
    cut = () => {};
    await cluster.run(cluster.start(1));
    const client = cluster.client();
    await cluster.run(Promise.all(SOME.map((word) => client.put(word, 'v'))));
    assert.is((await cluster.run(client.tablets())).tablets.length, 4);
    await cluster.run(client.close());
    assert.equal(cluster.failures, [], `operation ${at}`);
    await cluster.run(cluster.closeAll());
  }
  assert.ok(interrupted > 10, `${interrupted} births were interrupted`);
});

test('a node with another placement than the others, or than before, is refused and told what to do', async () => {
  const config = (id: number): Partial<NodeConfigInput> => ({ placement: id === 3 ? RANGE : HASH });
  const said: string[] = [];
  const logger = { debug() {}, info() {}, warn: note, error: note };
  function note(_fields: unknown, message: string) {
    said.push(message);
  }
  const cluster = new SimulatedCluster(1, { config, logger });
  await cluster.run(cluster.startAll());
  await cluster.run(cluster.sleep(5000));
  assert.ok(
    said.some((message) => /make "placement" the same in every node\.json/.test(message)),
    said.join('\n'),
  );
  await cluster.run(cluster.closeAll());

  let now: NodeConfigInput['placement'] = HASH;
  const changed = new SimulatedCluster(1, { size: 1, config: () => ({ placement: now }) });
  await changed.run(changed.startAll());
  const client = changed.client();
  await changed.run(client.put('a', '1'));
  await changed.run(client.close());
  changed.kill(1);
  now = { by: 'hash', tablets: 6 };
  assert.is(await codeOf(changed.run(changed.start(1))), 'IDENTITY_MISMATCH');
  now = undefined;
  await changed.run(changed.start(1));
  const again = changed.client();
  assert.is((await changed.run(again.get('a')))?.value.toString(), '1');
  await changed.run(again.close());
  await changed.run(changed.closeAll());
});

test('a folder that has lost what it acknowledged stops its node, whatever tablet that is of', async () => {
  for (const [placement, key] of [[RANGE, 'zest'] as const, [HASH, 'apple'] as const]) {
    const cluster = await begun(placement, 11);
    const client = cluster.client();
    const put = async (count: number) => {
      for (let i = 0; i < count; i++) await client.put(key, `${i}`);
    };
    await cluster.run(put(1));
    await cluster.run(client.transferLeadership(1));
    const backup = cluster.machine(3).disk.clone();
    await cluster.run(put(5));
    await cluster.run(cluster.sleep(1000));
    cluster.kill(3);
    cluster.machine(3).disk = backup;
    await cluster.run(cluster.sleep(1000));
    cluster.cutPower(1);
    await cluster.run(cluster.start(1));
    await cluster.run(cluster.start(3));
    await cluster.run(cluster.sleep(3000));
    assert.equal(
      cluster.failures.map((error) => errorCode(error)),
      ['STORE_OUTDATED'],
    );
    assert.match(
      String(cluster.failures[0]),
      /node 3 has lost entries .* its log of tablet [2-5] ends at \d+/,
    );
    await cluster.run(put(1));
    await cluster.run(client.close());
    await cluster.run(cluster.closeAll());
  }
});

test('the map as clients show it is that of the leaders: a node that is cut off knows an old one', async () => {
  const cluster = await begun({ by: 'range', splits: ['m'] });
  const alone = cluster.client(60_000, { endpoints: ['n1:7001'] });
  const client = cluster.client(60_000);
  const leaders = async (of: typeof client) => (await of.tablets()).tablets.map(({ leader }) => leader);
  const { network } = cluster.world;
  await cluster.run(
    (async () => {
      for (let i = 0; i < 50; i++) await client.put(`a${i}`, 'x'.repeat(1000));
      await client.transferLeadership(3);
      assert.equal(await leaders(alone), [3, 3]);
      for (const other of ['n2', 'n3'])
        for (const [from, to] of [
          ['n1', other],
          [other, 'n1'],
        ] as const)
          network.cut(from, to);
      await client.transferLeadership(2);
      const { tablets } = await alone.tablets();
      assert.equal(
        tablets.map(({ leader }) => leader),
        [2, 2],
      );
      const [first, second] = tablets.map(({ sizeBytes = 0 }) => sizeBytes);
      assert.ok((first ?? 0) > 50_000 && (second ?? 0) < 10_000, `${first} and ${second} bytes`);
      network.mendAll();
      await Promise.all([alone.close(), client.close()]);
    })(),
    100_000,
  );
  await cluster.run(cluster.closeAll());
});

test.run();
