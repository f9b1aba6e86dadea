/** Mirrors: local copies that follow a cluster, over kills, restarts and lost history. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import type { Mirror } from '../../src/client/mirror.js';
import { errorCode } from '../../src/env/errors.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

const RAFT = { heartbeatMs: 50, electionTimeoutMinMs: 200, electionTimeoutMaxMs: 400 };
const LIMITS = { maxValueBytes: 65_536, maxRequestBytes: 262_144 };
const SEVERAL: NodeConfigInput['placement'] = { by: 'hash', tablets: 3 };

async function begun(seed: number, more: Partial<NodeConfigInput> = {}) {
  const cluster = new SimulatedCluster(seed, { config: { raft: RAFT, limits: LIMITS, ...more } });
  await cluster.run(cluster.startAll());
  return cluster;
}

function contentOf(mirror: Mirror): string[] {
  return [...mirror].map(({ key, value }) => `${key}=${value}`);
}

async function scanned(client: RaftreeClient, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key, value } of client.scan({ prefix })) found.push(`${key}=${value}`);
  return found;
}

async function until(cluster: SimulatedCluster, holds: () => boolean, what: string): Promise<void> {
  const untilMs = cluster.nowMs + 60_000;
  while (!holds() && cluster.nowMs < untilMs) await cluster.run(cluster.sleep(20));
  assert.ok(holds(), what);
}

/** A map that is kept by what the mirror tells. */
function toldBy(mirror: Mirror): { readonly map: Map<string, string>; readonly log: string[] } {
  const map = new Map<string, string>();
  const log: string[] = [];
  mirror.onChange(({ type, key, value, previous }) => {
    assert.is(map.get(`${key}`), previous && `${previous.value}`, `what ${key} had before`);
    if (type === 'put') map.set(`${key}`, `${value}`);
    else map.delete(`${key}`);
    log.push(`${type} ${key}=${value}`);
  });
  return { map, log };
}

const codeOf = (work: () => unknown) => {
  try {
    work();
    return 'none';
  } catch (error) {
    return errorCode(error);
  }
};

for (const placement of [undefined, SEVERAL]) {
  const where = placement ? 'of several tablets' : 'of one tablet';

  test(`keys ${where}: reads in order, changes, freshness, the end`, async () => {
    const cluster = await begun(31, placement ? { placement } : {});
    const client = cluster.client(60_000, { pageEntries: 3 });
    const keys = Array.from({ length: 10 }, (_, i) => `m/${i}`);
    await cluster.run(Promise.all([...keys, 'l', 'n'].map((key) => client.put(key, `is ${key}`))));
    const mirror = client.mirror('m/', { syncEveryMs: 100 });
    assert.is(
      codeOf(() => mirror.get('m/1')),
      'MIRROR_NOT_READY',
    );
    assert.equal([mirror.freshness.ageMs, mirror.freshness.isLoading], [Number.POSITIVE_INFINITY, true]);
    await cluster.run(mirror.ready);
    assert.equal(contentOf(mirror), await cluster.run(scanned(client, 'm/')));
    assert.equal([mirror.size, mirror.has('m/3'), mirror.has('l')], [10, true, false]);
    assert.equal(
      [...mirror.entries({ from: 'm/3', to: 'm/5', reverse: true })].map(({ key }) => `${key}`),
      ['m/4', 'm/3'],
    );
    assert.is(mirror.get('m/3')?.version, (await cluster.run(client.get('m/3')))?.version);
    const before = mirror.entries();
    const told: string[] = [];
    const forget = mirror.onChange(({ type, key, previous }) =>
      told.push(`${type} ${key} was ${previous?.value}`),
    );
    await cluster.run(client.put('m/1', 'new'));
    await cluster.run(client.delete('m/2'));
    await cluster.run(client.put('m/t', 'mortal', { ttlMs: 100 }));
    await until(cluster, () => told.length === 4, 'all are told');
    assert.equal(told.filter((text) => !text.includes('m/t')).sort(), [
      'delete m/2 was is m/2',
      'put m/1 was is m/1',
    ]);
    assert.equal(
      told.filter((text) => text.includes('m/t')),
      ['put m/t was undefined', 'expire m/t was mortal'],
    );
    assert.equal([mirror.get('m/1')?.value.toString(), mirror.size], ['new', 9]);
    assert.is([...before].length, 10, 'a view is of its moment');
    forget();
    await cluster.run(cluster.sleep(2000));
    assert.ok(mirror.freshness.ageMs < 500, `${mirror.freshness.ageMs} ms old`);
    assert.ok(mirror.freshness.isConnected && !mirror.freshness.isLoading);
    // What the copy does not have is told from there.
    const { resumeFrom } = mirror.freshness;
    await cluster.run(client.put('m/later', '1'));
    const later = client.watch({ prefix: 'm/', ...(resumeFrom === undefined ? {} : { from: resumeFrom }) });
    assert.is(`${(await cluster.run(later.next())).value?.key}`, 'm/later');
    await cluster.run(Promise.all([later.return(), mirror.close()]));
    assert.is(
      codeOf(() => mirror.size),
      'CLIENT_CLOSED',
    );
    assert.is(await mirror.ended, undefined);
    assert.is(told.length, 4);
    await cluster.run(cluster.sleep(100));
    assert.is(
      cluster.nodes.reduce((sum, node) => sum + (node?.watchers ?? 0), 0),
      0,
    );
    const abort = new AbortController();
    const ending = [client.mirror('m/', { signal: abort.signal }), client.mirror('m/')];
    await cluster.run(ending[0]?.ready ?? Promise.reject());
    abort.abort();
    await cluster.run(client.close());
    const ends = await cluster.run(Promise.all(ending.map(({ ended }) => ended)));
    assert.equal(
      ends.map((error) => error?.code),
      ['ABORTED', 'CLIENT_CLOSED'],
    );
  });

  test(`keys ${where}: each change once, writes whole, over kills of every node`, async () => {
    const cluster = await begun(32, placement ? { placement } : {});
    const client = cluster.client();
    // The keys of a write share a tablet. Pages are small, so that a scan shows several states.
    const reader = cluster.client(60_000, { pageEntries: 2 });
    const pairs = Array.from({ length: 4 }, (_, i) => [`m/a{${i}}`, `m/z{${i}}`] as const);
    let isOver = false;
    let written = 0;
    const writing = pairs.map(async (pair) => {
      for (let i = 0; !isOver; i++) {
        await client.batch(pair.map((key) => ({ action: 'put' as const, key, value: `${i}` })));
        written++;
        await cluster.sleep(15);
      }
    });
    const mirrors: Mirror[] = [];
    const check = (mirror: Mirror) => {
      for (const [one, other] of pairs)
        assert.is(`${mirror.get(one)?.value}`, `${mirror.get(other)?.value}`, `${one} and ${other}`);
    };
    const follow = async () => {
      const mirror = reader.mirror('m/', { syncEveryMs: 200 });
      mirrors.push(mirror);
      await mirror.ready;
      check(mirror);
      const last = new Map<string, number>();
      mirror.onChange(({ key, value, previous }) => {
        check(mirror);
        assert.is(Number(value), Number(previous?.value ?? -1) + 1, `${key}: each change once`);
        if (last.has(`${key}`)) assert.is(Number(value), (last.get(`${key}`) ?? 0) + 1, `${key}`);
        last.set(`${key}`, Number(value));
      });
    };
    await cluster.run(cluster.sleep(200));
    for (const id of [1, 2, 3]) {
      await cluster.run(follow());
      await cluster.run(cluster.sleep(200));
      cluster.kill(id);
      await cluster.run(Promise.all([follow(), cluster.sleep(800)]), 60_000);
      await cluster.run(cluster.start(id));
    }
    isOver = true;
    await cluster.run(Promise.all(writing), 60_000);
    const endMs = cluster.nowMs;
    await until(
      cluster,
      () => mirrors.every(({ freshness }) => cluster.nowMs - freshness.ageMs > endMs),
      'all are fresh',
    );
    const content = await cluster.run(scanned(client, 'm/'));
    for (const mirror of mirrors) assert.equal(contentOf(mirror), content);
    assert.ok(written > 100, `${written} writes`);
    assert.equal(cluster.failures, []);
    await cluster.run(Promise.all([client.close(), reader.close()]));
  });
}

test('when the history is gone it is filled anew; until then readers keep the old copy, and are told the difference', async () => {
  const cluster = await begun(33, { watch: { maxHistoryBytes: 1024 * 1024 }, placement: SEVERAL });
  const client = cluster.client();
  const far = cluster.host('far');
  const reader = cluster.client(60_000, { env: far.env, pageEntries: 5 });
  for (let i = 0; i < 20; i++) await cluster.run(client.put(`m/${i}`, `${i}`));
  const mirror = reader.mirror('m/', { syncEveryMs: 100 });
  await cluster.run(mirror.ready);
  const { map } = toldBy(mirror);
  for (const { key, value } of mirror) map.set(`${key}`, `${value}`);
  const old = contentOf(mirror);
  const links = cluster.machines.flatMap(({ host }) => [[host, 'far'] as const, ['far', host] as const]);
  for (const [from, to] of links) cluster.world.network.cut(from, to);
  await cluster.run(Promise.all([0, 1, 2, 3].map((i) => client.delete(`m/${i}`))));
  await cluster.run(Promise.all([4, 5].map((i) => client.put(`m/${i}`, 'changed'))));
  await cluster.run(client.put('m/x', 'new'));
  for (let i = 0; i < 25; i++)
    await cluster.run(Promise.all([0, 1, 2].map((n) => client.put(`n${n}-${i}`, 'x'.repeat(30_000)))));
  // A silent link counts as lost after 30 seconds, and it is looked every five.
  await cluster.run(cluster.sleep(40_000));
  assert.ok(mirror.freshness.ageMs > 30_000 && !mirror.freshness.isConnected, 'it says how old it is');
  assert.equal(contentOf(mirror), old);
  for (const [from, to] of links) cluster.world.network.mend(from, to);
  const now = await cluster.run(scanned(client, 'm/'));
  let states = 0;
  for (let i = 0; contentOf(mirror).join() !== now.join(); i++) {
    assert.equal(contentOf(mirror), old, 'the old copy until the new one is whole');
    states++;
    assert.ok(i < 4000);
    await cluster.run(cluster.sleep(10));
  }
  assert.ok(states > 0);
  assert.equal([...map].map(([key, value]) => `${key}=${value}`).sort(), now.toSorted());
  await cluster.run(client.put('m/x', 'newer'));
  await until(cluster, () => map.get('m/x') === 'newer', 'it follows again');
  await cluster.run(Promise.all([client.close(), reader.close()]));
});

test('a copy larger than it may be ends the mirror: while it is filled, and later', async () => {
  const cluster = await begun(34);
  const client = cluster.client();
  await cluster.run(client.put('m/1', 'x'.repeat(2000)));
  const tooSmall = client.mirror('m/', { maxBytes: 1000 });
  const enough = client.mirror('m/', { maxBytes: 10_000 });
  assert.is(
    errorCode(await cluster.run(tooSmall.ready.catch((error: unknown) => error))),
    'MIRROR_TOO_LARGE',
  );
  await cluster.run(enough.ready);
  for (let i = 0; i < 20; i++) await cluster.run(client.put('m/1', `${i}`.repeat(1000)));
  await cluster.run(cluster.sleep(200));
  assert.is(enough.sizeBytes, 3 + 2000 + 100);
  for (let i = 0; i < 6; i++) await cluster.run(client.put(`m/${i}`, 'x'.repeat(2000)));
  assert.is((await cluster.run(enough.ended))?.code, 'MIRROR_TOO_LARGE');
  assert.is(
    codeOf(() => enough.get('m/1')),
    'MIRROR_TOO_LARGE',
  );
  for (const options of [{ maxBytes: 0 }, { maxBytes: 1.5 }, { syncEveryMs: 0 }, { syncEveryMs: Number.NaN }])
    assert.is(
      codeOf(() => client.mirror('m/', options)),
      'INVALID_REQUEST',
    );
  const large = client.mirror('x'.repeat(5000));
  assert.is((await cluster.run(large.ended))?.code, 'KEY_TOO_LARGE');
  await cluster.run(client.close());
});

test.run();
