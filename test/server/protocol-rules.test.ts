/**
 * What PROTOCOL.md says to the author of a client, held against whole nodes: frames on a bare connection, no client
 * library. Each test names the chapter that it is about.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Socket } from '../../src/env/env.js';
import { encodeFrame } from '../../src/net/frame-encoder.js';
import { decodeMessage, encodeMessage } from '../../src/protocol/codec.js';
import type { Message, MessageName, OutboundMessage, OutboundOf } from '../../src/protocol/messages.js';
import { prove } from '../../src/security/proof.js';
import { SECRET } from '../../src/sim/cluster/secrets.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';

type OperationInput = Partial<OutboundOf<'write'>['operations'][number]>;
type RequestInput = { [Name in MessageName]: Omit<OutboundOf<Name>, 'requestId'> }[
  | 'write'
  | 'get'
  | 'scan'
  | 'openSession'
  | 'status'
  | 'load'
  | 'changeMembers'
  | 'transferLeader'];

const NOTHING = Buffer.alloc(0);
const HELLO: OutboundMessage = {
  type: 'hello',
  protocolVersion: 2,
  role: 'client',
  clusterId: '',
  nodeId: 0,
  storeId: '',
};

type Named<Name extends MessageName> = Extract<Message, { readonly type: Name }>;

function isOf<Name extends MessageName>(message: Message | undefined, name: Name): message is Named<Name> {
  return message?.type === name;
}

/** A connection that knows frames and nothing else. */
class Wire {
  readonly received: Message[] = [];
  closed = false;
  readonly #cluster: SimulatedCluster;
  readonly #socket: Socket;
  #bytes: Buffer = NOTHING;
  #requests = 0;

  private constructor(cluster: SimulatedCluster, socket: Socket) {
    this.#cluster = cluster;
    this.#socket = socket;
    socket.handle({
      data: (chunk) => this.#take(chunk),
      drained() {},
      closed: () => {
        this.closed = true;
      },
    });
  }

  static async open(cluster: SimulatedCluster, name: string, node = 1, hello = HELLO): Promise<Wire> {
    const { env } = cluster.host(name);
    const wire = new Wire(
      cluster,
      await cluster.run(env.net.connect({ host: `n${node}`, port: 7001 }, 1000)),
    );
    wire.send(hello);
    await wire.until(() => wire.closed || wire.received.length > 1);
    return wire;
  }

  send(...messages: OutboundMessage[]): void {
    this.#socket.write(messages.flatMap((message) => encodeFrame(encodeMessage(message))));
  }

  sendBytes(hex: string): void {
    this.#socket.write([Buffer.from(hex, 'hex')]);
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async until(condition: () => boolean): Promise<void> {
    for (let waitedMs = 0; !condition(); waitedMs += 10) {
      if (waitedMs > 30_000) throw new Error('no answer in 30 s');
      await this.#cluster.world.scheduler.runFor(10);
    }
  }

  async ask<
    Name extends
      | 'writeReply'
      | 'getReply'
      | 'scanReply'
      | 'sessionOpened'
      | 'statusReply'
      | 'loadReply'
      | 'done'
      | 'error',
  >(answer: Name, request: RequestInput): Promise<Named<Name>> {
    const requestId = ++this.#requests;
    this.send({ ...request, requestId } as OutboundMessage);
    const answers = () =>
      this.received.filter((message) => 'requestId' in message && message.requestId === requestId);
    await this.until(() => answers().length > 0);
    const [found] = answers();
    if (!isOf(found, answer)) throw new Error(`${answer} was expected, not ${JSON.stringify(found)}`);
    return found;
  }

  async refusal(request: RequestInput): Promise<string> {
    const { code, outcome } = await this.ask('error', request);
    return `${code} ${outcome}`;
  }

  #take(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes.length >= 8) {
      const end = 8 + this.#bytes.readUInt32BE(4);
      if (this.#bytes.length < end) break;
      this.received.push(
        decodeMessage({ type: this.#bytes.readUInt32BE(0), body: this.#bytes.subarray(8, end) }),
      );
      this.#bytes = this.#bytes.subarray(end);
    }
  }
}

function write(
  operations: readonly OperationInput[],
  session: [number, number, number, number?] = [0, 0, 0],
): RequestInput {
  const [sessionId, sequence, acknowledgedThrough, after = 0] = session;
  return {
    type: 'write',
    tablet: 0,
    sessionId,
    sequence,
    acknowledgedThrough,
    after,
    operations: operations.map((operation) => ({
      action: 'put',
      key: NOTHING,
      value: NOTHING,
      condition: 'always',
      conditionValue: NOTHING,
      conditionVersion: 0,
      ...operation,
    })),
  };
}

const text = (value: string) => Buffer.from(value);
const get = (key: string, consistency: OutboundOf<'get'>['consistency'] = 'linearizable'): RequestInput => ({
  type: 'get',
  tablet: 0,
  consistency,
  key: text(key),
  omitValue: false,
});
const put = (key: string, value = ''): OperationInput => ({ key: text(key), value: text(value) });

async function oneNode(seed: number, options: SimulatedClusterOptions = {}): Promise<SimulatedCluster> {
  const cluster = new SimulatedCluster(seed, { size: 1, ...options });
  await cluster.run(cluster.startAll());
  await cluster.world.scheduler.runFor(5000);
  return cluster;
}

test('Sessions: what each sequence gets', async () => {
  const cluster = await oneNode(1);
  const wire = await Wire.open(cluster, 'client');
  const { sessionId, window } = await wire.ask('sessionOpened', {
    type: 'openSession',
    tablet: 0,
    window: 4,
  });
  assert.is(window, 4);
  const send = (sequence: number, through: number, value = `${sequence}`) =>
    write([{ key: text('k'), value: text(value), action: 'append' }], [sessionId, sequence, through]);
  const valueNow = async () => (await wire.ask('getReply', get('k'))).value.toString();

  const third = await wire.ask('writeReply', send(3, 0));
  const first = await wire.ask('writeReply', send(1, 0));
  assert.is(await valueNow(), '31', 'in any order, and 2 was left out');
  assert.is((await wire.ask('writeReply', send(3, 0, 'other'))).index, third.index, 'the first answer');
  const manyOperations = write([put('x'), put('y')], [sessionId, 1, 0]);
  const copy = await wire.ask('writeReply', manyOperations);
  assert.equal([copy.index, copy.results.length], [first.index, 1], 'whatever operations the copy has');
  assert.is(await valueNow(), '31');
  assert.is((await wire.ask('getReply', get('x'))).found, false);

  assert.is(await wire.refusal(send(5, 0)), 'INVALID_REQUEST notCommitted', 'above floor + window');
  await wire.ask('writeReply', send(5, 1));
  assert.is(await wire.refusal(send(6, 1)), 'INVALID_REQUEST notCommitted', 'floor 1');
  assert.is(await wire.refusal(send(1, 0)), 'INVALID_REQUEST notCommitted', 'its place was taken by 5');
  await wire.ask('writeReply', send(6, 4));
  assert.is((await wire.ask('writeReply', send(3, 0))).index, third.index, 'below the floor, and kept');
  assert.is(
    await wire.refusal(send(2, 0)),
    'INVALID_REQUEST notCommitted',
    'never used, and below the floor',
  );
  assert.is(await wire.refusal(send(4, 4)), 'INVALID_REQUEST notCommitted', 'its own acknowledgedThrough');
  assert.is(await wire.refusal(send(0, 0)), 'INVALID_REQUEST notCommitted');
  await wire.ask('writeReply', send(8, 4));
  assert.is(await wire.refusal(send(9, 4)), 'INVALID_REQUEST notCommitted');
  await wire.ask('writeReply', send(7, 4, 'seven'));
  assert.is(await valueNow(), '31568seven', 'a refused write leaves the floor as it was');

  const unmet: OperationInput = { key: text('new'), condition: 'exists' };
  const refused = await wire.ask('writeReply', write([unmet], [sessionId, 9, 8]));
  await wire.ask('writeReply', write([put('new')], [sessionId, 10, 8]));
  const again = await wire.ask('writeReply', write([unmet], [sessionId, 9, 8]));
  assert.equal([again.applied, again.index], [false, refused.index], 'an answer with applied 0 is kept too');

  const follows = (sequence: number, after: number) => write([put('k')], [sessionId, sequence, 9, after]);
  assert.is(await wire.refusal(follows(12, 11)), 'OUT_OF_ORDER notCommitted');
  assert.is(await wire.refusal(follows(12, 12)), 'INVALID_REQUEST notCommitted', 'it cannot follow itself');
  await wire.ask('writeReply', follows(11, 10));
  await wire.ask('writeReply', follows(12, 11));

  assert.is(await wire.refusal(write([put('k')], [999, 1, 0])), 'SESSION_EXPIRED notCommitted');
  for (const [asked, given] of [
    [0, 1],
    [5000, 4096],
  ] as const)
    assert.is(
      (await wire.ask('sessionOpened', { type: 'openSession', tablet: 0, window: asked })).window,
      given,
    );
  const noSession = write([{ key: text('n'), value: text('x'), action: 'append' }], [0, 7, 9]);
  await wire.ask('writeReply', noSession);
  await wire.ask('writeReply', noSession);
  assert.is(
    (await wire.ask('getReply', get('n'))).value.toString(),
    'xx',
    'without a session it is applied again',
  );
  wire.destroy();
  await cluster.run(cluster.closeAll());
});

test('Writes: what appends, deletions and conditions answer', async () => {
  const cluster = await oneNode(2);
  const wire = await Wire.open(cluster, 'client');
  const made = await wire.ask('writeReply', write([{ ...put('a', 'x'), action: 'append' }]));
  assert.equal(made.results, [{ status: 'ok', existed: false, version: made.index }], 'append makes the key');
  const missing: OperationInput = { ...put('b'), action: 'delete' };
  assert.equal((await wire.ask('writeReply', write([missing]))).results, [
    { status: 'ok', existed: false, version: 0 },
  ]);
  const two = await wire.ask('writeReply', write([put('b', '1'), put('c', '2')]));
  assert.equal(
    two.results.map(({ version }) => version),
    [two.index, two.index],
    'one version for all keys of a write',
  );
  const versionIs = (key: string, conditionVersion: number): OperationInput => ({
    ...put(key, 'y'),
    condition: 'versionIs',
    conditionVersion,
  });
  assert.is((await wire.ask('writeReply', write([versionIs('new', 0)]))).applied, true, 'version 0: absent');
  const unmet = await wire.ask('writeReply', write([put('c', 'z'), versionIs('b', 0)]));
  assert.is(unmet.applied, false);
  assert.ok(unmet.index > two.index, 'its own index');
  assert.equal(unmet.results, [
    { status: 'notApplied', existed: false, version: 0 },
    { status: 'conditionFailed', existed: true, version: two.index },
  ]);
  const emptyValue: OperationInput = { ...put('none'), condition: 'valueIs' };
  assert.is((await wire.ask('writeReply', write([emptyValue]))).applied, false, 'valueIs needs the key');
  assert.is(await wire.refusal(write([])), 'INVALID_REQUEST notCommitted');
  const unused: OperationInput = { ...put('b'), action: 'delete', value: Buffer.alloc(2 ** 20 + 1) };
  assert.is(await wire.refusal(write([unused])), 'VALUE_TOO_LARGE notCommitted', 'unused, and it counts');
  const half = Buffer.alloc(2 ** 20 - 1);
  await wire.ask('writeReply', write([{ key: text('big'), value: half }]));
  const grown = await wire.ask('writeReply', write([{ ...put('big', 'xx'), action: 'append' }, put('b')]));
  assert.equal(
    grown.results.map(({ status }) => status),
    ['valueTooLarge', 'notApplied'],
  );
  wire.destroy();
  await cluster.run(cluster.closeAll());
});

test('Reads: order of keys, pages and what is absent', async () => {
  const cluster = await oneNode(3);
  const wire = await Wire.open(cluster, 'client');
  const keys = ['00', '0000', '61', '61ff', '61ff00', '62'];
  const operations = keys.map((key) => ({ key: Buffer.from(key, 'hex'), value: text('v') })).reverse();
  await wire.ask('writeReply', write(operations));
  const page = async (options: Partial<OutboundOf<'scan'>>) => {
    const { entries, more } = await wire.ask('scanReply', {
      type: 'scan',
      tablet: 0,
      consistency: 'linearizable',
      from: NOTHING,
      to: undefined,
      limit: 0,
      reverse: false,
      keysOnly: false,
      ...options,
    });
    return [entries.map(({ key }) => key.toString('hex')).join(' '), more];
  };
  assert.equal(await page({}), [keys.join(' '), false]);
  assert.equal(await page({ reverse: true }), [[...keys].reverse().join(' '), false]);
  const hex = (key: string) => Buffer.from(key, 'hex');
  assert.equal(await page({ from: hex('61ff'), to: hex('62') }), ['61ff 61ff00', false], 'a prefix');
  assert.equal(await page({ from: hex('61'), to: hex('61ff'), reverse: true }), ['61', false]);
  assert.equal(await page({ from: hex('62'), to: hex('61') }), ['', false]);
  assert.equal(await page({ to: NOTHING }), ['', false], 'an empty `to` lies before every key');
  assert.equal(await page({ from: Buffer.alloc(5000, 0xff) }), ['', false], 'longer than any key');

  for (const reverse of [false, true]) {
    const seen: string[] = [];
    let range: Partial<OutboundOf<'scan'>> = {};
    for (let more: unknown = true; more; ) {
      const [page1, moreNow] = await page({ ...range, reverse, limit: 2 });
      if (moreNow) assert.ok(page1 !== '', 'a page with `more` has an entry');
      const found = String(page1).split(' ').filter(Boolean);
      assert.ok(found.length <= 2, 'at most `limit`');
      seen.push(...found);
      const last = found.at(-1) ?? '';
      range = reverse ? { to: hex(last) } : { from: hex(`${last}00`) };
      more = moreNow;
    }
    assert.equal(seen, reverse ? [...keys].reverse() : keys);
  }
  const keysOnly = await wire.ask('scanReply', {
    type: 'scan',
    tablet: 0,
    consistency: 'stale',
    from: NOTHING,
    to: undefined,
    limit: 1,
    reverse: false,
    keysOnly: true,
  });
  assert.is(keysOnly.entries[0]?.value.length, 0);
  assert.ok((keysOnly.entries[0]?.version ?? 0) > 0);

  const { found, version, value } = await wire.ask('getReply', get('absent'));
  assert.equal([found, version, value.length], [false, 0, 0]);
  assert.is(await wire.refusal(get('')), 'KEY_EMPTY notCommitted');
  wire.destroy();
  await cluster.run(cluster.closeAll());
});

test('Requests and answers: who answers what, and what another node says', async () => {
  const cluster = new SimulatedCluster(5, { size: 3 });
  await cluster.run(cluster.startAll());
  await cluster.world.scheduler.runFor(10_000);
  const leader = cluster.leader?.config.nodeId ?? 0;
  const others = [1, 2, 3].filter((id) => id !== leader);
  const [a = 0, b = 0] = others;
  const toLeader = await Wire.open(cluster, 'to-leader', leader);
  await toLeader.ask('writeReply', write([put('k', 'v')]));
  const wire = await Wire.open(cluster, 'to-follower', a);
  for (const request of [
    write([put('k')]),
    { type: 'openSession', tablet: 0, window: 1 },
    get('k'),
    get('k', 'lease'),
  ] as RequestInput[]) {
    const { code, outcome, leaderId, leaderAddress } = await wire.ask('error', request);
    assert.equal(
      [code, outcome, leaderId, leaderAddress],
      ['NOT_LEADER', 'notCommitted', leader, `n${leader}:7001`],
    );
  }
  assert.is((await wire.ask('getReply', get('k', 'follower'))).value.toString(), 'v');
  assert.is((await wire.ask('getReply', get('k', 'stale'))).value.toString(), 'v');
  assert.is((await toLeader.ask('getReply', get('k', 'lease'))).value.toString(), 'v');
  const status = await wire.ask('statusReply', { type: 'status', tablet: 0 });
  assert.equal([status.leaderId, status.outgoing, status.removedBy], [leader, [], 0]);
  assert.equal(
    status.peers.map(({ matchIndex }) => matchIndex),
    [0, 0],
    'matchIndex is told by the leader',
  );
  const before = await toLeader.ask('loadReply', { type: 'load' });
  assert.is((await toLeader.ask('getReply', get('k', 'linearizable'))).value.toString(), 'v');
  const after = await toLeader.ask('loadReply', { type: 'load' });
  assert.equal([after.reads - before.reads, after.writes - before.writes], [1, 0]);
  assert.ok(after.residentBytes > 0 && after.processorMs >= before.processorMs && before.writes > 0);
  // Measured from the first question on, until nobody asks any more.
  const measured = async () => {
    await toLeader.ask('writeReply', write([put('k', 'v')]));
    const { commit, apply, sync, writtenBytes } = await toLeader.ask('loadReply', { type: 'load' });
    assert.ok(writtenBytes > after.writtenBytes);
    return [commit, apply, sync].map((times) => times !== undefined && times.p99Us >= times.p50Us);
  };
  assert.equal([after.commit, after.apply, after.sync], [undefined, undefined, undefined]);
  assert.equal(await measured(), [true, true, true]);
  await cluster.world.scheduler.runFor(5000);
  const late = await toLeader.ask('loadReply', { type: 'load' });
  assert.equal([late.commit, (late.loopDelayUs ?? -1) >= 0], [undefined, true], 'of the last seconds');
  await cluster.world.scheduler.runFor(70_000);
  assert.equal(await measured(), [false, false, false]);
  const fromLeader = await toLeader.ask('statusReply', { type: 'status', tablet: 0 });
  assert.ok(fromLeader.peers.every(({ matchIndex }) => matchIndex > 0));
  assert.equal([fromLeader.clusterId, fromLeader.peerAddress], ['', ''], 'not for any client');
  const change: RequestInput = { type: 'changeMembers', expectedIndex: undefined, force: false, changes: [] };
  assert.is(await wire.refusal(change), 'NOT_PERMITTED notCommitted', 'from every node');

  cluster.kill(leader);
  cluster.kill(b);
  await cluster.world.scheduler.runFor(10_000);
  const { code, leaderId, leaderAddress } = await wire.ask('error', write([put('k')]));
  assert.equal([code, leaderId, leaderAddress], ['NO_LEADER', 0, '']);
  assert.is(await wire.refusal(get('k', 'follower')), 'NO_LEADER notCommitted');
  assert.is((await wire.ask('getReply', get('k', 'stale'))).value.toString(), 'v');
  assert.is((await wire.ask('statusReply', { type: 'status', tablet: 0 })).leaderId, 0);
  wire.destroy();
  toLeader.destroy();
  await cluster.run(cluster.closeAll());
});

test('Requests and answers: before the cluster has begun', async () => {
  const cluster = new SimulatedCluster(6, { size: 3 });
  await cluster.run(cluster.start(1));
  const wire = await Wire.open(cluster, 'client');
  for (const request of [get('k', 'stale'), get('k'), write([put('k')])])
    assert.is(await wire.refusal(request), 'NO_LEADER notCommitted');
  const { leaderId, configurationIndex, peers } = await wire.ask('statusReply', {
    type: 'status',
    tablet: 0,
  });
  assert.equal([leaderId, configurationIndex, peers.length], [0, 0, 2]);
  wire.destroy();
  await cluster.run(cluster.closeAll());
});

test('Errors: about a request, about the connection, and both', async () => {
  const cluster = await oneNode(7);
  const cases: readonly [string, string, number][] = [
    // status with a byte too many
    ['00000018000000050000000900', 'MALFORMED_MESSAGE', 9],
    // numbers of requests that are not in the tables
    ['0000001f0000000400000008', 'UNKNOWN_MESSAGE', 8],
    ['000000f00000000400000008', 'UNKNOWN_MESSAGE', 8],
    ['000000630000000400000008', 'UNKNOWN_MESSAGE', 0],
    // a frame that is too long
    ['00000010ffffffff', 'FRAME_TOO_LARGE', 0],
    // heartbeat, which is between nodes
    ['000000240000001c00000001000000000000000100000000000000000000000000000000', 'MALFORMED_MESSAGE', 0],
    // a second hello
    ['000000010000001100000002010000000000000000000000' + '00', 'HELLO_EXPECTED', 0],
  ];
  for (const [i, [hex, code, requestId]] of cases.entries()) {
    const wire = await Wire.open(cluster, `client${i}`);
    const before = wire.received.length;
    wire.sendBytes(hex);
    await wire.until(() => wire.closed);
    const said = wire.received.slice(before).map((message) => {
      assert.is(message.type, 'error', code);
      return message.type === 'error' ? [message.code, message.requestId] : [];
    });
    assert.equal(said, [[code, requestId]]);
  }
  await cluster.run(cluster.closeAll());
});

test('Errors: a node closes its side when the client closes its own', async () => {
  const cluster = await oneNode(9);
  const wire = await Wire.open(cluster, 'client');
  wire.end();
  await wire.until(() => wire.closed);
  await cluster.run(cluster.closeAll());
});

test('Handshake: what a node says to a client, and whom it refuses', async () => {
  const cluster = await oneNode(10);
  const wire = await Wire.open(cluster, 'client', 1, { ...HELLO, clusterId: 'simulated' });
  const [hello, limits] = wire.received;
  assert.equal(
    [hello?.type, limits?.type, wire.received.length],
    ['hello', 'limits', 2],
    'hello, limits and no more',
  );
  assert.ok(hello?.type === 'hello');
  assert.equal([hello.role, hello.nodeId, hello.clusterId, hello.storeId], ['server', 1, 'simulated', '']);
  wire.destroy();
  const refused: readonly [Partial<OutboundOf<'hello'>>, string][] = [
    [{ protocolVersion: 3 }, 'VERSION_MISMATCH'],
    [{ clusterId: 'other' }, 'IDENTITY_MISMATCH'],
    [{ role: 'peer' }, 'IDENTITY_MISMATCH'],
  ];
  for (const [i, [change, code]] of refused.entries()) {
    const other = await Wire.open(cluster, `refused${i}`, 1, { ...HELLO, ...change } as OutboundMessage);
    await other.until(() => other.closed);
    assert.equal(
      other.received.map((message) =>
        message.type === 'error' ? [message.code, message.requestId] : message.type,
      ),
      [[code, 0]],
    );
  }
  await cluster.run(cluster.closeAll());
});

test('Handshake: an administrator proves the secret as the page says', async () => {
  const cluster = await oneNode(11, { hasSecret: true });
  const party = { role: 'administrator', clusterId: '', nodeId: 0, storeId: '' } as const;
  const nonce = Buffer.alloc(32, 1);
  const wire = await Wire.open(cluster, 'administrator', 1, { ...HELLO, ...party } as OutboundMessage).catch(
    () => undefined,
  );
  assert.ok(wire);
  const challenge = wire.received.find((message) => message.type === 'challenge');
  assert.ok(challenge?.type === 'challenge');
  const meeting = {
    connecting: { party, nonce },
    accepting: { party: { role: 'server', clusterId: '', nodeId: 1, storeId: '' }, nonce: challenge.nonce },
  };
  const secret = Buffer.from(SECRET);
  wire.send({ type: 'challenge', nonce }, { type: 'proof', proof: prove(secret, 'connecting', meeting) });
  await wire.until(() => wire.received.length === 4);
  assert.equal(
    wire.received.map(({ type }) => type),
    ['hello', 'challenge', 'proof', 'limits'],
  );
  const proof = wire.received[2];
  assert.ok(proof?.type === 'proof' && proof.proof.equals(prove(secret, 'accepting', meeting)));

  const changes = (list: OutboundOf<'changeMembers'>['changes'], expectedIndex?: number): RequestInput => ({
    type: 'changeMembers',
    expectedIndex,
    force: false,
    changes: list,
  });
  const member = (type: 'remove' | 'addVoter' | 'promote', nodeId: number) => ({
    type,
    nodeId,
    clientAddress: '',
    peerAddress: '',
  });
  assert.is(await wire.refusal(changes([member('remove', 2)])), 'NOT_A_MEMBER notCommitted');
  assert.is(await wire.refusal(changes([member('remove', 1)])), 'CHANGE_INVALID notCommitted');
  assert.is(await wire.refusal(changes([member('addVoter', 2)])), 'CHANGE_INVALID notCommitted');
  assert.is(await wire.refusal(changes([member('remove', 0)])), 'INVALID_REQUEST notCommitted');
  assert.is(await wire.refusal(changes([member('promote', 1)], 77)), 'CHANGE_CONFLICT notCommitted');
  const done = await wire.ask('done', changes([member('promote', 1)]));
  assert.equal([done.changed, done.index, done.warnings], [false, 0, []], 'it is a voter already');
  assert.is(
    await wire.refusal({ type: 'transferLeader', tablet: 0, nodeId: 2 }),
    'CHANGE_INVALID notCommitted',
  );
  const { clusterId, peerAddress } = await wire.ask('statusReply', { type: 'status', tablet: 0 });
  assert.equal([clusterId, peerAddress], ['simulated', 'n1:7101']);
  wire.destroy();
  await cluster.run(cluster.closeAll());
});

test('Silence: each ping gets a pong, a promise is kept or the connection ends, 0 takes it back', async () => {
  const cluster = await oneNode(12);
  const { scheduler } = cluster.world;
  const wire = await Wire.open(cluster, 'client');
  wire.send({ type: 'ping', nextWithinMs: 0 }, { type: 'ping', nextWithinMs: 1 });
  await wire.until(() => wire.received.length === 4);
  assert.equal(
    wire.received.slice(2).map(({ type }) => type),
    ['pong', 'pong'],
  );
  await scheduler.runFor(1000);
  assert.is(wire.closed, false, 'a promise of less than a second counts as one of a second');
  await scheduler.runFor(500);
  assert.is(wire.closed, true);
  const other = await Wire.open(cluster, 'other');
  other.send({ type: 'ping', nextWithinMs: 1000 }, { type: 'ping', nextWithinMs: 0 });
  await scheduler.runFor(60_000);
  assert.is(other.closed, false);
  await scheduler.runFor(600_000);
  assert.is(other.closed, true, 'ten minutes of silence');
  const last = other.received.at(-1);
  assert.ok(last?.type === 'error' && last.code === 'IDLE_TIMEOUT' && last.requestId === 0);
  await cluster.run(cluster.closeAll());
});

test.run();
