/** Members come and go by the command line, over real sockets and disks; and a node that was away gets a snapshot. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import { ProcessCluster, raftree, until } from '../support/process-cluster.js';

const FAST = { heartbeatMs: 50, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 1000 } as const;
const RECORDS = 3000;

async function run(args: readonly string[], endpoint: string, input?: string): Promise<string> {
  const result = await raftree([...args, '--endpoints', endpoint], input);
  assert.is(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
  return result.stdout.toString();
}

/** What one node has, as `export` prints it. */
function exportOf(cluster: ProcessCluster, id: number): Promise<string> {
  return run(['export', '--stale'], cluster.endpoint(id));
}

/** Waits until each of the nodes has applied all that the leader has. */
async function untilEqual(
  client: RaftreeClient,
  cluster: ProcessCluster,
  ids: readonly number[],
): Promise<void> {
  const leader = await cluster.leader();
  const { commitIndex } = await client.status(cluster.endpoint(leader));
  for (const id of ids) {
    await until(
      async () => (await client.status(cluster.endpoint(id))).appliedIndex >= commitIndex,
      `node ${id} has applied entry ${commitIndex}`,
    );
  }
}

test('a node alone shows its own addresses', async () => {
  const cluster = await ProcessCluster.create(1);
  try {
    await cluster.start(1);
    const [, line = ''] = (await run(['member', 'list'], cluster.endpoint(1))).split('\n');
    assert.equal(line.split(/ +/).slice(0, 4), [
      '1',
      'voter',
      cluster.endpoint(1),
      `127.0.0.1:${cluster.peerPort(1)}`,
    ]);
  } finally {
    await cluster.destroy();
  }
});

test('a fourth node joins, is promoted and leads; the first one goes', async () => {
  const cluster = await ProcessCluster.create(4, { raft: FAST }, [4]);
  const client = cluster.client();
  try {
    await Promise.all([1, 2, 3].map((id) => cluster.start(id)));
    const lines = Array.from({ length: RECORDS }, (_, i) => `{"key":"key ${i}","value":"value ${i}"}\n`);
    await run(['import'], cluster.endpoint(1), lines.join(''));

    cluster.spawn(4);
    await until(() => cluster.output(4).includes('listening'), 'node 4 listens');
    const add = [
      'member',
      'add',
      '4',
      '--client',
      cluster.endpoint(4),
      '--peer',
      `127.0.0.1:${cluster.peerPort(4)}`,
    ];
    assert.is(await run(add, cluster.endpoint(1)), 'node 4 is a learner\n');
    await until(() => cluster.output(4).includes('node 4 is ready'), 'node 4 is ready');
    await untilEqual(client, cluster, [4]);
    assert.match(
      await run(['member', 'list'], cluster.endpoint(2)),
      /\n4 +learner +127\.0\.0\.1:\d+ +127\.0\.0\.1:\d+ +0 +now +follows\n/,
    );
    assert.is(await run(['member', 'promote', '4'], cluster.endpoint(1)), 'node 4 is a voter\n');

    await client.transferLeadership(1);
    assert.is(await run(['member', 'remove', '1'], cluster.endpoint(2)), 'node 1 is not a member any more\n');
    await until(
      async () => /\n1 .* removed \(\d+\)/.test(await run(['status'], cluster.endpoint(1))),
      'node 1 says that it was removed',
    );
    await cluster.signal(1, 'SIGTERM');
    assert.is(await run(['transfer', '4'], cluster.endpoint(2)), 'node 4 leads\n');
    assert.match((await client.get('key 7', { level: 'lease' }))?.value.toString() ?? '', 'value 7');
    await client.put('after', 'all');

    const shown = JSON.parse(await run(['status', '--json'], cluster.endpoint(2))) as {
      nodeId: number;
      role: string;
      membership: string;
    }[];
    assert.equal(
      shown.map(({ nodeId, role, membership }) => `${nodeId} ${role} ${membership}`),
      ['2 follower voter', '3 follower voter', '4 leader voter'],
    );
    await untilEqual(client, cluster, [2, 3, 4]);
    const expected = await exportOf(cluster, 4);
    assert.is(expected.split('\n').length - 1, RECORDS + 1);
    assert.is(await exportOf(cluster, 2), expected);
  } finally {
    await client.close();
    await cluster.destroy();
  }
});

test('a node that was away longer than the log reaches back gets a snapshot', async () => {
  const storage = { maxRaftLogBytes: 65_536, raftSegmentBytes: 65_536, trailingEntries: 50 };
  const cluster = await ProcessCluster.create(3, { raft: FAST, storage });
  const client = cluster.client();
  try {
    await cluster.startAll();
    await client.put('before', 'x');
    await cluster.signal(3, 'SIGKILL');
    for (let round = 0; round < 4; round++) {
      const value = Buffer.alloc(1000, `${round}`);
      await Promise.all(Array.from({ length: 300 }, (_, i) => client.put(`key ${i}`, value)));
    }
    await cluster.start(3);
    await untilEqual(client, cluster, [3]);
    assert.match(cluster.output(3), 'took over a snapshot');
    const [leader, away] = await Promise.all([
      exportOf(cluster, await cluster.leader()),
      exportOf(cluster, 3),
    ]);
    assert.is(away.split('\n').length - 1, 301);
    assert.is(away, leader);
  } finally {
    await client.close();
    await cluster.destroy();
  }
});

/** What a command that is refused says, and its exit code. */
async function refused(args: readonly string[], endpoint: string): Promise<string> {
  const { code, stderr } = await raftree(['member', ...args, '--endpoints', endpoint]);
  return `${code} ${stderr}`;
}

test('mistakes are refused with an exit code and what to do; what is not heard shows as that', async () => {
  const cluster = await ProcessCluster.create(3, { raft: FAST });
  const client = cluster.client();
  try {
    await cluster.startAll();
    await client.put('a', '1');
    const endpoint = cluster.endpoint(1);
    const addressesOf = (id: number) => [
      ...['--client', cluster.endpoint(id)],
      ...['--peer', `127.0.0.1:${cluster.peerPort(id)}`],
    ];
    assert.match(
      await refused(['remove', '99'], endpoint),
      /^3 raftree: node 99 is no member \(NOT_A_MEMBER\)/,
    );
    assert.match(
      await refused(['add', '2', ...addressesOf(2)], endpoint),
      /^3 .*a voter already.*member demote 2 \(ALREADY_MEMBER\)/,
    );
    assert.match(
      await run(['member', 'add', '2', '--voter', ...addressesOf(2)], endpoint),
      /^node 2 is a voter already; nothing was changed\n$/,
    );
    const mistyped = ['add', '4', '--voter', '--client', '127.0.0.1:1', '--peer', '127.0.0.1:2'];
    assert.match(await refused(mistyped, endpoint), /^3 .*node 4 was not reached.*\(MEMBER_UNREACHABLE\)/);
    const wildcard = ['update', '2', '--client', '0.0.0.0:7001'];
    assert.match(await refused(wildcard, endpoint), /^2 .*0\.0\.0\.0:7001 is no address of one machine/);

    await client.transferLeadership(1);
    await run(['member', 'update', '2', '--client', '127.0.0.1:1'], endpoint);
    assert.match(
      await run(['member', 'list'], endpoint),
      /\n2 +voter +127\.0\.0\.1:1 .* follows: no answer from its client address/,
    );
    await run(['member', 'update', '2', '--client', cluster.endpoint(2)], endpoint);
    await cluster.signal(3, 'SIGKILL');
    assert.match(await refused(['remove', '2'], endpoint), /^3 .*node 3.*\(QUORUM_AT_RISK\)/);
    await until(
      async () => /\n3 .* not heard: .*ECONNREFUSED/.test(await run(['member', 'list'], endpoint)),
      'it shows as not heard',
    );
    assert.match(await run(['status'], endpoint), /\n3 +no answer from .*ECONNREFUSED/);
    assert.is(await run(['member', 'remove', '3'], endpoint), 'node 3 is not a member any more\n');
    await client.put('a', '2');
    const forced = await raftree(['member', ...mistyped, '--force', '--endpoints', endpoint]);
    assert.is(forced.code, 0, forced.stderr);
    assert.match(forced.stderr, /^raftree: warning: node 4 was not reached at .*--force/);
  } finally {
    await client.close();
    await cluster.destroy();
  }
});

test.run();
