/** Tokens, and who may change members over HTTP. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, errorMessage } from '../../../src/env/errors.js';
import { type NodeConfigInput, parseNodeConfig } from '../../../src/server/config.js';
import { type HttpNode, type Problem, startHttpNode } from '../../support/http-node.js';

const TOKEN = 'a token of many characters';
const OLD_TOKEN = 'an older token, still valid';
const ADMIN_TOKEN = 'a token for those who operate';
const files = {
  token: `${TOKEN.replaceAll(' ', '-')}\n${OLD_TOKEN.replaceAll(' ', '-')}\n`,
  admin: `${ADMIN_TOKEN.replaceAll(' ', '-')}\n`,
};
const SECRET = 'a secret of the cluster';

async function withNode(
  http: Partial<NonNullable<NodeConfigInput['http']>>,
  security: NodeConfigInput['security'],
  work: (node: HttpNode) => Promise<void>,
): Promise<void> {
  const node = await startHttpNode(http, { security }, files);
  try {
    await work(node);
  } finally {
    await node.close();
  }
}

/** Status and code of a request with a token. */
async function ask(
  node: HttpNode,
  method: string,
  at: string,
  token?: string,
  body?: unknown,
): Promise<[number, string]> {
  const response = await fetch(node.url + at, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token.replaceAll(' ', '-')}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const isProblem = response.headers.get('content-type') === 'application/problem+json';
  if (response.status === 401) assert.match(response.headers.get('www-authenticate') ?? '', /^Bearer /);
  const text = await response.text();
  return [response.status, isProblem ? (JSON.parse(text) as Problem).code : ''];
}

/** The node leads itself already: with the right to do so, this succeeds. */
const transfer = (node: HttpNode, token?: string) =>
  ask(node, 'POST', '/v1/cluster/transfer', token, { to: 1 });

test('with a token file every request wants a token, but for those of a supervisor', async () => {
  await withNode({ tokenFile: 'token', adminTokenFile: 'admin' }, {}, async (node) => {
    for (const [method, at] of [
      ['GET', '/v1/kv/a'],
      ['PUT', '/v1/kv/a'],
      ['GET', '/v1/kv'],
      ['GET', '/metrics'],
      ['GET', '/v1/status'],
      ['GET', '/v1/openapi.json'],
      ['GET', '/nowhere'],
      ['DELETE', '/v1/cluster/members/1'],
    ] as const) {
      assert.equal(await ask(node, method, at), [401, 'UNAUTHENTICATED'], at);
      assert.equal(await ask(node, method, at, 'wrong'), [401, 'UNAUTHENTICATED'], at);
      assert.equal(await ask(node, method, at, ''), [401, 'UNAUTHENTICATED'], at);
    }
    for (const at of ['/livez', '/readyz']) assert.equal(await ask(node, 'GET', at), [200, '']);
    for (const token of [TOKEN, OLD_TOKEN, ADMIN_TOKEN]) {
      assert.equal(await ask(node, 'PUT', '/v1/kv/a', token), [204, '']);
      assert.equal(await ask(node, 'GET', '/v1/kv/a', token), [200, '']);
      assert.equal(await ask(node, 'GET', '/metrics', token), [200, '']);
    }
    assert.equal(await transfer(node, TOKEN), [403, 'NOT_PERMITTED']);
    assert.equal(await ask(node, 'DELETE', '/v1/cluster/members/1', TOKEN), [403, 'NOT_PERMITTED']);
    assert.equal(await transfer(node, ADMIN_TOKEN), [200, '']);
    const shown = async (token: string) => {
      const headers = { authorization: `Bearer ${token.replaceAll(' ', '-')}` };
      return (await (await fetch(`${node.url}/v1/cluster`, { headers })).json()) as {
        members: { peer?: string }[];
      };
    };
    assert.is((await shown(TOKEN)).members[0]?.peer, undefined, 'where nodes reach each other is not told');
    assert.match((await shown(ADMIN_TOKEN)).members[0]?.peer ?? '', '127.0.0.1:');
  });
});

test('without tokens, the machine of the node reads and writes; it may administrate unless the cluster has a secret', async () => {
  await withNode({}, {}, async (node) => {
    assert.equal(await ask(node, 'PUT', '/v1/kv/a'), [204, '']);
    assert.equal(await transfer(node), [200, '']);
    assert.equal(await ask(node, 'PUT', '/v1/kv/a', 'a token that nobody asked for'), [
      401,
      'UNAUTHENTICATED',
    ]);
  });
  await withNode({}, { clusterSecret: SECRET }, async (node) => {
    assert.equal(await ask(node, 'PUT', '/v1/kv/a'), [204, '']);
    assert.equal(await transfer(node), [403, 'NOT_PERMITTED']);
    assert.equal(await transfer(node, SECRET), [401, 'UNAUTHENTICATED'], 'the secret itself is no token');
  });
  await withNode({ adminTokenFile: 'admin' }, { clusterSecret: SECRET }, async (node) => {
    assert.equal(await ask(node, 'PUT', '/v1/kv/a'), [204, '']);
    assert.equal(await transfer(node), [403, 'NOT_PERMITTED']);
    assert.equal(await transfer(node, ADMIN_TOKEN), [200, '']);
  });
});

function faultsOf(http: object, more: object = {}): string {
  const config = {
    ...{ clusterId: 'c', nodeId: 1, dataDirectory: 'd', http },
    nodes: [{ id: 1, client: '127.0.0.1:1', peer: '127.0.0.1:2' }],
    ...more,
  };
  try {
    parseNodeConfig(config, 'node.json', '/');
    return '';
  } catch (error) {
    assert.is(errorCode(error), 'INVALID_CONFIG');
    return errorMessage(error);
  }
}

test('a door to other machines needs a token, or the word that it is insecure', () => {
  assert.is(faultsOf({ listen: '127.0.0.1:8001' }), '');
  assert.is(faultsOf({ listen: '[::1]:8001' }), '');
  for (const listen of ['0.0.0.0:8001', '10.0.0.1:8001', '[::]:8001']) {
    assert.match(faultsOf({ listen }), /http\.tokenFile: .*not loopback/);
    assert.match(faultsOf({ listen, adminTokenFile: 'x' }), 'http.tokenFile');
    assert.match(faultsOf({ listen }, { security: { clusterSecret: SECRET } }), 'http.tokenFile');
    assert.is(faultsOf({ listen, tokenFile: 'x' }), '');
    assert.is(faultsOf({ listen }, { security: { insecure: true } }), '');
  }
  assert.match(faultsOf({}), 'http.listen');
  assert.match(faultsOf({ listen: 'x' }), 'http.listen');
  assert.match(faultsOf({ listen: '127.0.0.1:1', maxConnection: 1 }), 'http.maxConnection: unknown key');
});

test('a token file that is missing or too short stops the start', async () => {
  for (const [text, reason] of [
    ['short\n', 'line 1'],
    ['', 'is empty'],
  ] as const) {
    const error = await startHttpNode({ tokenFile: 'bad' }, {}, { bad: text }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.is(errorCode(error), 'INVALID_CONFIG');
    assert.match(errorMessage(error), reason);
    assert.not.match(errorMessage(error), 'short');
  }
});

test.run();
