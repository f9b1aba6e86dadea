/** One behaviour of connections, held against TCP and against the simulated network. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, type Listener, type Network, parseAddress, type Socket } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { realNetwork } from '../../src/env/real/network.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { SimWorld } from '../../src/sim/world/world.js';

interface World {
  readonly server: Network;
  readonly client: Network;
  /** Lets the world go on until the promise settles. */
  run<T>(promise: Promise<T>): Promise<T>;
  /** Long enough for everything that is on its way to arrive. */
  settle(): Promise<void>;
}

const HOST = '127.0.0.1';

const worlds: readonly { name: string; open(): World }[] = [
  {
    name: 'real',
    open: () => ({
      server: realNetwork,
      client: realNetwork,
      run: (promise) => promise,
      settle: () => new Promise((resolve) => setTimeout(resolve, 50)),
    }),
  },
  {
    name: 'simulated',
    open() {
      const world = new SimWorld(3);
      return {
        server: world.start('server', new SimDisk()).env.net,
        client: world.start('client', new SimDisk()).env.net,
        run: (promise) => world.scheduler.run(promise),
        settle: () => world.scheduler.runFor(50),
      };
    },
  },
];

function inEveryWorld(what: string, scenario: (world: World) => Promise<void>): void {
  for (const { name, open } of worlds) test(`${name}: ${what}`, () => scenario(open()));
}

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => 'no error',
    (error: unknown) => errorCode(error) ?? 'no code',
  );
}

/** Everything that happens to a socket, in order. */
class Recorder {
  readonly events: string[] = [];
  readonly ended: Promise<void>;
  readonly #chunks: Buffer[] = [];
  #receivedBytes = 0;
  #awaited: { bytes: number; resolve: () => void } | undefined;
  #end = () => {};

  constructor(readonly socket: Socket) {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  listen(): this {
    this.socket.handle({
      data: (chunk) => {
        if (this.events.at(-1) !== 'data') this.events.push('data');
        this.#chunks.push(Buffer.from(chunk));
        this.#receivedBytes += chunk.length;
        if (this.#awaited && this.#receivedBytes >= this.#awaited.bytes) this.#awaited.resolve();
      },
      drained: () => this.events.push('drained'),
      closed: (error) => {
        this.events.push(error ? `closed ${errorCode(error)}` : 'closed');
        this.#end();
      },
    });
    return this;
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  receives(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#receivedBytes >= bytes) resolve();
      else this.#awaited = { bytes, resolve };
    });
  }
}

interface Pair {
  readonly listener: Listener;
  readonly near: Recorder;
  readonly far: Recorder;
}

async function connect(world: World): Promise<Pair> {
  let accepted: (socket: Socket) => void = () => {};
  const accepting = new Promise<Socket>((resolve) => {
    accepted = resolve;
  });
  const listener = await world.run(
    world.server.listen({ host: HOST, port: 0 }, (socket) => accepted(socket)),
  );
  const near = await world.run(world.client.connect(listener.address, 5000));
  return { listener, near: new Recorder(near), far: new Recorder(await world.run(accepting)) };
}

async function finish(world: World, { listener, near, far }: Pair): Promise<void> {
  near.socket.destroy();
  far.socket.destroy();
  await world.run(listener.close());
}

inEveryWorld('a port that nobody listens on refuses, a port in use is refused', async (world) => {
  const listener = await world.run(world.server.listen({ host: HOST, port: 0 }, () => {}));
  assert.ok(listener.address.port > 0);
  assert.is(await world.run(codeOf(world.server.listen(listener.address, () => {}))), 'EADDRINUSE');
  await world.run(listener.close());
  assert.is(await world.run(codeOf(world.client.connect(listener.address, 5000))), 'ECONNREFUSED');
  await world.run((await world.run(world.server.listen(listener.address, () => {}))).close());
});

inEveryWorld('bytes arrive in order, both ways, and closed comes once and last', async (world) => {
  const pair = await connect(world);
  const { near, far } = pair;
  near.listen();
  far.listen();
  const random = new SeededRandom(1);
  const sent: Record<'near' | 'far', Buffer[]> = { near: [], far: [] };
  for (let i = 0; i < 300; i++) {
    const from = random.pick(['near', 'far'] as const);
    const chunks = Array.from({ length: random.between(1, 4) }, () => random.bytes(random.between(0, 2000)));
    sent[from].push(...chunks);
    pair[from].socket.write(chunks);
    if (i % 50 === 0) await world.settle();
  }
  await world.run(near.receives(Buffer.concat(sent.far).length));
  near.socket.end();
  near.socket.write([Buffer.from('too late')]);
  await world.run(Promise.all([near.ended, far.ended]));
  assert.ok(far.received.equals(Buffer.concat(sent.near)));
  assert.ok(near.received.equals(Buffer.concat(sent.far)));
  for (const { events } of [near, far]) {
    assert.is(events.at(-1), 'closed');
    assert.is(events.filter((event) => event.startsWith('closed')).length, 1);
  }
  await finish(world, pair);
});

inEveryWorld(
  'what arrives before there is a handler, or in a pause, waits; an end does not overtake it',
  async (world) => {
    const pair = await connect(world);
    const { near, far } = pair;
    near.listen();
    near.socket.write([Buffer.from('early ')]);
    await world.settle();
    far.listen();
    await world.run(far.receives(6));
    far.socket.pause();
    await world.settle();
    near.socket.write([Buffer.from('paused')]);
    near.socket.end();
    await world.settle();
    assert.is(far.received.toString(), 'early ');
    assert.equal(far.events, ['data']);
    far.socket.resume();
    await world.run(far.ended);
    assert.is(far.received.toString(), 'early paused');
    assert.equal(far.events, ['data', 'closed']);
    await finish(world, pair);
  },
);

inEveryWorld('destroy closes both ends, at once here and without a word there', async (world) => {
  const pair = await connect(world);
  const { near, far } = pair;
  near.listen();
  far.listen();
  near.socket.destroy(Object.assign(new Error('enough'), { code: 'ENOUGH' }));
  near.socket.write([Buffer.from('x')]);
  await world.run(Promise.all([near.ended, far.ended]));
  assert.equal(near.events, ['closed ENOUGH']);
  assert.is(far.events.length, 1);
  assert.is(far.received.length, 0);
  await finish(world, pair);
});

inEveryWorld('a handler that comes after the end is told of it', async (world) => {
  const pair = await connect(world);
  pair.near.listen();
  pair.near.socket.destroy();
  await world.run(pair.near.ended);
  await world.settle();
  pair.far.listen();
  await world.run(pair.far.ended);
  assert.ok(pair.far.events.at(-1)?.startsWith('closed'));
  await finish(world, pair);
});

inEveryWorld('a closed listener lets its connections be', async (world) => {
  const pair = await connect(world);
  const { near, far, listener } = pair;
  near.listen();
  far.listen();
  await world.run(listener.close());
  assert.is(await world.run(codeOf(world.client.connect(listener.address, 5000))), 'ECONNREFUSED');
  near.socket.write([Buffer.from('still here')]);
  await world.run(far.receives(10));
  await finish(world, pair);
});

inEveryWorld('bufferedBytes counts what is not taken yet, drained says when all is', async (world) => {
  const pair = await connect(world);
  const { near, far } = pair;
  near.listen();
  far.listen();
  const chunk = Buffer.alloc(32 * 1024 * 1024, 'x');
  assert.is(near.socket.bufferedBytes, 0);
  near.socket.write([chunk]);
  assert.ok(near.socket.bufferedBytes > 1024 * 1024, `${near.socket.bufferedBytes}`);
  await world.run(far.receives(chunk.length));
  await world.settle();
  assert.is(near.socket.bufferedBytes, 0);
  assert.equal(near.events, ['drained']);
  await finish(world, pair);
});

test('real: a reader that pauses holds the writer back', async () => {
  const world = (worlds[0] as (typeof worlds)[number]).open();
  const pair = await connect(world);
  const { near, far } = pair;
  near.listen();
  far.listen();
  far.socket.pause();
  const chunk = Buffer.alloc(32 * 1024 * 1024, 'x');
  near.socket.write([chunk]);
  await world.settle();
  assert.ok(near.socket.bufferedBytes > 16 * 1024 * 1024, `${near.socket.bufferedBytes}`);
  assert.equal(near.events, []);
  far.socket.resume();
  await far.receives(chunk.length);
  await finish(world, pair);
});

test('real: a host that does not answer is given up after the timeout', async () => {
  // The kernel drops connection attempts that a stopped process with a full backlog does not accept.
  const script = `require('net').createServer().listen({ port: 0, host: '${HOST}', backlog: 1 }, function () { console.log(this.address().port); })`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [text] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
    child.kill('SIGSTOP');
    const address = { host: HOST, port: Number(text) };
    const attempts = await Promise.allSettled(
      Array.from({ length: 6 }, () => realNetwork.connect(address, 300)),
    );
    for (const attempt of attempts) if (attempt.status === 'fulfilled') attempt.value.destroy();
    const codes = attempts.flatMap((attempt) =>
      attempt.status === 'rejected' ? errorCode(attempt.reason) : [],
    );
    assert.ok(codes.length > 0);
    assert.ok(
      codes.every((code) => code === 'ETIMEDOUT'),
      codes.join(),
    );
  } finally {
    child.kill('SIGKILL');
  }
});

const SOCKETS = '/proc/self/net/tcp';

test('L2: real: both ends of a connection ask, after a silence, whether the other is there', async () => {
  const world = (worlds[0] as (typeof worlds)[number]).open();
  const pair = await connect(world);
  pair.near.listen();
  pair.far.listen();
  if (existsSync(SOCKETS)) {
    const port = pair.listener.address.port.toString(16).toUpperCase().padStart(4, '0');
    // sl local_address rem_address st queues tr:when; state 01 is established, timer 02 is keep-alive.
    const timers = readFileSync(SOCKETS, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local, remote, state]) => state === '01' && `${local} ${remote}`.includes(`:${port}`))
      .map(([, , , , , timer]) => timer?.slice(0, 2));
    assert.equal(timers, ['02', '02']);
  }
  await finish(world, pair);
});

test('addresses are read and written', () => {
  for (const text of [`${'h'.repeat(255)}:1`, 'localhost:7001', '127.0.0.1:0', '[::1]:65535']) {
    assert.is(formatAddress(parseAddress(text)), text);
  }
  assert.equal(parseAddress('[::1]:80'), { host: '::1', port: 80 });
  for (const text of [
    `${'h'.repeat(256)}:1`,
    '',
    'host',
    'host:',
    ':80',
    'host:65536',
    '::1:80',
    'a b:80',
    'host:-1',
    'host:80x',
  ]) {
    assert.throws(() => parseAddress(text), `"${text}"`, JSON.stringify(text));
  }
});

test.run();
