/** A tablet is split while clients go on: they see one store, and no more than a retry. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeConfigInput } from '../../src/server/config.js';
import { begun, codeOf, keysOf, RAFT } from '../support/tablet-cluster.js';

const RANGE: NodeConfigInput['placement'] = { by: 'range', splits: ['n'] };
const HASH: NodeConfigInput['placement'] = { by: 'hash', tablets: 2 };
const WORDS = ['apple', 'fig', 'grape', 'kiwi', 'nut', 'plum'];

for (const placement of [RANGE, HASH]) {
  const by = placement?.by;

  test(`by ${by}: tablets are split while nodes die: each write is applied once, in the order of its key`, async () => {
    const cluster = await begun(placement, 5);
    const client = cluster.client(60_000, { window: 8 });
    const admin = cluster.client(60_000);
    const acknowledged = new Map<string, number>();
    let isOver = false;
    let longestMs = 0;
    const writer = async (word: string) => {
      for (let i = 1; !isOver; i++) {
        await Promise.all([client.append(word, `${2 * i - 1} `), client.append(word, `${2 * i} `)]);
        acknowledged.set(word, 2 * i);
        await cluster.sleep(50);
      }
    };
    await cluster.run(
      (async () => {
        const writers = WORDS.map(writer);
        await cluster.sleep(500);
        const startMs = cluster.world.scheduler.nowMs();
        await admin.splitTablet('grape');
        await client.put('kiwi/after', 'x');
        longestMs = cluster.world.scheduler.nowMs() - startMs;
        for (const [id, at] of [
          [1, 'lime'],
          [2, 'pear'],
        ] as const) {
          await cluster.sleep(400);
          const splitting = codeOf(admin.splitTablet(at));
          await cluster.sleep(10 * id);
          cluster.cutPower(id);
          await cluster.sleep(700);
          await cluster.start(id);
          await splitting;
        }
        await cluster.sleep(1500);
        isOver = true;
        await Promise.all(writers);
        for (const word of WORDS) {
          const value = (await client.get(word))?.value.toString() ?? '';
          const last = acknowledged.get(word) ?? 0;
          assert.ok(last > 4, `${word}: ${last}`);
          assert.is(value, Array.from({ length: last }, (_, i) => `${i + 1} `).join(''), word);
        }
        const sorted = [...WORDS, 'kiwi/after'].sort();
        const fresh = cluster.client(60_000, { pageEntries: 2 });
        for (const each of [client, fresh]) {
          assert.equal(await keysOf(each.scan()), sorted);
          assert.equal(await keysOf(each.scan({ reverse: true })), [...sorted].reverse());
        }
        const { tablets } = await fresh.tablets();
        assert.ok(tablets.length >= 3, `${tablets.length} tablets`);
        assert.ok(tablets.some(({ generation }) => generation > 1));
        // The map is whole, and each node holds what it names: the parents have gone.
        assert.is(tablets[0]?.start.length, 0);
        tablets.forEach(({ end }, i) => {
          assert.equal(end, tablets[i + 1]?.start);
        });
        await cluster.sleep(3000);
        for (const node of ['n1:7001', 'n2:7001', 'n3:7001']) {
          const status = await fresh.status(node);
          assert.is(status.tablets, tablets.length);
          assert.is(status.groups, tablets.length + 1);
        }
        await Promise.all([client.close(), admin.close(), fresh.close()]);
      })(),
      400_000,
    );
    assert.ok(longestMs < 2 * RAFT.electionTimeoutMaxMs, `${longestMs} ms`);
    assert.equal(cluster.failures, []);
    await cluster.run(cluster.closeAll());
  });

  test(`by ${by}: a split is refused with a reason, and changes nothing`, async () => {
    const cluster = await begun(placement);
    const client = cluster.client();
    await cluster.run(
      (async () => {
        await client.put('kiwi', 'v');
        const { tablet, children } = await client.splitTablet('kiwi');
        assert.ok(tablet <= 2 && children[0] > 2 && children[1] > children[0]);
        assert.is(await codeOf(client.splitTablet('kiwi')), 'CHANGE_INVALID');
        if (by === 'range') assert.is(await codeOf(client.splitTablet('n')), 'CHANGE_INVALID');
        const other = await client.splitTablet('pear');
        assert.ok(other.children[0] > children[1]);
        // A node that is behind may be asked.
        await cluster.sleep(1000);
        assert.is((await client.tablets()).tablets.length, 4);
        assert.is((await client.get('kiwi'))?.value.toString(), 'v');
        await client.close();
      })(),
    );
    await cluster.run(cluster.closeAll());
  });
}

test('scans that are under way go on from what they have given (cockroach PR 1428, PR 1464)', async () => {
  for (const placement of [RANGE, HASH]) {
    const cluster = await begun(placement, 9);
    const client = cluster.client(60_000, { pageEntries: 5 });
    await cluster.run(
      (async () => {
        const names = Array.from({ length: 60 }, (_, i) => `key${String(i).padStart(2, '0')}`);
        await Promise.all(names.map((name) => client.put(name, 'v')));
        for (const reverse of [false, true]) {
          const found: string[] = [];
          for await (const { key } of client.scan({ reverse })) {
            found.push(key.toString());
            if (found.length === 12) await client.splitTablet(reverse ? 'key20' : 'key40');
          }
          assert.equal(found, reverse ? [...names].reverse() : names);
        }
        await client.close();
      })(),
    );
    await cluster.run(cluster.closeAll());
  }
});

test('watchers are told each change once, before and after a split', async () => {
  const cluster = await begun(RANGE, 11);
  const client = cluster.client(60_000);
  await cluster.run(
    (async () => {
      await client.put('a', '0');
      const watch = client.watch({ range: { from: 'a', to: 'm' } });
      await watch.ready;
      const seen: string[] = [];
      const isDone = (async () => {
        for await (const event of watch)
          if (event.type === 'put' && seen.push(`${event.key} ${event.value}`) === 40) return;
      })();
      for (let i = 1; i <= 20; i++) {
        if (i === 8) await client.splitTablet('f');
        await Promise.all([client.put('b', `${i}`), client.put('h', `${i}`)]);
      }
      await isDone;
      for (const key of ['b', 'h'])
        assert.equal(
          seen.filter((text) => text.startsWith(key)),
          Array.from({ length: 20 }, (_, i) => `${key} ${i + 1}`),
        );
      await client.close();
    })(),
  );
  await cluster.run(cluster.closeAll());
});

test.run();
