import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { SimDisk } from '../../src/env/sim/disk.js';
import { SimWorld } from '../../src/env/sim/sim-env.js';
import type { Channel } from '../../src/net/channel.js';
import { ChannelListener } from '../../src/net/channel-listener.js';
import { connectChannel } from '../../src/net/connect.js';
import { encodeFrame } from '../../src/net/frame-encoder.js';
import { encodeMessage } from '../../src/protocol/codec.js';
import type { HandshakeOptions } from '../../src/protocol/handshake.js';
import type { OutboundMessage } from '../../src/protocol/messages.js';
import { protocolPipeline } from '../../src/protocol/protocol-pipeline.js';
import { SAMPLES } from './samples.js';

type Side = Omit<HandshakeOptions, 'helloTimeoutMs'>;

const SERVER: Side = {
  side: 'accepting',
  identity: { role: 'server', clusterId: 'demo', nodeId: 1, storeId: 's1' },
  expectedRoles: ['client'],
};
const CLIENT: Side = {
  side: 'connecting',
  identity: { role: 'client', clusterId: '', nodeId: 0, storeId: '' },
  expectedRoles: ['server'],
};
const ADDRESS = parseAddress('server:1');

interface Meeting {
  readonly world: SimWorld;
  /** What the handlers behind the handshakes saw. */
  readonly accepted: string[];
  readonly connected: string[];
  /** Why the connections ended; undefined while they stand. */
  acceptedReason?: string;
  connectedReason?: string;
  channel: Channel;
}

/** A handler behind the handshake: notes what comes. */
const noting = (events: string[]) => ({
  active: () => void events.push('active'),
  read: (_: unknown, message: unknown) => void events.push((message as OutboundMessage).type),
  inactive: () => void events.push('inactive'),
});

async function meet(seed: number, accepting: Partial<Side>, connecting: Partial<Side>): Promise<Meeting> {
  const world = new SimWorld(seed);
  const server = world.start('server', new SimDisk());
  const client = world.start('client', new SimDisk());
  const meeting: Partial<Meeting> & Pick<Meeting, 'accepted' | 'connected' | 'world'> = {
    world,
    accepted: [],
    connected: [],
  };
  await ChannelListener.listen(server.env, ADDRESS, {
    maxConnections: 10,
    initialise: (channel) =>
      protocolPipeline(channel, {
        limits: { helloTimeoutMs: 1000 },
        handshake: { ...SERVER, ...accepting },
        handler: noting(meeting.accepted),
      }),
    closed: (_, reason) => {
      meeting.acceptedReason = errorCode(reason) ?? String(reason);
    },
  });
  const channel = await world.scheduler.run(
    connectChannel(client.env, ADDRESS, {
      connectTimeoutMs: 100,
      initialise: (opened) =>
        protocolPipeline(opened, {
          limits: { helloTimeoutMs: 1000 },
          handshake: { ...CLIENT, ...connecting },
          handler: noting(meeting.connected),
        }),
    }),
  );
  void channel.closed.then((reason) => {
    meeting.connectedReason = errorCode(reason) ?? String(reason);
  });
  meeting.channel = channel;
  await world.scheduler.runFor(100);
  return meeting as Meeting;
}

test('both sides greet, then messages pass', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const greeted: string[] = [];
    const meeting = await meet(
      seed,
      { greeted: (hello) => greeted.push(hello.role) },
      { greeted: (hello) => greeted.push(`${hello.role} ${hello.nodeId} ${hello.storeId}`) },
    );
    assert.equal(greeted, ['client', 'server 1 s1']);
    meeting.channel.write(SAMPLES.get);
    meeting.channel.write(SAMPLES.status);
    await meeting.world.scheduler.runFor(5000);
    meeting.channel.close();
    await meeting.world.scheduler.runFor(100);
    assert.equal(meeting.accepted, ['active', 'get', 'status', 'inactive']);
    assert.equal(meeting.connected, ['active', 'inactive']);
  }
});

const REFUSED: readonly (readonly [string, Partial<Side>, Partial<Side>, string])[] = [
  ['another version', {}, { protocolVersion: 3 }, 'VERSION_MISMATCH'],
  ['another cluster', {}, { identity: { ...CLIENT.identity, clusterId: 'prod' } }, 'IDENTITY_MISMATCH'],
  [
    'a peer without a cluster',
    { expectedRoles: ['peer'] },
    { identity: { ...CLIENT.identity, role: 'peer' } },
    'IDENTITY_MISMATCH',
  ],
  ['a client on the peer port', { expectedRoles: ['peer'] }, {}, 'IDENTITY_MISMATCH'],
  [
    'an identity that the node refuses',
    { refuse: () => 'this store is not node 2' },
    {},
    'IDENTITY_MISMATCH',
  ],
];

for (const [what, accepting, connecting, code] of REFUSED) {
  test(`${what} is refused, and both sides know why`, async () => {
    const meeting = await meet(3, accepting, connecting);
    assert.is(meeting.acceptedReason, code);
    assert.is(meeting.connectedReason, code);
    assert.equal([...meeting.accepted, ...meeting.connected], []);
  });
}

test('the connecting side refuses too', async () => {
  const meeting = await meet(4, {}, { expectedRoles: ['peer'] });
  assert.is(meeting.connectedReason, 'IDENTITY_MISMATCH');
  assert.equal(meeting.connected, []);
});

/** Connects without any protocol, sends bytes, and returns what comes back and whether the connection was closed. */
async function raw(
  bytes: Uint8Array,
  waitMs: number,
): Promise<{ text: string; closed: boolean; reason: string }> {
  const meeting = await meet(5, {}, {});
  const stranger = meeting.world.start('stranger', new SimDisk());
  const socket = await meeting.world.scheduler.run(stranger.env.net.connect(ADDRESS, 100));
  const received: Buffer[] = [];
  let closed = false;
  socket.handle({
    data: (chunk) => received.push(chunk),
    drained() {},
    closed() {
      closed = true;
    },
  });
  socket.write([bytes]);
  await meeting.world.scheduler.runFor(waitMs);
  assert.is(meeting.channel.isOpen, true, 'the others are not disturbed');
  return { text: Buffer.concat(received).toString('latin1'), closed, reason: meeting.acceptedReason ?? '' };
}

const bytesOf = (message: OutboundMessage) => Buffer.concat(encodeFrame(encodeMessage(message)));
const HELLO = bytesOf(SAMPLES.hello);
const BAD: readonly (readonly [string, Uint8Array, string])[] = [
  ['nothing at all', Buffer.alloc(0), 'HELLO_TIMEOUT'],
  ['half a frame, then silence', HELLO.subarray(0, 11), 'HELLO_TIMEOUT'],
  ['a request before hello', bytesOf(SAMPLES.get), 'HELLO_EXPECTED'],
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 'FRAME_TOO_LARGE'],
  ['a claim of 4 GiB', Buffer.from('00000001ffffffff', 'hex'), 'FRAME_TOO_LARGE'],
  ['a large first frame', Buffer.from('0000000100001001', 'hex'), 'FRAME_TOO_LARGE'],
  ['a second hello', Buffer.concat([HELLO, HELLO]), 'HELLO_EXPECTED'],
  ['an unknown type', Buffer.concat([HELLO, Buffer.from('0000270f00000000', 'hex')]), 'UNKNOWN_MESSAGE'],
  [
    'a body that ends early',
    Buffer.concat([HELLO, Buffer.from('0000001200000005000000010100', 'hex')]),
    'MALFORMED_MESSAGE',
  ],
  [
    'bytes too many',
    Buffer.concat([HELLO, Buffer.from('00000018000000050000000100', 'hex')]),
    'MALFORMED_MESSAGE',
  ],
];

for (const [what, bytes, code] of BAD) {
  test(`${what}: answered with ${code}, and closed`, async () => {
    const { text, closed, reason } = await raw(bytes, 4000);
    assert.match(text, code);
    assert.is(closed, true);
    assert.is(reason, code);
  });
}

test('an unreadable request is answered under its own id', async () => {
  const { text } = await raw(Buffer.concat([HELLO, Buffer.from('000000120000000500abcdef09', 'hex')]), 100);
  assert.ok(text.includes(Buffer.from('00abcdef', 'hex').toString('latin1')));
});

test('random bytes end in an error and a closed connection, or wait for more', async () => {
  const meeting = await meet(6, {}, {});
  const stranger = meeting.world.start('stranger', new SimDisk());
  const { scheduler, random } = meeting.world;
  let open = 0;
  for (let i = 0; i < 200; i++) {
    const socket = await scheduler.run(stranger.env.net.connect(ADDRESS, 100));
    open++;
    socket.handle({
      data() {},
      drained() {},
      closed() {
        open--;
      },
    });
    const bytes = random.bytes(random.between(1, 200));
    // Half of them look like a hello at first.
    if (random.chance(0.5)) HELLO.copy(bytes, 0, 0, random.between(1, HELLO.length));
    socket.write([bytes]);
    if (i % 5 === 4) await scheduler.runFor(5000);
  }
  await scheduler.runFor(40_000);
  assert.is(open, 0, 'nobody who never greeted stays');
  assert.is(meeting.channel.isOpen, true);
});

test.run();
