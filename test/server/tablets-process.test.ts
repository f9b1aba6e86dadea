/**
 * Several tablets on real processes, by hash and by range: WordNet is imported while the leaders of some tablets are
 * killed; what is exported, over each way, equals the source byte for byte.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import { wordNetLines } from '../../bench/wordnet.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { RawConnection } from '../support/http-node.js';
import { finish, MAIN, ProcessCluster, raftree, until } from '../support/process-cluster.js';

const RAFT = { heartbeatMs: 100, electionTimeoutMinMs: 400, electionTimeoutMaxMs: 800 };
/** A part of WordNet, from all of its ranges. */
const EVERY = 40;

async function clusterWith(placement: NodeConfigInput['placement']) {
  const ports = await freePorts(6);
  const cluster = await ProcessCluster.create(3, { raft: RAFT, placement });
  for (const id of [1, 2, 3]) {
    const config = JSON.parse(fs.readFileSync(cluster.configFile(id), 'utf8')) as NodeConfigInput;
    const http = { listen: `127.0.0.1:${ports[id - 1]}` };
    const resp = { listen: `127.0.0.1:${ports[id + 2]}`, allowFlush: true };
    fs.writeFileSync(cluster.configFile(id), JSON.stringify({ ...config, http, resp }));
  }
  await cluster.startAll();
  return {
    cluster,
    http: (id: number) => `http://127.0.0.1:${ports[id - 1]}`,
    resp: (id: number) => ports[id + 2] ?? 0,
  };
}

async function redis(port: number, ...commands: string[]): Promise<string> {
  const connection = new RawConnection(port);
  connection.write(`${[...commands, 'QUIT'].join('\r\n')}\r\n`);
  return (await connection.closed).replace(/\+OK\r\n$/, '');
}

async function checkCommands(endpoints: readonly string[], tablets: number): Promise<void> {
  const shards = JSON.parse((await raftree(['shards', '--json', ...endpoints])).stdout.toString()) as {
    by: string;
    tablets: { id: number }[];
  };
  assert.equal([shards.by, shards.tablets.length], ['hash', tablets]);
  const status = await raftree(['status', ...endpoints]);
  assert.match(status.stdout.toString(), /^node +tablets +leads +keys +member +heard\n/);
}

async function checkDoors(http: (id: number) => string, resp: (id: number) => number): Promise<void> {
  for (const id of [1, 3]) {
    const [a, b, c] = [`a${id}`, `m${id}`, `z${id}`];
    for (const key of [a, b, c])
      assert.is((await fetch(`${http(id)}/v1/kv/${key}`, { method: 'PUT', body: key })).status, 204);
    const several = [a, b, c, 'wn/zz', ...Array.from({ length: 12 }, (_, i) => `key/${i}`)];
    const operations = several.map((key) => ({ action: 'put', key, value: 'x' }));
    const batch = await fetch(`${http(id)}/v1/batch`, {
      ...{
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ operations }),
      },
    });
    assert.equal([batch.status, ((await batch.json()) as { code: string }).code], [409, 'SPANS_TABLETS']);
    assert.match(
      await redis(resp(id), `MSET ${several.map((key) => `${key} 1`).join(' ')}`),
      /^-CROSSSLOT SPANS_TABLETS: /,
    );
    assert.match(await redis(resp(id), `MGET ${a} ${b} ${c}`), new RegExp(`${a}\r\n.*${b}\r\n.*${c}`, 's'));
  }
}

for (const placement of [
  { by: 'hash', tablets: 4 },
  { by: 'range', splits: ['wn/noun', 'wn/verb'] },
] satisfies NodeConfigInput['placement'][]) {
  test(`an import into tablets by ${placement.by} survives the death of leaders`, async () => {
    const { cluster, http, resp } = await clusterWith(placement);
    const client = cluster.client();
    const endpoints = ['--endpoints', cluster.endpoints.join(',')];
    try {
      const source = Buffer.from(
        wordNetLines()
          .filter((_, i) => i % EVERY === 0)
          .join(''),
      );
      const file = path.join(cluster.directory, 'wordnet.jsonl');
      fs.writeFileSync(file, source);
      const importing = finish(
        spawn(process.execPath, [MAIN, 'import', file, '--json', ...endpoints], { stdio: 'pipe' }),
      );
      const { tablets } = await client.tablets();
      const first = tablets.find(({ leader }) => leader > 0)?.leader ?? 1;
      await until(
        async () => (await client.status(cluster.endpoint(first))).keysApproximate > 500,
        'a part of the import is done',
      );
      await cluster.signal(first, 'SIGKILL');
      await cluster.start(first);
      const result = await importing;
      assert.is(result.code, 0, result.stderr);

      const whole = await raftree(['export', ...endpoints]);
      assert.is(whole.code, 0, whole.stderr);
      assert.ok(whole.stdout.equals(source), `the export (${whole.stdout.length} bytes) equals the source`);
      const own = async () => {
        let count = 0;
        for await (const { key } of client.scan({
          level: 'stale',
          endpoint: cluster.endpoint(first),
          keysOnly: true,
        }))
          if (key.length > 0) count++;
        return count;
      };
      const records = source.toString().split('\n').length - 1;
      await until(async () => (await own()) === records, `node ${first} has all again`);
      const listing = await (await fetch(`${http(1)}/v1/kv?prefix=wn/verb/&keys=true`)).text();
      const verbs = source.toString().match(/wn\/verb\/\d+/g) ?? [];
      assert.equal(listing.match(/wn\/verb\/\d+/g), verbs.slice(0, listing.match(/wn\/verb\/\d+/g)?.length));

      if (placement.by === 'hash') await checkCommands(endpoints, tablets.length);
      await checkDoors(http, resp);
      assert.is(await redis(resp(2), 'FLUSHALL', 'DBSIZE'), '+OK\r\n:0\r\n');
      const metrics = await (await fetch(`${http(3)}/metrics`)).text();
      assert.match(metrics, new RegExp(`^raftree_tablets ${tablets.length}$`, 'm'));
      assert.match(metrics, /^raftree_tablets_without_leader 0$/m);
    } finally {
      await client.close();
      await cluster.destroy();
    }
  });
}

test.run();
