/** Writes of one client to one key take effect in the order of their calls, whatever is lost, late or given up. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ClientOptions, RaftreeClient, RaftreeClientError } from '../../src/client/index.js';
import { Lane } from '../../src/client/key-order.js';
import { toOperation } from '../../src/client/operations.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { FakeCluster, type Fate } from './fake-cluster.js';

const clientOf = (cluster: FakeCluster, options: Partial<ClientOptions> = {}) =>
  new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env, ...options });

const textOf = (cluster: FakeCluster, key: string) => cluster.data.get(key)?.value.toString() ?? '';

test('two puts that are not awaited: the second one stands, though the first one is lost and repeated', async () => {
  for (const fate of ['silent before', 'break before', 'NO_LEADER', 'OVERLOADED'] as const) {
    const cluster = await FakeCluster.start(1);
    const client = clientOf(cluster);
    let strikes = 1;
    cluster.script = (request) => (request.type === 'write' && strikes-- > 0 ? fate : undefined);
    const writes = [client.put('k', '1'), client.put('other', 'x'), client.put('k', '2')];
    await cluster.world.scheduler.run(Promise.all(writes));
    assert.is(textOf(cluster, 'k'), '2', fate);
    await cluster.world.scheduler.run(client.close());
  }
});

test('a batch keeps its place in the order of each of its keys', async () => {
  const cluster = await FakeCluster.start(2);
  const client = clientOf(cluster);
  let strikes = 2;
  cluster.script = (request) => (request.type === 'write' && strikes-- > 0 ? 'silent before' : undefined);
  const writes = [
    client.append('a', '1'),
    client.batch([
      { action: 'append', key: 'a', value: '2' },
      { action: 'append', key: 'b', value: '2' },
    ]),
    client.append('b', '3'),
    client.append(Buffer.from('a'), '3'),
  ];
  await cluster.world.scheduler.run(Promise.all(writes));
  assert.equal([textOf(cluster, 'a'), textOf(cluster, 'b')], ['123', '23']);
  await cluster.world.scheduler.run(client.close());
});

test('writes to other keys do not wait, and one to the same key follows the one before at once', async () => {
  const cluster = await FakeCluster.start(3);
  const client = clientOf(cluster);
  const { scheduler } = cluster.world;
  await scheduler.run(client.put('first', ''));
  cluster.script = (request) => (request.type === 'write' ? 'hold' : undefined);
  const writes = ['a', 'b', 'a', 'c'].map((key) => client.put(key, 'x'));
  await scheduler.runFor(100);
  assert.is(cluster.held.length, 4);
  cluster.script = () => undefined;
  for (const run of cluster.held.splice(0)) run();
  await scheduler.run(Promise.all(writes));
  await scheduler.run(client.close());
});

test('a write that was given up is not applied after the next one to its key', async () => {
  const cluster = await FakeCluster.start(4);
  const client = clientOf(cluster, { attemptTimeoutMs: 60_000 });
  const { scheduler } = cluster.world;
  await scheduler.run(client.put('first', ''));
  // The write to another key keeps the floor down; the one to k is on its way when it is given up.
  cluster.script = (request) => (request.type === 'write' ? 'hold' : undefined);
  const blocking = client.put('blocking', 'x', { timeoutMs: 50_000 });
  const key = Buffer.from('k');
  const givenUp = client
    .put(key, 'old', { timeoutMs: 500 })
    .catch((error: RaftreeClientError) => error.outcome);
  await scheduler.runFor(1000);
  assert.is(await givenUp, 'unknown');
  // The call is over, so its caller may use the bytes again.
  key.fill('x');
  const next = client.put('k', 'new', { timeoutMs: 50_000 });
  await scheduler.runFor(1000);
  assert.is(cluster.held.length, 2, 'it could be applied before the one that was given up');
  const [runBlocking, runGivenUp] = cluster.held.splice(0);
  cluster.script = () => undefined;
  runBlocking?.();
  await scheduler.run(Promise.all([blocking, next]));
  runGivenUp?.();
  assert.is(textOf(cluster, 'k'), 'new');
  await scheduler.run(client.close());
});

test('bytes of a key are used again for the next call while the call after it is under way', async () => {
  const cluster = await FakeCluster.start(5);
  const client = clientOf(cluster);
  const { scheduler } = cluster.world;
  await scheduler.run(client.put('first', ''));
  cluster.script = (request) => (request.type === 'write' ? 'hold' : undefined);
  const key = Buffer.from('k');
  const first = client.put(key, '1');
  const second = client.put('k', '2');
  await scheduler.runFor(10);
  cluster.held.shift()?.();
  await scheduler.run(first);
  key.fill('x');
  await scheduler.runFor(10);
  const third = client.put('k', '3');
  await scheduler.runFor(10);
  cluster.script = () => undefined;
  // The third arrives first.
  for (const run of cluster.held.splice(0).reverse()) run();
  await scheduler.run(Promise.all([second, third]));
  assert.is(textOf(cluster, 'k'), '3');
  await scheduler.run(client.close());
});

test('many writes to one key take one round trip, in order, also behind a first one that is lost', async () => {
  for (const fate of [undefined, 'silent before', 'break before', 'break after', 'OVERLOADED'] as const) {
    const cluster = await FakeCluster.start(6);
    const client = clientOf(cluster, { attemptTimeoutMs: 200 });
    const { scheduler } = cluster.world;
    await scheduler.run(client.put('first', ''));
    let strikes = 1;
    cluster.script = (request) => (request.type === 'write' && strikes-- > 0 ? fate : undefined);
    const numbers = Array.from({ length: 300 }, (_, i) => `${i} `);
    const startMs = scheduler.nowMs();
    await scheduler.run(Promise.all(numbers.map((number) => client.append('k', number))));
    assert.is(textOf(cluster, 'k'), numbers.join(''), fate);
    const tookMs = scheduler.nowMs() - startMs;
    assert.ok(tookMs < (fate === undefined ? 50 : 1500), `${fate}: ${tookMs} ms`);
    await scheduler.run(client.close());
  }
});

test('a small write waits until a large one before it is over: its leader may let the large one wait', async () => {
  const cluster = await FakeCluster.start(10);
  const client = clientOf(cluster);
  const { scheduler } = cluster.world;
  await scheduler.run(client.put('first', ''));
  cluster.script = (request) => (request.type === 'write' ? 'hold' : undefined);
  const writes = [client.put('k', 'x'.repeat(70_000)), client.put('k', 'small')];
  await scheduler.runFor(500);
  assert.is(cluster.held.length, 1);
  cluster.script = () => undefined;
  cluster.held.pop()?.();
  await scheduler.run(Promise.all(writes));
  assert.is(textOf(cluster, 'k'), 'small');
  await scheduler.run(client.close());
});

test('writes of a lane keep their order whatever their keys are; other lanes do not wait for them', async () => {
  const cluster = await FakeCluster.start(7);
  const client = clientOf(cluster, { attemptTimeoutMs: 200 });
  const { scheduler } = cluster.world;
  await scheduler.run(client.put('first', ''));
  const order: string[] = [];
  const { set } = cluster.data;
  cluster.data.set = (key, value) => {
    order.push(key);
    return set.call(cluster.data, key, value);
  };
  let strikes = 1;
  cluster.script = (request) => (request.type === 'write' && strikes-- > 0 ? 'silent before' : undefined);
  const [slow, quick] = [new Lane(), new Lane()];
  const write = (lane: Lane, key: string) =>
    client.write([toOperation({ action: 'put', key, value: '' })], {}, lane);
  const writes = [write(slow, 'a'), write(slow, 'b'), write(quick, 'a'), write(quick, 'c'), write(slow, 'c')];
  await scheduler.run(Promise.all(writes));
  assert.equal(order, ['a', 'c', 'a', 'b', 'c']);
  await scheduler.run(client.close());
});

test('the map of a cluster of one tablet changes no session: a late copy of a write that was given up stays dead', async () => {
  const cluster = await FakeCluster.start(11);
  const client = clientOf(cluster, { attemptTimeoutMs: 200 });
  const { scheduler } = cluster.world;
  await scheduler.run(client.put('first', ''));
  cluster.script = (request) => (request.type === 'write' ? 'hold' : undefined);
  const first = client.put('k', '1', { timeoutMs: 300 }).catch((error: RaftreeClientError) => error.outcome);
  assert.is(await scheduler.run(first), 'unknown');
  const only = {
    id: 1,
    generation: 1,
    start: Buffer.alloc(0),
    end: undefined,
    leaderId: 1,
    term: 1,
    replicas: [1],
    splitVersion: 0,
  };
  cluster.script = (request) => (request.type === 'tablets' ? cluster.map([only]) : undefined);
  assert.is((await scheduler.run(client.tablets())).tablets.length, 1);
  await scheduler.run(client.put('k', '2'));
  for (const run of cluster.held.splice(0)) run();
  await scheduler.runFor(10);
  assert.is(textOf(cluster, 'k'), '2');
  await scheduler.run(client.close());
});

test('a write that is refused for good holds up none that follows it', async () => {
  const cluster = await FakeCluster.start(8);
  const client = clientOf(cluster);
  const { scheduler } = cluster.world;
  await scheduler.run(client.put('first', ''));
  let number = 0;
  cluster.script = (request) => (request.type === 'write' && ++number === 2 ? 'VALUE_TOO_LARGE' : undefined);
  const [one, two, three] = ['1', '2', '3'].map((value) => client.append('k', value));
  await scheduler.run(Promise.allSettled([one, two, three]));
  assert.is(textOf(cluster, 'k'), '13');
  assert.is(await two?.catch((error: RaftreeClientError) => error.code), 'VALUE_TOO_LARGE');
  await scheduler.run(client.close());
});

test('in a window of one, a session that ends blocks no write behind another', async () => {
  const cluster = await FakeCluster.start(9);
  cluster.window = 1;
  const client = clientOf(cluster);
  const { scheduler } = cluster.world;
  await scheduler.run(client.put('first', ''));
  for (let round = 0; round < 3; round++) {
    cluster.sessions.clear();
    const startMs = scheduler.nowMs();
    await scheduler.run(Promise.all(['1', '2', '3', '4'].map((value) => client.append('k', value))));
    assert.ok(scheduler.nowMs() - startMs < 1000, 'it waited for a time limit');
  }
  assert.is(textOf(cluster, 'k'), '1234'.repeat(3));
  await scheduler.run(client.close());
});

const FATES: readonly Fate[] = [
  'silent after',
  'silent before',
  'break after',
  'break before',
  'hold',
  'NO_LEADER',
  'OVERLOADED',
  'LEADERSHIP_LOST',
  'VALUE_TOO_LARGE',
];

/** Appends numbered tokens without waiting; returns what stands in the end. */
async function run(seed: number): Promise<{ values: string[]; applied: number; given: number }> {
  const random = new SeededRandom(seed);
  const cluster = await FakeCluster.start(seed);
  const { scheduler } = cluster.world;
  cluster.window = 16;
  const client = clientOf(cluster, { attemptTimeoutMs: 300 });
  const late = () => {
    for (const run of cluster.held.splice(0)) run();
  };
  cluster.script = () => {
    if (random.chance(0.05)) cluster.leader = random.between(1, 4);
    if (random.chance(0.005)) cluster.sessions.clear();
    if (random.chance(0.2)) scheduler.after(random.between(0, 2000), late);
    return random.chance(0.2) ? random.pick(FATES) : undefined;
  };
  let applied = 0;
  const writes: Promise<unknown>[] = [];
  for (let number = 0; number < 120; number++) {
    const timeoutMs = random.pick([300, 3000, 30_000]);
    const write = client.append(`k${random.between(0, 4)}`, `${number} `, { timeoutMs });
    writes.push(write.then(() => applied++).catch((error) => assert.instance(error, RaftreeClientError)));
    if (random.chance(0.2)) await scheduler.runFor(random.between(0, 300));
  }
  await scheduler.run(Promise.all(writes));
  await scheduler.run(client.close());
  late();
  const values = [...cluster.data.values()].map(({ value }) => value.toString().trim());
  return { values, applied, given: writes.length };
}

test('random losses, delays, failovers, time-outs and expired sessions', async () => {
  let applied = 0;
  let given = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const done = await run(seed);
    applied += done.applied;
    given += done.given;
    for (const value of done.values) {
      const numbers = value.split(' ').map(Number);
      const sorted = [...numbers].sort((a, b) => a - b);
      assert.equal(numbers, sorted, `seed ${seed}`);
    }
  }
  assert.ok(applied > given / 2, `${applied} of ${given} were applied`);
});

test.run();
