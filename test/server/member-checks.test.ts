/** Changes of members that are refused, or change nothing: operators' mistakes, in whole simulated clusters. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClientError } from '../../src/client/client-error.js';
import type { MemberChange, MembersChanged } from '../../src/client/index.js';
import { silentLogger } from '../../src/env/env.js';
import type { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { type FourNodes, openFourNodes, SHORT_TIMEOUTS } from '../support/four-nodes.js';

function change(
  { cluster, client }: FourNodes,
  changes: MemberChange | readonly MemberChange[],
  options: { readonly force?: boolean } = {},
): Promise<MembersChanged> {
  return cluster.run(client.changeMembers([changes].flat(), options));
}

/** The code and the text of a refusal, which is certain. */
async function refusal(setting: FourNodes, changes: MemberChange | readonly MemberChange[]): Promise<string> {
  const before = shown(setting.cluster);
  const error = await change(setting, changes).then(
    () => undefined,
    (failure: RaftreeClientError) => failure,
  );
  assert.ok(error, 'it is refused');
  assert.is(error.outcome, 'notCommitted', String(error));
  assert.equal(shown(setting.cluster), before, 'nothing was changed');
  return `${error.code} ${error.message}`;
}

function shown(cluster: SimulatedCluster): string {
  const { voters = [], learners = [] } = cluster.leader?.status(0) ?? {};
  return `voters ${voters}, learners ${learners}`;
}

function idOfLeader(cluster: SimulatedCluster): number {
  return cluster.leader?.config.nodeId ?? 0;
}

function followersOf(cluster: SimulatedCluster): [number, number] {
  const [one = 0, other = 0] = [1, 2, 3].filter((id) => id !== idOfLeader(cluster));
  return [one, other];
}

function adding(
  cluster: SimulatedCluster,
  node: number,
  type: 'addLearner' | 'addVoter' = 'addLearner',
): MemberChange {
  return { type, node, ...cluster.machine(node).addresses };
}

test('adding a present member changes nothing where it is so already, and never demotes a voter', async () => {
  const setting = await openFourNodes(1);
  const { cluster } = setting;
  assert.match(
    await refusal(setting, adding(cluster, 2)),
    /^ALREADY_MEMBER node 2 is a voter already, .*raftree member demote 2$/,
  );
  const same = await change(setting, adding(cluster, 2, 'addVoter'));
  assert.equal(same, { index: 0, changed: false, warnings: [] });
  const elsewhere = { ...adding(cluster, 2, 'addVoter'), peer: 'n2:9999' } as MemberChange;
  assert.match(await refusal(setting, elsewhere), /^ALREADY_MEMBER .*raftree member update 2/);
  assert.ok((await change(setting, adding(cluster, 4))).changed);
  assert.not((await change(setting, adding(cluster, 4))).changed);
  assert.match(await refusal(setting, adding(cluster, 4, 'addVoter')), /^ALREADY_MEMBER .*member promote 4$/);
  assert.is(shown(cluster), 'voters 1,2,3, learners 4');
});

test('what is no member cannot be removed, promoted, demoted or updated; what is so already is said', async () => {
  const setting = await openFourNodes(2);
  for (const type of ['remove', 'promote', 'demote'] as const)
    assert.match(await refusal(setting, { type, node: 99 }), /^NOT_A_MEMBER node 99 is no member$/);
  assert.match(await refusal(setting, { type: 'update', node: 99, client: 'n9:1' }), /^NOT_A_MEMBER/);
  assert.not((await change(setting, { type: 'promote', node: 3 })).changed);
  await change(setting, adding(setting.cluster, 4));
  assert.not((await change(setting, { type: 'demote', node: 4 })).changed);
  assert.match(
    await refusal(setting, [
      { type: 'remove', node: 3 },
      { type: 'demote', node: 3 },
    ]),
    /^INVALID_REQUEST node 3 is to be changed twice at once$/,
  );
});

test('of two operators who add the same node at once, in two roles, one is told', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const setting = await openFourNodes(seed);
    const { cluster } = setting;
    const ask = (type: 'addLearner' | 'addVoter') =>
      cluster
        .client()
        .changeMembers([adding(cluster, 4, type)])
        .then(
          () => type,
          (error: RaftreeClientError) => error.code,
        );
    const answers = await cluster.run(Promise.all([ask('addLearner'), ask('addVoter')]));
    const [role] = answers.filter((answer) => answer !== 'ALREADY_MEMBER');
    assert.is(answers.filter((answer) => answer === 'ALREADY_MEMBER').length, 1, answers.join());
    assert.is(shown(cluster), role === 'addVoter' ? 'voters 1,2,3,4, learners ' : 'voters 1,2,3, learners 4');
  }
});

test('a new member that is not reached under its peer address is refused, also where another node answers', async () => {
  const setting = await openFourNodes(3);
  const { cluster } = setting;
  for (const type of ['addLearner', 'addVoter'] as const) {
    const nobody = { type, node: 4, client: 'n4:7001', peer: 'n4:7999' };
    assert.match(await refusal(setting, nobody), /^MEMBER_UNREACHABLE node 4 was not reached .* n4:7999/);
    const mistyped = { type, node: 5, client: 'n5:7001', peer: 'n4:7101' };
    assert.match(await refusal(setting, mistyped), /^MEMBER_UNREACHABLE .*node 4 answers there/);
  }
  const nobody = { type: 'addVoter', node: 4, client: 'n4:7001', peer: 'n4:7999' } as const;
  const { warnings } = await change(setting, nobody, { force: true });
  assert.match(warnings[0] ?? '', /^node 4 was not reached/);
  assert.is(warnings.length, 1);
  assert.is(shown(cluster), 'voters 1,2,3,4, learners ');
});

test('a joiner whose clusterId is mistyped is refused, and both sides say what to compare', async () => {
  const lines: string[] = [];
  const warn = (_fields: unknown, message: string) => void lines.push(message);
  const setting = await openFourNodes(3, {
    config: (id) => ({ ...SHORT_TIMEOUTS, ...(id === 4 ? { clusterId: 'simulatde' } : {}) }),
    logger: { ...silentLogger, warn },
  });
  const { cluster } = setting;
  const problem = /cluster "simulat(ed|de)" is not the one of the other side; compare the clusterId of both/;
  assert.match(await refusal(setting, adding(cluster, 4)), problem);
  for (const side of ['no connection to peer: ', 'peer connection closed: '])
    assert.ok(
      lines.some((line) => line.startsWith(side) && problem.test(line)),
      `${side}\n${lines.join('\n')}`,
    );
});

test('a node that is just starting is waited for', async () => {
  const setting = await openFourNodes(4);
  const { cluster } = setting;
  cluster.kill(4);
  const added = change(setting, adding(cluster, 4, 'addVoter'));
  await cluster.run(Promise.all([added, cluster.world.scheduler.sleep(100).then(() => cluster.start(4))]));
  assert.is(shown(cluster), 'voters 1,2,3,4, learners ');
});

test('a live node is not removed or demoted while another is down; the one that is down may be', async () => {
  // At 0 ms with this seed: what a node sent before it died may also arrive after the request, and then it counts.
  for (const waitMs of [0, 10, 50, 5000]) {
    const setting = await openFourNodes(6);
    const { cluster, client } = setting;
    const [dead, alive] = followersOf(cluster);
    cluster.kill(dead);
    await cluster.world.scheduler.runFor(waitMs);
    for (const node of [alive, idOfLeader(cluster)])
      for (const type of ['remove', 'demote'] as const)
        assert.match(
          await refusal(setting, { type, node }),
          new RegExp(`^QUORUM_AT_RISK of the voters that there would be .*: node ${dead} is silent`),
        );
    await change(setting, { type: 'remove', node: dead });
    await cluster.run(client.put('a', '2'));
  }
});

test('a leader that was just elected does not take the silent ones for heard', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const setting = await openFourNodes(seed);
    const { cluster } = setting;
    const [one, other] = followersOf(cluster);
    cluster.kill(idOfLeader(cluster));
    await cluster.run(cluster.client().put('a', '2'));
    const left = idOfLeader(cluster) === one ? other : one;
    assert.match(await refusal(setting, { type: 'remove', node: left }), /^QUORUM_AT_RISK/);
  }
});

test('a voter that is heard, but has most of the log still to come, is not enough to be left with', async () => {
  const storage = {
    ...{ maxRaftLogBytes: 256 * 1024, raftSegmentBytes: 64 * 1024, trailingEntries: 10 },
    ...{ snapshotChunkBytes: 4096, snapshotBytesPerSecond: 65_536 },
  };
  const setting = await openFourNodes(9, { config: { ...SHORT_TIMEOUTS, storage } });
  const { cluster, client } = setting;
  await cluster.run(client.transferLeadership(1));
  cluster.kill(3);
  for (let i = 0; i < 20; i++) await cluster.run(client.put(`${i}`, cluster.world.random.bytes(50_000)));
  await cluster.run(cluster.start(3));
  await cluster.world.scheduler.runFor(3000);
  const slow = cluster.leader?.status(0).peers.find(({ nodeId }) => nodeId === 3);
  assert.ok(slow?.reachable && slow.matchIndex < 10, 'it is heard, and was given nothing yet');
  for (const change of [
    { type: 'remove', node: 2 },
    { type: 'remove', node: 1 },
    { type: 'demote', node: 2 },
  ] as const)
    assert.match(
      await refusal(setting, change),
      /^QUORUM_AT_RISK of the voters that there would be .* node 3 is \d+ entries behind;/,
    );
  // Whoever is left has all that was acknowledged.
  cluster.kill(1);
  await cluster.run(cluster.client(100_000).put('a', '2'));
  assert.is((await cluster.run(client.get('19')))?.value.length, 50_000);
});

test('several changes at once need the old quorum and the new one', async () => {
  const setting = await openFourNodes(6, { size: 5, joining: [4, 5] });
  const { cluster, client } = setting;
  const [dead, alive] = followersOf(cluster);
  cluster.kill(dead);
  const swap = (out: readonly number[]) => [
    adding(cluster, 4, 'addVoter'),
    ...out.map((node) => ({ type: 'remove', node }) as const),
  ];
  assert.match(await refusal(setting, swap([alive, idOfLeader(cluster)])), /^QUORUM_AT_RISK/);
  await change(setting, swap([dead]));
  await cluster.run(client.put('a', '2'));
});

test('a learner that does not answer, or lags far behind, does not become a voter', async () => {
  const setting = await openFourNodes(7, { config: {} });
  const { cluster, client } = setting;
  await change(setting, adding(cluster, 4));
  cluster.kill(4);
  assert.match(
    await refusal(setting, { type: 'promote', node: 4 }),
    /^MEMBER_UNREACHABLE node 4 is not heard/,
  );
  await cluster.run(cluster.start(4));
  const { network, scheduler } = cluster.world;
  await scheduler.runFor(5000);
  // More is written than its link carries.
  for (const id of [1, 2, 3]) network.narrow(`n${id}`, 'n4', 50_000);
  let isWriting = true;
  const writing = (async () => {
    for (let i = 0; isWriting; i++) {
      await client.put('a', Buffer.alloc(5000, i));
      await scheduler.sleep(5);
    }
  })();
  await scheduler.runFor(2000);
  const error = await change(setting, { type: 'promote', node: 4 }).catch((failure: unknown) =>
    String(failure),
  );
  isWriting = false;
  await cluster.run(writing);
  assert.match(String(error), /node 4 is \d+ entries behind and did not catch up within 2000 ms/);
  for (const id of [1, 2, 3]) network.narrow(`n${id}`, 'n4');
  await scheduler.runFor(10_000);
  await change(setting, { type: 'promote', node: 4 });
  assert.is(shown(cluster), 'voters 1,2,3,4, learners ');
});

test('what was forced is changed, and the answer says what it risks', async () => {
  const setting = await openFourNodes(8);
  const { cluster } = setting;
  const [dead, alive] = followersOf(cluster);
  cluster.kill(dead);
  await cluster.world.scheduler.runFor(1000);
  const client = cluster.client(3000);
  const forced = client
    .changeMembers([{ type: 'remove', node: alive }], { force: true })
    .catch((error: RaftreeClientError) => error.outcome);
  assert.is(await cluster.run(forced), 'unknown', 'the members that are left cannot settle it');
  await cluster.run(cluster.start(dead));
  await cluster.run(cluster.client().put('a', '2'));
  assert.is(shown(cluster), `voters ${[idOfLeader(cluster), dead].sort()}, learners `);
});

test.run();
