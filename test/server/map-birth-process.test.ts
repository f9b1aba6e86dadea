/**
 * Data folders of an earlier version, of a cluster with one tablet and no map, opened by this one on three real nodes:
 * same data, no write is applied twice, and with its first split the cluster has a map.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { realEnv } from '../../src/env/real/real-env.js';
import { Direct } from '../../src/sim/cluster/direct.js';
import { ProcessCluster, raftree, until } from '../support/process-cluster.js';
import { ONE_GROUP_FOLDERS, ONE_GROUP_SESSION, ONE_GROUP_WRITES } from './one-group-folders.js';

const RAFT = { heartbeatMs: 100, electionTimeoutMinMs: 400, electionTimeoutMaxMs: 800 };
const OPERATION = { condition: 'always', conditionValue: Buffer.alloc(0), conditionVersion: 0 } as const;
const RECORDS = { apple: 'of apple+1+3', grape: 'of grape', plum: 'of plum+2' };

test('the folders of an earlier version: same data, sessions go on, and the tablet is split', async () => {
  const cluster = await ProcessCluster.create(3, { raft: RAFT });
  for (const [name, content] of ONE_GROUP_FOLDERS) {
    const file = path.join(cluster.directory, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, gunzipSync(Buffer.from(content, 'base64')));
  }
  const client = cluster.client();
  const direct = new Direct(realEnv());
  const endpoints = ['--endpoints', cluster.endpoints.join(',')];
  const records = async () => {
    const found: Record<string, string> = {};
    for await (const { key, value } of client.scan()) found[key.toString()] = value.toString();
    return found;
  };
  /** The index at which it was applied, as the leader of the tablet says. */
  const append = async (tablet: number, sequence: number, key: string): Promise<number> => {
    let index = 0;
    await until(async () => {
      for (const endpoint of cluster.endpoints) {
        const answer = await direct.ask(endpoint, {
          ...{ type: 'write', tablet, sessionId: ONE_GROUP_SESSION.sessionId, sequence },
          ...{ acknowledgedThrough: 0, after: 0 },
          operations: [{ ...OPERATION, action: 'append', key: Buffer.from(key), value: Buffer.from('!') }],
        });
        if (typeof answer !== 'string' && answer.type === 'writeReply') index = answer.index;
      }
      return index > 0;
    }, `sequence ${sequence} is answered`);
    return index;
  };
  try {
    await cluster.startAll();
    assert.equal(await records(), RECORDS);
    for (const { key, sequence, index } of ONE_GROUP_WRITES) assert.is(await append(0, sequence, key), index);
    assert.equal(await records(), RECORDS, 'what is repeated is not applied again');

    const split = await raftree(['tablet', 'split', 'm', '--json', ...endpoints]);
    assert.is(split.code, 0, split.stderr);
    assert.equal(JSON.parse(split.stdout.toString()), { tablet: 1, children: [5, 6] });
    for (const { key, sequence, index } of ONE_GROUP_WRITES)
      assert.is(await append(key < 'm' ? 5 : 6, sequence, key), index);
    assert.equal(await records(), RECORDS);
    assert.ok((await append(6, 4, 'plum')) > 12);
    assert.equal(await records(), { ...RECORDS, plum: 'of plum+2!' });
  } finally {
    await Promise.all([client.close(), direct.close()]);
    await cluster.destroy();
  }
});

test.run();
