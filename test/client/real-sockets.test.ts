import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient, RaftreeClientError } from '../../src/client/index.js';
import { type Address, formatAddress, parseAddress } from '../../src/env/env.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { ChannelListener } from '../../src/net/channel-listener.js';
import type { Request } from '../../src/protocol/messages.js';
import { protocolPipeline } from '../../src/protocol/protocol-pipeline.js';
import { FakeCluster, LIMITS } from './fake-cluster.js';

const env = realEnv();

/** One node on real sockets, answering from a fake cluster's state. */
function serve(state: FakeCluster, address: Address): Promise<ChannelListener> {
  return ChannelListener.listen(env, address, {
    maxConnections: 10,
    initialise: (channel) =>
      protocolPipeline(channel, {
        handshake: {
          side: 'accepting',
          identity: { role: 'server', clusterId: 'fake', nodeId: 1, storeId: 's' },
          expectedRoles: ['client'],
        },
        handler: {
          active: () => void channel.write(LIMITS),
          read: (_, request) => void channel.write(state.answer(request as Request, 1)),
        },
      }),
  });
}

const handles = () => process.getActiveResourcesInfo().filter((name) => /TCP|Timeout/.test(name));

test('thousands of requests, a node that goes away and comes back, and nothing left after close', async () => {
  const before = handles().length;
  const state = new FakeCluster(1);
  let listener = await serve(state, parseAddress('127.0.0.1:0'));
  const { address } = listener;
  const client = new RaftreeClient({ endpoints: [formatAddress(address)], timeoutMs: 20_000 });
  const value = Buffer.alloc(256, 'v');
  await Promise.all(Array.from({ length: 5000 }, (_, i) => client.put(`k${i}`, value)));
  assert.is(state.data.size, 5000);
  assert.is(listener.channels.size, 1, 'one connection carries all');

  // Writes go on while the node is stopped abruptly and started again, three times.
  let appended = 0;
  const appending = Promise.all(
    Array.from({ length: 300 }, async (_, i) => {
      await new Promise((resolve) => setTimeout(resolve, i));
      await client.append(`log${i % 10}`, `<${i}>`);
      appended++;
    }),
  );
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    await listener.close('at once');
    await new Promise((resolve) => setTimeout(resolve, 20));
    listener = await serve(state, address);
  }
  await appending;
  assert.is(appended, 300);
  const log = Array.from({ length: 10 }, (_, i) => state.data.get(`log${i}`)?.value.toString()).join('');
  const tokens = log.match(/<\d+>/g) ?? [];
  assert.is(tokens.length, 300);
  assert.is(new Set(tokens).size, 300);

  assert.ok((await client.get('k4999'))?.value.equals(value));
  await client.close();
  await listener.close();
  assert.is(handles().length, before);
});

test('large values both ways at once do not make the two sides wait for each other', async () => {
  const state = new FakeCluster(2);
  const listener = await serve(state, parseAddress('127.0.0.1:0'));
  const client = new RaftreeClient({ endpoints: [formatAddress(listener.address)] });
  const value = Buffer.alloc(3_000_000, 'v');
  await client.put('k', value);
  const calls = Array.from({ length: 60 }, async (_, i) => {
    if (i % 2 === 0) await client.put(`k${i}`, value);
    else assert.is((await client.get('k'))?.value.length, value.length);
  });
  await Promise.all(calls);
  assert.is(state.data.size, 31);
  assert.is(listener.channels.size, 1);
  await client.close();
  await listener.close();
});

test('a call without a time limit waits for its answer', async () => {
  const state = new FakeCluster(3);
  const listener = await serve(state, parseAddress('127.0.0.1:0'));
  const client = new RaftreeClient({
    endpoints: [formatAddress(listener.address)],
    timeoutMs: Number.POSITIVE_INFINITY,
  });
  await client.put('k', 'v');
  // The connection has one, which looks after it.
  const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  assert.is((await client.get('k'))?.value.toString(), 'v');
  assert.is(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length, before);
  await client.close();
  await listener.close();
});

test('nobody there: unreachable within the timeout', async () => {
  const client = new RaftreeClient({ endpoints: ['127.0.0.1:1'], timeoutMs: 300 });
  const error = await client.get('k').catch((failure: unknown) => failure);
  assert.instance(error, RaftreeClientError);
  assert.is((error as RaftreeClientError).code, 'UNREACHABLE');
  assert.match((error as RaftreeClientError).message, 'ECONNREFUSED');
  await client.close();
});

test.run();
