/** `/v1/watch`: changes as server-sent events. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../../src/client/client.js';
import { partsOf } from '../../../src/client/tablet-cache.js';
import { TabletMap } from '../../../src/placement/tablet-map.js';
import type { NodeConfigInput } from '../../../src/server/config.js';
import { startHttpNode } from '../../support/http-node.js';
import { until } from '../../support/process-cluster.js';

/** Reads the events of a feed, as text. */
async function opened(url: string, headers: Record<string, string> = {}) {
  const abort = new AbortController();
  const response = await fetch(url, { headers, signal: abort.signal });
  const feed = { response, text: '', isOver: false, close: () => abort.abort() };
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  void (async () => {
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read())
        feed.text += Buffer.from(next.value).toString();
    } catch {
      // Closed by the test.
    }
    feed.isOver = true;
  })();
  return feed;
}

test('the changes of a key or a prefix come as events; the id says where to go on', async () => {
  const node = await startHttpNode();
  const put = async (key: string, body: string | Uint8Array) => {
    const answer = await fetch(`${node.url}/v1/kv/${key}`, { method: 'PUT', body });
    return Number(answer.headers.get('etag')?.replaceAll('"', ''));
  };
  try {
    const first = await put('a%2F1', 'old');
    const all = await opened(`${node.url}/v1/watch?from=${first}`);
    const one = await opened(`${node.url}/v1/watch?key=b`);
    const some = await opened(`${node.url}/v1/watch?prefix=a%2F`);
    assert.is(all.response.headers.get('content-type'), 'text/event-stream');
    await until(
      () => [all, one, some].every(({ text }) => text.startsWith(': the changes follow\n\n')),
      'they have begun',
    );
    const batch = JSON.stringify({
      operations: [
        { action: 'put', key: 'a/1', value: 'x' },
        { action: 'put', key: 'b', valueBase64: '/w==' },
        { action: 'delete', key: 'a/1' },
      ],
    });
    const headers = { 'content-type': 'application/json' };
    const { index } = (await (
      await fetch(`${node.url}/v1/batch`, { method: 'POST', body: batch, headers })
    ).json()) as { index: number };
    const events = {
      old: `event: put\nid: ${first}\ndata: {"key":"a/1","value":"old","version":${first}}\n\n`,
      deleted: `event: delete\ndata: {"key":"a/1","version":${index}}\n\n`,
      put: `event: put\nid: ${index}\ndata: {"key":"b","valueBase64":"/w==","version":${index}}\n\n`,
    };
    const begin = ': the changes follow\n\n';
    await until(() => all.text === begin + events.old + events.deleted + events.put, 'all changes');
    await until(() => one.text === begin + events.put, 'those of a key');
    await until(
      () => some.text === begin + events.deleted.replace('data:', `id: ${index}\ndata:`),
      'those of a prefix',
    );
    const again = await opened(`${node.url}/v1/watch?from=1`, { 'last-event-id': String(first) });
    await until(() => again.text === begin + events.deleted + events.put, 'from where it was');
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    assert.match(metrics, /\nraftree_watchers 4\n/);
    assert.match(metrics, /\nraftree_watch_history_bytes 1024\n/);
    assert.match(metrics, /\nraftree_watchers_fell_behind_total 0\n/);
    for (const feed of [all, one, again]) feed.close();
    await until(() => node.node.watchers === 1, 'a watcher that has gone is forgotten at once');
    const closing = node.node.close();
    await until(() => some.isOver, 'a node that closes ends it');
    assert.match(some.text, /event: end\ndata: \{"code":"SHUTTING_DOWN","detail":".*"\}\n\n$/);
    await closing;
  } finally {
    await node.close();
  }
});

test('what is not kept any more is a problem document that says from where changes are kept', async () => {
  const node = await startHttpNode();
  try {
    const asked = await fetch(`${node.url}/v1/watch?from=1`);
    const problem = (await asked.json()) as { code: string; from: number };
    assert.equal([asked.status, problem.code], [410, 'HISTORY_GONE']);
    assert.ok(problem.from > 1);
    assert.is(node.node.watchers, 0);
    for (const query of ['from=0', 'from=x', 'key=', 'key=a&prefix=b', 'to=b'])
      assert.is((await fetch(`${node.url}/v1/watch?${query}`)).status, 400, query);
    assert.is((await fetch(`${node.url}/v1/watch`, { method: 'PUT' })).status, 405);
    const head = await fetch(`${node.url}/v1/watch`, { method: 'HEAD' });
    assert.equal([head.status, node.node.watchers], [200, 0]);
  } finally {
    await node.close();
  }
});

const TWO_TABLETS: NodeConfigInput['placement'] = { by: 'range', tablets: 2, splits: ['m'] };

test('keys of several tablets: the id is a token, and a feed that is opened with it goes on without a gap', async () => {
  const node = await startHttpNode({}, { placement: TWO_TABLETS });
  const put = (key: string, body: string) => fetch(`${node.url}/v1/kv/${key}`, { method: 'PUT', body });
  const keysIn = (text: string) => [...text.matchAll(/"key":"([^"]*)"/g)].map(([, key]) => key);
  const lastId = (text: string) => [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '';
  try {
    const feeds = [await opened(`${node.url}/v1/watch?key=z`), await opened(`${node.url}/v1/watch?prefix=a`)];
    const all = await opened(`${node.url}/v1/watch`);
    await until(() => all.text === ': the changes follow\n\n', 'it has begun');
    for (const key of ['a1', 'z', 'a2']) await put(key, 'x');
    await until(() => feeds.every(({ text }) => text.includes('event: put')), 'each is told of its key');
    assert.equal(
      feeds.map(({ text }) => keysIn(text)[0]),
      ['z', 'a1'],
    );
    assert.match(lastId(feeds[0]?.text ?? ''), /^w1\./);
    await until(() => keysIn(all.text).length === 3, 'all are told');
    assert.equal(
      keysIn(all.text).filter((key) => key !== 'z'),
      ['a1', 'a2'],
    );
    const token = lastId(all.text);
    assert.match(token, /^w1\.[\w-]+$/);
    all.close();
    for (const key of ['a3', 'y']) await put(key, 'x');
    for (const again of [
      await opened(`${node.url}/v1/watch`, { 'last-event-id': token }),
      await opened(`${node.url}/v1/watch?from=${token}`),
    ]) {
      await until(() => keysIn(again.text).length === 2, 'what has come since');
      assert.equal(keysIn(again.text).toSorted(), ['a3', 'y']);
      again.close();
    }
    for (const feed of feeds) feed.close();
    await until(() => node.node.watchers === 0, 'nothing is left of those that have gone');
    for (const [query, status] of [
      ['key=a&from=1', 410],
      ['from=1', 410],
      ['from=9', 409],
      [`prefix=a&from=${token}`, 200],
      [`from=${token.slice(0, -2)}`, 400],
      [`from=w1.${'A'.repeat(9000)}`, 400],
    ] as const) {
      const feed = await opened(`${node.url}/v1/watch?${query}`);
      assert.is(feed.response.status, status, query);
      feed.close();
    }
    assert.is((await fetch(`${node.url}/v1/watch?from=${token}`, { method: 'HEAD' })).status, 200);
    await until(() => node.node.watchers === 0, 'who asks for the headers watches nothing');
    const open = await opened(`${node.url}/v1/watch?prefix=`);
    await until(() => open.text !== '', 'it has begun');
    const closing = node.node.close();
    await until(() => open.isOver, 'a node that closes ends it');
    assert.match(open.text, /event: end\ndata: \{"code":"SHUTTING_DOWN","detail":".*"\}\n\n$/);
    await closing;
  } finally {
    await node.close();
  }
});

test('the keys of one tablet that is split: the feed goes on, and so does one that is opened with its last id', async () => {
  const node = await startHttpNode({}, { placement: TWO_TABLETS });
  const put = (key: string) => fetch(`${node.url}/v1/kv/${key}`, { method: 'PUT', body: 'x' });
  const keysIn = (text: string) => [...text.matchAll(/"key":"([^"]*)"/g)].map(([, key]) => key).toSorted();
  const { host, port } = node.node.addresses.client ?? { host: '', port: 0 };
  const client = new RaftreeClient({ endpoints: [`${host}:${port}`] });
  try {
    const feed = await opened(`${node.url}/v1/watch?prefix=a`);
    await until(() => feed.text !== '', 'it has begun');
    await put('a1');
    await until(() => keysIn(feed.text).length === 1, 'the first is told');
    const id = [...feed.text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '';
    await client.splitTablet('a5');
    for (const key of ['a2', 'a9']) await put(key);
    await until(() => keysIn(feed.text).length === 3, 'the rest is told');
    feed.close();
    const again = await opened(`${node.url}/v1/watch?prefix=a`, { 'last-event-id': id });
    assert.is(again.response.status, 200);
    await until(() => keysIn(again.text).length === 2, 'what came since');
    assert.equal(keysIn(again.text), ['a2', 'a9']);
    again.close();
  } finally {
    await client.close();
    await node.close();
  }
});

test('the only tablet is split: the feed ends, and the version that it told last is where another one goes on', async () => {
  const node = await startHttpNode();
  const put = (key: string) => fetch(`${node.url}/v1/kv/${key}`, { method: 'PUT', body: 'x' });
  const keysIn = (text: string) => [...text.matchAll(/"key":"([^"]*)"/g)].map(([, key]) => key).toSorted();
  const { host, port } = node.node.addresses.client ?? { host: '', port: 0 };
  const client = new RaftreeClient({ endpoints: [`${host}:${port}`] });
  try {
    const feed = await opened(`${node.url}/v1/watch`);
    await until(() => feed.text !== '', 'it has begun');
    await put('a');
    await until(() => keysIn(feed.text).length === 1, 'the first is told');
    const id = [...feed.text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '';
    assert.match(id, /^\d+$/);
    await client.splitTablet('m');
    await until(() => feed.isOver, 'it ends');
    for (const key of ['b', 'z']) await put(key);
    const again = await opened(`${node.url}/v1/watch`, { 'last-event-id': id });
    assert.is(again.response.status, 200);
    await until(() => keysIn(again.text).length === 2, 'what came since');
    assert.equal(keysIn(again.text), ['b', 'z']);
    again.close();
  } finally {
    await client.close();
    await node.close();
  }
});

test('a token of another cluster is refused', async () => {
  const node = await startHttpNode({}, { placement: TWO_TABLETS });
  const other = await startHttpNode({}, { placement: TWO_TABLETS });
  try {
    const feed = await opened(`${node.url}/v1/watch`);
    await fetch(`${node.url}/v1/kv/a`, { method: 'PUT', body: 'x' });
    await until(() => feed.text.includes('id: w1.'), 'it has told a token');
    const token = /^id: (.*)$/m.exec(feed.text)?.[1];
    feed.close();
    const refused = await fetch(`${other.url}/v1/watch?from=${token}`);
    assert.is(refused.status, 400);
    assert.match(((await refused.json()) as { detail: string }).detail, /of another cluster/);
  } finally {
    await Promise.all([node.close(), other.close()]);
  }
});

test('a range that only looks like one key is not told in part', () => {
  const bytes = (text: string) => Buffer.from(text, 'latin1');
  const map = new TabletMap('range', [
    { id: 1, generation: 0, start: bytes(''), end: bytes('m') },
    { id: 2, generation: 0, start: bytes('m'), end: undefined },
  ]);
  const tabletsOf = (from: string, to: string) =>
    partsOf(map, { from: bytes(from), to: bytes(to) })?.map(({ tablet }) => tablet);
  assert.equal(tabletsOf('z', 'z\0'), [2]);
  assert.equal(tabletsOf('a', 'z\0'), [1, 2]);
});

test.run();
