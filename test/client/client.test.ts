import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ClientOptions, RaftreeClient, RaftreeClientError } from '../../src/client/index.js';
import { clientFailure } from '../support/client-failure.js';
import { FakeCluster } from './fake-cluster.js';

const clientOf = (cluster: FakeCluster, options: Partial<ClientOptions> = {}) =>
  new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env, ...options });

/** Starts a cluster and a client, runs the body in virtual time, and closes the client. */
function scenario(
  name: string,
  options: Partial<ClientOptions>,
  body: (client: RaftreeClient, cluster: FakeCluster) => Promise<void>,
): void {
  test(name, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const cluster = await FakeCluster.start(seed);
      const client = clientOf(cluster, options);
      const { scheduler } = cluster.world;
      await scheduler.run(body(client, cluster));
      await scheduler.run(client.close());
      await scheduler.runFor(10_000);
      for (const channels of cluster.open.values()) assert.is(channels.size, 0, 'no connection is left');
    }
  });
}

const count = (cluster: FakeCluster, key: string) => cluster.data.get(key)?.value.toString();

scenario('the operations', {}, async (client, cluster) => {
  const put = await client.put('a', 'one');
  assert.equal(put, { applied: true, version: put.index, index: put.index }, 'a put does not look');
  assert.equal(Object.keys(await client.put('a', 'two')).sort(), ['applied', 'index', 'version']);
  assert.is((await client.insert('a', 'three')).applied, false);
  assert.is((await client.insert('b', 'x')).applied, true);
  assert.is((await client.update('b', 'y')).applied, true);
  assert.is((await client.update('c', 'y')).applied, false);
  assert.is((await client.append('b', Buffer.from([0, 255]))).existed, true);
  const got = await client.get(Buffer.from('b'));
  assert.equal(got?.value, Buffer.from([0x79, 0, 255]));
  assert.is((await client.cas('a', 'four', { expectedValue: 'two' })).applied, true);
  assert.is((await client.cas('a', 'five', { expectedValue: 'two' })).applied, false);
  assert.is((await client.cas('b', 'five', { expectedVersion: got?.version ?? -1 })).applied, true);
  assert.is((await client.cas('d', 'new', { expectedVersion: 0 })).applied, true);
  assert.is((await client.delete('d')).existed, true);
  assert.is((await client.delete('d')).existed, false);
  assert.is(await client.get('d'), undefined);
  const refused = await client.batch([
    { action: 'put', key: 'e', value: '1' },
    { action: 'check', key: 'a', condition: { expectedValue: 'no' } },
  ]);
  assert.is(refused.applied, false);
  const version = cluster.data.get('a')?.version ?? -1;
  assert.equal(refused.results, [
    { status: 'notApplied' },
    { status: 'conditionFailed', existed: true, version },
  ]);
  assert.is(cluster.data.has('e'), false);
  const { index, results } = await client.batch([
    { action: 'put', key: 'a', value: '1' },
    { action: 'put', key: 'a', value: '2', condition: { exists: true } },
    { action: 'delete', key: 'b' },
    { action: 'append', key: 'e', value: '3' },
  ]);
  assert.equal(results, [
    { status: 'ok', existed: undefined, version: index },
    { status: 'ok', existed: true, version: index },
    { status: 'ok', existed: true, version: 0 },
    { status: 'ok', existed: false, version: index },
  ]);
  const status = await client.status(cluster.endpoint(2));
  assert.is(status.nodeId, 2);
  assert.is(status.role, 'follower');
});

scenario('the leader is found and remembered', {}, async (client, cluster) => {
  cluster.leader = 3;
  for (let i = 0; i < 10; i++) await client.put(`k${i}`, 'v');
  assert.is(cluster.requests('write').filter(({ node }) => node !== 3).length, 0);
  assert.ok(cluster.requests('openSession').length <= 3);
  cluster.leader = 2;
  await client.put('after', 'v');
  assert.is(count(cluster, 'after'), 'v');
  const others = cluster.requests('write').filter(({ node }) => node === 3);
  assert.is(others.length, 11);
});

scenario(
  'one endpoint is enough: the leader it names need not be among the given',
  {},
  async (_, cluster) => {
    const client = clientOf(cluster, { endpoints: [cluster.endpoint(1)] });
    cluster.leader = 2;
    await client.put('a', '1');
    // The given node is gone, and the learned leader has changed its mind.
    cluster.kill(1);
    await client.append('a', '2');
    assert.is(count(cluster, 'a'), '12');
    await client.close();
  },
);

for (const fate of ['silent after', 'break after', 'LEADERSHIP_LOST'] as const) {
  scenario(`a write that ends with "${fate}" is repeated and applied once`, {}, async (client, cluster) => {
    await client.put('k', '');
    let strikes = 2;
    cluster.script = (request) => (request.type === 'write' && strikes-- > 0 ? fate : undefined);
    await client.append('k', 'x');
    assert.is(count(cluster, 'k'), 'x');
    const sequences = cluster
      .requests('write')
      .map(({ request }) => request.type === 'write' && request.sequence);
    assert.ok(sequences.length >= 4);
    assert.equal([...new Set(sequences)], [1, 2]);
  });
}

scenario(
  'many pipelined writes over breaking connections are each applied once',
  {},
  async (client, cluster) => {
    let requests = 0;
    cluster.script = (request) => {
      if (request.type !== 'write') return undefined;
      requests++;
      if (requests % 37 === 0) return 'break after';
      if (requests % 41 === 0) return 'break before';
      if (requests % 43 === 0) return 'NO_LEADER';
      if (requests % 47 === 0) cluster.leader = 1 + (requests % 3);
      return undefined;
    };
    await Promise.all(
      Array.from({ length: 300 }, (_, i) => client.append(`k${i % 7}`, `[${i}]`, { timeoutMs: 60_000 })),
    );
    const all = [...cluster.data.values()].map(({ value }) => value.toString()).join('');
    const tokens = all.match(/\[\d+\]/g) ?? [];
    assert.is(tokens.length, 300);
    assert.is(new Set(tokens).size, 300);
  },
);

scenario('what a node refuses is not repeated', {}, async (client, cluster) => {
  await client.put('k', '');
  for (const code of ['KEY_EMPTY', 'KEY_TOO_LARGE', 'VALUE_TOO_LARGE', 'INVALID_REQUEST'] as const) {
    cluster.script = () => code;
    const before = cluster.seen.length;
    const error = await clientFailure(client.put('k', 'v'));
    assert.is(error.code, code);
    assert.is(error.outcome, 'notCommitted');
    assert.is(cluster.seen.length, before + 1);
  }
});

scenario('out of time, nothing in a log: not committed', { timeoutMs: 2000 }, async (client, cluster) => {
  await client.put('k', '');
  cluster.script = (request) => (request.type === 'write' ? 'NO_LEADER' : undefined);
  const error = await clientFailure(client.append('k', 'x'));
  assert.is(error.code, 'TIMEOUT');
  assert.is(error.outcome, 'notCommitted');
  assert.match(error.message, 'NO_LEADER');
  assert.ok(cluster.requests('write').length > 3, 'it was repeated');
  assert.ok(cluster.requests('write').length < 60, 'with pauses');
});

for (const fate of ['silent after', 'silent before', 'break after', 'break before', 'INTERNAL'] as const) {
  scenario(`out of time after "${fate}": unknown`, { timeoutMs: 2000 }, async (client, cluster) => {
    await client.put('k', '');
    let strikes = 1;
    cluster.script = (request) => {
      if (request.type !== 'write') return undefined;
      return strikes-- > 0 ? fate : 'NOT_LEADER';
    };
    const error = await clientFailure(client.append('k', 'x'));
    assert.is(error.code, 'TIMEOUT');
    assert.is(error.outcome, 'unknown');
  });
}

scenario(
  'no cluster: unreachable and not committed, within the timeout',
  { timeoutMs: 1500 },
  async (client, cluster) => {
    for (const node of [1, 2, 3]) cluster.kill(node);
    const { scheduler } = cluster.world;
    const startMs = scheduler.nowMs();
    for (const call of [client.put('k', 'v'), client.get('k')]) {
      const error = await clientFailure(call);
      assert.is(error.code, 'UNREACHABLE');
      assert.is(error.outcome, 'notCommitted');
    }
    assert.ok(scheduler.nowMs() - startMs <= 1501);
  },
);

/** Counts the attempts to connect: all, and those under way. */
function countConnects(cluster: FakeCluster) {
  const { env } = cluster.client;
  const connect = async (...given: Parameters<typeof env.net.connect>) => {
    counts.all++;
    counts.underWay++;
    try {
      return await env.net.connect(...given);
    } finally {
      counts.underWay--;
    }
  };
  const counts = { all: 0, underWay: 0, env: { ...env, net: { ...env.net, connect } } };
  return counts;
}

test('close waits for a connection that is being opened', async () => {
  const cluster = await FakeCluster.start(1, 1);
  const { network, scheduler } = cluster.world;
  const connects = countConnects(cluster);
  const client = clientOf(cluster, { env: connects.env });
  network.cut('client', 'node1');
  const call = clientFailure(client.get('k'));
  await scheduler.runFor(100);
  assert.is(connects.underWay, 1);
  await scheduler.run(client.close());
  assert.is(connects.underWay, 0);
  assert.is((await call).code, 'CLIENT_CLOSED');
});

test('one answer that does not come ends no connection over which others come', async () => {
  const cluster = await FakeCluster.start(1, 1);
  const { scheduler } = cluster.world;
  const connects = countConnects(cluster);
  const client = clientOf(cluster, { env: connects.env, attemptTimeoutMs: 500 });
  let strikes = 1;
  cluster.script = (request) =>
    request.type === 'get' && request.key.toString() === 'slow' && strikes-- > 0
      ? 'silent before'
      : undefined;
  const body = async () => {
    const slow = client.get('slow');
    for (let i = 0; i < 10; i++) {
      await scheduler.sleep(100);
      await client.get('other');
    }
    await slow;
  };
  await scheduler.run(body());
  assert.is(connects.all, 1);
  assert.is(strikes, -1, 'it was asked twice');
  await scheduler.run(client.close());
});

test('a node that cannot be connected to has a rest, which is short again once it could', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const cluster = await FakeCluster.start(seed, 1);
    const { scheduler } = cluster.world;
    const connects = countConnects(cluster);
    const client = clientOf(cluster, { env: connects.env });
    const body = async () => {
      await client.get('k');
      cluster.kill(1);
      const calls = Array.from({ length: 200 }, () => clientFailure(client.get('k', { timeoutMs: 5000 })));
      await Promise.all(calls);
      assert.ok(connects.all < 40, `${connects.all} attempts to connect`);
      await cluster.startNode(1);
      await client.get('k');
      cluster.kill(1);
      await clientFailure(client.get('k', { timeoutMs: 200 }));
      await cluster.startNode(1);
      await client.get('k', { timeoutMs: 300 });
    };
    await scheduler.run(body());
    await scheduler.run(client.close());
  }
});

scenario('a silent node is left for another one', { attemptTimeoutMs: 500 }, async (client, cluster) => {
  await client.put('k', '1');
  cluster.script = (_, node) => (node === 1 ? 'silent before' : undefined);
  cluster.leader = 2;
  await client.append('k', '2');
  assert.is((await client.get('k'))?.value.toString(), '12');
});

scenario(
  'a node that is cut off without a word costs one attempt, not one for each call',
  { attemptTimeoutMs: 500 },
  async (client, cluster) => {
    const { network, scheduler } = cluster.world;
    await client.put('k', '1');
    network.cut('client', 'node1');
    network.cut('node1', 'client');
    cluster.leader = 2;
    const startMs = scheduler.nowMs();
    await Promise.all(Array.from({ length: 50 }, () => client.append('k', 'x')));
    assert.ok(scheduler.nowMs() - startMs < 700);
    assert.is(count(cluster, 'k'), `1${'x'.repeat(50)}`);
    network.mendAll();
    cluster.leader = 1;
    await client.append('k', '!');
    assert.is(count(cluster, 'k'), `1${'x'.repeat(50)}!`);
  },
);

scenario(
  'a value that would grow too large is an error, and nothing is changed',
  {},
  async (client, cluster) => {
    await client.put('k', '');
    cluster.script = () => (request) => ({
      type: 'writeReply',
      requestId: request.requestId,
      applied: false,
      index: 99,
      results: [{ status: 'valueTooLarge', existed: true, version: 2 }],
    });
    const error = await clientFailure(client.append('k', 'x'));
    assert.is(error.code, 'VALUE_TOO_LARGE');
    assert.is(error.outcome, 'notCommitted');
  },
);

scenario(
  'an answer of the wrong kind is an error, and of a write it leaves the outcome open',
  {},
  async (client, cluster) => {
    await client.put('k', '');
    cluster.script = () => (request) => ({
      type: 'sessionOpened',
      requestId: request.requestId,
      sessionId: 1,
      window: 1,
    });
    for (const call of [client.put('k', 'v'), client.get('k')]) {
      assert.is((await clientFailure(call)).code, 'UNKNOWN_MESSAGE');
    }
    assert.is((await clientFailure(client.put('k', 'v'))).outcome, 'unknown');
    assert.is((await clientFailure(client.get('k'))).outcome, 'notCommitted');
  },
);

scenario(
  'text that has no UTF-8 and an empty batch are refused before they are sent',
  {},
  async (client, cluster) => {
    for (const call of [
      client.put('k', '\ud800'),
      client.get('\udc00'),
      client.batch([]),
      client.cas('k', 'v', { expectedVersion: -1 }),
    ]) {
      assert.is((await clientFailure(call)).code, 'INVALID_REQUEST');
    }
    assert.is(cluster.seen.length, 0);
  },
);

scenario('reads are repeated when their connection breaks', {}, async (client, cluster) => {
  await client.put('k', 'v');
  let strikes = 3;
  cluster.script = () => (strikes-- > 0 ? 'break before' : undefined);
  assert.is((await client.get('k'))?.value.toString(), 'v');
});

scenario('a killed leader comes back: the connection is opened again', {}, async (client, cluster) => {
  await client.put('k', '1');
  cluster.kill(1);
  const write = client.append('k', '2', { timeoutMs: 20_000 });
  await cluster.world.scheduler.sleep(3000);
  await cluster.startNode(1);
  await write;
  assert.is(count(cluster, 'k'), '12');
});

scenario(
  'abort: before anything is sent, while it waits, and with an answer under way',
  {},
  async (client, cluster) => {
    const early = await clientFailure(client.put('k', 'v', { signal: AbortSignal.abort() }));
    assert.is(early.code, 'ABORTED');
    assert.is(early.outcome, 'notCommitted');
    assert.is(cluster.seen.length, 0);
    await client.put('k', '');
    cluster.script = () => 'silent after';
    const controller = new AbortController();
    const write = clientFailure(client.append('k', 'x', { signal: controller.signal }));
    const read = clientFailure(client.get('k', { signal: controller.signal }));
    await cluster.world.scheduler.sleep(100);
    controller.abort();
    assert.is((await write).code, 'ABORTED');
    assert.is((await write).outcome, 'unknown');
    assert.is((await read).outcome, 'notCommitted');
    cluster.script = () => undefined;
    await client.put('k2', 'v');
    assert.is(cluster.requests('write').length, 3, 'an aborted write is not repeated');
  },
);

scenario('the window holds writes back, in order', { window: 4 }, async (client, cluster) => {
  await client.put('first', '');
  cluster.script = (request) => (request.type === 'write' ? 'hold' : undefined);
  const writes = Array.from({ length: 10 }, (_, i) => client.append(`k${i}`, 'x'));
  await cluster.world.scheduler.sleep(100);
  assert.is(cluster.held.length, 4);
  // The second answer alone moves nothing: the first is still open.
  cluster.held.splice(1, 1)[0]?.();
  await cluster.world.scheduler.sleep(100);
  assert.is(cluster.held.length, 3);
  cluster.held.splice(0, 1)[0]?.();
  await cluster.world.scheduler.sleep(100);
  assert.is(cluster.held.length, 4);
  cluster.script = () => undefined;
  for (const run of cluster.held.splice(0)) run();
  await Promise.all(writes);
  assert.is(cluster.data.size, 11);
});

scenario(
  'the queue before the window is bounded',
  { window: 1, maxQueuedRequests: 2 },
  async (client, cluster) => {
    await client.put('first', '');
    cluster.script = () => 'hold';
    const held = [1, 2, 3].map((i) => client.append('k', String(i)));
    const refused = await clientFailure(client.append('k', '4'));
    assert.is(refused.code, 'CLIENT_OVERLOADED');
    assert.is(refused.outcome, 'notCommitted');
    await cluster.world.scheduler.sleep(10);
    cluster.script = () => undefined;
    for (const run of cluster.held.splice(0)) run();
    await Promise.all(held);
    assert.is(count(cluster, 'k'), '123');
    cluster.script = () => 'hold';
    const reads = [client.get('k'), client.get('k')];
    assert.is((await clientFailure(client.get('k'))).code, 'CLIENT_OVERLOADED');
    await cluster.world.scheduler.sleep(10);
    for (const run of cluster.held.splice(0)) run();
    await Promise.all(reads);
  },
);

scenario(
  'writes that time out in the queue or in flight do not block the window',
  { window: 2 },
  async (client, cluster) => {
    await client.put('k', '');
    cluster.script = (request) => (request.type === 'write' ? 'silent before' : undefined);
    const errors = await Promise.all(
      [1000, 1000, 500, 500].map((timeoutMs, i) => clientFailure(client.append(`k${i}`, 'x', { timeoutMs }))),
    );
    assert.equal(
      errors.map(({ outcome }) => outcome),
      ['unknown', 'unknown', 'notCommitted', 'notCommitted'],
    );
    cluster.script = () => undefined;
    await client.append('k0', 'y');
    assert.is(count(cluster, 'k0'), 'y');
    const last = cluster.requests('write').at(-1)?.request;
    assert.ok(last?.type === 'write' && last.acknowledgedThrough >= 3, 'what was given up counts as done');
  },
);

scenario(
  'an expired session: a write that was never applied goes on in a new one',
  {},
  async (client, cluster) => {
    await client.put('k', '');
    cluster.sessions.clear();
    await Promise.all(Array.from({ length: 20 }, (_, i) => client.append('k', `${i};`)));
    assert.is(count(cluster, 'k')?.split(';').length, 21);
    assert.is(cluster.sessions.size, 1);
  },
);

scenario(
  'an expired session: a write that may have been applied fails as unknown',
  {},
  async (client, cluster) => {
    await client.put('k', '');
    cluster.script = (request) => (request.type === 'write' ? 'break after' : undefined);
    const write = clientFailure(client.append('k', 'x'));
    while (cluster.requests('write').length < 2) await cluster.world.scheduler.sleep(1);
    cluster.sessions.clear();
    cluster.script = () => undefined;
    const error = await write;
    assert.is(error.code, 'SESSION_EXPIRED');
    assert.is(error.outcome, 'unknown');
    await client.append('k', 'y');
    assert.is(count(cluster, 'k'), 'xy');
  },
);

scenario(
  'what is under way counts as not acknowledged, within the granted window',
  {},
  async (client, cluster) => {
    const { scheduler } = cluster.world;
    cluster.window = 3;
    cluster.script = (request) => (request.type === 'write' ? 'hold' : undefined);
    const all = Promise.all(Array.from({ length: 12 }, (_, i) => client.append(`k${i}`, 'x')));
    const answered = new Set<number>();
    while (answered.size < 12) {
      await scheduler.sleep(50);
      const writes = cluster
        .requests('write')
        .flatMap(({ request }) => (request.type === 'write' ? request : []));
      const last = writes.at(-1);
      assert.ok(last && writes.length - answered.size <= 3, 'no more than the window');
      for (let sequence = 1; sequence <= last.acknowledgedThrough; sequence++)
        assert.ok(answered.has(sequence), `${sequence} is not answered`);
      // The one that was sent last is answered first.
      cluster.held.pop()?.();
      const [open] = writes
        .map(({ sequence }) => sequence)
        .filter((sequence) => !answered.has(sequence))
        .slice(-1);
      if (open !== undefined) answered.add(open);
    }
    await all;
  },
);

scenario('a late word about an old session leaves the new one alone', {}, async (client, cluster) => {
  await client.put('k', '');
  cluster.sessions.clear();
  let writes = 0;
  cluster.script = (request) => (request.type === 'write' && ++writes === 2 ? 'hold' : undefined);
  const both = [client.append('k', '1'), client.append('k', '2')];
  await both[0];
  cluster.held.pop()?.();
  await both[1];
  await client.append('k', '3');
  assert.is(count(cluster, 'k'), '123');
  assert.is(cluster.sessions.size, 1);
});

scenario(
  'a busy node that may not lead is left for another',
  { timeoutMs: 5000 },
  async (client, cluster) => {
    cluster.leader = 2;
    cluster.script = (_, node) => (node === 2 ? undefined : 'OVERLOADED');
    await client.put('k', 'v');
    assert.is(count(cluster, 'k'), 'v');
  },
);

scenario(
  'scans page by page, both ways, within range, prefix and limit',
  { pageEntries: 4 },
  async (client, cluster) => {
    const keys = ['a', 'b', 'b\x00', 'ba', 'bb', 'bc', 'b\xff', 'c', 'd'];
    keys.forEach((key, i) => {
      cluster.data.set(key, { value: Buffer.from(key, 'latin1'), version: i + 1 });
    });
    const scan = async (options: Parameters<RaftreeClient['scan']>[0]) => {
      const found = [];
      for await (const entry of client.scan(options)) found.push(entry.key.toString('latin1'));
      return found;
    };
    assert.equal(await scan({}), keys);
    assert.equal(await scan({ reverse: true }), [...keys].reverse());
    assert.equal(await scan({ prefix: 'b' }), keys.slice(1, 7));
    assert.equal(await scan({ prefix: 'b', reverse: true, limit: 5 }), [...keys.slice(2, 7)].reverse());
    assert.equal(await scan({ prefix: 'b', from: 'ba', to: 'bc' }), ['ba', 'bb']);
    assert.equal(await scan({ from: 'bb', limit: 2 }), ['bb', 'bc']);
    assert.equal(await scan({ from: 'x', to: 'a' }), []);
    assert.equal(await scan({ limit: 0 }), []);
    assert.equal(await scan({ prefix: Buffer.from([0xff]) }), []);
    assert.equal(await scan({ prefix: Buffer.from('b\xff', 'latin1') }), ['b\xff']);
    for (const entries of [1, 2]) {
      cluster.pageEntries = entries;
      assert.equal(await scan({}), keys, 'whatever key a page ends with');
      assert.equal(await scan({ reverse: true }), [...keys].reverse());
    }
    for await (const { key, value, version } of client.scan({ limit: 1 })) {
      assert.equal([key.toString(), value.toString(), version], ['a', 'a', 1]);
    }
    for await (const { value } of client.scan({ keysOnly: true })) assert.is(value.length, 0);
  },
);

scenario('stale reads go to any given node, or to the one that is named', {}, async (client, cluster) => {
  await client.put('k', 'v');
  cluster.leader = 0;
  assert.is((await client.get('k', { stale: true }))?.value.toString(), 'v');
  for (const node of [1, 2, 3]) {
    await client.get('k', { stale: true, endpoint: cluster.endpoint(node) });
    assert.is(cluster.seen.at(-1)?.node, node);
  }
  assert.is(
    (await clientFailure(client.get('k', { endpoint: cluster.endpoint(1) }))).code,
    'INVALID_REQUEST',
  );
  cluster.kill(2);
  const error = await clientFailure(
    client.get('k', { stale: true, endpoint: cluster.endpoint(2), timeoutMs: 500 }),
  );
  assert.match(error.message, 'node2');
  for (let i = 0; i < 5; i++) await client.get('k', { stale: true });
});

scenario(
  'with refusedRounds a call ends when no node listens, unless one was there before',
  { refusedRounds: 3, timeoutMs: 60_000 },
  async (client, cluster) => {
    const { scheduler, network } = cluster.world;
    network.cut('client', 'node1');
    for (const node of [2, 3]) cluster.kill(node);
    const patient = client.put('k', 'v');
    await scheduler.sleep(10_000);
    network.mendAll();
    await patient;
    cluster.kill(1);
    const late = client.put('k', 'w');
    await scheduler.sleep(10_000);
    const startMs = scheduler.nowMs();
    const other = clientOf(cluster, { refusedRounds: 3, timeoutMs: 60_000 });
    for (const call of [other.get('k', { stale: true }), other.status(), other.put('k', 'x')]) {
      const error = await clientFailure(call);
      assert.equal([error.code, error.outcome], ['CONNECTION_REFUSED', 'notCommitted']);
      assert.match(error.message, 'node1:7000, node2:7000, node3:7000');
    }
    assert.ok(scheduler.nowMs() - startMs < 3000, `${scheduler.nowMs() - startMs} ms`);
    await other.close();
    await cluster.startNode(1);
    await late;
    assert.is(count(cluster, 'k'), 'w');
  },
);

scenario('another cluster is refused at once', { clusterId: 'other' }, async (client, cluster) => {
  const { scheduler } = cluster.world;
  const startMs = scheduler.nowMs();
  for (const call of [client.get('k'), client.put('k', 'v')]) {
    const error = await clientFailure(call);
    assert.is(error.code, 'IDENTITY_MISMATCH');
    assert.is(error.outcome, 'notCommitted');
  }
  assert.ok(scheduler.nowMs() - startMs < 1000);
});

scenario('more than the output may hold is sent bit by bit', {}, async (client, cluster) => {
  const value = Buffer.alloc(3_000_000, 'x');
  await Promise.all(Array.from({ length: 60 }, (_, i) => client.put(`k${i}`, value, { timeoutMs: 60_000 })));
  assert.is(cluster.requests('write').length, 60);
  assert.is(cluster.data.size, 60);
});

scenario('what was not sent when its call ended is never sent', {}, async (client, cluster) => {
  const { scheduler } = cluster.world;
  await client.put('k', '');
  const controller = new AbortController();
  const { signal } = controller;
  const value = Buffer.alloc(3_000_000, 'x');
  const ends = Array.from({ length: 30 }, (_, i) => clientFailure(client.put(`k${i}`, value, { signal })));
  await scheduler.sleep(0);
  controller.abort();
  const outcomes = (await Promise.all(ends)).map(({ outcome }) => outcome);
  await scheduler.sleep(20_000);
  assert.equal([...new Set(outcomes)].sort(), ['notCommitted', 'unknown'], 'some were sent, some were not');
  outcomes.forEach((outcome, i) => {
    if (outcome === 'notCommitted') assert.not(cluster.data.has(`k${i}`));
  });
});

scenario('close ends what is under way, and nothing runs afterwards', {}, async (client, cluster) => {
  await client.put('k', '');
  cluster.script = () => 'silent after';
  const write = clientFailure(client.append('k', 'x'));
  const read = clientFailure(client.get('k'));
  await cluster.world.scheduler.sleep(50);
  await client.close();
  assert.is((await write).code, 'CLIENT_CLOSED');
  assert.is((await write).outcome, 'unknown');
  assert.is((await read).outcome, 'notCommitted');
  const late = await clientFailure(client.put('k', 'y'));
  assert.is(late.code, 'CLIENT_CLOSED');
  assert.is(late.outcome, 'notCommitted');
});

test('after close no event of the client is left', async () => {
  const cluster = await FakeCluster.start(9);
  const { scheduler } = cluster.world;
  const timers = new Set<object>();
  const env = {
    ...cluster.client.env,
    timers: {
      ...cluster.client.env.timers,
      after(delayMs: number, run: () => void) {
        const timer = cluster.client.env.timers.after(delayMs, () => {
          timers.delete(handle);
          run();
        });
        const handle = {
          cancel() {
            timers.delete(handle);
            timer.cancel();
          },
        };
        timers.add(handle);
        return handle;
      },
    },
  };
  const client = new RaftreeClient({ endpoints: cluster.endpoints, env });
  await scheduler.run(client.put('k', 'v'));
  cluster.script = () => 'silent before';
  const open = [clientFailure(client.get('k')), clientFailure(client.put('k', 'w'))];
  await scheduler.runFor(100);
  assert.ok(timers.size > 0);
  await scheduler.run(client.close());
  await scheduler.run(Promise.all(open));
  assert.is(timers.size, 0);
});

test('a thousand calls may share one signal: it gets one listener, and loses it', async () => {
  const cluster = await FakeCluster.start(10);
  const { scheduler } = cluster.world;
  const client = clientOf(cluster);
  const controller = new AbortController();
  const { signal } = controller;
  let added = 0;
  let removed = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...given: Parameters<typeof add>) => {
    added++;
    add(...given);
  };
  signal.removeEventListener = (...given: Parameters<typeof remove>) => {
    removed++;
    remove(...given);
  };
  const puts = (count: number) =>
    Array.from({ length: count }, (_, i) => client.put(`k${i}`, 'v', { signal }));
  await scheduler.run(Promise.all(puts(1000)));
  assert.equal([added, removed], [1, 1]);
  cluster.script = () => 'silent before';
  const failures = puts(1000).map(clientFailure);
  controller.abort();
  for (const { code } of await scheduler.run(Promise.all(failures))) assert.is(code, 'ABORTED');
  assert.equal([added, removed], [2, 1]);
  await scheduler.run(client.close());
});

for (const timeoutMs of [Number.POSITIVE_INFINITY, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
  scenario(`a call may take as long as it takes: ${timeoutMs} ms`, { timeoutMs }, async (client, cluster) => {
    const { scheduler } = cluster.world;
    cluster.leader = 0;
    scheduler.after(15_000, () => {
      cluster.leader = 2;
    });
    const calls = [
      client.put('k', 'v'),
      client.get('k', { timeoutMs }),
      client.changeMembers([{ type: 'remove', node: 3 }]),
    ];
    await Promise.all(calls);
    assert.ok(scheduler.nowMs() > 15_000);
    cluster.leader = 0;
    const limited = await clientFailure(client.put('k', 'w', { timeoutMs: 100 }));
    assert.is(limited.code, 'TIMEOUT');
    const open = clientFailure(client.get('k'));
    await scheduler.sleep(100);
    await client.close();
    assert.is((await open).code, 'CLIENT_CLOSED');
  });
}

scenario('a timeout that cannot be is refused at the call', {}, async (client, cluster) => {
  for (const timeoutMs of [0, -5, Number.NaN, '100' as unknown as number]) {
    const calls = [client.put('k', 'v', { timeoutMs }), client.get('k', { timeoutMs })];
    for (const call of calls) {
      const error = await clientFailure(call);
      assert.equal([error.code, error.outcome], ['INVALID_REQUEST', 'notCommitted']);
    }
  }
  assert.equal(cluster.seen, []);
});

test('options that cannot be are refused at construction', async () => {
  const cluster = new FakeCluster(1);
  for (const options of [
    { endpoints: [] },
    { endpoints: ['nowhere'] },
    { timeoutMs: 0 },
    { timeoutMs: -1 },
    { timeoutMs: Number.NaN },
    { timeoutMs: '1000' as unknown as number },
    { attemptTimeoutMs: Number.POSITIVE_INFINITY },
    { maxBackoffMs: Number.NaN },
    { window: Number.NaN },
    { window: 1.5 },
    { pageEntries: 0 },
  ]) {
    assert.throws(
      () => clientOf(cluster, { endpoints: ['node1:7000'], ...options }),
      (error: unknown) => error instanceof RaftreeClientError && error.code === 'INVALID_REQUEST',
    );
  }
});

test.run();
