/** What clients should not send, byte by byte: each gets an answer or is cut off, and nothing hangs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  exchange,
  type HttpNode,
  problemIn,
  RawConnection,
  request,
  startHttpNode,
  statusOf,
} from '../../support/http-node.js';
import { until } from '../../support/process-cluster.js';

let node: HttpNode;

test.before(async () => {
  node = await startHttpNode({ maxConnections: 20 });
});
test.after(() => node.close());

async function code(answer: Promise<string>): Promise<[number, string]> {
  const text = await answer;
  const { status, code } = problemIn(text);
  assert.is(status, statusOf(text));
  assert.match(text.toLowerCase(), 'content-type: application/problem+json');
  return [status, code];
}

async function isWell(): Promise<void> {
  assert.is((await fetch(`${node.url}/livez`)).status, 200);
}

test('unknown paths and methods', async () => {
  const { port } = node;
  for (const path of [
    '/index.html',
    '/v1',
    '/v2/kv/a',
    '/v1/kv/a/b',
    '//v1/kv/a',
    '/v1/kv/a/',
    '/v1/KV/a',
    '/V1/kv/a',
  ])
    assert.equal(await code(request(port, `GET ${path}`)), [404, 'ROUTE_NOT_FOUND'], path);
  assert.equal(await code(request(port, 'FOO /nothing')), [404, 'ROUTE_NOT_FOUND']);
  for (const [method, path, allow] of [
    ['DELETE', '/v1/kv', 'GET, HEAD'],
    ['OPTIONS', '/v1/kv/a', 'GET, HEAD, PUT, POST, DELETE'],
    ['GET', '/v1/batch', 'POST'],
    ['POST', '/metrics', 'GET, HEAD'],
    ['PROPFIND', '/livez', 'GET, HEAD'],
    // Of these node:http has not heard.
    ['FOO', '/v1/kv/a?ttl=1s', 'GET, HEAD, PUT, POST, DELETE'],
    ['get', '/v1/status', 'GET, HEAD'],
  ] as const) {
    const answer = await request(port, `${method} ${path}`);
    assert.equal([statusOf(answer), problemIn(answer).code], [405, 'METHOD_NOT_ALLOWED']);
    assert.match(answer, new RegExp(`^allow: ${allow}\r$`, 'im'));
  }
});

test('targets that are not percent-encoded, and queries with a name twice', async () => {
  for (const path of ['/v1/kv/%', '/v1/kv/%g0', '/v1/kv?prefix=%f', '/v1/kv?limit=1&limit=2', '*'])
    assert.equal(await code(request(node.port, `GET ${path}`)), [400, 'MALFORMED_REQUEST'], path);
});

test('a dot in a key is a dot', async () => {
  for (const key of ['%2E%2E', '..', '.', '%2e']) {
    assert.is(statusOf(await request(node.port, `PUT /v1/kv/${key}`, ['content-length: 1'], 'x')), 204);
    assert.match(await request(node.port, `GET /v1/kv/${key}`), /\r\n\r\nx$/);
  }
});

test('bytes that are no request', async () => {
  for (const bytes of [
    '\0\0\0\0garbage\r\n\r\n',
    'GET\r\n\r\n',
    'HELLO / FTP/1.1\r\n\r\n',
    'HELLO /%zz HTTP/1.1\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  ])
    assert.equal(await code(exchange(node.port, Buffer.from(bytes, 'latin1'))), [400, 'MALFORMED_REQUEST']);
  assert.equal(
    await code(
      request(
        node.port,
        'PUT /v1/kv/a',
        ['content-length: 1', 'transfer-encoding: chunked'],
        '1\r\nx\r\n0\r\n\r\n',
      ),
    ),
    [400, 'MALFORMED_REQUEST'],
    'two lengths of one body',
  );
  assert.equal(await code(request(node.port, 'PUT /v1/kv/a', ['content-length: -1'], 'x')), [
    400,
    'MALFORMED_REQUEST',
  ]);
  await isWell();
});

test('headers that are too large', async () => {
  assert.equal(await code(request(node.port, 'GET /livez', [`x: ${'y'.repeat(40_000)}`])), [
    431,
    'HEADERS_TOO_LARGE',
  ]);
  assert.equal(await code(request(node.port, `GET /${'y'.repeat(40_000)}`)), [431, 'HEADERS_TOO_LARGE']);
  await isWell();
});

test('a body that breaks off in a chunk, or is shorter than it says, is not written', async () => {
  for (const bytes of [
    'PUT /v1/kv/half HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel',
    'PUT /v1/kv/half HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhel',
  ]) {
    const connection = new RawConnection(node.port).write(bytes);
    connection.socket.end();
    await connection.closed;
  }
  const wrong =
    'PUT /v1/kv/half HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n';
  assert.equal(await code(exchange(node.port, wrong)), [400, 'MALFORMED_REQUEST']);
  assert.equal(await code(request(node.port, 'GET /v1/kv/half')), [404, 'KEY_NOT_FOUND']);
});

test('requests that are sent at once are answered in their order', async () => {
  const connection = new RawConnection(node.port);
  const bodies = Array.from({ length: 20 }, (_, i) => String.fromCharCode(97 + i));
  connection.write(
    bodies
      .map((body) => `POST /v1/kv/line HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n${body}`)
      .concat('GET /v1/kv/line HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
      .join(''),
  );
  assert.match(await connection.closed, new RegExp(`${bodies.join('')}$`));
});

test('too many requests on one connection, and too many connections, are cut off', async () => {
  const flood = new RawConnection(node.port);
  flood.write('GET /v1/kv/line HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(5000));
  await flood.closed;
  await isWell();
  const many = Array.from({ length: 40 }, () => new RawConnection(node.port));
  await Promise.all(many.slice(30).map(({ closed }) => closed));
  for (const { socket } of many) socket.destroy();
  await until(async () => {
    const metrics = await fetch(`${node.url}/metrics`).then(
      (answer) => answer.text(),
      () => '',
    );
    return /^raftree_http_connections_refused_total [1-9]/m.test(metrics);
  }, 'the refused connections are counted');
});

test('a request without a Host, and pages of others', async () => {
  assert.equal(await code(exchange(node.port, 'GET /v1/status HTTP/1.1\r\nconnection: close\r\n\r\n')), [
    403,
    'FOREIGN_HOST',
  ]);
  const get = (headers: readonly string[]) =>
    exchange(node.port, `GET /v1/status HTTP/1.1\r\nconnection: close\r\n${headers.join('\r\n')}\r\n\r\n`);
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '',
    'localhost@evil.example',
  ])
    assert.equal(await code(get([`host: ${host}`])), [403, 'FOREIGN_HOST'], host);
  assert.equal(await code(get(['host: localhost', 'host: evil.example'])), [403, 'FOREIGN_HOST']);
  for (const host of ['localhost', `127.0.0.1:${node.port}`, '[::1]:8001', '10.1.2.3'])
    assert.is(statusOf(await get([`host: ${host}`])), 200, host);
  const foreign: readonly string[] = [
    'origin: http://evil.example',
    'origin: null',
    'sec-fetch-site: cross-site',
    'sec-fetch-site: same-site',
  ];
  for (const header of foreign) {
    assert.equal(await code(get(['host: localhost', header])), [403, 'FOREIGN_ORIGIN'], header);
    assert.equal(
      await code(
        request(
          node.port,
          'POST /v1/kv/page',
          [header, 'content-length: 1', 'content-type: text/plain'],
          'x',
        ),
      ),
      [403, 'FOREIGN_ORIGIN'],
    );
  }
  assert.equal(await code(request(node.port, 'GET /v1/kv/page')), [404, 'KEY_NOT_FOUND']);
  assert.is(
    statusOf(await get(['host: localhost', 'origin: http://localhost', 'sec-fetch-site: same-origin'])),
    200,
  );
  assert.is(statusOf(await get(['host: anything', 'connection: close']).catch(() => '')), 403);
  assert.is(
    statusOf(await exchange(node.port, 'GET /livez HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n')),
    200,
  );
});

test.run();
