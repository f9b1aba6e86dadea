/** What the simulated world promises: time, order, determinism, and what cuts and kills do to connections. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Socket } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { SimNetworkOptions } from '../../src/sim/world/network.js';
import { Scheduler } from '../../src/sim/world/scheduler.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { SimWorld } from '../../src/sim/world/world.js';

test('events run in order of time, and of arrival at one time', async () => {
  const random = new SeededRandom(1);
  const scheduler = new Scheduler();
  const planned: { at: number; arrival: number }[] = [];
  const ran: { at: number; arrival: number }[] = [];
  const plan = (delay: number) => {
    const event = { at: scheduler.nowMs() + delay, arrival: planned.length };
    planned.push(event);
    scheduler.after(delay, () => {
      assert.is(scheduler.nowMs(), event.at);
      ran.push(event);
      if (planned.length < 400) plan(random.between(0, 20));
    });
  };
  for (let i = 0; i < 200; i++) plan(random.between(0, 20));
  await scheduler.runUntil(() => false);
  assert.equal(
    ran,
    [...planned].sort((a, b) => a.at - b.at || a.arrival - b.arrival),
  );
});

test('promises run to their end before the next event', async () => {
  const scheduler = new Scheduler();
  const trace: string[] = [];
  scheduler.after(1, async () => {
    for (let i = 0; i < 50; i++) await undefined;
    trace.push('promises');
  });
  scheduler.after(1, () => trace.push('next event'));
  await scheduler.runFor(1);
  assert.equal(trace, ['promises', 'next event']);
});

test('runFor stops the clock where it says, a cancelled event does not run, run finds a standstill', async () => {
  const scheduler = new Scheduler();
  let runs = 0;
  scheduler.after(5, () => runs++);
  scheduler.after(10, () => runs++);
  scheduler.after(5, () => runs++).cancel();
  await scheduler.runFor(7);
  assert.equal([scheduler.nowMs(), runs], [7, 1]);
  await scheduler.run(scheduler.sleep(100));
  assert.equal([scheduler.nowMs(), runs], [107, 2]);
  const outcome = await scheduler.run(new Promise<never>(() => {})).catch((error: Error) => error.message);
  assert.match(outcome, 'stood still');
});

test('one seed gives one sequence, uniform enough, and another seed another', () => {
  const sequence = (seed: number) => {
    const random = new SeededRandom(seed);
    return Array.from({ length: 100 }, () => random.uint32());
  };
  assert.equal(sequence(1), sequence(1));
  assert.not.equal(sequence(1), sequence(2));
  const random = new SeededRandom(3);
  const buckets = new Array<number>(10).fill(0);
  for (let i = 0; i < 20_000; i++) {
    const bucket = random.between(0, 9);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  for (const count of buckets) assert.ok(count > 1700 && count < 2300, buckets.join());
});

const ADDRESS = { host: 'server', port: 1 };

interface Connected {
  readonly world: SimWorld;
  readonly client: Socket;
  readonly trace: string[];
  readonly killServer: () => void;
  readonly killClient: () => void;
  readonly losePower: () => void;
}

/** A client connected to a server that echoes everything; both record what they receive. */
async function connected(seed: number, options: SimNetworkOptions = {}): Promise<Connected> {
  const world = new SimWorld(seed, options);
  const trace: string[] = [];
  const record = (name: string, socket: Socket, data: (chunk: Buffer) => void) =>
    socket.handle({
      data(chunk) {
        trace.push(`${world.scheduler.nowMs().toFixed(3)} ${name} ${chunk.toString()}`);
        data(chunk);
      },
      drained() {},
      closed: (error) => trace.push(`${name} closed ${errorCode(error)}`),
    });
  const server = world.start('server', new SimDisk());
  const process = world.start('client', new SimDisk());
  await server.env.net.listen(ADDRESS, (socket) =>
    record('server', socket, (chunk) => socket.write([chunk])),
  );
  const client = await world.scheduler.run(process.env.net.connect(ADDRESS, 1000));
  record('client', client, () => {});
  return {
    world,
    client,
    trace,
    killServer: server.kill,
    killClient: process.kill,
    losePower: server.losePower,
  };
}

const heardBy = (trace: readonly string[], name: string) =>
  trace.flatMap((line) => line.match(new RegExp(`^[\\d.]+ ${name} (.*)`))?.[1] ?? []).join('');

test('one seed, one trace', async () => {
  const run = async (seed: number) => {
    const { world, client, trace } = await connected(seed);
    for (let i = 0; i < 100; i++) {
      client.write([Buffer.from(`${i},`)]);
      await world.scheduler.runFor(0.3);
    }
    await world.scheduler.runFor(100);
    return trace;
  };
  const [one, again, other] = [await run(5), await run(5), await run(6)];
  assert.equal(one, again);
  assert.not.equal(one, other);
  const sent = Array.from({ length: 100 }, (_, i) => `${i},`).join('');
  for (const name of ['server', 'client']) assert.is(heardBy(other, name), sent);
  assert.ok(one.filter((line) => line.includes('server')).length !== 100, 'chunks are cut and glued');
});

test('a cut link holds bytes back, in its direction only, and a mended one delivers them in order', async () => {
  const { world, client, trace } = await connected(7);
  world.network.cut('server', 'client');
  client.write([Buffer.from('a')]);
  await world.scheduler.runFor(100);
  assert.equal([heardBy(trace, 'server'), heardBy(trace, 'client')], ['a', '']);
  world.network.cut('client', 'server');
  client.write([Buffer.from('b')]);
  await world.scheduler.runFor(100);
  client.write([Buffer.from('c')]);
  await world.scheduler.runFor(100);
  assert.is(heardBy(trace, 'server'), 'a');
  assert.is(client.bufferedBytes, 2);
  world.network.mend('client', 'server');
  await world.scheduler.runFor(100);
  assert.equal([heardBy(trace, 'server'), heardBy(trace, 'client')], ['abc', '']);
  world.network.mendAll();
  await world.scheduler.runFor(100);
  assert.is(heardBy(trace, 'client'), 'abc');
});

test('nobody connects across a cut', async () => {
  const { world } = await connected(8);
  const { env } = world.start('other', new SimDisk());
  world.network.cut('server', 'other');
  const started = world.scheduler.nowMs();
  const outcome = await world.scheduler.run(
    env.net.connect(ADDRESS, 500).catch((error: unknown) => errorCode(error)),
  );
  assert.is(outcome, 'ETIMEDOUT');
  assert.is(world.scheduler.nowMs() - started, 500);
});

test('a killed process is silent, and its peer sees a reset', async () => {
  const { world, client, trace, killServer } = await connected(9);
  client.write([Buffer.from('a')]);
  killServer();
  await world.scheduler.runFor(100);
  assert.equal(trace, ['client closed ECONNRESET']);
  const outcome = world
    .start('client', new SimDisk())
    .env.net.connect(ADDRESS, 500)
    .catch((error: unknown) => errorCode(error));
  assert.is(await world.scheduler.run(outcome), 'ECONNREFUSED');
});

test('a reset does not pass a cut link before it is mended', async () => {
  for (const end of ['kill', 'destroy']) {
    const { world, client, trace, killClient } = await connected(10);
    world.network.cut('client', 'server');
    if (end === 'kill') killClient();
    else client.destroy();
    await world.scheduler.runFor(10_000);
    assert.not(trace.includes('server closed ECONNRESET'), end);
    world.network.mend('client', 'server');
    await world.scheduler.runFor(100);
    assert.ok(trace.includes('server closed ECONNRESET'), end);
  }
});

test('a process that was killed while it connected never gets its connection, nor its timers', async () => {
  const { world } = await connected(11);
  const process = world.start('other', new SimDisk());
  const heard: string[] = [];
  const hear = (what: string) => () => {
    heard.push(what);
  };
  void process.env.net.connect(ADDRESS, 500).then(hear('connected'), hear('refused'));
  world.network.cut('client', 'server');
  process.env.timers.after(5, hear('timer'));
  process.env.timers.endOfTurn(hear('end of turn'));
  process.kill();
  void process.env.net.connect(ADDRESS, 500).then(hear('connected'), hear('refused'));
  void process.env.net.listen({ host: 'other', port: 5 }, () => {}).then(hear('listens'), hear('refused'));
  await world.scheduler.runFor(1000);
  assert.equal(heard, []);
  const successor = world.start('other', new SimDisk());
  await successor.env.net.listen({ host: 'other', port: 5 }, () => {});
  assert.ok(await world.scheduler.run(successor.env.net.connect(ADDRESS, 500)));
});

const REAL = { tcp: 'real' } as const;

test('real TCP: after a cut the stream goes on at the next back-off only', async () => {
  const { world, client, trace } = await connected(12, REAL);
  world.network.cut('client', 'server');
  client.write([Buffer.from('a')]);
  await world.scheduler.runFor(60_000);
  world.network.mendAll();
  client.write([Buffer.from('b')]);
  // 0.2 s, 0.4 s ... 25.6 s: 51 s; the next comes at 102.2 s.
  await world.scheduler.runFor(42_000);
  assert.is(heardBy(trace, 'server'), '');
  await world.scheduler.runFor(500);
  assert.is(heardBy(trace, 'server'), 'ab');
});

test('real TCP: whoever lost power is silent, then unheard of, and answers again only when it is back', async () => {
  const { world, trace, losePower } = await connected(13, REAL);
  const { env } = world.start('other', new SimDisk());
  const connecting = () =>
    world.scheduler.run(env.net.connect(ADDRESS, 2500).catch((error: unknown) => errorCode(error)));
  losePower();
  await world.scheduler.runFor(20_000);
  assert.equal(trace, []);
  assert.is(await connecting(), 'ETIMEDOUT');
  await world.scheduler.runFor(5_000);
  assert.equal(trace, ['client closed ETIMEDOUT'], 'keep-alive');
  world.start('server', new SimDisk());
  assert.is(await connecting(), 'ECONNREFUSED');
});

test('real TCP: what is sent to a machine that is back meets a reset', async () => {
  const { world, client, trace, losePower } = await connected(14, REAL);
  losePower();
  await world.scheduler.runFor(1_000);
  world.start('server', new SimDisk());
  client.write([Buffer.from('a')]);
  await world.scheduler.runFor(100);
  assert.equal(trace, ['client closed ECONNRESET']);
});

test('real TCP: an attempt to connect is repeated, and finds a mended link', async () => {
  const { world } = await connected(15, REAL);
  const { env } = world.start('other', new SimDisk());
  world.network.cut('other', 'server');
  const socket = env.net.connect(ADDRESS, 5_000);
  await world.scheduler.runFor(500);
  world.network.mendAll();
  assert.ok(await world.scheduler.run(socket));
  assert.ok(world.scheduler.nowMs() > 1_000 && world.scheduler.nowMs() < 1_500);
});

test('real TCP: connections that are forgotten carry nothing, new ones do', async () => {
  const { world, client, trace } = await connected(16, REAL);
  const { env } = world.start('client', new SimDisk());
  world.network.forgetConnections('server', 'client');
  client.write([Buffer.from('a')]);
  await world.scheduler.runFor(60_000);
  assert.equal(trace, []);
  const fresh = await world.scheduler.run(env.net.connect(ADDRESS, 500));
  fresh.write([Buffer.from('b')]);
  await world.scheduler.runFor(100);
  assert.is(heardBy(trace, 'server'), 'b');
});

test('a narrow link takes its time, and what is written later waits behind it', async () => {
  const { world, client, trace } = await connected(17, REAL);
  world.network.narrow('client', 'server', 100_000);
  const startedMs = world.scheduler.nowMs();
  client.write([Buffer.alloc(200_000, 'x')]);
  assert.is(client.bufferedBytes, 0, 'the system takes it at once');
  client.write([Buffer.from('!')]);
  await world.scheduler.runUntil(() => heardBy(trace, 'server').endsWith('!'));
  const tookMs = world.scheduler.nowMs() - startedMs;
  assert.ok(tookMs > 2_000 && tookMs < 2_600, `${tookMs}`);
});

test('a process is alive until it is killed, and no other has its identity', () => {
  const world = new SimWorld(1);
  const disk = new SimDisk();
  const first = world.start('a', disk);
  const second = world.start('a', disk);
  const { host } = second.env;
  assert.ok(host.isAlive(first.env.host.self()));
  first.kill();
  assert.not(host.isAlive(first.env.host.self()));
  assert.ok(host.isAlive(second.env.host.self()));
  const later = new SimWorld(1).start('a', disk.clone()).env.host;
  assert.is(later.self().pid, first.env.host.self().pid);
  assert.not(later.isAlive(first.env.host.self()), 'another world gives the pid again');
});

test.run();
