/** Writes while tablets are split and merged: each is applied once at most, in the order of its key. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ClientOptions, RaftreeClient, RaftreeClientError } from '../../src/client/index.js';
import { errorReply } from '../../src/protocol/error-codes.js';
import type { OutboundMessage, Request } from '../../src/protocol/messages.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { FakeCluster, type Fate } from './fake-cluster.js';
import { type FakeTablet, FakeTablets } from './fake-tablets.js';

/** The sessions of one tablet. */
interface Table {
  readonly sessions: Map<number, Map<number, OutboundMessage>>;
  readonly floors: Map<number, number>;
  /** It has let them go. */
  readonly gone: Set<number>;
}

/** A cluster of tablets, each with the sessions of those that it came from. */
class TabletCluster extends FakeCluster {
  readonly tablets: FakeTablets;
  readonly #tables = new Map<number, Table>();
  readonly frozen = new Set<number>();

  constructor(seed: number, bounds: readonly string[]) {
    super(seed);
    this.tablets = new FakeTablets(this, 'range', bounds, seed);
    for (const { id } of this.tablets.present)
      this.#tables.set(id, { sessions: new Map(), floors: new Map(), gone: new Set() });
  }

  split(tablet: FakeTablet, at: string): void {
    for (const { id } of this.tablets.split(tablet, at)) this.#tables.set(id, this.#union([tablet]));
  }

  /** Sessions of both: the higher floor, and all results. One that either has let go is none of theirs any more. */
  merge(left: FakeTablet, right: FakeTablet): FakeTablet {
    const merged = this.tablets.merge(left, right);
    this.#tables.set(merged.id, this.#union([left, right]));
    return merged;
  }

  expireSessions({ id }: FakeTablet): void {
    const { sessions, gone } = this.#tables.get(id) as Table;
    for (const session of sessions.keys()) gone.add(session);
    sessions.clear();
  }

  /** As it holds when the request is carried out. */
  override answer(request: Request, node: number): OutboundMessage {
    const { requestId } = request;
    if (request.type === 'tablets') return this.tablets.map(request);
    if (!('tablet' in request)) return super.answer(request, node);
    const tablet = this.tablets.all.get(request.tablet);
    if (!tablet || tablet.successorFrom !== undefined)
      return errorReply(requestId, 'WRONG_TABLET', 'it is not here');
    if (this.frozen.has(tablet.id)) return errorReply(requestId, 'TABLET_FROZEN', 'it is being merged');
    const keys = request.type === 'write' ? request.operations.map(({ key }) => key) : [];
    if (keys.some((key) => !tablet.range.owns(key)))
      return errorReply(requestId, keys.length > 1 ? 'SPANS_TABLETS' : 'WRONG_TABLET', 'another has it');
    const { sessions, floors } = this.#tables.get(tablet.id) as Table;
    copyInto(this.sessions, sessions);
    copyInto(this.floors, floors);
    const answer = super.answer(request, node);
    copyInto(sessions, this.sessions);
    copyInto(floors, this.floors);
    return answer;
  }

  #union(tablets: readonly FakeTablet[]): Table {
    const union: Table = { sessions: new Map(), floors: new Map(), gone: new Set() };
    const tables = tablets.map(({ id }) => this.#tables.get(id) as Table);
    for (const { gone } of tables) for (const id of gone) union.gone.add(id);
    for (const { sessions, floors } of tables) {
      for (const [id, results] of sessions)
        if (!union.gone.has(id))
          union.sessions.set(id, new Map([...(union.sessions.get(id) ?? []), ...results]));
      for (const [id, floor] of floors) union.floors.set(id, Math.max(floor, union.floors.get(id) ?? 0));
    }
    return union;
  }
}

function copyInto<Value>(to: Map<number, Value>, from: ReadonlyMap<number, Value>): void {
  const entries = [...from];
  to.clear();
  for (const [key, value] of entries) to.set(key, value);
}

async function start(seed: number, bounds: readonly string[], options: Partial<ClientOptions> = {}) {
  const cluster = new TabletCluster(seed, bounds);
  for (let node = 1; node <= 3; node++) await cluster.startNode(node);
  const { env } = cluster.client;
  const client = new RaftreeClient({ endpoints: cluster.endpoints, env, ...options });
  return { cluster, client, scheduler: cluster.world.scheduler };
}

const textOf = (cluster: FakeCluster, key: string) => cluster.data.get(key)?.value.toString() ?? '';
const outcomeOf = (error: RaftreeClientError) => `${error.code} ${error.outcome}`;

test('writes whose answers were lost are repeated in what their tablets were merged into, in their sessions', async () => {
  const { cluster, client, scheduler } = await start(1, ['m'], { attemptTimeoutMs: 300 });
  await scheduler.run(Promise.all([client.append('a', '0'), client.append('z', '0')]));
  const opened = cluster.requests('openSession').length;
  const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
  cluster.script = ({ type }) => (type === 'write' ? 'silent after' : undefined);
  const writes = [client.append('a', '1'), client.append('z', '1'), client.append('z', '2')];
  await scheduler.runFor(10);
  cluster.script = () => undefined;
  for (const { id } of [left, right]) cluster.frozen.add(id);
  await scheduler.runFor(500);
  const merged = cluster.merge(left, right);
  await scheduler.run(Promise.all(writes));
  assert.equal([textOf(cluster, 'a'), textOf(cluster, 'z')], ['01', '012']);
  await scheduler.run(
    client.batch([
      { action: 'append', key: 'a', value: '2' },
      { action: 'append', key: 'z', value: '3' },
    ]),
  );
  assert.equal([textOf(cluster, 'a'), textOf(cluster, 'z')], ['012', '0123']);
  assert.is(
    cluster.requests('openSession').length,
    opened,
    'the merged one goes on with the session of either',
  );
  assert.is(
    (cluster.seen.findLast(({ request }) => request.type === 'write') as { request: { tablet: number } })
      .request.tablet,
    merged.id,
  );
  await scheduler.run(client.close());
});

test('a write that may be applied goes on after a merge although a node is down', async () => {
  const { cluster, client, scheduler } = await start(5, ['m'], { attemptTimeoutMs: 300 });
  await scheduler.run(Promise.all([client.append('a', '0'), client.append('z', '0')]));
  cluster.kill(3);
  const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
  cluster.script = ({ type }) => (type === 'write' ? 'silent after' : undefined);
  const writes = ['a', 'z'].map((key) => client.append(key, '1'));
  await scheduler.runFor(1000);
  cluster.script = () => undefined;
  cluster.merge(left, right);
  const startMs = scheduler.nowMs();
  await scheduler.run(Promise.all(writes));
  assert.ok(scheduler.nowMs() - startMs < 3000, `${scheduler.nowMs() - startMs} ms`);
  assert.equal([textOf(cluster, 'a'), textOf(cluster, 'z')], ['01', '01']);
  await scheduler.run(client.close());
});

for (const given of ['a', 'z'])
  test(`a write to ${given} that was given up after a merge is not applied after the next one to its key`, async () => {
    const { cluster, client, scheduler } = await start(2, ['m'], { attemptTimeoutMs: 200 });
    await scheduler.run(Promise.all([client.append('a', '0'), client.append('z', '0')]));
    const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
    cluster.script = ({ type }) => (type === 'write' ? 'silent before' : undefined);
    const write = client.append(given, '1', { timeoutMs: 2000 }).catch(outcomeOf);
    await scheduler.runFor(10);
    const merged = cluster.merge(left, right);
    // Its repetition is on its way to what they became when the call gives up.
    cluster.script = (request) =>
      request.type === 'write' && request.tablet === merged.id ? 'hold' : undefined;
    assert.is(await scheduler.run(write, 5000), 'TIMEOUT unknown');
    cluster.script = () => undefined;
    await scheduler.run(client.append(given, '2'));
    for (const run of cluster.held.splice(0)) run();
    await scheduler.runFor(10);
    assert.is(textOf(cluster, given), '02');
    await scheduler.run(client.close());
  });

test('the next write waits no longer than it takes to say that the one before was given up', async () => {
  const { cluster, client, scheduler } = await start(3, ['m'], { attemptTimeoutMs: 200 });
  await scheduler.run(Promise.all([client.append('a', '0'), client.append('z', '0')]));
  const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
  cluster.script = ({ type }) => (type === 'write' ? 'silent before' : undefined);
  const givenUp = ['a', 'z'].map((key) => client.append(key, '1', { timeoutMs: 1000 }).catch(outcomeOf));
  await scheduler.runFor(10);
  const merged = cluster.merge(left, right);
  await scheduler.run(Promise.all(givenUp), 5000);
  // What says it meets another merge, or a session that is not known any more.
  cluster.expireSessions(merged);
  cluster.script = () => undefined;
  const startMs = scheduler.nowMs();
  await scheduler.run(Promise.all([client.append('a', '2'), client.append('z', '2')]));
  assert.ok(scheduler.nowMs() - startMs < 2000, `${scheduler.nowMs() - startMs} ms`);
  assert.equal([textOf(cluster, 'a'), textOf(cluster, 'z')], ['02', '02']);
  await scheduler.run(client.close());
});

test('keys of two tablets that were merged since can be written together; others are refused, and the map is not asked for each time', async () => {
  const { cluster, client, scheduler } = await start(4, ['h', 'm']);
  const batch = (...keys: string[]) =>
    client
      .batch(keys.map((key) => ({ action: 'append', key, value: '1' }) as const))
      .then(() => 'ok', outcomeOf);
  await scheduler.run(client.append('a', '0'));
  await scheduler.runFor(2000);
  const refused = await scheduler.run(Promise.all([batch('a', 'i'), batch('a', 'z')]));
  assert.equal(refused, ['SPANS_TABLETS notCommitted', 'SPANS_TABLETS notCommitted']);
  const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
  cluster.merge(left, right);
  await scheduler.runFor(2000);
  assert.equal(await scheduler.run(Promise.all([batch('a', 'i'), batch('a', 'z')])), [
    'ok',
    'SPANS_TABLETS notCommitted',
  ]);
  const asked = cluster.requests('tablets').length;
  for (let i = 0; i < 20; i++) await scheduler.run(batch('a', 'z'));
  assert.is(cluster.requests('tablets').length, asked);
  await scheduler.run(client.close());
});

test('of a batch that may be applied, and whose tablet was split between its keys since, the outcome is unknown', async () => {
  const { cluster, client, scheduler } = await start(5, ['x'], { attemptTimeoutMs: 200 });
  await scheduler.run(client.append('a', '0'));
  cluster.script = ({ type }) => (type === 'write' ? 'silent after' : undefined);
  const operations = ['a', 'k'].map((key) => ({ action: 'append', key, value: '1' }) as const);
  const batch = client.batch(operations).catch(outcomeOf);
  await scheduler.runFor(10);
  cluster.split(cluster.tablets.ownerOf('a'), 'h');
  cluster.script = () => undefined;
  assert.is(await scheduler.run(batch, 10_000), 'SPANS_TABLETS unknown');
  assert.is(textOf(cluster, 'a'), '01');
  await scheduler.run(client.close());
});

test('a map with a gap is asked for again before a write that may be applied is given up', async () => {
  const { cluster, client, scheduler } = await start(6, ['m'], { attemptTimeoutMs: 200 });
  await scheduler.run(Promise.all([client.append('a', '0'), client.append('z', '0')]));
  const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
  cluster.script = ({ type }) => (type === 'write' ? 'silent after' : undefined);
  const write = client.append('z', '1');
  await scheduler.runFor(10);
  cluster.split(left, 'c');
  cluster.split(right, 'x');
  let gaps = 1;
  cluster.script = ({ type }) => {
    if (type !== 'tablets' || gaps-- <= 0) return undefined;
    return (request) => {
      const whole = cluster.tablets.map(request);
      if (whole.type !== 'tabletsReply') throw new Error('it is no map');
      return { ...whole, tablets: whole.tablets.filter(({ start }) => `${start}` !== 'x') };
    };
  };
  await scheduler.run(write, 20_000);
  assert.is(textOf(cluster, 'z'), '01');
  await scheduler.run(client.close());
});

test('all tablets merged into one: it is written under its own number, in the sessions from before', async () => {
  const { cluster, client, scheduler } = await start(7, ['m']);
  await scheduler.run(Promise.all([client.append('a', '0'), client.append('z', '0')]));
  const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
  cluster.merge(left, right);
  const other = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
  await scheduler.run(Promise.all([client.append('a', '1'), other.append('z', '1')]), 5000);
  assert.equal([textOf(cluster, 'a'), textOf(cluster, 'z')], ['01', '01']);
  assert.is(
    cluster.requests('openSession').filter(({ request }) => 'tablet' in request && request.tablet !== 0)
      .length,
    3,
  );
  await scheduler.run(Promise.all([client.close(), other.close()]));
});

test('a session that a merged tablet has let go is not used in its parts', async () => {
  const { cluster, client, scheduler } = await start(8, ['m']);
  const appendBoth = (text: string) =>
    scheduler.run(Promise.all([client.append('a', text), client.append('z', text)]), 5000);
  await appendBoth('0');
  const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
  const merged = cluster.merge(left, right);
  await appendBoth('1');
  cluster.expireSessions(merged);
  await appendBoth('2');
  const opened = cluster.requests('openSession').length;
  cluster.split(merged, 'g');
  await appendBoth('3');
  assert.equal([textOf(cluster, 'a'), textOf(cluster, 'z')], ['0123', '0123']);
  assert.is(cluster.requests('openSession').length, opened);
  await scheduler.run(client.close());
});

test('through hundreds of splits and merges a session goes on, and so does a write that waits for its answer', async () => {
  const { cluster, client, scheduler } = await start(9, ['m'], { attemptTimeoutMs: 20, backoffMs: 1 });
  await scheduler.run(Promise.all([client.append('a', '0'), client.append('z', '0')]));
  const opened = cluster.requests('openSession').length;
  cluster.script = (request) =>
    request.type === 'write' && request.operations[0]?.key.toString() === 'z' ? 'silent after' : undefined;
  const waiting = client.append('z', '1');
  for (let round = 0; round < 200; round++) {
    const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
    const merged = cluster.merge(left, right);
    await scheduler.run(client.append('a', '1'), 5000);
    cluster.split(merged, 'm');
    await scheduler.run(client.append('b', '1'), 5000);
  }
  for (let round = 0; round < 200; round++) {
    const [left, right] = cluster.tablets.present as [FakeTablet, FakeTablet];
    cluster.split(cluster.merge(left, right), round % 2 === 0 ? 'c' : 'x');
    await scheduler.run(client.append('a', '1'), 5000);
    if (round % 3 > 0) await scheduler.run(client.append('y', '1'), 5000);
  }
  cluster.script = () => undefined;
  await scheduler.run(waiting, 5000);
  assert.equal(
    [textOf(cluster, 'a').length, textOf(cluster, 'b').length, textOf(cluster, 'z')],
    [401, 200, '01'],
  );
  assert.is(cluster.requests('openSession').length, opened);
  await scheduler.run(client.close());
});

const FATES: readonly Fate[] = [
  'silent after',
  'silent before',
  'break after',
  'break before',
  'hold',
  'OVERLOADED',
];

/** Appends numbered tokens without waiting; returns what stands in the end, and what was acknowledged. */
async function run(seed: number) {
  const random = new SeededRandom(seed);
  const { cluster, client, scheduler } = await start(seed, ['m'], { attemptTimeoutMs: 300 });
  cluster.window = random.pick([4, 16, 1024]);
  const late = () => {
    for (const run of cluster.held.splice(0)) run();
  };
  let isQuiet = false;
  cluster.script = () => {
    if (isQuiet) return undefined;
    if (random.chance(0.05)) cluster.leader = random.between(1, 3);
    if (random.chance(0.1)) scheduler.after(random.between(0, 4000), late);
    return random.chance(0.2) ? random.pick(FATES) : undefined;
  };
  let merges = 0;
  const change = () => {
    const { present } = cluster.tablets;
    const at = random.between(0, present.length - 1);
    const [left, right] = [present[at], present[at + 1]];
    if (random.chance(0.2)) cluster.expireSessions(random.pick(present));
    if (!left || cluster.frozen.has(left.id)) return;
    if (right && !cluster.frozen.has(right.id) && random.chance(0.7)) {
      merges++;
      for (const { id } of [left, right]) cluster.frozen.add(id);
      scheduler.after(random.between(0, 500), () => cluster.merge(left, right));
    } else {
      const key = random.pick(['b', 'd', 'p', 'r']);
      if (left.range.owns(Buffer.from(key)) && `${left.start}` < key) cluster.split(left, key);
    }
  };
  const acknowledged: string[] = [];
  const writes: Promise<unknown>[] = [];
  for (let number = 0; number < 150; number++) {
    const timeoutMs = random.pick([300, 1000, 3000, 30_000]);
    const key = random.pick(['a', 'c', 'o', 'z']);
    const write = client.append(key, `${number} `, { timeoutMs });
    writes.push(
      write.then(
        () => acknowledged.push(`${key} ${number}`),
        (error) => {
          assert.instance(error, RaftreeClientError);
          assert.is.not(error.code, 'INVALID_REQUEST');
        },
      ),
    );
    if (random.chance(0.1)) change();
    if (random.chance(0.3)) await scheduler.runFor(random.between(0, 600));
  }
  isQuiet = true;
  await scheduler.run(Promise.all(writes), 120_000);
  await scheduler.run(client.close());
  late();
  return { cluster, acknowledged, merges };
}

test('random losses, delays, splits and merges: every acknowledged write is there once, in the order of its key', async () => {
  let merges = 0;
  let written = 0;
  for (let seed = 1; seed <= 15; seed++) {
    const done = await run(seed);
    merges += done.merges;
    written += done.acknowledged.length;
    for (const [key, { value }] of done.cluster.data) {
      const numbers = value.toString().trim().split(' ').map(Number);
      assert.equal(
        numbers,
        [...new Set(numbers)].sort((one, other) => one - other),
        `seed ${seed}`,
      );
      for (const text of done.acknowledged)
        if (text.startsWith(`${key} `))
          assert.ok(numbers.includes(Number(text.slice(2))), `seed ${seed}: ${text}`);
    }
  }
  assert.ok(merges > 50 && written > 1000, `${merges} merges, ${written} writes`);
});

test.run();
