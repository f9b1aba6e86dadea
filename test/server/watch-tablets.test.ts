/** Watches of keys that belong to several tablets: merged, in order for each key, and resumed from a token. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import { HistoryGoneError, RaftreeClientError } from '../../src/client/client-error.js';
import type { Watch, WatchPosition } from '../../src/client/watch.js';
import { decodeToken, encodeToken } from '../../src/client/watch-token.js';
import { errorCode } from '../../src/env/errors.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import type { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { begun } from '../support/tablet-cluster.js';

const RANGE: NodeConfigInput['placement'] = { by: 'range', splits: ['g', 'n'] };
const HASH: NodeConfigInput['placement'] = { by: 'hash', tablets: 5 };
const LIMITS = { maxValueBytes: 65_536, maxRequestBytes: 262_144 };

/** Takes all changes as they come; by key. */
class Told {
  readonly byKey = new Map<string, string[]>();
  readonly ended: Promise<unknown>;
  readonly watch: Watch;
  count = 0;

  constructor(watch: Watch) {
    this.watch = watch;
    this.ended = this.#take();
  }

  async #take(): Promise<unknown> {
    try {
      for await (const { type, key, value } of this.watch) {
        this.count++;
        const of = this.byKey.get(key.toString()) ?? [];
        of.push(`${type} ${value}`);
        this.byKey.set(key.toString(), of);
      }
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

const KEYS = Array.from({ length: 12 }, (_, i) => `${'agnz'[i % 4]}${i}`);

async function writeRound(client: RaftreeClient, round: number): Promise<void> {
  await Promise.all(KEYS.map((key) => client.put(key, `${round}`)));
}

function expectedOf(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => `put ${from + i}`);
}

async function until(cluster: SimulatedCluster, holds: () => boolean, what: string): Promise<void> {
  const untilMs = cluster.nowMs + 60_000;
  while (!holds() && cluster.nowMs < untilMs) await cluster.run(cluster.sleep(20));
  assert.ok(holds(), what);
}

for (const placement of [RANGE, HASH]) {
  const by = placement?.by;

  test(`by ${by}: each change once and in order for its key, over kills of every node; a token goes on`, async () => {
    const cluster = await begun(placement, 21, { limits: LIMITS });
    const [client, watcher] = [cluster.client(), cluster.client()];
    const told = new Told(watcher.watch({ bufferBytes: 2000 }));
    const some = new Told(watcher.watch({ prefix: 'g' }));
    const one = new Told(watcher.watch({ key: 'n2' }));
    await cluster.run(Promise.all([told, some, one].map(({ watch }) => watch.ready)));
    let round = 0;
    for (const id of [1, 2, 3]) {
      for (let i = 0; i < 2; i++) await cluster.run(writeRound(client, round++), 60_000);
      cluster.kill(id);
      await cluster.run(writeRound(client, round++), 60_000);
      await cluster.run(cluster.start(id));
    }
    await until(cluster, () => told.count >= round * KEYS.length, 'all are told');
    await until(cluster, () => one.count >= round && some.count >= 3 * round, 'a part, too');
    for (const key of KEYS) assert.equal(told.byKey.get(key), expectedOf(0, round), key);
    assert.equal([...some.byKey.keys()].sort(), KEYS.filter((key) => key.startsWith('g')).sort());
    assert.equal([...one.byKey.keys()], ['n2']);
    assert.match(`${one.watch.resumeFrom}`, /^w1\./);
    await told.watch.return();
    const token = told.watch.resumeFrom as WatchPosition;
    assert.match(`${token}`, /^w1\./);
    await cluster.run(writeRound(client, round++));
    const again = new Told(cluster.client().watch({ from: token }));
    await until(cluster, () => again.count >= KEYS.length, 'the rest is told');
    await cluster.run(cluster.sleep(500));
    for (const key of KEYS) assert.equal(again.byKey.get(key), expectedOf(round - 1, round), key);
    await cluster.run(Promise.all([client.close(), watcher.close()]));
  });

  test(`by ${by}: what is gone of one tablet is told, with a token for all; a version is no place in several logs`, async () => {
    const cluster = await begun(placement, 22, { limits: LIMITS, watch: { maxHistoryBytes: 1024 * 1024 } });
    const client = cluster.client();
    const watch = client.watch();
    await cluster.run(watch.ready);
    const from = watch.resumeFrom as WatchPosition;
    await cluster.run(watch.return());
    await cluster.run(client.put('a', 'first'));
    for (let i = 0; i < 45; i++) await cluster.run(client.put('z', 'x'.repeat(32 * 1024)));
    await cluster.run(client.put('z', 'last'));
    const error = await cluster.run(new Told(client.watch({ from })).ended);
    assert.ok(error instanceof HistoryGoneError, `${error}`);
    assert.match(`${error.resumeFrom}`, /^w1\./);
    const again = new Told(client.watch({ from: error.resumeFrom }));
    await until(cluster, () => again.byKey.get('z')?.at(-1) === 'put last', 'the newest are told');
    assert.is(again.byKey.get('a')?.[0] ?? 'put first', 'put first');
    const codes: string[] = [];
    for (const position of [5, `${from}x`, 'w1.', 'w1.AAAA', `w1.${'A'.repeat(2_000_000)}`, '17'])
      try {
        codes.push(errorCode(await cluster.run(new Told(client.watch({ from: position })).ended)) ?? '');
      } catch (thrown) {
        codes.push(thrown instanceof RaftreeClientError ? thrown.code : `${thrown}`);
      }
    assert.equal(codes, ['SPANS_TABLETS', ...Array.from({ length: 5 }, () => 'INVALID_REQUEST')]);
    if (by === 'range') {
      const part = client.watch({ prefix: 'g' });
      await cluster.run(part.ready);
      assert.match(`${part.resumeFrom}`, /^w1\./);
      const wide = client.watch({ range: { from: 'a', to: 'h' } });
      await cluster.run(wide.ready);
      const narrow = wide.resumeFrom as WatchPosition;
      const beyond = new Told(client.watch({ from: narrow }));
      assert.is(errorCode(await cluster.run(beyond.ended)), 'INVALID_REQUEST');
    }
    await cluster.run(client.close());
  });
}

test('a watch of keys of one tablet goes on from where another has ended also when that tablet was split since', async () => {
  const cluster = await begun(RANGE, 29, { limits: LIMITS });
  const client = cluster.client();
  const watch = client.watch({ range: { from: 'g', to: 'n' } });
  await cluster.run(watch.ready);
  await cluster.run(client.put('h', '1'));
  assert.is((await cluster.run(watch.next())).value?.key.toString(), 'h');
  const from = watch.resumeFrom as WatchPosition;
  await cluster.run(watch.return());
  for (const key of ['h', 'l']) await cluster.run(client.put(key, '2'));
  await cluster.run(client.splitTablet('k'), 60_000);
  for (const key of ['h', 'l']) await cluster.run(client.put(key, '3'));
  const again = new Told(cluster.client().watch({ range: { from: 'g', to: 'n' }, from }));
  await until(cluster, () => again.count === 4, 'the rest is told');
  assert.equal([...again.byKey].toSorted(), [
    ['h', ['put 2', 'put 3']],
    ['l', ['put 2', 'put 3']],
  ]);
  await cluster.run(client.close());
});

test('a version of the only tablet is a place to go on from after its split, and a later version is none', async () => {
  const cluster = await begun(undefined, 30, { limits: LIMITS });
  const client = cluster.client();
  const watch = client.watch();
  await cluster.run(watch.ready);
  await cluster.run(client.put('h', '1'));
  assert.is((await cluster.run(watch.next())).value?.key.toString(), 'h');
  const from = watch.resumeFrom as WatchPosition;
  assert.is(typeof from, 'number');
  await cluster.run(watch.return());
  for (const key of ['h', 'l']) await cluster.run(client.put(key, '2'));
  for (const key of ['k', 'j']) await cluster.run(client.splitTablet(key, { timeoutMs: 60_000 }), 90_000);
  const { version } = await cluster.run(client.put('h', '3'));
  await cluster.run(client.put('l', '3'));
  const again = new Told(cluster.client().watch({ from }));
  await until(cluster, () => again.count === 4, 'the rest is told');
  assert.equal([...again.byKey].toSorted(), [
    ['h', ['put 2', 'put 3']],
    ['l', ['put 2', 'put 3']],
  ]);
  const later = new Told(cluster.client().watch({ from: version + 1 }));
  assert.is(errorCode(await cluster.run(later.ended)), 'SPANS_TABLETS');
  await cluster.run(client.close());
});

test('the changes of one write follow each other, also when those of other tablets wait', async () => {
  const cluster = await begun(RANGE, 23, { limits: LIMITS });
  const [client, watcher] = [cluster.client(), cluster.client()];
  const watch = watcher.watch({ bufferBytes: 300 });
  await cluster.run(watch.ready);
  const batch = (prefix: string) =>
    client.batch(
      Array.from({ length: 30 }, (_, i) => ({ action: 'put' as const, key: `${prefix}${i}`, value: 'v' })),
    );
  const writes = Promise.all(['a', 'h', 'z', 'a', 'h', 'z'].map(batch));
  let open = '';
  let left = 0;
  for (let i = 0; i < 180; i++) {
    const { value } = await cluster.run(watch.next());
    const first = `${value?.key}`.slice(0, 1);
    if (left === 0) [open, left] = [first, 30];
    assert.is(first, open, `change ${i}`);
    left--;
    assert.is(watch.isBetweenWrites, left === 0);
  }
  await cluster.run(writes);
  await cluster.run(Promise.all([client.close(), watcher.close()]));
});

test('a token that lies ahead of all that is committed is no place to wait at: what comes before it would be missed', async () => {
  const cluster = await begun(RANGE, 26, { limits: LIMITS });
  const client = cluster.client();
  const watch = client.watch();
  await cluster.run(watch.ready);
  await cluster.run(watch.return());
  const token = decodeToken(`${watch.resumeFrom}`);
  const pieces = token.pieces.map(({ start, version }, i) => ({
    start,
    version: version + (i === 1 ? 500 : 0),
  }));
  const error = await cluster.run(new Told(client.watch({ from: encodeToken({ ...token, pieces }) })).ended);
  assert.ok(error instanceof HistoryGoneError, `${error}`);
  assert.match(error.message, /only to version \d+: it was restored/);
  const again = new Told(client.watch({ from: error.resumeFrom }));
  await cluster.run(again.watch.ready);
  await cluster.run(client.put('h', 'v'));
  await until(cluster, () => again.count === 1, 'it goes on from there');
  await cluster.run(client.close());
});

test('a token of another cluster, also of one with the same name, is refused', async () => {
  const [one, other] = [
    await begun(RANGE, 24, { limits: LIMITS }),
    await begun(RANGE, 25, { limits: LIMITS }),
  ];
  const watch = one.client().watch();
  await one.run(watch.ready);
  const from = watch.resumeFrom as WatchPosition;
  const refused = new Told(other.client().watch({ from }));
  assert.is(errorCode(await other.run(refused.ended)), 'IDENTITY_MISMATCH');
});

test.run();
