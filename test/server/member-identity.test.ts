/** Who a member is, where it is found, and what is told of one that is not heard: in whole simulated clusters. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClientError } from '../../src/client/client-error.js';
import { type NodeConfigInput, parseNodeConfig } from '../../src/server/config.js';
import { Node } from '../../src/server/node.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { type FourNodes, openFourNodes } from '../support/four-nodes.js';
import { Liar } from '../support/liar.js';

function add(
  { cluster, client }: FourNodes,
  node: number,
  addresses = cluster.machine(node).addresses,
): Promise<unknown> {
  return cluster.run(client.changeMembers([{ type: 'addLearner', node, ...addresses }]));
}

/** What the leader tells of a member. */
function seen({ cluster }: FourNodes, node: number) {
  return cluster.leader?.status(0).peers.find(({ nodeId }) => nodeId === node);
}

async function follows({ cluster }: FourNodes, node: number): Promise<boolean> {
  const { scheduler } = cluster.world;
  const isEqual = () => {
    const applied = cluster.nodes[node - 1]?.status(0).appliedIndex ?? 0;
    return applied > 0 && applied === cluster.leader?.status(0).lastIndex;
  };
  return scheduler.runUntil(isEqual, scheduler.nowMs() + 10_000);
}

function empty({ cluster }: FourNodes, node: number): void {
  cluster.kill(node);
  cluster.machine(node).disk = new SimDisk();
}

/** From now on a node starts with these settings too. */
function configure({ cluster }: FourNodes, node: number, settings: Partial<NodeConfigInput>): void {
  const { config } = cluster;
  cluster.config = (id) => ({ ...config.call(cluster, id), ...(id === node ? settings : {}) });
}

test('a joiner that was started, emptied and started again is taken in', async () => {
  for (const isForced of [false, true]) {
    const setting = await openFourNodes(1);
    const { cluster, client } = setting;
    await cluster.world.scheduler.runFor(1000);
    empty(setting, 4);
    await cluster.run(cluster.start(4));
    await cluster.world.scheduler.runFor(1000);
    const change = [{ type: 'addLearner', node: 4, ...cluster.machine(4).addresses }] as const;
    await cluster.run(client.changeMembers(change, { force: isForced }));
    assert.ok(await follows(setting, 4));
    await cluster.run(client.changeMembers([{ type: 'promote', node: 4 }]));
    for (const id of [1, 2, 3, 4]) cluster.cutPower(id);
    await cluster.run(cluster.startAll());
    await cluster.run(client.put('a', '2'));
    assert.ok(await follows(setting, 4));
  }
});

test('a member with another data folder shows as not heard, and why; removed and added, it is one again', async () => {
  const setting = await openFourNodes(2);
  const { cluster, client } = setting;
  const { scheduler } = cluster.world;
  await cluster.run(client.transferLeadership(1));
  empty(setting, 3);
  configure(setting, 3, { join: true });
  await cluster.run(cluster.start(3));
  await scheduler.runFor(5000);
  const lost = seen(setting, 3);
  assert.not(lost?.reachable);
  assert.ok((lost?.heardMsAgo ?? 0) >= 5000, `${lost?.heardMsAgo}`);
  assert.match(lost?.problem ?? '', /^node 3 shows another data folder than the one it is known with/);
  await cluster.run(client.changeMembers([{ type: 'remove', node: 3 }]));
  assert.is(seen(setting, 3), undefined);
  await add(setting, 3);
  assert.ok(await follows(setting, 3));
  assert.ok(seen(setting, 3)?.reachable);
  assert.is(seen(setting, 3)?.problem, '');
  await cluster.run(client.changeMembers([{ type: 'promote', node: 3 }]));
  for (const id of [1, 2, 3, 4]) cluster.cutPower(id);
  await cluster.run(cluster.startAll());
  cluster.kill(1);
  await cluster.run(cluster.client().put('a', '2'));
  assert.equal(cluster.failures, []);
});

test('a removed node that is added by force while it is off comes back with an empty folder', async () => {
  const setting = await openFourNodes(14);
  const { cluster, client } = setting;
  await cluster.run(client.transferLeadership(1));
  await cluster.run(client.changeMembers([{ type: 'remove', node: 3 }]));
  await cluster.world.scheduler.runFor(1000);
  empty(setting, 3);
  configure(setting, 3, { join: true });
  const change = [{ type: 'addLearner', node: 3, ...cluster.machine(3).addresses }] as const;
  assert.is((await cluster.run(client.changeMembers(change, { force: true }))).warnings.length, 1);
  await cluster.run(cluster.start(3));
  assert.ok(await follows(setting, 3));
});

test('the old data folder of a node that was removed and added again, empty, is refused', async () => {
  const setting = await openFourNodes(3);
  const { cluster, client } = setting;
  await cluster.run(client.transferLeadership(1));
  const old = cluster.machine(3).disk;
  empty(setting, 3);
  configure(setting, 3, { join: true });
  await cluster.run(cluster.start(3));
  await cluster.run(client.changeMembers([{ type: 'remove', node: 3 }]));
  await add(setting, 3);
  assert.ok(await follows(setting, 3));
  cluster.kill(3);
  cluster.machine(3).disk = old;
  await cluster.run(cluster.start(3));
  await cluster.world.scheduler.runFor(3000);
  assert.match(seen(setting, 3)?.problem ?? '', /another data folder/);
});

test('a member whose address leads to another node, or to nobody, shows as not heard, and why', async () => {
  const setting = await openFourNodes(4);
  const { cluster, client } = setting;
  await cluster.run(client.transferLeadership(1));
  await cluster.run(
    client.changeMembers(
      [
        { type: 'addLearner', node: 5, client: 'n5:7001', peer: 'n4:7101' },
        { type: 'addLearner', node: 6, client: 'n6:7001', peer: 'n4:7999' },
      ],
      { force: true },
    ),
  );
  await cluster.world.scheduler.runFor(3000);
  assert.not(seen(setting, 5)?.reachable);
  assert.is(seen(setting, 5)?.heardMsAgo, undefined);
  assert.match(seen(setting, 5)?.problem ?? '', /node 4 answers where node 5 belongs/);
  assert.not(seen(setting, 6)?.reachable);
  assert.match(seen(setting, 6)?.problem ?? '', /ECONNREFUSED|refused/);
  assert.ok(seen(setting, 2)?.reachable);
});

test('a node says that it is a member only where the configuration has its data folder', async () => {
  const setting = await openFourNodes(11);
  const { cluster, client } = setting;
  const told = async (to: number) => {
    const liar = await Liar.meet(cluster, to, { nodeId: 99, hasSecret: true });
    const { isMember, configurationIndex, members = [] } = liar.told ?? {};
    assert.is(configurationIndex, cluster.leader?.status(0).configurationIndex);
    liar.leave();
    return [isMember, members.includes(to)];
  };
  assert.equal(await told(1), [true, true]);
  cluster.kill(4);
  const four = { node: 4, ...cluster.machine(4).addresses };
  await cluster.run(client.changeMembers([{ type: 'addLearner', ...four }], { force: true }));
  await cluster.run(cluster.start(4));
  assert.ok(await follows(setting, 4));
  assert.equal(await told(4), [false, true], 'it was added unseen');
  await cluster.run(client.changeMembers([{ type: 'update', ...four }]));
  await cluster.run(cluster.client().put('a', '2'));
  assert.ok(await follows(setting, 4));
  assert.equal(await told(4), [true, true]);
  await cluster.run(client.changeMembers([{ type: 'remove', node: 3 }]));
  await cluster.world.scheduler.runFor(1000);
  assert.equal(await told(1), [true, true]);
});

test('the data folder of a member that was added unseen is noted when it is named while it is connected', async () => {
  for (const type of ['addLearner', 'addVoter'] as const) {
    const setting = await openFourNodes(10);
    const { cluster, client } = setting;
    const { scheduler } = cluster.world;
    await cluster.run(client.transferLeadership(1));
    await add(setting, 4);
    await scheduler.runFor(1000);
    // One follower is away while the member is removed, and added again with an empty folder.
    cluster.kill(2);
    await cluster.run(client.changeMembers([{ type: 'remove', node: 4 }]));
    empty(setting, 4);
    const again = { type, node: 4, ...cluster.machine(4).addresses } as const;
    const unseen = client.changeMembers([again], { force: true });
    const back = scheduler.sleep(1000).then(() => Promise.all([cluster.start(4), cluster.start(2)]));
    await cluster.run(Promise.all([unseen, back]));
    await scheduler.runFor(3000);
    const name = () =>
      cluster.run(
        client.changeMembers([
          type === 'addVoter'
            ? { type: 'promote', node: 4 }
            : { type: 'update', node: 4, ...cluster.machine(4).addresses },
        ]),
      );
    assert.ok((await name()).changed);
    assert.not((await name()).changed);
    await cluster.run(client.transferLeadership(2));
    await cluster.run(client.put('a', '2'));
    assert.ok(await follows(setting, 4));
    assert.is(seen(setting, 4)?.problem, '');
  }
});

/** Where a node is after it was moved. */
const MOVED = { client: 'n3:8001', peer: 'n3:8101' };

test('a node that node.json lists is moved: peers and clients find it at its new addresses, also after restarts', async () => {
  const setting = await openFourNodes(5);
  const { cluster, client } = setting;
  const { scheduler } = cluster.world;
  await cluster.run(client.transferLeadership(1));
  cluster.kill(3);
  configure(setting, 3, { listen: MOVED });
  await cluster.run(cluster.start(3));
  await cluster.run(client.changeMembers([{ type: 'update', node: 3, ...MOVED }]));
  const again = await cluster.run(client.changeMembers([{ type: 'update', node: 3, client: MOVED.client }]));
  assert.not(again.changed);
  for (const round of [1, 2]) {
    await scheduler.runFor(2000);
    for (const id of [1, 2]) {
      const told = cluster.nodes[id - 1]?.status(0).peers.find(({ nodeId }) => nodeId === 3);
      assert.equal([told?.clientAddress, told?.peerAddress], [MOVED.client, MOVED.peer]);
      assert.ok(told?.reachable);
    }
    await cluster.run(client.transferLeadership(3));
    assert.is(cluster.nodes[0]?.status(0).leaderAddress, MOVED.client);
    await cluster.run(cluster.client().put('a', `${round}`));
    await cluster.run(client.transferLeadership(1));
    if (round === 1) {
      cluster.cutPowerOfAll();
      await cluster.run(cluster.startAll());
      await cluster.run(client.put('a', '0'));
      await cluster.run(client.transferLeadership(1));
    }
  }
  assert.equal(cluster.failures, []);
});

test('an update to an address at which another node answers, or nobody, is refused; the leader may be moved too', async () => {
  const setting = await openFourNodes(6);
  const { cluster, client } = setting;
  await cluster.run(client.transferLeadership(1));
  const fail = async (change: { node: number; client?: string; peer?: string }) => {
    const error = await cluster.run(
      client.changeMembers([{ type: 'update', ...change }]).catch((failure: RaftreeClientError) => failure),
    );
    return `${(error as RaftreeClientError).code} ${(error as RaftreeClientError).message}`;
  };
  assert.match(await fail({ node: 3, peer: 'n4:7101' }), /^MEMBER_UNREACHABLE .*node 4 answers there/);
  assert.match(await fail({ node: 1, peer: 'n4:7101' }), /^MEMBER_UNREACHABLE/);
  assert.match(await fail({ node: 1, peer: 'n1:9' }), /^MEMBER_UNREACHABLE/);
  assert.match(
    await fail({ node: 3, peer: 'n2:7101' }),
    /^CHANGE_INVALID n2:7101 would be the peer address of node/,
  );
  const { peers = [] } = cluster.leader?.status(0) ?? {};
  assert.equal(peers.map(({ peerAddress }) => peerAddress).sort(), ['n2:7101', 'n3:7101']);
  // The leader itself is moved.
  cluster.kill(1);
  const moved = { client: 'n1:8001', peer: 'n1:8101' };
  configure(setting, 1, { listen: moved });
  await cluster.run(cluster.start(1));
  await cluster.run(cluster.client().transferLeadership(1));
  const there = cluster.client(20_000, { endpoints: [moved.client] });
  const mistyped = there.changeMembers([{ type: 'update', node: 1, peer: 'n1:8102' }]);
  assert.match(String(await cluster.run(mistyped.catch((error: unknown) => error))), /not reached/);
  assert.ok((await cluster.run(there.changeMembers([{ type: 'update', node: 1, ...moved }]))).changed);
  await cluster.run(cluster.client(20_000, { endpoints: ['n2:7001'] }).put('a', '2'));
});

test('a removed id that is added with other addresses is found there, whatever node.json says', async () => {
  const setting = await openFourNodes(7);
  const { cluster, client } = setting;
  await cluster.run(client.transferLeadership(1));
  await cluster.run(client.changeMembers([{ type: 'remove', node: 3 }]));
  cluster.kill(3);
  configure(setting, 3, { listen: MOVED });
  await cluster.run(cluster.start(3));
  await add(setting, 3, MOVED);
  assert.ok(await follows(setting, 3));
  const told = seen(setting, 3);
  assert.equal([told?.clientAddress, told?.peerAddress, told?.reachable], [MOVED.client, MOVED.peer, true]);
});

test('addresses that nobody can use, or that are shared, are refused at the leader', async () => {
  const setting = await openFourNodes(8);
  const { cluster, client } = setting;
  for (const [addresses, expected] of [
    [
      { client: 'n4:7001', peer: 'n4:7001' },
      /^CHANGE_INVALID n4:7001 would be the client address of node 4 and the peer/,
    ],
    [
      { client: 'n4:7001', peer: 'N2:7101' },
      /^CHANGE_INVALID N2:7101 would be the peer address of node 2 and the peer/,
    ],
    [{ client: 'n1:7001', peer: 'n4:7101' }, /^CHANGE_INVALID n1:7001 would be the client address of node 1/],
    [{ client: 'n4:7001', peer: 'n4:0' }, /^INVALID_REQUEST n4:0 has port 0/],
    [
      { client: '0.0.0.0:7001', peer: 'n4:7101' },
      /^INVALID_REQUEST 0\.0\.0\.0:7001 is no address of one machine/,
    ],
    [{ client: 'n4:7001', peer: '[::]:7101' }, /^INVALID_REQUEST \[::\]:7101 is no address of one machine/],
  ] as const) {
    const error = await cluster.run(
      client
        .changeMembers([{ type: 'addLearner', node: 4, ...addresses }], { force: true })
        .catch((failure: RaftreeClientError) => failure),
    );
    assert.match(`${(error as RaftreeClientError).code} ${(error as RaftreeClientError).message}`, expected);
  }
});

test('a removed node says so, and by which configuration, when it is asked', async () => {
  for (const isRestarted of [false, true]) {
    const setting = await openFourNodes(9);
    const { cluster, client } = setting;
    const { scheduler } = cluster.world;
    await cluster.run(client.transferLeadership(1));
    const { index } = await cluster.run(client.changeMembers([{ type: 'remove', node: 3 }]));
    await scheduler.runFor(3000);
    if (isRestarted) {
      cluster.kill(3);
      await cluster.run(cluster.start(3));
      await scheduler.runFor(3000);
    }
    const alone = cluster.client(2000, { endpoints: [cluster.machine(3).addresses.client] });
    const status = await cluster.run(alone.status());
    assert.is(status.removedBy, index);
    const error = await cluster.run(alone.put('a', '2').catch((failure: RaftreeClientError) => failure));
    assert.is((error as RaftreeClientError).code, 'NODE_REMOVED');
    assert.is((error as RaftreeClientError).outcome, 'notCommitted');
    assert.match(
      (error as RaftreeClientError).message,
      new RegExp(`removed from the cluster \\(configuration ${index}\\)`),
    );
    assert.is((await cluster.run(alone.get('a', { stale: true })))?.value.toString(), '1');
    // Who knows the others too is answered by them.
    await cluster.run(cluster.client(20_000, { endpoints: ['n3:7001', 'n1:7001'] }).put('a', '3'));
    assert.ok(cluster.nodes.every((node, i) => i === 2 || node?.status(0).removedBy === 0));
  }
});

/** Nodes 1 to 3 and a leader that is not node 3. */
async function openFolders(seed: number): Promise<FourNodes> {
  const setting = await openFourNodes(seed, { size: 3, joining: [] });
  await setting.cluster.run(setting.client.transferLeadership(1));
  await setting.cluster.run(setting.client.put('a', '1'));
  assert.ok(await follows(setting, 3));
  return setting;
}

test('a folder that was restored from a copy of before its last start is refused, and the cluster goes on', async () => {
  const setting = await openFolders(10);
  const { cluster, client } = setting;
  const backup = cluster.machine(3).disk.clone();
  cluster.kill(3);
  await cluster.run(cluster.start(3));
  assert.ok(await follows(setting, 3));
  cluster.kill(3);
  cluster.machine(3).disk = backup;
  await cluster.run(cluster.start(3));
  await cluster.world.scheduler.runFor(3000);
  assert.not(seen(setting, 3)?.reachable);
  assert.match(
    seen(setting, 3)?.problem ?? '',
    /^start 2 of the data folder of node 3 was used before; .* remove it/,
  );
  await cluster.run(client.put('a', '2'));
  // As the message says.
  await cluster.run(client.changeMembers([{ type: 'remove', node: 3 }]));
  empty(setting, 3);
  configure(setting, 3, { join: true });
  await cluster.run(cluster.start(3));
  await add(setting, 3);
  assert.ok(await follows(setting, 3));
});

test('a folder that has lost what it acknowledged stops its node, also when the leader has restarted since', async () => {
  for (const isRestarted of [false, true]) {
    const setting = await openFolders(11);
    const { cluster, client } = setting;
    const backup = cluster.machine(3).disk.clone();
    for (let i = 0; i < 5; i++) await cluster.run(client.put('a', `${i}`));
    assert.ok(await follows(setting, 3));
    cluster.kill(3);
    cluster.machine(3).disk = backup;
    await cluster.world.scheduler.runFor(1000);
    if (isRestarted) {
      cluster.cutPower(1);
      await cluster.run(cluster.start(1));
    }
    await cluster.run(cluster.start(3));
    await cluster.world.scheduler.runFor(3000);
    assert.equal(
      cluster.failures.map((error) => (error as RaftreeClientError).code),
      ['STORE_OUTDATED'],
    );
    assert.match(
      String(cluster.failures[0]),
      /node 3 has lost entries that it had acknowledged: its log of tablet 1 ends at \d+/,
    );
    await cluster.run(cluster.client().put('a', 'on'));
  }
});

test('a copy that runs beside the original is refused while that is there, and is not listened to after it', async () => {
  const setting = await openFolders(12);
  const { cluster, client } = setting;
  const { scheduler } = cluster.world;
  const said: string[] = [];
  const note = (_fields: unknown, message: string) => said.push(message);
  const copied = cluster.machine(3).disk.clone();
  const failures: string[] = [];
  const copy = await cluster.run(
    Node.start({
      env: cluster.world.start('copy', copied).env,
      config: parseNodeConfig(
        { ...cluster.config(3), listen: { client: 'copy:7001', peer: 'copy:7101' } },
        'test',
        '/',
      ),
      logger: { debug: note, info: note, warn: note, error: note },
      onFailure: ({ code }) => failures.push(code),
    }),
  );
  await scheduler.runFor(3000);
  assert.ok(seen(setting, 3)?.reachable, 'the original is');
  assert.is(copy.status(0).leaderId, 0);
  assert.ok(
    said.some((line) =>
      /node 3 is connected already, with an earlier run .* was copied and runs twice: stop one/.test(line),
    ),
  );
  assert.equal(failures, []);
  // It knows nothing of this.
  await cluster.run(client.put('a', '2'));
  assert.ok(await follows(setting, 3));
  cluster.kill(3);
  await scheduler.runFor(3000);
  assert.equal(failures, ['STORE_OUTDATED']);
  await cluster.run(client.put('a', '3'));
  await cluster.run(copy.close());
});

test('a member that restarts again and again is the same one', async () => {
  const setting = await openFolders(13);
  const { cluster } = setting;
  for (let i = 0; i < 6; i++) {
    const id = 1 + (i % 3);
    if (i % 2 === 0) cluster.kill(id);
    else cluster.cutPower(id);
    await cluster.run(cluster.start(id));
    await cluster.run(cluster.client().put('a', `${i}`));
    assert.ok(await follows(setting, id));
  }
  assert.equal(cluster.failures, []);
});

test.run();
