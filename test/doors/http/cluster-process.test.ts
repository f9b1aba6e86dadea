/** Three nodes as processes: each takes every request over HTTP, also while leaders are killed. */
import * as fs from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../../bench/free-ports.js';
import type { NodeConfigInput } from '../../../src/server/config.js';
import { ProcessCluster, until } from '../../support/process-cluster.js';

const RAFT = { heartbeatMs: 50, electionTimeoutMinMs: 300, electionTimeoutMaxMs: 600 };

let cluster: ProcessCluster;
let ports: number[] = [];

function url(id: number): string {
  return `http://127.0.0.1:${ports[id - 1]}`;
}

async function createCluster(): Promise<void> {
  ports = await freePorts(3);
  cluster = await ProcessCluster.create(3, { raft: RAFT });
  for (const id of [1, 2, 3]) {
    const config = JSON.parse(fs.readFileSync(cluster.configFile(id), 'utf8')) as NodeConfigInput;
    const http = { listen: `127.0.0.1:${ports[id - 1]}` };
    fs.writeFileSync(cluster.configFile(id), JSON.stringify({ ...config, http }));
  }
  await cluster.startAll();
}

test.before(createCluster);
test.after(() => cluster.destroy());

async function metric(id: number, sample: string): Promise<number> {
  const text = await (await fetch(`${url(id)}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${sample} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

async function json<T>(answer: Promise<Response>, status = 200): Promise<T> {
  const response = await answer;
  const text = await response.text();
  assert.is(response.status, status, text);
  return JSON.parse(text) as T;
}

function post(id: number, at: string, body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json' };
  return fetch(url(id) + at, { method: 'POST', headers, body: JSON.stringify(body) });
}

test('every node takes every request, and says in its metrics what it passed on', async () => {
  const leader = await cluster.leader();
  for (const id of [1, 2, 3]) {
    assert.is((await fetch(`${url(id)}/v1/kv/from-${id}`, { method: 'PUT', body: `v${id}` })).status, 204);
    const batch = { operations: [{ action: 'append', key: `from-${id}`, value: '!', if: { exists: true } }] };
    await json(post(id, '/v1/batch', batch));
    const refused = { operations: [{ action: 'put', key: 'x', value: 'y', if: { exists: true } }] };
    await json(post(id, '/v1/batch', refused), 412);
  }
  for (const id of [1, 2, 3]) {
    for (const level of ['linearizable', 'lease', 'follower']) {
      for (const from of [1, 2, 3])
        assert.is(await (await fetch(`${url(id)}/v1/kv/from-${from}?level=${level}`)).text(), `v${from}!`);
      const { entries } = await json<{ entries: { value: string }[] }>(
        fetch(`${url(id)}/v1/kv?prefix=from-&level=${level}&reverse`),
      );
      assert.equal(
        entries.map(({ value }) => value),
        ['v3!', 'v2!', 'v1!'],
      );
    }
    const stale = await fetch(`${url(id)}/v1/kv/none?level=stale`);
    assert.is(stale.status, 404);
    assert.is(await metric(id, 'raftree_http_passed_on_total{kind="write"}'), id === leader ? 0 : 3);
    assert.is(await metric(id, 'raftree_http_passed_on_total{kind="read"}'), id === leader ? 0 : 8);
    assert.is(await metric(id, 'raftree_raft_term'), await metric(leader, 'raftree_raft_term'));
  }
  assert.is(await metric(leader, 'raftree_peer_lag_entries{peer="9"}'), 0);
});

test('members and leader are changed at any node', async () => {
  interface Cluster {
    readonly leader: { readonly id: number } | null;
    readonly members: readonly { readonly id: number; readonly role: string; readonly reachable: boolean }[];
  }
  const rolesAt = async (id: number) => {
    const { members } = await json<Cluster>(fetch(`${url(id)}/v1/cluster`));
    return members.map(({ id: member, role }) => `${member} ${role}`);
  };
  const leader = await cluster.leader();
  const other = leader === 1 ? 2 : 1;
  const third = 6 - leader - other;
  await json(post(other, '/v1/cluster/transfer', { to: other }));
  await until(
    async () => (await json<Cluster>(fetch(`${url(leader)}/v1/cluster`))).leader?.id === other,
    'the other leads',
  );
  await json(post(leader, `/v1/cluster/members/${third}/demote`, {}));
  await until(async () => (await rolesAt(leader)).includes(`${third} learner`), 'it is a learner');
  await json(post(leader, `/v1/cluster/members/${third}/promote`, {}));
  await until(async () => (await rolesAt(other)).includes(`${third} voter`), 'it is a voter');
  const refused = await json<{ code: string; outcome: string }>(
    fetch(`${url(leader)}/v1/cluster/members/7`, { method: 'DELETE' }),
    404,
  );
  assert.equal([refused.code, refused.outcome], ['NOT_A_MEMBER', 'notCommitted']);
});

test('while leaders are killed, each append is in the value once if it was acknowledged, else at most once', async () => {
  const acknowledged: string[] = [];
  const unsure: string[] = [];
  let isDone = false;
  let count = 0;
  const survivor = async () => {
    const leader = await cluster.leader();
    return leader === 1 ? 2 : 1;
  };
  const id = await survivor();
  const writer = async () => {
    while (!isDone) {
      const piece = `<${++count}>`;
      try {
        const response = await fetch(`${url(id)}/v1/kv/once`, { method: 'POST', body: piece });
        const text = await response.text();
        if (response.status === 204) acknowledged.push(piece);
        else if ((JSON.parse(text) as { outcome: string }).outcome === 'unknown') unsure.push(piece);
      } catch {
        unsure.push(piece);
      }
    }
  };
  const writers = [writer(), writer(), writer(), writer()];
  await until(() => acknowledged.length > 50, 'there are writes');
  const killed = await cluster.leader();
  assert.is.not(killed, id, 'the node that is asked is not the one that is killed');
  await cluster.signal(killed, 'SIGKILL');
  const before = acknowledged.length;
  await until(() => acknowledged.length > before + 50, 'the node that was asked goes on with another leader');
  isDone = true;
  await Promise.all(writers);
  const value = await (await fetch(`${url(id)}/v1/kv/once`)).text();
  const times = (piece: string) => value.split(piece).length - 1;
  assert.equal(
    acknowledged.filter((piece) => times(piece) !== 1),
    [],
  );
  assert.equal(
    unsure.filter((piece) => times(piece) > 1),
    [],
  );
  assert.ok((await metric(id, 'raftree_raft_leader_changes_total')) >= 2);
  await cluster.start(killed);
});

test('without a majority a node says so, and knows that a read changed nothing', async () => {
  await cluster.signal(2, 'SIGKILL');
  await cluster.signal(3, 'SIGKILL');
  await until(async () => (await fetch(`${url(1)}/readyz?verbose`)).status === 503, 'the node is not ready');
  assert.match(await (await fetch(`${url(1)}/readyz?verbose`)).text(), /^\[-\] leader: no leader is known$/m);
  assert.is((await fetch(`${url(1)}/livez`)).status, 200);
  const read = fetch(`${url(1)}/v1/kv/once`);
  const stale = await fetch(`${url(1)}/v1/kv/once?level=stale`);
  assert.is(stale.status, 200);
  await stale.text();
  const problem = await json<{ code: string; outcome: string }>(read, 504);
  assert.equal([problem.code, problem.outcome], ['TIMEOUT', 'notCommitted']);
});

test.run();
