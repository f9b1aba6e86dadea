/** Tablets are merged while clients go on: they see one store, and no more than a retry. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeConfigInput } from '../../src/server/config.js';
import { begun, codeOf, keysOf, RAFT } from '../support/tablet-cluster.js';

const RANGE: NodeConfigInput['placement'] = { by: 'range', splits: ['g', 'n'] };
const HASH: NodeConfigInput['placement'] = { by: 'hash', tablets: 3 };
const WORDS = ['apple', 'fig', 'grape', 'kiwi', 'nut', 'plum'];

for (const placement of [RANGE, HASH]) {
  const by = placement?.by;

  test(`by ${by}: neighbours are merged, and merged again with a part of a third, down to one tablet`, async () => {
    const cluster = await begun(placement, 5);
    const client = cluster.client(60_000);
    await cluster.run(
      (async () => {
        for (const word of WORDS) await client.put(word, `of ${word}`);
        const startMs = cluster.world.scheduler.nowMs();
        await client.mergeTablets(1, 2);
        await client.put('grape', 'again');
        const tookMs = cluster.world.scheduler.nowMs() - startMs;
        assert.ok(tookMs < 2 * RAFT.electionTimeoutMaxMs, `${tookMs} ms`);
        const merged = (await client.tablets()).tablets;
        assert.equal(
          merged.map(({ id, generation }) => [id > 3, generation]),
          [
            [true, 2],
            [false, 1],
          ],
        );
        for (const word of WORDS)
          assert.is((await client.get(word))?.value.toString(), word === 'grape' ? 'again' : `of ${word}`);
        assert.equal(await keysOf(client.scan()), [...WORDS].sort());
        await client.mergeTablets(merged[0]?.id ?? 0, 3);
        const fresh = cluster.client(60_000);
        assert.equal(await keysOf(fresh.scan()), [...WORDS].sort());
        await Promise.all(WORDS.map((word) => fresh.append(word, '!')));
        assert.is((await client.get('plum'))?.value.toString(), 'of plum!');
        const { tablets } = await fresh.tablets();
        assert.is(tablets.length, 1);
        assert.is(tablets[0]?.end, undefined);
        await cluster.sleep(6000);
        for (const node of ['n1:7001', 'n2:7001', 'n3:7001']) {
          const status = await fresh.status(node);
          assert.is(status.groups, 2, node);
        }
        await fresh.splitTablet('kiwi');
        assert.equal(await keysOf(fresh.scan()), [...WORDS].sort());
        await Promise.all([client.close(), fresh.close()]);
      })(),
      200_000,
    );
    assert.equal(cluster.failures, []);
    await cluster.run(cluster.closeAll());
  });
}

for (const placement of [RANGE, HASH]) {
  const by = placement?.by;

  test(`by ${by}: tablets are merged and split while nodes die: each write is applied once, in order`, async () => {
    const cluster = await begun(placement, 5);
    const client = cluster.client(60_000, { window: 8 });
    const admin = cluster.client(60_000);
    const acknowledged = new Map<string, number>();
    let isOver = false;
    const writer = async (word: string) => {
      for (let i = 1; !isOver; i++) {
        await Promise.all([client.append(word, `${2 * i - 1} `), client.append(word, `${2 * i} `)]);
        acknowledged.set(word, 2 * i);
        await cluster.sleep(50);
      }
    };
    const mergeFirst = async () => {
      const [left, right] = (await admin.tablets()).tablets;
      return left && right ? codeOf(admin.mergeTablets(left.id, right.id)) : 'alone';
    };
    const codes: string[] = [];
    await cluster.run(
      (async () => {
        const writers = WORDS.map(writer);
        await cluster.sleep(500);
        for (let round = 0; round < 6; round++) {
          const merging = mergeFirst();
          await cluster.sleep(5 + 15 * round);
          const victim = 1 + (round % 3);
          if (round % 2 === 1) cluster.cutPower(victim);
          await cluster.sleep(700);
          if (round % 2 === 1) await cluster.start(victim);
          codes.push(await merging);
          if (round === 2) await admin.splitTablet('grape');
          if (round === 3) await admin.splitTablet('pear');
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
        const fresh = cluster.client(60_000, { pageEntries: 2 });
        for (const each of [client, fresh]) {
          assert.equal(await keysOf(each.scan()), [...WORDS].sort());
          assert.equal(await keysOf(each.scan({ reverse: true })), [...WORDS].sort().reverse());
        }
        const { tablets } = await fresh.tablets();
        assert.ok(tablets.some(({ generation }) => generation > 2));
        assert.is(tablets[0]?.start.length, 0);
        tablets.forEach(({ end }, i) => {
          assert.equal(end, tablets[i + 1]?.start);
        });
        await cluster.sleep(6000);
        for (const node of ['n1:7001', 'n2:7001', 'n3:7001'])
          assert.is((await fresh.status(node)).groups, tablets.length + 1, node);
        await Promise.all([client.close(), admin.close(), fresh.close()]);
      })(),
      400_000,
    );
    assert.ok(codes.filter((code) => code === 'ok').length >= 2, codes.join());
    assert.equal(cluster.failures, []);
    await cluster.run(cluster.closeAll());
  });
}

/** tikv #15682: commit or rollback of a merge decided by a transient error. */
test('a merge in which a node does not take part is given up, and clients go on (tikv #15682)', async () => {
  const cluster = await begun(RANGE, 3);
  const client = cluster.client(60_000);
  await cluster.run(
    (async () => {
      for (const word of WORDS) await client.put(word, 'v');
      cluster.cutPower(3);
      await cluster.sleep(50);
      const code = await codeOf(client.mergeTablets(1, 2));
      assert.ok(code === 'MEMBER_UNREACHABLE' || code === 'CHANGE_CONFLICT', code);
      await client.append('apple', '!');
      assert.equal(
        (await client.tablets()).tablets.map(({ id }) => id),
        [1, 2, 3],
      );
      await cluster.start(3);
      await cluster.sleep(1000);
      await client.mergeTablets(1, 2);
      assert.is((await client.get('apple'))?.value.toString(), 'v!');
      await client.close();
    })(),
    200_000,
  );
  await cluster.run(cluster.closeAll());
});

test('what cannot be merged is refused with a reason, and changes nothing', async () => {
  const cluster = await begun(RANGE, 3);
  const client = cluster.client(60_000);
  await cluster.run(
    (async () => {
      const refusal = async (left: number, right: number) =>
        String(await client.mergeTablets(left, right).catch((error: unknown) => error));
      assert.match(await refusal(2, 1), /tablet 1 does not begin where tablet 2 ends/);
      assert.match(await refusal(1, 3), /only neighbours can be merged/);
      assert.match(await refusal(1, 1), /only neighbours/);
      assert.match(await refusal(3, 99), /there is no tablet 99/);
      await client.mergeTablets(1, 2);
      assert.match(await refusal(1, 2), /there is no tablet 1 /);
      assert.is((await client.tablets()).tablets.length, 2);
      await client.close();
    })(),
  );
  await cluster.run(cluster.closeAll());
});

test('tablets that are too large together are not merged', async () => {
  const placement = { ...RANGE, maxTabletBytes: 64 * 1024 };
  const cluster = await begun(placement as NodeConfigInput['placement'], 3);
  const client = cluster.client(60_000);
  await cluster.run(
    (async () => {
      for (let i = 0; i < 60; i++) await client.put(`a${i}`, cluster.world.random.bytes(1024));
      const error = await client.mergeTablets(1, 2).catch((failure: unknown) => failure);
      assert.match(String(error), /what is merged has at most 32768/, String(error));
      await client.close();
    })(),
  );
  await cluster.run(cluster.closeAll());
});

test('small neighbours are merged by themselves if that is asked for, down to what the cluster began with', async () => {
  const placement = { by: 'range', minTabletBytes: 32 * 1024 } as const;
  const cluster = await begun(placement, 3, { balance: { everyMs: 300 } });
  const client = cluster.client(60_000);
  await cluster.run(
    (async () => {
      for (const word of WORDS) await client.put(word, 'v');
      for (const key of ['grape', 'nut']) await client.splitTablet(key);
      // Two tablets would be frozen, and thawed again, as long as one of their nodes is away.
      cluster.cutPower(3);
      await cluster.sleep(1500);
      let begun = 0;
      for (let i = 0; i < 60; i++) {
        await cluster.sleep(50);
        const intents = cluster.nodes.flatMap((node) => [...(node?.meta?.state.intents.values() ?? [])]);
        if (intents.length > 0) begun++;
      }
      assert.is(begun, 0);
      await cluster.start(3);
      await client.put('plum', cluster.world.random.bytes(40 * 1024));
      let count = 3;
      for (let i = 0; count > 2 && i < 100; i++) {
        await cluster.sleep(100);
        count = (await client.tablets()).tablets.length;
      }
      await cluster.sleep(3000);
      const { tablets } = await client.tablets();
      assert.equal(
        tablets.map(({ start }) => start.toString()),
        ['', 'nut'],
        'the large one stays',
      );
      await client.delete('plum');
      await client.close();
    })(),
    200_000,
  );
  await cluster.run(cluster.closeAll());
});

test.run();
