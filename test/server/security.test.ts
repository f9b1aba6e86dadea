/** The cluster secret in whole clusters: who is let in, who may administrate, and what is told of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClientError } from '../../src/client/client-error.js';
import type { Logger } from '../../src/env/env.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { OTHER_SECRET, SECRET } from '../../src/sim/cluster/secrets.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';
import { SimDisk } from '../../src/sim/world/disk.js';

type Security = NodeConfigInput['security'];

/** Three nodes, each with security settings of its own, and what they log as warnings. */
async function started(seed: number, of: (id: number) => Security, options: SimulatedClusterOptions = {}) {
  const warnings: string[] = [];
  const ignore = () => {};
  const logger: Logger = {
    debug: ignore,
    info: ignore,
    warn: (fields, message) => void warnings.push(`${fields.peer ?? 'from'} ${message}`),
    error: ignore,
  };
  const cluster = new SimulatedCluster(seed, { logger, config: (id) => ({ security: of(id) }), ...options });
  await cluster.run(cluster.startAll());
  return { cluster, warnings };
}

async function refusal(cluster: SimulatedCluster, work: Promise<unknown>): Promise<RaftreeClientError> {
  const error = await cluster.run(
    work.then(
      () => undefined,
      (reason: RaftreeClientError) => reason,
    ),
  );
  if (!error) throw new Error('it was not refused');
  return error;
}

for (const [what, own, reason] of [
  ['another secret', { clusterSecret: OTHER_SECRET }, /different cluster secrets/],
  ['no secret', { insecure: true }, /one side has a cluster secret, the other has none/],
] as const) {
  test(`a node with ${what} takes no part, and both sides say so, once a minute`, async () => {
    const { cluster, warnings } = await started(1, (id) => (id === 3 ? own : { clusterSecret: SECRET }));
    const { scheduler } = cluster.world;
    await scheduler.runFor(60_000);
    assert.is(cluster.leader, undefined, 'the cluster does not begin without it');
    const told = warnings.filter((warning) => reason.test(warning));
    // Nodes 1 and 2 dial node 3 and are dialled by it, and so are told; and the other way round.
    assert.ok(told.length >= 8 && told.length <= 16, `${told.length} lines in a minute`);
    assert.ok(
      told.some((warning) => warning.startsWith('3 ')),
      'those who dial it say so',
    );
    assert.ok(
      told.some((warning) => warning.startsWith('1 ')),
      'it says so itself',
    );
    assert.ok(
      told.some((warning) => warning.startsWith('from ')),
      'who is dialled says so',
    );
    await scheduler.runFor(60_000);
    assert.ok(warnings.filter((warning) => reason.test(warning)).length > told.length, 'it is said again');
    await cluster.run(cluster.closeAll());
  });
}

test('a secret is changed on a cluster that runs, by restarts', async () => {
  let secrets: string[] = [SECRET];
  const { cluster } = await started(2, () => ({ clusterSecret: secrets }));
  const client = cluster.client(60_000, { clusterSecret: undefined });
  let writes = 0;
  for (const next of [[SECRET, OTHER_SECRET], [OTHER_SECRET, SECRET], [OTHER_SECRET]]) {
    secrets = next;
    for (const id of [1, 2, 3]) {
      await cluster.run(cluster.nodes[id - 1]?.close() ?? Promise.resolve());
      await cluster.run(cluster.start(id));
      await cluster.run(client.put('key', `${++writes}`));
      const isReached = () =>
        cluster.nodes.every((node) => node?.status(0).peers.every(({ reachable }) => reachable));
      assert.ok(await cluster.world.scheduler.runUntil(isReached, cluster.world.scheduler.nowMs() + 20_000));
    }
  }
  assert.is(writes, 9);
  assert.equal(cluster.failures, []);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('with a secret, members and leaders are changed only by who proves it', async () => {
  const { cluster } = await started(3, () => ({ clusterSecret: SECRET }));
  const remove = [{ type: 'remove', node: 3 }] as const;
  const without = cluster.client(20_000, { clusterSecret: undefined });
  await cluster.run(without.put('a', '1'));
  for (const work of [without.changeMembers(remove), without.transferLeadership(2)]) {
    const { code, outcome, message } = await refusal(cluster, work);
    assert.equal([code, outcome], ['NOT_PERMITTED', 'notCommitted']);
    assert.match(message, '--secret-file');
  }
  const wrong = cluster.client(20_000, { clusterSecret: OTHER_SECRET });
  for (const work of [wrong.changeMembers(remove), wrong.put('a', '2')]) {
    const { code, outcome } = await refusal(cluster, work);
    assert.equal([code, outcome], ['SECRET_MISMATCH', 'notCommitted']);
  }
  assert.equal(cluster.leader?.status(0).voters, [1, 2, 3]);
  const right = cluster.client();
  await cluster.run(right.transferLeadership(2));
  await cluster.run(right.changeMembers(remove));
  assert.equal(cluster.leader?.status(0).voters, [1, 2]);
  await cluster.run(Promise.all([without.close(), wrong.close(), right.close(), cluster.closeAll()]));
});

test('without a secret, they are changed from the machine of the node alone, unless that is said to be insecure', async () => {
  for (const insecure of [false, true]) {
    const config = () => ({
      nodes: [{ id: 1, client: 'n1:7001', peer: '127.0.0.1:7101' }],
      security: { insecure },
    });
    const cluster = new SimulatedCluster(4, { size: 1, config });
    await cluster.run(cluster.startAll());
    const client = cluster.client(20_000);
    await cluster.run(client.put('a', '1'));
    const work = client.transferLeadership(1);
    if (insecure) await cluster.run(work);
    else {
      const { code, outcome, message } = await refusal(cluster, work);
      assert.equal([code, outcome], ['NOT_PERMITTED', 'notCommitted']);
      assert.match(message, 'security.clusterSecret');
    }
    await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
  }
});

test('what only operators need is told to nobody else', async () => {
  const { cluster } = await started(5, () => ({ clusterSecret: SECRET }));
  await cluster.world.scheduler.runFor(5000);
  const seen = async (options: Parameters<SimulatedCluster['client']>[1]) => {
    const client = cluster.client(20_000, options);
    const { clusterId, peers } = await cluster.run(client.status());
    await cluster.run(client.close());
    return { clusterId, peers: peers.map(({ peerAddress }) => peerAddress) };
  };
  const nothing = ['', ''];
  assert.equal(await seen({ clusterSecret: undefined }), { clusterId: '', peers: nothing });
  const named = await seen({ clusterSecret: undefined, clusterId: 'simulated' });
  assert.equal(named, { clusterId: 'simulated', peers: nothing });
  const operator = await seen({});
  assert.is(operator.clusterId, 'simulated');
  assert.ok(operator.peers.every((address) => /^n\d:7101$/.test(address)));
  const guess = cluster.client(20_000, { clusterSecret: undefined, clusterId: 'guessed' });
  const { code, message } = await refusal(cluster, guess.status());
  assert.is(code, 'IDENTITY_MISMATCH');
  assert.not.match(message, 'simulated');
  await cluster.run(Promise.all([guess.close(), cluster.closeAll()]));
});

test("a stranger's hello is answered with nothing that tells clusters or data folders apart", async () => {
  const { cluster } = await started(6, () => ({ clusterSecret: SECRET }), { size: 1 });
  const { env } = cluster.world.start('stranger', new SimDisk());
  const socket = await cluster.run(env.net.connect({ host: 'n1', port: 7001 }, 1000));
  const received: Buffer[] = [];
  socket.handle({ data: (chunk) => received.push(chunk), drained() {}, closed() {} });
  // hello, version 2, client, no cluster, node 0, no store; then status.
  socket.write([
    Buffer.from('0000000100000011000000020100000000000000000000000000000018000000040000000a', 'hex'),
  ]);
  await cluster.world.scheduler.runFor(1000);
  const answer = Buffer.concat(received);
  assert.ok(answer.length > 60, 'a hello and a status');
  const identity = JSON.parse(
    cluster.machine(1).disk.mount().readFile('/data/identity.json').toString() ?? '',
  );
  for (const secret of ['simulated', identity.storeId, identity.birth.incarnation, '7101']) {
    assert.ok(secret.length > 3);
    assert.not.ok(answer.toString('latin1').includes(secret), secret);
  }
  socket.destroy();
  await cluster.run(cluster.closeAll());
});

test('a secret file that cannot be used stops the start, before anything is opened', async () => {
  const cluster = new SimulatedCluster(7, {
    size: 1,
    config: () => ({ security: { clusterSecretFile: 'secret' } }),
  });
  const { code, message } = await refusal(cluster, cluster.start(1));
  assert.is(code, 'INVALID_CONFIG');
  assert.match(message, 'the secret file /secret does not exist');
  assert.is(cluster.machine(1).disk.mount().exists('/data'), false);
});

test.run();
