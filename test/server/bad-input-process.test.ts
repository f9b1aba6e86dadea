/** Bad bytes to every port of a real node: a clear error or a closed connection, and the node serves on. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeMessage, encodeMessage } from '../../src/protocol/codec.js';
import type { OutboundMessage } from '../../src/protocol/messages.js';
import { ProcessCluster, raftree } from '../support/process-cluster.js';

let cluster: ProcessCluster;

test.before(async () => {
  cluster = await ProcessCluster.create(1);
  await cluster.start(1);
});

test.after(() => cluster.destroy());

test.after.each(async () => {
  const client = cluster.client();
  try {
    await client.put('alive', 'yes');
    assert.is((await client.get('alive'))?.value.toString(), 'yes');
  } finally {
    await client.close();
  }
});

function frame(type: number, body: Uint8Array, claimedBytes = body.length): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(type, 0);
  head.writeUInt32BE(claimedBytes, 4);
  return Buffer.concat([head, body]);
}

function message(value: OutboundMessage): Buffer {
  const { type, body } = encodeMessage(value);
  return frame(type, Buffer.concat(body));
}

const hello = message({
  type: 'hello',
  protocolVersion: 2,
  role: 'client',
  clusterId: '',
  nodeId: 0,
  storeId: '',
});

/** Sends the bytes and gives what comes back until the other side closes. */
function exchange(port: number, bytes: Uint8Array, limitMs = 60_000): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const received: Buffer[] = [];
    const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`the connection was still open after ${limitMs} ms`));
    }, limitMs);
    socket.on('data', (chunk) => received.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(received));
    });
  });
}

/** Codes of the error messages in what came back. */
function errorCodes(received: Buffer): string[] {
  const codes: string[] = [];
  for (let at = 0; at + 8 <= received.length; ) {
    const end = at + 8 + received.readUInt32BE(at + 4);
    const decoded = decodeMessage({ type: received.readUInt32BE(at), body: received.subarray(at + 8, end) });
    if (decoded.type === 'error') codes.push(decoded.code);
    at = end;
  }
  return codes;
}

const ports = (): [string, number][] => [
  ['client', Number(cluster.endpoint(1).split(':')[1])],
  ['peer', cluster.peerPort(1)],
];

test('random bytes', async () => {
  for (const [, port] of ports()) {
    for (let i = 0; i < 20; i++) {
      const bytes = crypto.createHash('shake256', { outputLength: 200 }).update(`seed ${i}`).digest();
      await exchange(port, bytes);
    }
  }
});

test('a frame that claims 4 GiB', async () => {
  for (const [name, port] of ports()) {
    assert.equal(
      errorCodes(await exchange(port, frame(1, Buffer.alloc(0), 0xffff_ffff))),
      ['FRAME_TOO_LARGE'],
      name,
    );
  }
});

test('half a frame, then silence', async () => {
  for (const [name, port] of ports()) {
    assert.equal(errorCodes(await exchange(port, hello.subarray(0, 11))), ['HELLO_TIMEOUT'], name);
  }
});

test('an unknown type, before and after the greeting', async () => {
  for (const [name, port] of ports()) {
    assert.equal(errorCodes(await exchange(port, frame(999, Buffer.alloc(4)))), ['UNKNOWN_MESSAGE'], name);
  }
  const [[, clientPort]] = ports() as [[string, number]];
  const greeted = Buffer.concat([hello, frame(999, Buffer.alloc(4))]);
  assert.equal(errorCodes(await exchange(clientPort, greeted)), ['UNKNOWN_MESSAGE']);
});

test('a body that ends early, and one that ends late', async () => {
  for (const [name, port] of ports()) {
    const body = hello.subarray(8);
    for (const wrong of [body.subarray(0, -1), Buffer.concat([body, Buffer.of(0)])]) {
      assert.equal(errorCodes(await exchange(port, frame(1, wrong))), ['MALFORMED_MESSAGE'], name);
    }
  }
});

test('messages of nodes on the client port, and of clients on the peer port', async () => {
  const [[, clientPort], [, peerPort]] = ports() as [[string, number], [string, number]];
  const heartbeat = message({ type: 'heartbeat', group: 1, term: 99, commitIndex: 0, round: 1 });
  assert.equal(errorCodes(await exchange(clientPort, Buffer.concat([hello, heartbeat]))), [
    'MALFORMED_MESSAGE',
  ]);
  assert.equal(errorCodes(await exchange(peerPort, hello)), ['IDENTITY_MISMATCH']);
  const stranger = message({
    type: 'hello',
    protocolVersion: 2,
    role: 'peer',
    clusterId: 'another',
    nodeId: 9,
    storeId: 'x',
  });
  assert.equal(errorCodes(await exchange(peerPort, Buffer.concat([stranger, heartbeat]))), [
    'IDENTITY_MISMATCH',
  ]);
  const double = message({
    type: 'hello',
    protocolVersion: 2,
    role: 'peer',
    clusterId: 'processes',
    nodeId: 1,
    storeId: 'x',
  });
  assert.equal(errorCodes(await exchange(peerPort, double)), ['IDENTITY_MISMATCH']);
});

test('keys that are empty or too long, values that are too long', async () => {
  const client = cluster.client();
  const code = async (work: Promise<unknown>) => {
    try {
      await work;
      return 'done';
    } catch (error) {
      return `${(error as { code: string }).code} ${(error as { outcome: string }).outcome}`;
    }
  };
  try {
    assert.is(await code(client.put('', 'x')), 'KEY_EMPTY notCommitted');
    assert.is(await code(client.get('')), 'KEY_EMPTY notCommitted');
    assert.is(await code(client.put('k'.repeat(4096), 'x')), 'done');
    assert.is(await code(client.put('k'.repeat(4097), 'x')), 'KEY_TOO_LARGE notCommitted');
    assert.is(await code(client.put('large', Buffer.alloc(1024 * 1024))), 'done');
    assert.is(await code(client.put('large', Buffer.alloc(1024 * 1024 + 1))), 'VALUE_TOO_LARGE notCommitted');
    assert.is(await code(client.append('large', 'x')), 'VALUE_TOO_LARGE notCommitted');
    assert.is((await client.get('large'))?.value.length, 1024 * 1024);
  } finally {
    await client.close();
  }
});

test('a second node on the same ports, or on the same data folder, says what is wrong', async () => {
  const config = JSON.parse(fs.readFileSync(cluster.configFile(1), 'utf8')) as Record<string, unknown>;
  const file = `${cluster.directory}/second.json`;
  fs.writeFileSync(file, JSON.stringify({ ...config, dataDirectory: 'elsewhere' }));
  const samePorts = await raftree(['start', file]);
  assert.is(samePorts.code, 3);
  assert.match(samePorts.stderr, /cannot listen for peers on 127\.0\.0\.1:\d+: the port is in use/);
  const sameFolder = await raftree(['start', cluster.configFile(1)]);
  assert.is(sameFolder.code, 3);
  assert.match(sameFolder.stderr, /is in use by process \d+/);
  assert.not.match(samePorts.stderr + sameFolder.stderr, /\n\s+at /, 'no stack trace');
});

test.run();
