import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { realEnv } from '../../src/env/real/real-env.js';
import type { Channel } from '../../src/net/channel.js';
import { ChannelListener, type ListenOptions } from '../../src/net/channel-listener.js';
import { connectChannel } from '../../src/net/connect.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';
import { Recorder } from './support.js';

const ADDRESS = parseAddress('server:1');

/** A listener that sends back what it receives, on a simulated network. */
async function echo(options: Partial<ListenOptions> = {}) {
  const world = new SimWorld(31);
  const server = world.start('server', new SimDisk());
  const client = world.start('client', new SimDisk());
  const listener = await ChannelListener.listen(server.env, ADDRESS, {
    maxConnections: 10,
    initialise: (channel) => channel.pipeline.add({ read: (context, message) => context.write(message) }),
    ...options,
  });
  const connect = async () => {
    const recorder = new Recorder();
    const channel = await world.scheduler.run(
      connectChannel(client.env, ADDRESS, {
        connectTimeoutMs: 100,
        initialise: (opened) => opened.pipeline.add(recorder),
      }),
    );
    return { channel, text: () => Buffer.concat(recorder.messages as Buffer[]).toString(), recorder };
  };
  return { world, listener, connect };
}

test('connections beyond maxConnections are turned away; there is room again when one goes', async () => {
  const refused: string[] = [];
  const { world, listener, connect } = await echo({
    maxConnections: 2,
    reservedForLoopback: 1,
    refused: (remote) => refused.push(remote),
  });
  const first = await connect();
  const second = await connect();
  const third = await connect();
  await world.scheduler.runFor(100);
  assert.equal(
    [first, second, third].map(({ channel }) => channel.isOpen),
    [true, true, false],
  );
  assert.is(refused.length, 1);
  first.channel.close();
  await world.scheduler.runFor(100);
  assert.is(listener.channels.size, 1);
  assert.is((await connect()).channel.isOpen, true);
});

test('one address gets maxConnectionsPerAddress places, however many are free', async () => {
  const refused: string[] = [];
  const { world, listener, connect } = await echo({
    maxConnectionsPerAddress: 2,
    refused: (remote, limit) => refused.push(`${remote.split(':')[0]} ${limit}`),
  });
  const [first, second, third] = [await connect(), await connect(), await connect()];
  await world.scheduler.runFor(100);
  assert.equal(
    [first, second, third].map(({ channel }) => channel.isOpen),
    [true, true, false],
  );
  assert.equal(refused, ['client maxConnectionsPerAddress']);
  const other = world.start('another', new SimDisk());
  const channel = await world.scheduler.run(
    connectChannel(other.env, ADDRESS, { connectTimeoutMs: 100, initialise() {} }),
  );
  await world.scheduler.runFor(100);
  assert.is(channel.isOpen, true);
  first.channel.close();
  await world.scheduler.runFor(100);
  assert.is((await connect()).channel.isOpen, true);
  assert.is(listener.channels.size, 3);
});

test('places are kept for connections from the same machine', async () => {
  const env = realEnv();
  const refused: string[] = [];
  const listener = await ChannelListener.listen(env, parseAddress('127.0.0.1:0'), {
    maxConnections: 1,
    reservedForLoopback: 1,
    maxConnectionsPerAddress: 1,
    initialise() {},
    refused: (_, limit) => refused.push(limit),
  });
  const connect = () => connectChannel(env, listener.address, { connectTimeoutMs: 1000, initialise() {} });
  const channels = [await connect(), await connect(), await connect()];
  await channels[2]?.closed;
  assert.equal(
    channels.map((channel) => channel.isOpen),
    [true, true, false],
  );
  assert.equal(refused, ['maxConnections']);
  await listener.close();
});

test('a graceful close sends what is written; nobody is accepted any more', async () => {
  const { world, listener, connect } = await echo();
  const { channel, text } = await connect();
  channel.write(Buffer.alloc(200_000, 'x'));
  await world.scheduler.runFor(3);
  for (const open of listener.channels) open.write(Buffer.from('goodbye'));
  await world.scheduler.run(listener.close());
  await world.scheduler.runFor(100);
  assert.is(listener.channels.size, 0);
  assert.is(channel.isOpen, false);
  assert.match(text(), /goodbye$/);
  const error = await connect().catch((failure: unknown) => failure);
  assert.is(errorCode(error), 'ECONNREFUSED');
});

test('after stopAccepting open channels go on', async () => {
  const { world, listener, connect } = await echo();
  const { channel, text } = await connect();
  listener.stopAccepting();
  const error = await connect().catch((failure: unknown) => failure);
  assert.is(errorCode(error), 'ECONNREFUSED');
  channel.write(Buffer.from('still here'));
  await world.scheduler.runFor(100);
  assert.is(text(), 'still here');
  await world.scheduler.run(listener.close());
  assert.is(listener.channels.size, 0);
});

test('a close at once does not wait', async () => {
  const { world, listener, connect } = await echo();
  const { channel } = await connect();
  await world.scheduler.run(listener.close('at once'));
  await world.scheduler.runFor(100);
  assert.is(channel.isOpen, false);
});

test('a pipeline that cannot be made costs that connection only', async () => {
  let count = 0;
  const reasons: string[] = [];
  const { world, connect } = await echo({
    initialise() {
      if (++count === 1) throw new Error('no pipeline');
    },
    closed: (_, reason) => reasons.push(String(reason)),
  });
  const first = await connect();
  const second = await connect();
  await world.scheduler.runFor(100);
  assert.is(first.channel.isOpen, false);
  assert.is(second.channel.isOpen, true);
  assert.equal(reasons, ['Error: no pipeline']);
});

test('over a dead link output stays bounded, and the connection ends in time', async () => {
  const limits = { highWaterBytes: 100_000, lowWaterBytes: 10_000, slowReaderTimeoutMs: 2000 };
  const reasons: (string | undefined)[] = [];
  let server: Channel | undefined;
  const { world, connect } = await echo({
    channel: limits,
    initialise: (channel) => {
      server = channel;
      channel.pipeline.add({ read: (context, message) => context.write(message) });
    },
    closed: (_, reason) => reasons.push(errorCode(reason)),
  });
  const { channel, text } = await connect();
  channel.write(Buffer.alloc(50_000, 'a'));
  await world.scheduler.runFor(100);
  assert.is(text().length, 50_000);
  world.network.cut('server', 'client');
  let most = 0;
  for (let i = 0; i < 100; i++) {
    channel.write(Buffer.alloc(20_000, 'b'));
    await world.scheduler.runFor(10);
    most = Math.max(most, server?.unsentBytes ?? 0);
  }
  assert.ok(most > 100_000 && most < 300_000, `at most ${most} bytes unsent`);
  await world.scheduler.runFor(3000);
  assert.equal(reasons, ['SLOW_READER']);
});

test('a link that heals in time loses nothing', async () => {
  const { world, connect } = await echo({ channel: { highWaterBytes: 100_000, lowWaterBytes: 10_000 } });
  const { channel, text } = await connect();
  world.network.cut('server', 'client');
  for (let i = 0; i < 50; i++) {
    channel.write(Buffer.alloc(20_000, String(i % 10)));
    await world.scheduler.runFor(10);
  }
  world.network.mendAll();
  await world.scheduler.runFor(5000);
  assert.is(text(), Array.from({ length: 50 }, (_, i) => String(i % 10).repeat(20_000)).join(''));
});

test('on real sockets: echo, a slow reader that is cut off, and a port in use', async () => {
  const env = realEnv();
  const reasons: (string | undefined)[] = [];
  const listener = await ChannelListener.listen(env, parseAddress('127.0.0.1:0'), {
    maxConnections: 10,
    channel: { slowReaderTimeoutMs: 200 },
    initialise: (channel) => channel.pipeline.add({ read: (context, message) => context.write(message) }),
    closed: (_, reason) => reasons.push(errorCode(reason)),
  });
  const error = await ChannelListener.listen(env, listener.address, {
    maxConnections: 1,
    initialise() {},
  }).catch((failure: unknown) => failure);
  assert.is(errorCode(error), 'EADDRINUSE');
  const recorder = new Recorder();
  const open = (initialise: (channel: Channel) => void) =>
    connectChannel(env, listener.address, { connectTimeoutMs: 1000, initialise });
  const talker = await open((channel) => channel.pipeline.add(recorder));
  const sent = Buffer.alloc(3_000_000, 'abc');
  talker.write(sent);
  const received = () => recorder.messages.reduce<number>((sum, chunk) => sum + (chunk as Buffer).length, 0);
  while (received() < sent.length) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(Buffer.concat(recorder.messages as Buffer[]).equals(sent));
  const deaf = await open((channel) => channel.pauseReading());
  deaf.write(Buffer.alloc(30_000_000));
  await deaf.closed;
  while (reasons.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.is(listener.channels.size, 1);
  assert.equal(reasons, ['SLOW_READER']);
  await listener.close();
  await talker.closed;
});

test.run();
