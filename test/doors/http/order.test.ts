/** The requests of a connection are one line of writes, in a node that does not lead. */
import * as http from 'node:http';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../../src/client/client.js';
import type { Lane } from '../../../src/client/key-order.js';
import { HttpDoor } from '../../../src/doors/http/listener.js';
import { silentLogger } from '../../../src/env/env.js';
import { realEnv } from '../../../src/env/real/real-env.js';
import type { KvService } from '../../../src/kv/service.js';
import { Exposition } from '../../../src/metrics/exposition.js';
import { FIRST_TABLET } from '../../../src/placement/placement.js';

const NO_ADMIN = {
  handle: () => {
    throw new Error('nobody administrates');
  },
  split: () => {
    throw new Error('nobody administrates');
  },
  balance: () => {
    throw new Error('nobody administrates');
  },
};

test('writes of one connection are passed on in one lane, those of another one in another', async () => {
  const lanes: (Lane | undefined)[] = [];
  const cluster = {
    write: async (_operations: unknown, _options: unknown, lane?: Lane) => {
      lanes.push(lane);
      return { applied: true, index: 1, results: [{ status: 'ok', existed: false, version: 1 }] };
    },
  };
  const door = await HttpDoor.listen(
    {
      env: realEnv(),
      logger: silentLogger,
      cluster: cluster as unknown as RaftreeClient,
      service: () => ({ kv: {} as KvService, admin: NO_ADMIN }),
      tablets: {
        map: undefined,
        leads: () => false,
        has: () => true,
        leadsCluster: false,
        ownerOf: () => FIRST_TABLET,
      },
      removed: () => undefined,
      security: { tokens: [], adminTokens: [], hasClusterSecret: false, insecure: false },
      limits: { maxKeyBytes: 100, maxValueBytes: 1000, maxRequestBytes: 1000, maxOperationsPerRequest: 10 },
      ...{ maxConnections: 10, maxConnectionsPerAddress: 10, maxBufferedBytes: 1e6, clientTimeoutMs: 10_000 },
      ...{
        version: 'test',
        status: () => ({}) as never,
        isDraining: () => false,
        readiness: () => [],
        page: () => new Uint8Array(),
      },
      live: { view: () => ({}), refresh: async () => {}, history: () => ({}) },
      metrics: () => new Exposition(),
    },
    { host: '127.0.0.1', port: 0 },
  );
  const [one, other] = [1, 2].map(() => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  const put = (agent: http.Agent | undefined, method: string, path: string, body: string) =>
    new Promise<void>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' };
      http
        .request({ ...door.address, agent, method, path, headers }, (response) => {
          response.resume().on('end', resolve);
        })
        .on('error', reject)
        .end(body);
    });
  await put(one, 'PUT', '/v1/kv/a', '1');
  await put(one, 'POST', '/v1/batch', '{"operations":[{"action":"put","key":"b","value":"2"}]}');
  await put(other, 'PUT', '/v1/kv/a', '3');
  for (const agent of [one, other]) agent?.destroy();
  await door.close();
  assert.is(lanes.length, 3);
  assert.ok(lanes[0]);
  assert.is(lanes[1], lanes[0]);
  assert.is.not(lanes[2], lanes[0]);
});

test.run();
