/**
 * Real processes: three nodes hold all tablets. A fourth one joins and is given its share while the leader of the map
 * is killed. A node dies, is replaced and comes back. Balancing is switched off, a replica moves by hand, a node is
 * drained and removed. The export equals the source.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { wordNetLines } from '../../bench/wordnet.js';
import { ProcessCluster, raftree, until } from '../support/process-cluster.js';

const RAFT = { heartbeatMs: 100, electionTimeoutMinMs: 400, electionTimeoutMaxMs: 800 };
const BALANCE = { everyMs: 300, deadAfterMs: 4000 };
const EVERY = 200;

test('a node joins and gets its share, one dies and is replaced, one is drained and removed, and all keys are there', async () => {
  const placement = { by: 'hash', tablets: 3, replicas: 3 } as const;
  const cluster = await ProcessCluster.create(4, { raft: RAFT, placement, balance: BALANCE }, [4]);
  const run = async (...words: string[]) => {
    const endpoints = [1, 3, 4].map((id) => cluster.endpoint(id)).join(',');
    const result = await raftree([...words, '--endpoints', endpoints]);
    assert.is(result.code, 0, `${words.join(' ')}: ${result.stderr}`);
    return result.stdout.toString();
  };
  const client = cluster.client();
  const holds = async (id: number) => {
    const { tablets } = await client.tablets();
    return tablets.filter(({ replicas }) => replicas.includes(id)).map((tablet) => tablet.id);
  };
  try {
    await Promise.all([1, 2, 3].map((id) => cluster.start(id)));
    const source = Buffer.from(
      wordNetLines()
        .filter((_, i) => i % EVERY === 0)
        .join(''),
    );
    const file = path.join(cluster.directory, 'wordnet.jsonl');
    fs.writeFileSync(file, source);
    await run('import', file);
    cluster.spawn(4);
    await until(async () => (await client.balance()).steps.length > 0, 'a replica is to move to node 4');
    const planner = (await client.balance()).plannerId;
    await cluster.signal(planner, 'SIGKILL');
    cluster.spawn(planner);
    await until(async () => (await holds(4)).length >= 2, 'node 4 has its share');
    const dead = planner === 2 ? 3 : 2;
    await cluster.signal(dead, 'SIGKILL');
    await until(async () => (await holds(dead)).length === 0, 'the dead node is replaced');
    await run('balance', 'off');
    cluster.spawn(dead);
    const files = () => fs.readdirSync(path.join(cluster.dataDirectory(dead), 'groups'));
    await until(() => files().every((name) => name === '0'), 'what it had is gone');
    assert.match(await run('balance', 'status'), /^balancing is off; node \d plans/);
    await run('tablet', 'move', '1', '--from', '4', '--to', `${dead}`);
    await run('node', 'drain', '4');
    await until(async () => (await holds(4)).length === 0, 'node 4 is empty');
    assert.match(await run('node', 'list'), /\n4 +0 +0 +drained\n/);
    await run('node', 'remove', '4');
    await cluster.signal(4, 'SIGTERM');
    const { nodes, tablets } = await client.tablets();
    assert.equal(
      nodes.map(({ nodeId }) => nodeId),
      [1, 2, 3],
    );
    assert.is(await run('export'), source.toString(), 'the export equals the source');
    for (const { replicas } of tablets) assert.equal(replicas, [1, 2, 3]);
  } finally {
    await client.close();
    await cluster.destroy();
  }
});

test.run();
