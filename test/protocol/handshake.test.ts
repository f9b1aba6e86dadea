import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import type { Channel } from '../../src/net/channel.js';
import { ChannelListener } from '../../src/net/channel-listener.js';
import { connectChannel } from '../../src/net/connect.js';
import { encodeFrame } from '../../src/net/frame-encoder.js';
import { encodeMessage } from '../../src/protocol/codec.js';
import type { HandshakeOptions } from '../../src/protocol/handshake.js';
import type { OutboundMessage } from '../../src/protocol/messages.js';
import { protocolPipeline } from '../../src/protocol/protocol-pipeline.js';
import { prove } from '../../src/security/proof.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';
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

const bytesOf = (message: OutboundMessage) => Buffer.concat(encodeFrame(encodeMessage(message)));

const SECRET = Buffer.from('the secret of tests');
const OTHER = Buffer.from('another secret of tests');
const random = { bytes: (count: number) => randomBytes(count) };
const withSecrets = (...secrets: Buffer[]) => ({ security: { secrets, random } });
const NODE: Partial<Side> = {
  identity: { role: 'peer', clusterId: 'demo', nodeId: 1, storeId: 's1' },
  expectedRoles: ['peer'],
};
const NEIGHBOUR: Partial<Side> = {
  identity: { role: 'peer', clusterId: 'demo', nodeId: 2, storeId: 's2' },
  expectedRoles: ['peer'],
};
const ADMINISTRATOR: Partial<Side> = { identity: { ...CLIENT.identity, role: 'administrator' } };
const SERVER_OF_BOTH: Partial<Side> = { expectedRoles: ['client', 'administrator'] };

const PROVEN: readonly (readonly [string, Partial<Side>, Partial<Side>, boolean])[] = [
  ['the same secret', { ...NODE, ...withSecrets(SECRET) }, { ...NEIGHBOUR, ...withSecrets(SECRET) }, true],
  ['no secret on both sides', NODE, NEIGHBOUR, false],
  [
    'the new secret before a node that has both',
    { ...NODE, ...withSecrets(SECRET, OTHER) },
    { ...NEIGHBOUR, ...withSecrets(OTHER) },
    true,
  ],
  [
    'both secrets, in other orders',
    { ...NODE, ...withSecrets(SECRET, OTHER) },
    { ...NEIGHBOUR, ...withSecrets(OTHER, SECRET) },
    true,
  ],
  [
    'an administrator with the secret',
    { ...SERVER_OF_BOTH, ...withSecrets(SECRET) },
    { ...ADMINISTRATOR, ...withSecrets(SECRET) },
    true,
  ],
  [
    'an administrator before a node without a secret',
    SERVER_OF_BOTH,
    { ...ADMINISTRATOR, ...withSecrets(SECRET) },
    false,
  ],
  ['a client before a node with a secret', { ...SERVER_OF_BOTH, ...withSecrets(SECRET) }, {}, false],
];

for (const [what, accepting, connecting, isProven] of PROVEN) {
  test(`${what}: let in, ${isProven ? 'proven' : 'nothing proven'}`, async () => {
    const seen: boolean[] = [];
    const greeted: HandshakeOptions['greeted'] = (_hello, _channel, proven) => seen.push(proven);
    const meeting = await meet(8, { ...accepting, greeted }, { ...connecting, greeted });
    assert.equal(seen, [isProven, isProven]);
    meeting.channel.write(SAMPLES.ping);
    await meeting.world.scheduler.runFor(100);
    assert.equal([meeting.accepted, meeting.connected], [['active', 'ping'], ['active']]);
  });
}

const MISMATCHED: readonly (readonly [string, Partial<Side>, Partial<Side>])[] = [
  ['another secret', { ...NODE, ...withSecrets(SECRET) }, { ...NEIGHBOUR, ...withSecrets(OTHER) }],
  ['a secret on the accepting side alone', { ...NODE, ...withSecrets(SECRET) }, NEIGHBOUR],
  ['a secret on the connecting side alone', NODE, { ...NEIGHBOUR, ...withSecrets(SECRET) }],
  [
    'a connecting side that proves a secret which is not the first one there, before a node that lacks it',
    { ...NODE, ...withSecrets(SECRET) },
    { ...NEIGHBOUR, ...withSecrets(OTHER, SECRET) },
  ],
  [
    'an administrator with another secret',
    { ...SERVER_OF_BOTH, ...withSecrets(SECRET) },
    { ...ADMINISTRATOR, ...withSecrets(OTHER) },
  ],
  ['an administrator without a secret', { ...SERVER_OF_BOTH, ...withSecrets(SECRET) }, ADMINISTRATOR],
];

for (const [what, accepting, connecting] of MISMATCHED) {
  test(`${what}: refused, and both sides know why`, async () => {
    const meeting = await meet(9, accepting, connecting);
    assert.equal([meeting.acceptedReason, meeting.connectedReason], ['SECRET_MISMATCH', 'SECRET_MISMATCH']);
    assert.equal([...meeting.accepted, ...meeting.connected], []);
  });
}

/** What somebody sends to a node with a secret, and the node's answer. */
async function sentToNode(bytes: (challenged: Buffer) => readonly Uint8Array[]): Promise<string> {
  let asked = 0;
  const refuse = () => {
    asked++;
    return undefined;
  };
  const meeting = await meet(
    10,
    { ...NODE, ...withSecrets(SECRET), refuse },
    { ...NEIGHBOUR, ...withSecrets(SECRET) },
  );
  assert.is(asked, 1, 'the neighbour is looked at');
  const stranger = meeting.world.start('stranger', new SimDisk());
  const socket = await meeting.world.scheduler.run(stranger.env.net.connect(ADDRESS, 100));
  const received: Buffer[] = [];
  socket.handle({ data: (chunk) => received.push(chunk), drained() {}, closed() {} });
  socket.write([bytesOf(NEIGHBOURS_HELLO), bytesOf(SAMPLES.challenge)]);
  await meeting.world.scheduler.runFor(50);
  for (const chunk of bytes(Buffer.concat(received))) socket.write([chunk]);
  await meeting.world.scheduler.runFor(50);
  if (meeting.accepted.length > 1) return meeting.accepted.join();
  assert.is(asked, 1, 'nobody else was told who is known');
  assert.not.match(Buffer.concat(received).toString('latin1'), SECRET.toString());
  return meeting.acceptedReason ?? 'open';
}

const NEIGHBOURS_HELLO: OutboundMessage = {
  type: 'hello',
  protocolVersion: 2,
  role: 'peer',
  clusterId: 'demo',
  nodeId: 2,
  storeId: 's2',
};

test('without a proof no message counts, and none is read', async () => {
  for (const message of [SAMPLES.birth, SAMPLES.append, SAMPLES.requestVote, SAMPLES.get]) {
    assert.is(await sentToNode(() => [bytesOf(message)]), 'HELLO_EXPECTED');
    const unreadable = bytesOf(message).fill(0xff, 8);
    assert.is(await sentToNode(() => [unreadable]), 'HELLO_EXPECTED', 'not even its body');
  }
  assert.is(await sentToNode(() => [Buffer.from('0000002200001001', 'hex')]), 'FRAME_TOO_LARGE');
  assert.is(await sentToNode(() => [bytesOf(SAMPLES.proof)]), 'SECRET_MISMATCH');
  assert.is(await sentToNode(() => [bytesOf(SAMPLES.challenge)]), 'HELLO_EXPECTED');
});

test('a proof of the other side, or of another meeting, is none', async () => {
  /** As the neighbour would prove it, but for what is given. */
  const reasonFor = (side: 'connecting' | 'accepting', own = 7, challenge?: Buffer, nodeId = 1) =>
    sentToNode((received) => {
      const node = { role: 'peer', clusterId: 'demo', nodeId, storeId: 's1' };
      const proof = prove(SECRET, side, {
        connecting: { party: { ...node, nodeId: 2, storeId: 's2' }, nonce: Buffer.alloc(32, own) },
        accepting: { party: node, nonce: challenge ?? received.subarray(-32) },
      });
      return [bytesOf({ type: 'proof', proof })];
    });
  assert.is(await reasonFor('connecting'), 'active,active', 'as it should be, it is let in');
  assert.is(await reasonFor('accepting'), 'SECRET_MISMATCH', 'reflected');
  assert.is(
    await reasonFor('connecting', 7, Buffer.alloc(32, 9)),
    'SECRET_MISMATCH',
    'of an earlier connection',
  );
  assert.is(await reasonFor('connecting', 8), 'SECRET_MISMATCH', 'for another challenge');
  assert.is(await reasonFor('connecting', 7, undefined, 3), 'SECRET_MISMATCH', 'made for another node');
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
