/**
 * Real processes: three nodes hold two replicas of each tablet. A fourth one joins and registers itself, a replica
 * moves to it, the leader of the map is killed, a node is drained and removed. The export equals the source.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { wordNetLines } from '../../bench/wordnet.js';
import { ProcessCluster, raftree, until } from '../support/process-cluster.js';

const RAFT = { heartbeatMs: 100, electionTimeoutMinMs: 400, electionTimeoutMaxMs: 800 };
const EVERY = 200;

test('a node joins, a replica moves, a node is drained and removed, and all keys are there', async () => {
  const placement = { by: 'hash', tablets: 3, replicas: 2 } as const;
  const cluster = await ProcessCluster.create(4, { raft: RAFT, placement }, [4]);
  const run = async (...words: string[]) => {
    const endpoints = [1, 3, 4].map((id) => cluster.endpoint(id)).join(',');
    const result = await raftree([...words, '--endpoints', endpoints]);
    assert.is(result.code, 0, `${words.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };
  const client = cluster.client();
  try {
    for (const id of [1, 2, 3]) cluster.spawn(id);
    const source = Buffer.from(
      wordNetLines()
        .filter((_, i) => i % EVERY === 0)
        .join(''),
    );
    const file = path.join(cluster.directory, 'wordnet.jsonl');
    fs.writeFileSync(file, source);
    await run('import', file);
    cluster.spawn(4);
    await until(
      async () => (await client.tablets()).nodes.some(({ nodeId }) => nodeId === 4),
      'node 4 is registered',
    );
    const moved = (await client.tablets()).tablets.find(({ replicas }) => replicas.includes(2))?.id ?? 0;
    await run('tablet', 'move', `${moved}`, '--from', '2', '--to', '4');
    const leader = await cluster.leader();
    await cluster.signal(leader, 'SIGKILL');
    await run('node', 'drain', '2');
    cluster.spawn(leader);
    await until(
      async () => (await client.tablets()).tablets.every(({ replicas }) => !replicas.includes(2)),
      'node 2 is empty',
    );
    assert.match((await run('node', 'list')).toString(), /\n2 +0 +0 +drained\n/);
    await until(
      () => fs.readdirSync(path.join(cluster.dataDirectory(2), 'groups')).every((name) => name === '0'),
      'its files are gone',
    );
    await run('node', 'remove', '2');
    await cluster.signal(2, 'SIGTERM');
    const { nodes, tablets } = await client.tablets();
    assert.equal(
      nodes.map(({ nodeId }) => nodeId),
      [1, 3, 4],
    );
    assert.ok((await run('export')).equals(source), 'the export equals the source');
    for (const { replicas } of tablets) assert.is(replicas.length, 2);
  } finally {
    await client.close();
    await cluster.destroy();
  }
});

test.run();
