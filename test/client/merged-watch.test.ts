/** Watches over tablets that are merged, and split again: no change is left out, and none is told twice. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/client.js';
import { HistoryGoneError, type RaftreeClientError } from '../../src/client/client-error.js';
import type { Watch, WatchOptions, WatchPosition } from '../../src/client/watch.js';
import { versionAt } from '../../src/client/watch-places.js';
import { decodeToken } from '../../src/client/watch-token.js';
import type { PlacementKind } from '../../src/placement/placement.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { FakeCluster } from './fake-cluster.js';
import { type FakeTablet, FakeTablets, placeOf } from './fake-tablets.js';

const HALF = 2 ** 31;
const KEYS = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));

async function start(bounds: readonly (string | number)[], by: PlacementKind = 'range', seed = 1) {
  const cluster = await FakeCluster.start(seed, 1);
  const tablets = new FakeTablets(cluster, by, bounds, seed);
  cluster.script = (request, node) => tablets.fateOf(request, node);
  const client = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
  return { cluster, tablets, client, scheduler: cluster.world.scheduler };
}

/** Takes what comes, until the watch ends: with what. */
function taken(watch: Watch, told: string[]): Promise<unknown> {
  return (async () => {
    for await (const { key, version } of watch) told.push(`${key} ${version}`);
  })().catch((error: unknown) => error);
}

const piecesOf = (watch: Watch) =>
  decodeToken(`${watch.resumeFrom}`).pieces.map(({ start, version }) => `${start} ${version}`);

for (const saysSuccessor of [true, false])
  test(`a merged tablet goes on for both from where each has come to${saysSuccessor ? '' : ', also when they do not say where it begins'}`, async () => {
    const { tablets, client, scheduler } = await start(['m']);
    tablets.saysSuccessor = saysSuccessor;
    const [left, right] = tablets.present as [FakeTablet, FakeTablet];
    for (let i = 0; i < 4; i++) tablets.write('b');
    for (let i = 0; i < 20; i++) tablets.write('n');
    const watch = client.watch();
    const told: string[] = [];
    const end = taken(watch, told);
    await scheduler.run(watch.ready);
    tablets.write('b', 'd');
    tablets.write('n');
    tablets.tell();
    await scheduler.runFor(10);
    // The left one ends when the right one has not told all yet.
    tablets.write('d');
    tablets.write('n', 'p');
    const merged = tablets.merge(left, right);
    tablets.tell();
    await scheduler.runFor(1000);
    tablets.write('b');
    tablets.write('p');
    tablets.tell();
    await scheduler.runFor(1000);
    assert.equal(told.slice(0, 2), ['b 5', 'd 5']);
    const last = merged.through;
    const ofLeft = told.filter((text) => /^[bd]/.test(text));
    const ofRight = told.filter((text) => /^[np]/.test(text));
    assert.equal(ofLeft, ['b 5', 'd 5', 'd 6', `b ${last - 1}`]);
    assert.equal(ofRight, ['n 21', 'n 22', 'p 22', `p ${last}`]);
    const asked = tablets.asked.filter(({ tablet }) => tablet === merged.id);
    assert.is(asked.length, 1, 'one stream');
    assert.is(asked[0]?.fromVersion, saysSuccessor ? merged.through - 1 : 7);
    assert.equal(piecesOf(watch), [` ${last + 1}`]);
    await scheduler.run(client.close());
    assert.is(((await end) as RaftreeClientError).code, 'CLIENT_CLOSED');
  });

for (const by of ['range', 'hash'] as const)
  test(`of writes told in part the rest is told, of each tablet its own, by ${by}`, async () => {
    const { tablets, client, scheduler } = await start([by === 'hash' ? HALF : 'm'], by);
    const [left, right] = tablets.present as [FakeTablet, FakeTablet];
    const keysOf = (tablet: FakeTablet) => KEYS.filter((key) => tablets.ownerOf(key) === tablet).slice(0, 3);
    const [ofLeft, ofRight] = [keysOf(left), keysOf(right)] as [string[], string[]];
    const watch = client.watch();
    const told: string[] = [];
    const end = taken(watch, told);
    await scheduler.run(watch.ready);
    // Both have a version 2, and the right one goes on.
    for (let i = 0; i < 2; i++) {
      tablets.write(...ofLeft);
      tablets.write(...ofRight);
    }
    tablets.write(...ofRight);
    for (const maxChanges of [3, 1]) {
      tablets.maxChanges = maxChanges;
      tablets.tell();
      await scheduler.runFor(10);
    }
    tablets.tell();
    await scheduler.runFor(10);
    tablets.maxChanges = 1000;
    tablets.merge(left, right);
    tablets.breakConnections();
    for (let i = 0; i < 10; i++) {
      await scheduler.runFor(500);
      tablets.tell();
    }
    const expected = [
      ...ofLeft.flatMap((key) => [1, 2].map((version) => `${key} ${version}`)),
      ...ofRight.flatMap((key) => [1, 2, 3].map((version) => `${key} ${version}`)),
    ];
    assert.equal([...told].sort(), expected.sort());
    await scheduler.run(client.close());
    await end;
  });

for (const by of ['range', 'hash'] as const)
  test(`a token from before a merge, or between its steps, holds both pieces, by ${by}`, async () => {
    const { tablets, client, scheduler } = await start([by === 'hash' ? HALF : 'm'], by);
    const [left, right] = tablets.present as [FakeTablet, FakeTablet];
    const keyOf = (tablet: FakeTablet) => KEYS.find((key) => tablets.ownerOf(key) === tablet) as string;
    const [l, r] = [keyOf(left), keyOf(right)];
    const watch = client.watch();
    await scheduler.run(watch.ready);
    for (let i = 0; i < 3; i++) tablets.write(l);
    for (let i = 0; i < 9; i++) tablets.write(r);
    tablets.tell();
    const told: string[] = [];
    for (let i = 0; i < 12; i++) {
      const { value } = await scheduler.run(watch.next());
      told.push(`${value?.key} ${value?.version}`);
    }
    const before = watch.resumeFrom;
    tablets.write(l);
    tablets.write(r);
    tablets.merge(left, right);
    tablets.breakConnections();
    await scheduler.runFor(2000);
    const between = watch.resumeFrom;
    assert.equal(piecesOf(watch).length, 2);
    const resumed = [before, between].map((from) => {
      const list: string[] = [];
      return { list, end: taken(client.watch({ from: from as string }), list) };
    });
    const only: string[] = [];
    const ofKey = taken(client.watch({ key: r, from: before as string }), only);
    await scheduler.runFor(2000);
    tablets.write(l);
    tablets.tell();
    await scheduler.runFor(1000);
    const last = tablets.ownerOf(l).through;
    for (const { list } of resumed)
      assert.equal([...list].sort(), [`${l} ${last}`, `${l} 4`, `${r} 10`].sort());
    assert.equal(only, [`${r} 10`]);
    await scheduler.run(client.close());
    await Promise.all([ofKey, ...resumed.map(({ end }) => end)]);
  });

test('a merge ends the streams of its tablets only', async () => {
  const { tablets, client, scheduler } = await start([HALF / 2, HALF, HALF * 1.5], 'hash');
  const watch = client.watch();
  await scheduler.run(watch.ready);
  const [, second, third] = tablets.present as [FakeTablet, FakeTablet, FakeTablet, FakeTablet];
  tablets.asked.length = 0;
  const merged = tablets.merge(second, third);
  tablets.tell();
  await scheduler.runFor(2000);
  assert.equal(
    tablets.asked.map(({ tablet }) => tablet),
    [merged.id],
  );
  await scheduler.run(client.close());
});

test('what is not kept is said, for the keys that lack it only', async () => {
  const { tablets, client, scheduler } = await start(['m']);
  const [left, right] = tablets.present as [FakeTablet, FakeTablet];
  const watch = client.watch();
  await scheduler.run(watch.ready);
  for (let i = 0; i < 30; i++) tablets.write('b');
  tablets.write('n');
  tablets.tell();
  const told: string[] = [];
  const end = taken(watch, told);
  await scheduler.runFor(10);
  left.oldest = 20;
  tablets.write('n');
  tablets.merge(left, right);
  tablets.breakConnections();
  await scheduler.runFor(5000);
  const error = await scheduler.run(end);
  assert.instance(error, HistoryGoneError);
  const { resumeFrom } = error as HistoryGoneError;
  const pieces = decodeToken(`${resumeFrom}`).pieces.map(({ start, version }) => `${start} ${version}`);
  assert.equal(pieces, [' 31', 'm 20']);
  await scheduler.run(client.close());
});

test('a version that a program names is told from such that a watch has come to', async () => {
  const { tablets, client, scheduler } = await start([]);
  const asked = async (options: WatchOptions) => {
    tablets.asked.length = 0;
    const watch = client.watch(options);
    await scheduler.run(watch.ready, 5000);
    const pieces = tablets.asked.at(-1)?.pieces.map(({ start, version }) => `${start} ${version}`);
    return { watch, pieces };
  };
  const [only] = tablets.present as [FakeTablet];
  for (let i = 0; i < 5; i++) tablets.write('b', 'n');
  tablets.split(only, 'm');
  tablets.merge(...(tablets.present as [FakeTablet, FakeTablet]));
  const plain = await asked({ from: 3 });
  assert.equal(plain.pieces, [], 'the node must know whether it is a place in one log');
  assert.equal((await asked({ from: 3, key: 'b' })).pieces, ['b 3'], 'the versions of a key rise');
  assert.equal((await asked({})).pieces, [], 'it begins with the next change');
  assert.equal((await asked({ from: plain.watch.resumeFrom as string })).pieces, [' 3']);
  // It was a place, when a node has told from there.
  tablets.asked.length = 0;
  tablets.breakConnections();
  await scheduler.runFor(5000);
  assert.ok(tablets.asked.length > 0 && tablets.asked.every(({ pieces }) => pieces.length === 1));
  await scheduler.run(client.close());
});

test('a watch of which one tablet has not begun when it is merged begins there with the next change', async () => {
  const { cluster, tablets, client, scheduler } = await start(['m']);
  const [left, right] = tablets.present as [FakeTablet, FakeTablet];
  for (let i = 0; i < 9; i++) tablets.write('n');
  await scheduler.run(client.tablets());
  cluster.script = (request, node) =>
    request.type === 'watch' && request.tablet === right.id ? 'NO_LEADER' : tablets.fateOf(request, node);
  const watch = client.watch();
  const told: string[] = [];
  const end = taken(watch, told);
  await scheduler.runFor(100);
  tablets.write('b');
  tablets.tell();
  await scheduler.runFor(100);
  tablets.write('b');
  tablets.merge(left, right);
  tablets.breakConnections();
  await scheduler.run(watch.ready, 20_000);
  tablets.tell();
  tablets.write('n');
  tablets.write('b');
  tablets.tell();
  await scheduler.runFor(1000);
  const { through } = tablets.ownerOf('b');
  assert.equal(told, ['b 1', 'b 2', `n ${through - 1}`, `b ${through}`]);
  await scheduler.run(client.close());
  await end;
});

/** Splits, merges, writes, lost connections, slow takers and resumed watches, as they come. */
async function run(seed: number, by: PlacementKind): Promise<{ merges: number; resumed: number }> {
  const random = new SeededRandom(seed);
  const { tablets, client, scheduler } = await start(by === 'hash' ? [HALF] : ['m'], by, seed);
  const ranges = [{}, { range: { from: 'f', to: 't' } }, { key: 'n' }] as const;
  const isIn = [() => true, (key: string) => key >= 'f' && key < 't', (key: string) => key === 'n'];
  const written: string[] = [];
  const failures: string[] = [];
  const count = { merges: 0, resumed: 0 };
  const open = (i: number, from?: WatchPosition) =>
    client.watch({ ...ranges[i], bufferBytes: random.pick([60, 200, 100_000]), ...(from ? { from } : {}) });
  const watches = ranges.map((_, i) => ({ watch: open(i), told: [] as string[], wanted: 0 }));
  await scheduler.run(Promise.all(watches.map(({ watch }) => watch.ready)));
  const take = (i: number, most: number) => {
    const taker = watches[i] as (typeof watches)[number];
    for (taker.wanted += most; taker.wanted > 0; taker.wanted--) {
      const { watch } = taker;
      void watch.next().then(
        ({ value, done }) => {
          if (!done) taker.told.push(`${value?.key} ${value?.version}`);
        },
        (error: RaftreeClientError) => failures.push(error.code),
      );
    }
  };
  const write = () => {
    const first = random.pick(KEYS);
    const owner = tablets.ownerOf(first);
    const others = KEYS.filter((key) => key !== first && owner.range.owns(Buffer.from(key)));
    const keys = [first, ...others.filter(() => random.chance(0.1))];
    const version = tablets.write(...keys);
    for (const key of keys) written.push(`${key} ${version}`);
  };
  const change = () => {
    const { present } = tablets;
    const at = random.between(0, present.length - 2);
    const [left, right] = [present[at], present[at + 1]];
    if (left && right && random.chance(present.length / 5)) {
      tablets.merge(left, right);
      count.merges++;
      return;
    }
    const key = random.pick(KEYS);
    const owner = tablets.ownerOf(key);
    const point = placeOf(by, key);
    if (Buffer.compare(point, owner.start) > 0)
      tablets.split(owner, by === 'hash' ? point.readUInt32BE(0) : key);
  };
  const resume = async (i: number) => {
    const taker = watches[i] as (typeof watches)[number];
    const { resumeFrom } = taker.watch;
    await taker.watch.return();
    await scheduler.runFor(1);
    const token = decodeToken(`${resumeFrom}`);
    const isBefore = (text: string) => {
      const [key, version] = text.split(' ') as [string, string];
      return Number(version) < versionAt(token, by, Buffer.from(key));
    };
    // What was taken of a write that was not taken whole comes again.
    taker.told = taker.told.filter(isBefore);
    taker.watch = open(i, resumeFrom);
    count.resumed++;
  };
  for (let step = 0; step < 150; step++) {
    tablets.maxChanges = random.pick([1, 2, 5, 1000]);
    tablets.saysSuccessor = random.chance(0.5);
    if (random.chance(0.7)) write();
    if (random.chance(0.12)) change();
    if (random.chance(0.05)) tablets.breakConnections();
    if (random.chance(0.5)) tablets.tell();
    if (random.chance(0.3)) take(random.between(0, 2), random.between(1, 6));
    if (random.chance(0.05)) await resume(random.between(0, 2));
    if (random.chance(0.5)) await scheduler.runFor(random.pick([1, 10, 500]));
  }
  for (const i of ranges.keys()) take(i, 2000);
  for (let quietRounds = 0; quietRounds < 10; quietRounds++) {
    if (tablets.tell()) quietRounds = 0;
    await scheduler.runFor(quietRounds === 0 ? 5 : 500);
  }
  assert.equal(failures, []);
  for (const [i, { told }] of watches.entries()) {
    const what = `seed ${seed} by ${by}, watch ${i}`;
    for (const key of KEYS.filter((letter) => isIn[i]?.(letter))) {
      const ofKey = (text: string) => text.startsWith(`${key} `);
      assert.equal(told.filter(ofKey), written.filter(ofKey), what);
    }
  }
  await scheduler.run(client.close());
  return count;
}

for (const by of ['range', 'hash'] as const)
  test(`random splits and merges by ${by}: each change is told once, in the order of its key`, async () => {
    const sum = { merges: 0, resumed: 0 };
    for (let seed = 1; seed <= 10; seed++) {
      const { merges, resumed } = await run(seed, by);
      sum.merges += merges;
      sum.resumed += resumed;
    }
    assert.ok(sum.merges > 50 && sum.resumed > 50, JSON.stringify(sum));
  });

test.run();
