/** ioredis and node-redis on three nodes as processes: each node takes every command, also while a leader is killed. */
import * as fs from 'node:fs';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../../bench/free-ports.js';
import type { NodeConfigInput } from '../../../src/server/config.js';
import { ProcessCluster, until } from '../../support/process-cluster.js';

const RAFT = { heartbeatMs: 50, electionTimeoutMinMs: 300, electionTimeoutMaxMs: 600 };

let cluster: ProcessCluster;
let ports: number[] = [];

test.before(async () => {
  ports = await freePorts(3);
  cluster = await ProcessCluster.create(3, { raft: RAFT });
  for (const id of [1, 2, 3]) {
    const config = JSON.parse(fs.readFileSync(cluster.configFile(id), 'utf8')) as NodeConfigInput;
    const resp = { listen: `127.0.0.1:${ports[id - 1]}` };
    fs.writeFileSync(cluster.configFile(id), JSON.stringify({ ...config, resp }));
  }
  await cluster.startAll();
  await cluster.leader();
});
test.after(() => cluster.destroy());

test('ioredis: pipelines, transactions, binary values, scans, on every node', async () => {
  for (const id of [1, 2, 3]) {
    const redis = new Redis(ports[id - 1] ?? 0, '127.0.0.1', { maxRetriesPerRequest: 3 });
    try {
      const key = `io-${id}`;
      assert.is(await redis.set(key, 'v', 'EX', 100, 'NX'), 'OK');
      assert.is(await redis.set(key, 'w', 'NX'), null);
      assert.ok((await redis.ttl(key)) > 90);
      const bytes = Buffer.from([0, 13, 10, 255]);
      await redis.set(`${key}-bytes`, bytes);
      assert.ok((await redis.getBuffer(`${key}-bytes`))?.equals(bytes));
      const piped = await redis
        .pipeline()
        .incr(`${key}-n`)
        .get(`${key}-n`)
        .incrbyfloat(`${key}-n`, 0.5)
        .exec();
      assert.equal(piped, [
        [null, 1],
        [null, '1'],
        [null, '1.5'],
      ]);
      const done = await redis.multi().set('m', '1').incr('m').mget('m', 'none').del('m').exec();
      assert.equal(done, [
        [null, 'OK'],
        [null, 2],
        [null, ['2', null]],
        [null, 1],
      ]);
      const found: string[] = [];
      for await (const page of redis.scanStream({ match: `${key}*`, count: 1 }))
        found.push(...(page as string[]));
      assert.equal(found.sort(), [key, `${key}-bytes`, `${key}-n`]);
      await assertRejects(redis.lpush('list', 'x'), /unknown command 'lpush'/);
      await assertRejects(redis.incr(key), /value is not an integer/);
    } finally {
      redis.disconnect();
    }
  }
});

test('node-redis: RESP3, WATCH, and increments that are exact while the leader is killed', async () => {
  const leader = await cluster.leader();
  const other = leader === 1 ? 2 : 1;
  const client = createClient({ url: `redis://127.0.0.1:${ports[other - 1]}`, RESP: 3 });
  const second = createClient({ url: `redis://127.0.0.1:${ports[other - 1]}` });
  await Promise.all([client.connect(), second.connect()]);
  try {
    await client.set('watched', '1');
    await client.watch('watched');
    await second.set('watched', '2');
    await assertRejects(client.multi().set('watched', '3').exec(), /watched/i);
    await client.watch('watched');
    assert.equal(await client.multi().incr('watched').get('watched').exec(), [3, '3']);

    const sums: number[] = [];
    await client.watch('watched');
    const killed = cluster.signal(leader, 'SIGKILL');
    for (let i = 0; i < 20; i++) sums.push(await client.incr('counted'));
    await killed;
    assert.equal(
      sums,
      Array.from({ length: 20 }, (_none, i) => i + 1),
    );
    // Nobody has changed it: a change of leader alone does not fail the transaction.
    assert.equal(await client.multi().get('watched').exec(), ['3']);
    await client.watch('watched');
    await second.set('watched', '4');
    await cluster.start(leader);
    await assertRejects(client.multi().set('watched', '5').exec(), /watched/i);
    assert.is(await client.get('watched'), '4');
    const many = await Promise.all(Array.from({ length: 50 }, () => client.incr('counted')));
    assert.equal(
      many,
      Array.from({ length: 50 }, (_none, i) => i + 21),
    );
    assert.equal(await client.mGet(['counted', 'none']), ['70', null]);
  } finally {
    client.destroy();
    second.destroy();
  }
});

test('ioredis and node-redis are told what happens to keys, by every node', async () => {
  const told: string[] = [];
  const [first = 0, second = 0, third = 0] = ports;
  const subscriber = new Redis(first, '127.0.0.1');
  const client = createClient({ url: `redis://127.0.0.1:${second}`, RESP: 3 });
  const writer = new Redis(third, '127.0.0.1');
  await client.connect();
  try {
    await writer.config('SET', 'notify-keyspace-events', 'KEA');
    await subscriber.subscribe('__keyspace@0__:told', '__keyevent@0__:expired');
    subscriber.on('message', (channel: string, text: string) => told.push(`${channel} ${text}`));
    const events: string[] = [];
    await client.pSubscribe('__keyspace@0__:told*', (text, channel) => events.push(`${channel} ${text}`));
    await writer
      .pipeline()
      .set('told', '1')
      .append('told', '2')
      .set('told-2', 'x', 'PX', 1)
      .del('told')
      .exec();
    const own = ['set', 'set', 'del'].map((text) => `__keyspace@0__:told ${text}`);
    await until(() => told.includes('__keyevent@0__:expired told-2'), 'the expiry is told');
    await until(() => events.includes('__keyspace@0__:told-2 expired'), 'the expiry is told');
    assert.equal(told, [...own, '__keyevent@0__:expired told-2']);
    assert.equal(
      events.filter((each) => !each.includes('told-2')),
      own,
    );
    // RESP3 tells answers from messages: the same connection goes on.
    assert.is(await client.get('told'), null);
    await subscriber.unsubscribe();
    assert.is(await subscriber.get('told'), null);
  } finally {
    subscriber.disconnect();
    writer.disconnect();
    client.destroy();
  }
});

test('ioredis: what one connection sends at once is done once and in order, also while the leader is killed', async () => {
  const leader = await cluster.leader();
  const other = leader === 1 ? 2 : 1;
  const redis = new Redis(ports[other - 1] ?? 0, '127.0.0.1', { maxRetriesPerRequest: 0 });
  try {
    const numbers = Array.from({ length: 600 }, (_none, i) => `${i} `);
    const replies: Promise<number>[] = [];
    let killed: Promise<unknown> = Promise.resolve();
    for (const [i, number] of numbers.entries()) {
      replies.push(redis.append('ordered', number));
      if (i % 100 === 99) await redis.ping();
      if (i === 350) killed = cluster.signal(leader, 'SIGKILL');
    }
    let length = 0;
    const lengths = numbers.map((number) => (length += number.length));
    assert.equal(await Promise.all(replies), lengths);
    assert.is(await redis.get('ordered'), numbers.join(''));
    await killed;
  } finally {
    redis.disconnect();
  }
});

async function assertRejects(promise: Promise<unknown>, pattern: RegExp): Promise<void> {
  const message = await promise.then(
    () => 'it resolved',
    (error: unknown) => String(error),
  );
  assert.match(message, pattern);
}

test.run();
