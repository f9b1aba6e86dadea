/** Keys and values over HTTP, against one node. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type HttpNode, type Problem, startHttpNode } from '../../support/http-node.js';

let node: HttpNode;

test.before(async () => {
  node = await startHttpNode({}, { limits: { maxValueBytes: 100_000, maxRequestBytes: 200_000 } });
});
test.after(() => node.close());

function send(
  method: string,
  path: string,
  body?: string | Uint8Array,
  headers: Record<string, string> = {},
) {
  return fetch(node.url + path, { method, headers, ...(body === undefined ? {} : { body }) });
}

async function refused(answer: Promise<Response>, status: number, code: string): Promise<Problem> {
  const response = await answer;
  const problem = (await response.json()) as Problem;
  assert.is(response.headers.get('content-type'), 'application/problem+json');
  assert.equal([response.status, problem.status, problem.code], [status, status, code]);
  return problem;
}

test('a value is written, read and removed as it is', async () => {
  const value = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i * 7));
  const put = await send('PUT', '/v1/kv/%00%ff%2f', value);
  assert.is(put.status, 204);
  const get = await send('GET', '/v1/kv/%00%FF%2F');
  assert.is(get.headers.get('etag'), put.headers.get('etag'));
  assert.is(get.headers.get('content-type'), 'application/octet-stream');
  assert.equal(Buffer.from(await get.arrayBuffer()), value);
  const head = await send('HEAD', '/v1/kv/%00%FF%2F');
  assert.equal([head.status, head.headers.get('content-length')], [200, '70000']);
  assert.is(await head.text(), '');
  assert.is((await send('DELETE', '/v1/kv/%00%FF%2F')).status, 204);
  await refused(send('DELETE', '/v1/kv/%00%FF%2F'), 404, 'KEY_NOT_FOUND');
  await refused(send('GET', '/v1/kv/%00%FF%2F'), 404, 'KEY_NOT_FOUND');
});

test('POST appends', async () => {
  assert.is((await send('POST', '/v1/kv/list', 'a')).status, 204);
  await send('POST', '/v1/kv/list', 'b');
  assert.is(await (await send('GET', '/v1/kv/list')).text(), 'ab');
  await refused(send('POST', '/v1/kv/list', Buffer.alloc(99_999)), 413, 'VALUE_TOO_LARGE');
  assert.is(await (await send('GET', '/v1/kv/list')).text(), 'ab');
});

test('every level of reading answers', async () => {
  await send('PUT', '/v1/kv/level', 'x');
  for (const level of ['linearizable', 'lease', 'follower', 'stale'])
    assert.is(await (await send('GET', `/v1/kv/level?level=${level}`)).text(), 'x', level);
  await refused(send('GET', '/v1/kv/level?level=best'), 400, 'INVALID_REQUEST');
});

test('writes have conditions', async () => {
  const first = await send('PUT', '/v1/kv/c', '1', { 'if-none-match': '*' });
  assert.is(first.status, 201);
  const etag = first.headers.get('etag') ?? '';
  const exists = await send('PUT', '/v1/kv/c', '2', { 'if-none-match': '*' });
  assert.is(exists.headers.get('etag'), etag, 'it says what the version is');
  await refused(Promise.resolve(exists), 412, 'CONDITION_FAILED');
  const second = await send('PUT', '/v1/kv/c', '2', { 'if-match': etag });
  assert.is(second.status, 204);
  for (const method of ['PUT', 'POST', 'DELETE'])
    await refused(
      send(method, '/v1/kv/c', method === 'DELETE' ? undefined : '3', { 'if-match': etag }),
      412,
      'CONDITION_FAILED',
    );
  assert.is(await (await send('GET', '/v1/kv/c')).text(), '2');
  await refused(send('PUT', '/v1/kv/none', '3', { 'if-match': '*' }), 412, 'CONDITION_FAILED');
  await refused(send('DELETE', '/v1/kv/none', undefined, { 'if-match': '"1"' }), 412, 'CONDITION_FAILED');
  assert.is(
    (await send('DELETE', '/v1/kv/c', undefined, { 'if-match': second.headers.get('etag') ?? '' })).status,
    204,
  );
});

test('conditions that contradict each other, or that are none, are refused', async () => {
  for (const headers of [
    { 'if-match': '"1"', 'if-none-match': '*' },
    { 'if-none-match': '"1"' },
    { 'if-match': '"1", "2"' },
    { 'if-match': '1' },
    { 'if-match': '"0"' },
    { 'if-match': '"abc"' },
  ] as Record<string, string>[]) {
    const { outcome } = await refused(send('PUT', '/v1/kv/conflict', 'x', headers), 400, 'INVALID_REQUEST');
    assert.is(outcome, 'notCommitted');
  }
  await refused(send('GET', '/v1/kv/conflict'), 404, 'KEY_NOT_FOUND');
});

test('a read can say what it has already', async () => {
  const etag = (await send('PUT', '/v1/kv/cached', 'x')).headers.get('etag') ?? '';
  const still = await send('GET', '/v1/kv/cached', undefined, { 'if-none-match': `"1", W/${etag}` });
  assert.equal([still.status, await still.text(), still.headers.get('etag')], [304, '', etag]);
  assert.is((await send('GET', '/v1/kv/cached', undefined, { 'if-none-match': '"1"' })).status, 200);
  await refused(send('GET', '/v1/kv/cached', undefined, { 'if-match': '"1"' }), 412, 'CONDITION_FAILED');
});

test('keys and values above the limits are refused', async () => {
  await refused(send('PUT', `/v1/kv/${'k'.repeat(4097)}`, 'x'), 400, 'KEY_TOO_LARGE');
  await refused(send('PUT', '/v1/kv/', 'x'), 400, 'KEY_EMPTY');
  await refused(send('GET', '/v1/kv/'), 400, 'KEY_EMPTY');
  assert.is((await send('PUT', `/v1/kv/${'%ff'.repeat(4096)}`, 'x')).status, 204, 'the longest key');
  await refused(send('PUT', '/v1/kv/large', Buffer.alloc(100_001)), 413, 'VALUE_TOO_LARGE');
  const chunked = new ReadableStream({
    start(controller) {
      for (let i = 0; i < 11; i++) controller.enqueue(Buffer.alloc(10_000));
      controller.close();
    },
  });
  await refused(
    fetch(`${node.url}/v1/kv/large`, { method: 'PUT', body: chunked, duplex: 'half' } as RequestInit),
    413,
    'VALUE_TOO_LARGE',
  );
  await send('DELETE', `/v1/kv/${'%ff'.repeat(4096)}`);
});

interface Listing {
  readonly entries: readonly {
    key?: string;
    keyBase64?: string;
    value?: string;
    valueBase64?: string;
    version: number;
  }[];
  readonly cursor: string | null;
}

async function list(query: string): Promise<Listing> {
  const response = await send('GET', `/v1/kv?${query}`);
  assert.is(response.status, 200, query);
  return (await response.json()) as Listing;
}

test('a range is listed in order, in answers of any length', async () => {
  for (let i = 0; i < 25; i++) await send('PUT', `/v1/kv/r%2F${String(i).padStart(2, '0')}`, `v${i}`);
  await send('PUT', '/v1/kv/r%2F%ff', Buffer.of(0xfe));
  const keys = (listing: Listing) => listing.entries.map(({ key, keyBase64 }) => key ?? keyBase64);
  const all = await list('prefix=r/');
  assert.is(all.entries.length, 26);
  assert.is(all.cursor, null);
  assert.equal(all.entries[0]?.value, 'v0');
  const last = all.entries.at(-1);
  assert.equal([last?.keyBase64, last?.valueBase64, last?.key], ['ci//', '/g==', undefined]);
  assert.equal(keys(await list('from=r/03&to=r/05')), ['r/03', 'r/04']);
  const only = await list('from=r/03&to=r/04&keys');
  assert.equal(Object.keys(only.entries[0] ?? {}).sort(), ['key', 'version']);
  for (const reverse of ['', '&reverse=true']) {
    const found: (string | undefined)[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: Listing = await list(`prefix=r/&limit=7${reverse}${cursor ? `&cursor=${cursor}` : ''}`);
      assert.ok(page.entries.length <= 7);
      found.push(...keys(page));
      cursor = page.cursor;
    }
    assert.equal(found, reverse ? keys(all).reverse() : keys(all));
  }
  assert.equal((await list('prefix=nothing')).entries, []);
  assert.is((await list('prefix=r/&limit=26')).cursor, null, 'nothing follows the last one');
  const lines = await send('GET', '/v1/kv?prefix=r/0&limit=2', undefined, { accept: 'application/x-ndjson' });
  assert.is(lines.headers.get('content-type'), 'application/x-ndjson');
  const [one, two, end] = (await lines.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>);
  assert.equal(
    [one?.key, two?.key, end],
    ['r/00', 'r/01', { cursor: Buffer.from('r/01').toString('base64url') }],
  );
});

test('ranges, cursors and parameters that are none are refused', async () => {
  for (const query of [
    'from=b&to=a',
    'limit=0',
    'limit=-1',
    'limit=1.5',
    'limit=x',
    'cursor=%20',
    'cursor=!!',
    'prefix=a&cursor=eg',
    'reverse=maybe',
    'unknown=1',
    'level=nearly',
  ]) {
    const { detail } = await refused(send('GET', `/v1/kv?${query}`), 400, 'INVALID_REQUEST');
    assert.ok(detail.length > 10, query);
  }
});

function batch(operations: unknown, type = 'application/json') {
  return send(
    'POST',
    '/v1/batch',
    typeof operations === 'string' ? operations : JSON.stringify({ operations }),
    {
      'content-type': type,
    },
  );
}

test('a batch takes effect as a whole, or not at all', async () => {
  const done = await batch([
    { action: 'put', key: 'b1', value: 'x', if: { exists: false } },
    { action: 'put', keyBase64: '/w==', valueBase64: '/g==' },
    { action: 'append', key: 'b1', value: 'y' },
    { action: 'delete', key: 'b2' },
  ]);
  assert.is(done.status, 200);
  const { applied, results } = (await done.json()) as { applied: boolean; results: { status: string }[] };
  assert.equal([applied, results.map(({ status }) => status)], [true, ['ok', 'ok', 'ok', 'ok']]);
  assert.is(await (await send('GET', '/v1/kv/b1')).text(), 'xy');
  assert.equal(Buffer.from(await (await send('GET', '/v1/kv/%ff')).arrayBuffer()), Buffer.of(0xfe));
  for (const condition of [{ exists: false }, { version: 1 }, { value: 'x' }, { valueBase64: 'eA==' }]) {
    const problem = (await refused(
      batch([
        { action: 'put', key: 'b2', value: 'x' },
        { action: 'check', key: 'b1', if: condition },
      ]),
      412,
      'CONDITION_FAILED',
    )) as Problem & { results: { status: string }[] };
    assert.equal(
      problem.results.map(({ status }) => status),
      ['notApplied', 'conditionFailed'],
    );
  }
  await refused(send('GET', '/v1/kv/b2'), 404, 'KEY_NOT_FOUND');
});

test('what is no batch is refused', async () => {
  await refused(
    batch([{ action: 'put', key: 'a', value: 'x' }], 'text/plain'),
    415,
    'UNSUPPORTED_MEDIA_TYPE',
  );
  for (const text of ['', '{', '{"operations":[]', `"\u0000`, '[['.repeat(100_000)])
    await refused(batch(text), 400, 'MALFORMED_REQUEST');
  const invalidUtf8 = Buffer.from('{"operations":[{"action":"put","key":"\xff","value":""}]}', 'latin1');
  await refused(
    send('POST', '/v1/batch', invalidUtf8, { 'content-type': 'application/json' }),
    400,
    'MALFORMED_REQUEST',
  );
  for (const operations of [
    [],
    {},
    null,
    [1],
    [{ action: 'put', key: 'a' }],
    [{ action: 'put', value: 'a' }],
    [{ action: 'put', key: 'a', keyBase64: 'YQ==', value: 'x' }],
    [{ action: 'put', key: 'a', value: 'x', valueBase64: 'eA==' }],
    [{ action: 'put', keyBase64: 'not base64', value: 'x' }],
    [{ action: 'put', key: '\ud800', value: 'x' }],
    [{ action: 'put', key: 'a', value: '\udc00' }],
    [{ action: 'put', key: 'a', value: 'x', if: { value: '\udc00' } }],
    [{ action: 'move', key: 'a' }],
    [{ action: 'delete', key: 'a', value: 'x' }],
    [{ action: 'check', key: 'a' }],
    [{ action: 'put', key: 'a', value: 'x', if: {} }],
    [{ action: 'put', key: 'a', value: 'x', if: { version: -1 } }],
    [{ action: 'put', key: 'a', value: 'x', ttl: 5 }],
    [{ action: 'put', key: 'a', value: 'x', ttlMs: 0 }],
    [{ action: 'put', key: 'a', value: 'x', ttlMs: 5, keepTtl: true }],
    [{ action: 'expire', key: 'a' }],
    [{ action: 'expire', key: 'a', ttlMs: -1 }],
    [{ action: 'expire', key: 'a', ttlMs: 1.5 }],
    [{ action: 'expire', key: 'a', ttlMs: 5, when: 'never' }],
    [{ action: 'expire', key: 'a', ttlMs: 5, value: 'x' }],
    [{ action: 'persist', key: 'a', ttlMs: 5 }],
    [{ action: 'increment', key: 'a', by: 'x' }],
    [{ action: 'increment', key: 'a', by: '9223372036854775808' }],
  ]) {
    const { outcome } = await refused(batch(operations), 400, 'INVALID_REQUEST');
    assert.is(outcome, 'notCommitted');
  }
  await refused(batch([{ action: 'put', key: '', value: 'x' }]), 400, 'KEY_EMPTY');
  await refused(batch([{ action: 'put', key: 'a', value: 'x'.repeat(100_001) }]), 413, 'VALUE_TOO_LARGE');
  await refused(batch([{ action: 'put', key: 'a', value: 'x'.repeat(400_001) }]), 413, 'REQUEST_TOO_LARGE');
});

test('lives of keys, and numbers', async () => {
  assert.is((await send('PUT', '/v1/kv/life?ttl=1h', 'x')).status, 204);
  const remaining = async () => (await send('GET', '/v1/kv/life')).headers.get('x-remaining-ms');
  assert.ok(Number(await remaining()) > 3_500_000 && Number(await remaining()) <= 3_600_000);
  await send('PUT', '/v1/kv/life?keepTtl', 'y');
  assert.ok(Number(await remaining()) > 3_500_000);
  const listed = (await (await send('GET', '/v1/kv?prefix=life')).json()) as {
    entries: { remainingMs?: number }[];
  };
  assert.ok((listed.entries[0]?.remainingMs ?? 0) > 3_500_000);
  await send('PUT', '/v1/kv/life', 'z');
  assert.is(await remaining(), null);
  const done = await batch([
    { action: 'expire', key: 'life', ttlMs: 5000, when: 'ifNone' },
    { action: 'persist', key: 'life' },
    { action: 'persist', key: 'life' },
    { action: 'increment', key: 'number', by: '9007199254740993' },
    { action: 'increment', key: 'number', by: -1 },
    { action: 'increment', key: 'new', ttlMs: 1000 },
  ]);
  const { results } = (await done.json()) as { results: { status: string; value?: string }[] };
  assert.equal(
    results.map(({ status, value }) => value ?? status),
    ['ok', 'ok', 'unchanged', '9007199254740993', '9007199254740992', '1'],
  );
  await refused(batch([{ action: 'increment', key: 'life' }]), 409, 'NOT_A_NUMBER');
  await refused(
    batch([{ action: 'increment', key: 'number', by: '9223372036854775807' }]),
    409,
    'NUMBER_OVERFLOW',
  );
  for (const ttl of ['', '5', '0s', '1y', '-1s', '1e3s', '0.0001ms', '99999999999d', '5s&keepTtl'])
    await refused(send('PUT', `/v1/kv/life?ttl=${ttl}`, 'x'), 400, 'INVALID_REQUEST');
  await send('PUT', '/v1/kv/life?ttl=1ms', 'gone');
  for (let answer = 200; answer !== 404; ) answer = (await send('GET', '/v1/kv/life')).status;
});

test('the tablets: one has all keys until the cluster is told otherwise', async () => {
  const answer = await fetch(`${node.url}/v1/tablets`);
  assert.equal(await answer.json(), {
    by: 'range',
    tablets: [{ id: 1, start: '', generation: 1, leader: 1, replicas: [1] }],
  });
});

test.run();
