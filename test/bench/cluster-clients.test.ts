/** The small clients of etcd and Redis, against servers that answer in every way that the protocols allow. */
import { once } from 'node:events';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EtcdConnection } from '../../bench/cluster/clients/etcd-connection.js';
import { GrpcChannel } from '../../bench/cluster/clients/grpc-channel.js';
import { grpcStatusOf } from '../../bench/cluster/clients/hpack.js';
import { RedisConnection } from '../../bench/cluster/clients/redis-connection.js';

async function listening(server: net.Server | http2.Http2Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

/** Answers each call with what `answer` makes of its message; a number is a gRPC status. */
async function withGrpcServer(
  answer: (method: string, message: Buffer) => Buffer | number,
  use: (endpoint: string) => Promise<void>,
): Promise<void> {
  const server = http2.createServer({ settings: { initialWindowSize: 1000, maxFrameSize: 16_384 } });
  server.on('stream', (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const body = Buffer.concat(chunks);
      assert.is(body.readUInt32BE(1), body.length - 5);
      assert.is(headers['content-type'], 'application/grpc');
      assert.is(headers.te, 'trailers');
      const reply = answer(String(headers[':path']), body.subarray(5));
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () =>
        stream.sendTrailers({ 'grpc-status': typeof reply === 'number' ? String(reply) : '0' }),
      );
      if (typeof reply === 'number') return void stream.end();
      const head = Buffer.alloc(5);
      head.writeUInt32BE(reply.length, 1);
      stream.end(Buffer.concat([head, reply]));
    });
  });
  const endpoint = await listening(server);
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  try {
    await use(endpoint);
  } finally {
    for (const session of sessions) session.destroy();
    server.close();
  }
}

test('calls of any size go both ways, many at once, within the windows of the server', async () => {
  const methods = new Set<string>();
  await withGrpcServer(
    (method, message) => {
      methods.add(method);
      return message;
    },
    async (endpoint) => {
      const channel = await GrpcChannel.open(endpoint);
      const messages = Array.from({ length: 200 }, (_, i) => Buffer.alloc(i % 10 === 0 ? 300_000 : i, i));
      const answers = await Promise.all(
        messages.map(async (message, i) => Buffer.from(await channel.call(`/a.B/C${i % 3}`, message))),
      );
      answers.forEach((answer, i) => {
        assert.ok(messages[i]?.equals(answer), `message ${i}`);
      });
      await channel.close();
    },
  );
  assert.equal([...methods].sort(), ['/a.B/C0', '/a.B/C1', '/a.B/C2']);
});

test('a status other than OK is named, and the connection goes on', async () => {
  let status = 8;
  await withGrpcServer(
    () => status--,
    async (endpoint) => {
      const channel = await GrpcChannel.open(endpoint);
      const failures: string[] = [];
      for (let i = 0; i < 2; i++)
        await channel.call('/a.B/C', Buffer.alloc(1)).catch((error: Error) => failures.push(error.message));
      assert.match(failures[0] ?? '', /answered RESOURCE_EXHAUSTED$/);
      assert.match(failures[1] ?? '', /answered PERMISSION_DENIED$/);
      await channel.close();
    },
  );
});

test('what waits fails when the server goes, and so does what comes later', async () => {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    setTimeout(() => socket.destroy(), 30);
  });
  const endpoint = await listening(server);
  try {
    const channel = await GrpcChannel.open(endpoint);
    const message = await channel.call('/a.B/C', Buffer.alloc(1)).catch((error: Error) => error.message);
    assert.match(String(message), /closed the connection|ECONNRESET/);
    assert.is(await channel.call('/a.B/C', Buffer.alloc(1)).catch((error: Error) => error.message), message);
  } finally {
    server.close();
  }
});

test('grpc-status is found as Go and as Node.js write it', () => {
  const go = '889acac8b21234da8f';
  assert.is(grpcStatusOf(Buffer.from(`00${go}013000899acac8b5254207317f00`, 'hex')), 0);
  assert.is(
    grpcStatusOf(Buffer.from(`880f108b1d75d0620d263d4c4d656400${go}02313200899acac8b5254207317f00`, 'hex')),
    12,
  );
  const plain = Buffer.concat([
    Buffer.from([0x20, 0x40, 11]),
    Buffer.from('grpc-status'),
    Buffer.from([1, 0x35]),
  ]);
  assert.is(grpcStatusOf(plain), 5);
  // Huffman-coded digits: 14 is 00001 011010, then ones.
  assert.is(grpcStatusOf(Buffer.from(`00${go}820b5f`, 'hex')), 14);
  assert.is(grpcStatusOf(Buffer.from('88', 'hex')), undefined);
  assert.throws(() => grpcStatusOf(Buffer.from('be', 'hex')), /header table/);
});

test('etcd: what a range says of its values', async () => {
  const header = Buffer.from('0a020801', 'hex');
  const entry = (value: string) => {
    const kv = Buffer.concat([
      Buffer.from([0x0a, 1, 0x61, 0x10, 0x96, 1, 0x18, 7]),
      ...(value === '' ? [] : [Buffer.from([0x2a, value.length]), Buffer.from(value)]),
    ]);
    return Buffer.concat([Buffer.from([0x12, kv.length]), kv]);
  };
  const answers = [
    Buffer.concat([header, entry('four'), Buffer.from([0x20, 1])]),
    Buffer.concat([header, entry('')]),
    header,
    Buffer.concat([header, entry('a'), entry('b'), entry('c')]),
  ];
  const requests: string[] = [];
  await withGrpcServer(
    (method, message) => {
      requests.push(`${method.split('/')[2]} ${message.toString('hex')}`);
      return answers.shift() ?? Buffer.alloc(0);
    },
    async (endpoint) => {
      const connection = await EtcdConnection.open({ kind: 'etcd', endpoints: [endpoint] }, 0);
      const key = Buffer.from('a');
      assert.is(await connection.get(key, 'linearizable'), 4);
      assert.is(await connection.get(key, 'stale'), 0);
      assert.is(await connection.get(key, 'lease'), -1);
      assert.is(await connection.scan(key, 300), 3);
      await connection.put(key, Buffer.from('v'));
      await connection.putMany([{ key, value: Buffer.from('v') }]);
      await connection.close();
    },
  );
  assert.equal(requests, [
    'Range 0a0161',
    'Range 0a01613801',
    'Range 0a0161',
    'Range 0a016112010018ac02',
    'Put 0a0161120176',
    'Txn 120812060a0161120176',
  ]);
});

test('Redis: answers in any pieces reach their requests in order', async () => {
  const answers = Buffer.from('+OK\r\n$5\r\na\r\nbc\r\n$-1\r\n-ERR full\r\n$0\r\n\r\n+OK\r\n');
  let received = '';
  const server = net.createServer((socket) => {
    socket.on('data', (chunk) => {
      received += chunk.toString();
      if (!received.endsWith('end\r\n')) return;
      let at = 0;
      const next = () => {
        socket.write(answers.subarray(at, ++at));
        if (at < answers.length) setImmediate(next);
      };
      next();
    });
  });
  const endpoint = await listening(server);
  try {
    const connection = await RedisConnection.open({ kind: 'redis', endpoints: [endpoint] });
    const [key, value] = [Buffer.from('key'), Buffer.from('value')];
    const results = await Promise.allSettled([
      connection.put(key, value),
      connection.get(key),
      connection.get(key),
      connection.put(key, value),
      connection.get(key),
      connection.putMany([{ key, value: Buffer.from('end') }]),
    ]);
    assert.equal(
      results.map((result) => (result.status === 'fulfilled' ? result.value : result.reason.message)),
      [undefined, 5, -1, 'Redis: ERR full', 0, undefined],
    );
    assert.match(received, /^\*3\r\n\$3\r\nSET\r\n\$3\r\nkey\r\n\$5\r\nvalue\r\n\*2\r\n\$3\r\nGET\r\n/);
    await connection.close();
    const failure = await connection.get(key).catch((error: Error) => error.message);
    assert.match(String(failure), /closed/);
  } finally {
    server.close();
  }
});

test.run();
