/** The OpenAPI document: valid, complete, and what the routes really answer. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import * as schemas from '../../../src/doors/http/schemas.js';
import { type HttpNode, startHttpNode } from '../../support/http-node.js';

interface Described {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: object;
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, object>> }>>;
}
interface OpenApi extends Record<string, unknown> {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
}

let node: HttpNode;
let document: OpenApi;

test.before(async () => {
  node = await startHttpNode();
  document = (await (await fetch(`${node.url}/v1/openapi.json`)).json()) as OpenApi;
});
test.after(() => node.close());

function operations(): { path: string; method: string; of: Described }[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item)
      .filter(([method]) => method !== 'parameters')
      .map(([method, of]) => ({ path, method: method.toUpperCase(), of })),
  );
}

test('the document is one by the specification', async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(structuredClone(document));
  assert.is(valid, true, JSON.stringify(errors));
  const broken = structuredClone(document) as { paths: Record<string, unknown> } & Record<string, unknown>;
  broken.paths['/broken'] = { get: { responses: 1 } };
  assert.is((await new Validator().validate(broken)).valid, false, 'the validator sees a fault');
});

test('every operation has a name of its own, a summary, and says what it answers', () => {
  const ids = operations().map(({ of }) => of.operationId);
  assert.is(new Set(ids).size, ids.length);
  for (const { path, of } of operations()) {
    assert.ok(of.summary.length > 5, path);
    assert.ok('default' in of.responses, 'a problem document');
    const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    const item = document.paths[path] as unknown as { parameters?: { name: string }[] };
    assert.equal(
      (item.parameters ?? []).map(({ name }) => name),
      named,
      'the parameters of the path',
    );
  }
});

interface Sent {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly status: number;
  readonly answer?: z.ZodType;
}

const JSON_TYPE = { 'content-type': 'application/json' };
const addresses = { client: '127.0.0.1:9', peer: '127.0.0.1:10' };

/** For every operation, what is sent and what must come back. */
const EXAMPLES: Readonly<Record<string, readonly Sent[]>> = {
  get_index_html: [{ status: 200 }],
  get_page_css: [{ status: 200 }],
  get_page_js: [{ status: 200 }],
  get_draw_js: [{ status: 200 }],
  // Its answer has no end.
  watchCluster: [{ path: '/v1/live?x', status: 400, answer: schemas.problemAnswer }],
  watchKeys: [
    { path: '/v1/watch?from=0', status: 400, answer: schemas.problemAnswer },
    { path: '/v1/watch?from=1', status: 410, answer: schemas.problemAnswer },
  ],
  isAlive: [{ status: 200 }],
  isReady: [{ status: 200 }, { path: '/readyz?verbose', status: 200 }],
  getMetrics: [{ status: 200 }],
  putKey: [
    { path: '/v1/kv/a', body: 'x', status: 204 },
    { path: '/v1/kv/b', body: 'x', headers: { 'if-none-match': '*' }, status: 201 },
    {
      path: '/v1/kv/b',
      body: 'x',
      headers: { 'if-none-match': '*' },
      status: 412,
      answer: schemas.problemAnswer,
    },
  ],
  appendToKey: [{ path: '/v1/kv/a', body: 'x', status: 204 }],
  getKey: [
    { path: '/v1/kv/a?level=stale', status: 200 },
    { path: '/v1/kv/a', headers: { 'if-none-match': '*' }, status: 304 },
    { path: '/v1/kv/none', status: 404, answer: schemas.problemAnswer },
  ],
  scanKeys: [
    { path: '/v1/kv?limit=1', status: 200, answer: schemas.scanAnswer },
    { path: '/v1/kv', headers: { accept: 'application/x-ndjson' }, status: 200 },
  ],
  deleteKey: [{ path: '/v1/kv/a', status: 204 }],
  batch: [
    {
      headers: JSON_TYPE,
      body: '{"operations":[{"action":"put","key":"a","value":"x"},{"action":"check","key":"b","if":{"exists":true}}]}',
      status: 200,
      answer: schemas.batchAnswer,
    },
    { headers: JSON_TYPE, body: '{}', status: 400, answer: schemas.problemAnswer },
  ],
  getStatus: [{ status: 200, answer: schemas.statusAnswer }],
  getCluster: [{ status: 200, answer: schemas.clusterAnswer }],
  getNodes: [{ status: 200, answer: schemas.nodesAnswer }],
  // This cluster has one tablet.
  drainNode: [{ path: '/v1/nodes/1/drain', status: 400, answer: schemas.problemAnswer }],
  undrainNode: [{ path: '/v1/nodes/x/drain', status: 400, answer: schemas.problemAnswer }],
  getBalance: [{ status: 400, answer: schemas.problemAnswer }],
  setBalance: [{ headers: JSON_TYPE, body: '{"isOn":1}', status: 400, answer: schemas.problemAnswer }],
  getTablets: [{ status: 200, answer: schemas.tabletsAnswer }],
  addMember: [
    {
      headers: JSON_TYPE,
      body: JSON.stringify({ id: 2, ...addresses }),
      status: 409,
      answer: schemas.problemAnswer,
    },
    {
      path: '/v1/cluster/members?force',
      headers: JSON_TYPE,
      body: JSON.stringify({ id: 2, learner: true, ...addresses }),
      status: 200,
      answer: schemas.changedAnswer,
    },
  ],
  updateMember: [
    {
      path: '/v1/cluster/members/2?force=true',
      headers: JSON_TYPE,
      body: JSON.stringify({ client: '127.0.0.1:11' }),
      status: 200,
      answer: schemas.changedAnswer,
    },
    {
      path: '/v1/cluster/members/2',
      headers: JSON_TYPE,
      body: '{}',
      status: 400,
      answer: schemas.problemAnswer,
    },
  ],
  promoteMember: [{ path: '/v1/cluster/members/2/promote', status: 409, answer: schemas.problemAnswer }],
  demoteMember: [{ path: '/v1/cluster/members/9/demote', status: 404, answer: schemas.problemAnswer }],
  removeMember: [
    { path: '/v1/cluster/members/2', status: 200, answer: schemas.changedAnswer },
    { path: '/v1/cluster/members/x', status: 400, answer: schemas.problemAnswer },
    { path: '/v1/cluster/members/1', status: 400, answer: schemas.problemAnswer },
  ],
  transferLeadership: [
    { headers: JSON_TYPE, body: '{"to":1}', status: 200, answer: schemas.transferredAnswer },
    { headers: JSON_TYPE, body: '{"to":0}', status: 400, answer: schemas.problemAnswer },
  ],
  getOpenApi: [{ status: 200, answer: z.looseObject({ openapi: z.literal('3.1.0') }) }],
};

test('every operation answers as the document says', async () => {
  const all = operations();
  assert.equal(Object.keys(EXAMPLES).sort(), all.map(({ of }) => of.operationId).sort(), 'none is left out');
  for (const [id, examples] of Object.entries(EXAMPLES)) {
    const found = all.find(({ of }) => of.operationId === id);
    if (!found) throw new Error(id);
    for (const { path = found.path, headers = {}, body, status, answer } of examples) {
      const response = await fetch(node.url + path, {
        method: found.method,
        headers,
        ...(body === undefined ? {} : { body }),
      });
      const text = await response.text();
      assert.is(response.status, status, `${id} ${path}: ${text}`);
      const described = found.of.responses[String(status)];
      const isProblem = response.headers.get('content-type') === 'application/problem+json';
      assert.is(described === undefined, isProblem, `${id}: ${status} is described, or a problem`);
      const type = response.headers.get('content-type')?.split(';')[0] ?? '';
      if (described?.content) assert.ok(type in described.content, `${id}: ${type}`);
      if (text !== '' && answer) assert.equal(answer.safeParse(JSON.parse(text)).error?.issues ?? [], [], id);
    }
  }
});

test.run();
