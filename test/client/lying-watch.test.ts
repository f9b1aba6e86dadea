/** Nodes that tell a watch what they should not: they lose the connection, and the watch goes on at another one. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/client.js';
import { errorCode } from '../../src/env/errors.js';
import type { Channel } from '../../src/net/channel.js';
import type { OutboundOf } from '../../src/protocol/messages.js';
import { FakeCluster } from './fake-cluster.js';

type ToldChange = OutboundOf<'changes'>['changes'][number];

const put = (key: string, version: number, size = 1): ToldChange => ({
  type: 'put',
  key: Buffer.from(key),
  value: Buffer.alloc(size, 97),
  version,
});

const LIES: Readonly<
  Record<string, (watchId: number) => readonly OutboundOf<'changes' | 'watchProgress'>[]>
> = {
  'a key that is not watched': (watchId) => [
    { type: 'changes', watchId, throughVersion: 11, changes: [put('x', 11)] },
  ],
  'versions that go back': (watchId) => [
    { type: 'changes', watchId, throughVersion: 11, changes: [put('k1', 11)] },
    { type: 'changes', watchId, throughVersion: 12, changes: [put('k2', 11)] },
  ],
  'versions that go back in one message': (watchId) => [
    { type: 'changes', watchId, throughVersion: 12, changes: [put('k1', 12), put('k2', 11)] },
  ],
  'a version before the first': (watchId) => [
    { type: 'changes', watchId, throughVersion: 11, changes: [put('k1', 9)] },
  ],
  'more than it may': (watchId) => [
    { type: 'changes', watchId, throughVersion: 11, changes: [put('k1', 11, 5000)] },
    { type: 'changes', watchId, throughVersion: 12, changes: [put('k1', 12)] },
  ],
  'that it has come to the end of all versions': () => [
    { type: 'watchProgress', tablet: 0, throughVersion: Number.MAX_SAFE_INTEGER, behind: [] },
  ],
};

for (const [lie, messagesOf] of Object.entries(LIES)) {
  test(`a node that tells ${lie} loses its connection, and another one tells the rest`, async () => {
    const cluster = await FakeCluster.start(3, 2);
    const { scheduler } = cluster.world;
    let liar = 0;
    cluster.script = (request, node) => {
      if (request.type !== 'watch') return undefined;
      const [channel] = cluster.open.get(node) ?? [];
      const { watchId, requestId, fromVersion = 11 } = request;
      const isLiar = liar === 0 || liar === node;
      if (isLiar) liar = node;
      const messages = isLiar
        ? messagesOf(watchId)
        : [{ type: 'changes', watchId, throughVersion: 20, changes: [put('k3', 20)] } as const];
      cluster.world.scheduler.after(1, () => {
        for (const message of messages) (channel as Channel).write(message);
      });
      return () => ({ type: 'watching', requestId, fromVersion });
    };
    const { env } = cluster.client;
    const client = new RaftreeClient({ endpoints: cluster.endpoints, env });
    const told: string[] = [];
    const watch = client.watch({ prefix: 'k', bufferBytes: 1000 });
    const ended = (async () => {
      for await (const { key, version } of watch) told.push(`${key} ${version}`);
    })().catch((error: unknown) => errorCode(error));
    await scheduler.runFor(2000);
    assert.is(told.at(-1), 'k3 20');
    assert.not(told.some((text) => text.startsWith('x') || text.endsWith(' 9')));
    assert.is(cluster.open.get(liar)?.size, 0, 'the connection to the liar is closed');
    assert.is(watch.resumeFrom, 21);
    await scheduler.run(client.close());
    assert.is(await ended, 'CLIENT_CLOSED');
  });
}

test.run();
