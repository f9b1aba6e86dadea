/** Clients that are too slow are cut off, and hold nothing any more. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../../src/client/client.js';
import { formatAddress } from '../../../src/env/env.js';
import { type HttpNode, RawConnection, request, startHttpNode, statusOf } from '../../support/http-node.js';
import { until } from '../../support/process-cluster.js';

const CLIENT_TIMEOUT_MS = 400;
const VALUE_BYTES = 4_000_000;
let node: HttpNode;
let client: RaftreeClient;

test.before(async () => {
  const limits = { maxValueBytes: VALUE_BYTES, maxRequestBytes: 2 * VALUE_BYTES };
  node = await startHttpNode({ clientTimeoutMs: CLIENT_TIMEOUT_MS }, { limits });
  const { client: address } = node.node.addresses;
  client = new RaftreeClient({ endpoints: [address ? formatAddress(address) : ''] });
});
test.after(async () => {
  await client.close();
  await node.close();
});

test('who sends too slowly is cut off', async () => {
  for (const bytes of [
    'GET /livez HTTP/1.1\r\nhost: lo',
    'PUT /v1/kv/slow HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx',
    'PUT /v1/kv/slow HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n500\r\nx',
  ]) {
    const connection = new RawConnection(node.port).write(bytes);
    // A byte now and then does not help.
    const drip = setInterval(() => connection.write('a'), CLIENT_TIMEOUT_MS / 8);
    const answer = await connection.closed;
    clearInterval(drip);
    assert.is(statusOf(answer), 408);
  }
  assert.is(await client.get('slow'), undefined);
});

test('who sends nothing at all is cut off', async () => {
  const silent = new RawConnection(node.port);
  await silent.closed;
  const afterOne = new RawConnection(node.port).write('GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n');
  assert.match(await afterOne.closed, 'ok');
});

test('who does not read an answer is cut off', async () => {
  for (let i = 0; i < 3; i++) await client.put(`big${i}`, Buffer.alloc(VALUE_BYTES, 'x'));
  for (const path of ['/v1/kv/big0', '/v1/kv?prefix=big']) {
    const connection = new RawConnection(node.port);
    connection.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`.repeat(10));
    await connection.until(/^HTTP\/1.1 200/);
    connection.socket.pause();
    const isCut = async () => {
      const metrics = await request(node.port, 'GET /metrics');
      return (
        /^raftree_connections\{door="http"\} 1$/m.test(metrics) &&
        /^raftree_http_buffered_bytes 0$/m.test(metrics)
      );
    };
    await until(isCut, 'the node has cut it off and holds nothing for it');
    connection.socket.resume();
    const received = await connection.closed;
    assert.ok(received.length < 10 * VALUE_BYTES, 'it has not got everything');
  }
});

test.run();
