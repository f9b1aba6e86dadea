/** The metrics of a node, by Prometheus' conventions; and that alerts and dashboard ask for metrics that there are. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../../bench/free-ports.js';
import { RaftreeClient } from '../../../src/client/client.js';
import { type HttpNode, RawConnection, request, startHttpNode } from '../../support/http-node.js';

const MONITORING = fileURLToPath(new URL('../../../../docs/monitoring', import.meta.url));
let node: HttpNode;

test.before(async () => {
  node = await startHttpNode();
});
test.after(() => node.close());

async function scraped(): Promise<string> {
  const response = await fetch(`${node.url}/metrics`);
  assert.is(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  return response.text();
}

/** The value of a sample; 0 if there is none. */
function sampleIn(text: string, sample: string): number {
  const line = text.split('\n').find((each) => each.startsWith(`${sample} `));
  return Number(line?.slice(sample.length + 1) ?? 0);
}

test('what happens is counted', async () => {
  const before = await scraped();
  for (let i = 0; i < 5; i++) await fetch(`${node.url}/v1/kv/k${i}`, { method: 'PUT', body: 'x' });
  for (const level of ['linearizable', 'lease', 'lease', 'stale'])
    await fetch(`${node.url}/v1/kv/k1?level=${level}`);
  await fetch(`${node.url}/v1/kv/${'k'.repeat(5000)}`);
  await request(node.port, 'GET /v1/nowhere');
  await request(node.port, 'BAD');
  const after = await scraped();
  const risen = (sample: string) => sampleIn(after, sample) - sampleIn(before, sample);
  assert.is(risen('raftree_requests_total{door="http",kind="write",outcome="ok"}'), 5);
  assert.is(risen('raftree_requests_total{door="http",kind="read",outcome="ok"}'), 4);
  assert.is(risen('raftree_requests_total{door="http",kind="read",outcome="notCommitted"}'), 1);
  assert.is(risen('raftree_reads_total{level="lease"}'), 2);
  assert.is(risen('raftree_reads_total{level="stale"}'), 1);
  assert.is(risen('raftree_raft_proposals_total'), 5);
  for (const name of [
    'raftree_raft_commit_duration_seconds_count',
    'raftree_raft_commit_duration_seconds_bucket{le="+Inf"}',
  ])
    assert.is(risen(name), 5, name);
  for (const name of ['raft_apply_duration', 'raft_log_sync_duration'])
    assert.ok(risen(`raftree_${name}_seconds_count`) >= 5, name);
  assert.is(risen('raftree_http_requests_total{path="/v1/kv/{key}",method="PUT",status="204"}'), 5);
  assert.is(risen('raftree_http_requests_total{path="other",method="GET",status="404"}'), 1);
  assert.is(risen('raftree_http_bad_requests_total'), 1);
  assert.is(sampleIn(after, 'raftree_raft_role{role="leader"}'), 1);
  assert.is(sampleIn(after, 'raftree_raft_leader_known'), 1);
  assert.ok(sampleIn(after, 'raftree_raft_elections_total') >= 1);
  assert.is(sampleIn(after, 'raftree_raft_leader_changes_total'), 1);
  assert.ok(sampleIn(after, 'raftree_raft_applied_index') >= 5);
  assert.ok(sampleIn(after, 'raftree_lsm_memtable_bytes') > 0);
  assert.ok(sampleIn(after, 'raftree_connections{door="http"}') >= 1);
});

test('clients cannot make new series', async () => {
  await scraped();
  const seriesOf = (text: string) => new Set(text.split('\n').map((line) => line.replace(/ \S+$/, ''))).size;
  const ask = async (n: number) => {
    for (const line of [
      `GET /v1/kv/key-${n}`,
      `GET /path-${n}`,
      `PROPFIND /v1/kv/${n}`,
      `GET /v1/kv?x${n}=1`,
      `LOCK /${n}`,
    ])
      await request(node.port, line, [`host: h${n}`]);
    return seriesOf(await scraped());
  };
  await ask(0);
  const first = await ask(1);
  assert.is(await ask(2), first);
});

const promtool = spawnSync('promtool', ['--version']).error ? undefined : 'promtool';
if (!promtool)
  console.log('skipped: there is no promtool (Debian: prometheus) to check metrics and alerts with');

test('promtool has nothing to say about the metrics and the alerts', async () => {
  if (!promtool) return;
  const metrics = spawnSync(promtool, ['check', 'metrics'], { input: await scraped(), encoding: 'utf8' });
  assert.equal([metrics.status, metrics.stdout + metrics.stderr], [0, '']);
  const rules = spawnSync(promtool, ['check', 'rules', path.join(MONITORING, 'alerts.yml')], {
    encoding: 'utf8',
  });
  assert.is(rules.status, 0, rules.stderr);
  const bad = spawnSync(promtool, ['check', 'metrics'], {
    input: '# TYPE a_total gauge\na_total 1\n',
    encoding: 'utf8',
  });
  assert.is.not(bad.status, 0, 'it sees a fault');
});

/** Names that only a node with several tablets has, or one that speaks RESP. */
let ofSeveral: ReadonlySet<string> = new Set();

test('several tablets: splits are counted, more tablets make no more series, and promtool has nothing to say', async () => {
  const [respPort] = await freePorts(1);
  const several = await startHttpNode(
    {},
    { placement: { by: 'range', splits: ['m'] }, resp: { listen: `127.0.0.1:${respPort}` } },
  );
  const { host, port } = several.node.addresses.client ?? { host: '', port: 0 };
  const client = new RaftreeClient({ endpoints: [`${host}:${port}`] });
  const text = async () => (await fetch(`${several.url}/metrics`)).text();
  const seriesOf = (metrics: string) =>
    metrics.split('\n').flatMap((line) => (line.startsWith('#') ? [] : [line.replace(/ \S+$/, '')]));
  try {
    await client.put('a', 'x');
    const redis = new RawConnection(respPort ?? 0).write('PING\r\n');
    await redis.until(/PONG/);
    redis.socket.destroy();
    await text();
    const before = await text();
    assert.equal(
      [sampleIn(before, 'raftree_tablets'), sampleIn(before, 'raftree_tablet_splits_total')],
      [2, 0],
    );
    for (const key of ['c', 'e', 'g', 'p']) await client.splitTablet(key);
    for (const key of ['a', 'd', 'f', 'h', 'n', 'q']) await client.put(key, 'x');
    const after = await text();
    assert.equal(
      [sampleIn(after, 'raftree_tablets'), sampleIn(after, 'raftree_tablet_splits_total')],
      [6, 4],
    );
    assert.is(
      sampleIn(after, 'raftree_raft_role{role="leader"}'),
      6,
      'those that were split are none any more',
    );
    assert.is(sampleIn(after, 'raftree_raft_leader_known'), 1);
    assert.is(sampleIn(after, 'raftree_map_leader_known'), 1);
    assert.equal(new Set(seriesOf(after)), new Set(seriesOf(before)));
    ofSeveral = new Set(after.split('\n').flatMap((line) => /^# TYPE (\S+)/.exec(line)?.[1] ?? []));
    if (promtool) {
      const checked = spawnSync(promtool, ['check', 'metrics'], { input: after, encoding: 'utf8' });
      assert.equal([checked.status, checked.stdout + checked.stderr], [0, '']);
    }
  } finally {
    await client.close();
    await several.close();
  }
});

test('alerts and dashboard ask for metrics that there are', async () => {
  const names = new Set(
    (await scraped()).split('\n').flatMap((line) => /^# TYPE (\S+)/.exec(line)?.[1] ?? []),
  );
  // Of a leader with others; this node has none.
  for (const name of ['raftree_peer_lag_entries', 'raftree_peer_connected']) names.add(name);
  for (const name of ofSeveral) names.add(name);
  for (const file of ['alerts.yml', 'dashboard.json']) {
    const text = fs.readFileSync(path.join(MONITORING, file), 'utf8');
    const asked = [...text.matchAll(/\b(?:raftree|process)_[a-z_]+/g)].map(([name]) =>
      name.replace(/_(?:bucket|sum|count)$/, ''),
    );
    assert.ok(asked.length > 5, file);
    assert.equal(
      [...new Set(asked)].filter((name) => !names.has(name)),
      [],
      file,
    );
  }
  const { panels } = JSON.parse(fs.readFileSync(path.join(MONITORING, 'dashboard.json'), 'utf8')) as {
    panels: { id: number; title: string; targets: { expr: string }[] }[];
  };
  assert.is(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const { title, targets } of panels) assert.ok(targets.length > 0, title);
});

test.run();
