/** A watch whose tablet is split: it goes on at the children, without a gap, from where the parent has ended. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/client.js';
import { HistoryGoneError } from '../../src/client/client-error.js';
import { decodeToken } from '../../src/client/watch-token.js';
import { errorCode } from '../../src/env/errors.js';
import type { Channel } from '../../src/net/channel.js';
import type { OutboundOf } from '../../src/protocol/messages.js';
import { FakeCluster } from './fake-cluster.js';

const put = (key: string, version: number) =>
  ({ type: 'put', key: Buffer.from(key), value: Buffer.from('v'), version }) as const;

const tablet = (id: number, start: string, end: string | undefined) => ({
  ...{ id, start: Buffer.from(start), end: end === undefined ? undefined : Buffer.from(end) },
  ...{ generation: id === 1 ? 1 : 2, leaderId: 1, term: 1, replicas: [1], splitVersion: 0 },
});

for (const isCutOff of [false, true]) {
  test(`what is told of the parent comes first; ${isCutOff ? 'of a write told in part the rest' : 'then the children go on'}`, async () => {
    const cluster = await FakeCluster.start(5, 1);
    const { scheduler } = cluster.world;
    let isSplit = false;
    const asked: string[] = [];
    const later: (() => void)[] = [];
    cluster.script = (request, node) => {
      const { requestId } = request;
      const [channel] = cluster.open.get(node) ?? [];
      const tell = (message: OutboundOf<'changes' | 'watchEnded'>) => (channel as Channel).write(message);
      if (request.type === 'tablets')
        return cluster.map(
          isSplit ? [tablet(2, '', 'm'), tablet(3, 'm', undefined)] : [tablet(1, '', undefined)],
        );
      if (request.type !== 'watch') return undefined;
      const { watchId, fromVersion = 10 } = request;
      asked.push(`${request.tablet} ${request.from}..${request.to ?? ''} ${fromVersion}`);
      if (request.tablet === 0 && isSplit) return 'WRONG_TABLET';
      scheduler.after(1, () => {
        if (request.tablet === 0) {
          // A write of two keys is told whole, or in part.
          const both = [put('a', 12), put('z', 12)];
          const changes = [put('a', 10), ...(isCutOff ? both.slice(0, 1) : both)];
          tell({ type: 'changes', watchId, throughVersion: isCutOff ? 11 : 12, changes });
          later.push(() => {
            isSplit = true;
            if (isCutOff) (channel as Channel).abort();
            else tell({ type: 'watchEnded', watchId, code: 'WRONG_TABLET', message: 'it was split' });
          });
          return;
        }
        const key = request.tablet === 2 ? 'a' : 'z';
        const version = request.tablet === 2 ? 13 : 14;
        const again = isCutOff ? [put(key, 12)] : [];
        tell({ type: 'changes', watchId, throughVersion: version, changes: [...again, put(key, version)] });
      });
      return () => ({ type: 'watching', requestId, fromVersion });
    };
    const client = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
    const watch = client.watch({ from: 10 });
    await scheduler.run(watch.ready);
    await scheduler.runFor(100);
    // The parent ends while its changes wait to be taken.
    for (const run of later.splice(0)) run();
    await scheduler.runFor(1000);
    const told: string[] = [];
    const ended = (async () => {
      for await (const { key, version } of watch) told.push(`${key} ${version}`);
    })().catch((error: unknown) => errorCode(error));
    await scheduler.runFor(2000);
    const ofKey = (key: string) => told.filter((text) => text.startsWith(key));
    assert.equal(ofKey('a'), ['a 10', 'a 12', 'a 13']);
    assert.equal(ofKey('z'), ['z 12', 'z 14']);
    assert.equal(asked.slice(-2).sort(), isCutOff ? ['2 ..m 12', '3 m.. 12'] : ['2 ..m 13', '3 m.. 13']);
    assert.equal(
      decodeToken(`${watch.resumeFrom}`).pieces.map(({ start, version }) => `${start} ${version}`),
      [' 14', 'm 15'],
    );
    await scheduler.run(client.close());
    assert.is(await ended, 'CLIENT_CLOSED');
  });
}

/** Two of three nodes hold the tablet, or did so, and neither keeps what the watch is to go on with. */
for (const isSplit of [false, true]) {
  test(`a node without the tablet is no node that may keep a change; ${isSplit ? 'what the tablet became may' : 'the watch ends'}`, async () => {
    const cluster = await FakeCluster.start(6);
    const { scheduler } = cluster.world;
    cluster.script = (request, node) => {
      const { requestId } = request;
      const [channel] = cluster.open.get(node) ?? [];
      if (request.type === 'tablets')
        return cluster.map(
          isSplit
            ? [tablet(2, '', 'm'), tablet(3, 'm', undefined)]
            : [tablet(1, '', 'x'), tablet(4, 'x', undefined)],
        );
      if (request.type !== 'watch') return undefined;
      const { watchId, fromVersion = 10 } = request;
      if (request.tablet === 0 || request.tablet === 1) {
        if (node === 3) return 'WRONG_TABLET';
        const end = { code: 'HISTORY_GONE', message: 'it is not kept', fromVersion: 50 };
        scheduler.after(1, () => (channel as Channel).write({ type: 'watchEnded', watchId, ...end }));
      } else {
        const message = { type: 'changes', watchId, throughVersion: 60 } as const;
        scheduler.after(1, () => (channel as Channel).write({ ...message, changes: [put('a', 12)] }));
      }
      return () => ({ type: 'watching', requestId, fromVersion });
    };
    const client = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
    const watch = client.watch({ key: 'a', from: 10 });
    const next = watch.next().then(
      ({ value }) => `${value?.version}`,
      (error: unknown) => (error instanceof HistoryGoneError ? error.message.split(':')[0] : `${error}`),
    );
    const expected = isSplit ? '12' : 'the changes up to version 49 are not kept any more';
    assert.is(await scheduler.run(next, 20_000), expected);
    await scheduler.run(client.close());
  });
}

test('a watch by way of a node without the tablet goes on at one that has it, which the map names', async () => {
  const cluster = await FakeCluster.start(7);
  const { scheduler } = cluster.world;
  cluster.script = (request, node) => {
    const { requestId } = request;
    const [channel] = cluster.open.get(node) ?? [];
    if (request.type === 'tablets') return cluster.map([tablet(1, '', 'x'), tablet(4, 'x', undefined)]);
    if (request.type !== 'watch') return undefined;
    if (node !== 1) return 'WRONG_TABLET';
    const message = { type: 'changes', watchId: request.watchId, throughVersion: 60 } as const;
    scheduler.after(1, () => (channel as Channel).write({ ...message, changes: [put('a', 12)] }));
    return () => ({ type: 'watching', requestId, fromVersion: request.fromVersion ?? 10 });
  };
  const client = new RaftreeClient({ endpoints: [cluster.endpoint(3)], env: cluster.client.env });
  const { value } = await scheduler.run(client.watch({ key: 'a' }).next(), 20_000);
  assert.is(value?.version, 12);
  await scheduler.run(client.close());
});

test.run();
