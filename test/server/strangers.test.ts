/**
 * What strangers, and neighbours who lie, may say to a cluster, and what does no lasting harm: over restarts of all
 * nodes.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Logger } from '../../src/env/env.js';
import { encodeOpenSession } from '../../src/kv/command.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { encodeChange } from '../../src/raft/configuration-codec.js';
import type { AppendBatch, Entry } from '../../src/raft/types.js';
import { type GroupLog, RaftLog } from '../../src/raft-log/raft-log.js';
import type { ReplicaMessage } from '../../src/replica/snapshot-messages.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { type Claim, identityOf, Liar } from '../support/liar.js';

const FAR = 2 ** 53 - 1;
const STRANGER = 99;

/**
 * A cluster in which the stranger has what members have: the secret, or there is none. What the nodes log as errors and
 * warnings.
 */
async function started(seed: number, hasSecret: boolean) {
  const told: string[] = [];
  const tell = (_fields: unknown, message: string) => void told.push(message);
  const logger: Logger = { debug() {}, info() {}, warn: tell, error: tell };
  const cluster = new SimulatedCluster(seed, { logger, hasSecret });
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  await cluster.run(client.put('key', 'value'));
  return { cluster, client, told };
}

type Started = Awaited<ReturnType<typeof started>>;

/** All nodes run, in the term in which they were, and take writes; after a restart of all too. */
async function isUnharmed({ cluster, client }: Started, term: number): Promise<void> {
  await cluster.world.scheduler.runFor(3000);
  await cluster.run(client.put('key', 'after'));
  assert.equal(cluster.failures, [], 'no node gave up');
  assert.is(cluster.leader?.status(0).term, term, 'the leader was not disturbed');
  assert.equal(cluster.leader?.status(0).voters, [1, 2, 3]);
  cluster.cutPowerOfAll();
  await cluster.run(cluster.startAll());
  await cluster.run(client.put('key', 'after all have restarted'));
  for (const node of cluster.nodes) assert.ok((node?.status(0).term ?? 0) < term + 100);
  assert.is((await cluster.run(client.get('key')))?.value.toString(), 'after all have restarted');
  assert.equal(cluster.failures, []);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
}

const entry = (term: number, kind: Entry['kind'], body: Uint8Array): Entry => ({ term, kind, body });

function append(term: number, entries: readonly Entry[], more: object = {}): ReplicaMessage {
  return {
    ...{ type: 'append', term, previousIndex: 1, previousTerm: 1, commitIndex: FAR },
    ...{ allMatchedIndex: FAR, entries },
    ...more,
  };
}

/** What does lasting harm where it is believed, as of a term. */
function lies(term: number, lastIndex: number): readonly ReplicaMessage[] {
  const change = encodeChange({ changes: [{ type: 'addVoter', node: STRANGER }], transition: 'auto' });
  return [
    { type: 'requestVote', term, preVote: false, force: true, lastIndex: FAR, lastTerm: term },
    { type: 'heartbeat', term, commitIndex: FAR, round: 1 },
    append(term, [entry(term, 'configuration', change)]),
    append(term, [entry(term, 'command', encodeOpenSession(1))], {
      previousIndex: lastIndex,
      previousTerm: term,
    }),
    {
      ...{ type: 'appendReply', term, accepted: true, matchIndex: lastIndex + 1 },
      ...{ rejectedIndex: 0, hintIndex: 0, hintTerm: 0 },
    },
    { type: 'heartbeatReply', term, round: FAR, promisedMs: 0xffff_ffff },
    { type: 'voteReply', term, preVote: false, granted: true, commitIndex: lastIndex, commitTerm: term },
    { type: 'timeoutNow', term },
    { type: 'readIndexReply', term, id: 1, index: 0 },
    {
      ...{ type: 'snapshotOffer', term, checkpoint: 1 },
      snapshot: { index: FAR, term, configuration: configurationOf([STRANGER]) },
      files: [{ name: 'MANIFEST-00000001', sizeBytes: FAR }],
    },
    { type: 'snapshotWanted', term, checkpoint: 1, file: 0, offset: 0 },
  ];
}

/** What lies or faults have left in the Raft log of a node that is down. */
async function changeLog(
  cluster: SimulatedCluster,
  id: number,
  batch: (log: GroupLog) => Pick<AppendBatch, 'hardState' | 'first' | 'entries'>,
): Promise<void> {
  const disk = cluster.machine(id).disk;
  if (!disk) throw new Error('there is no such node');
  const { env } = cluster.world.start(`n${id}`, disk);
  const log = RaftLog.open({
    ...{ env, directory: '/data/raft', maxSegmentBytes: 2 ** 26, maxGroupCommitBytes: 2 ** 22 },
    ...{ maxCachedBytes: 2 ** 24, preallocateBytes: 2 ** 20 },
  });
  const group = log.group(1);
  if (!group) throw new Error('its log is empty');
  await cluster.run(group.append({ batch: 1, ...batch(group), snapshot: undefined }));
  await cluster.run(log.close());
}

for (const hasSecret of [true, false]) {
  const which = hasSecret ? 'that has the secret' : 'where there is no secret';
  test(`a node ${which}, and is no member, does no harm, whatever it says of whatever term`, async () => {
    const setting = await started(hasSecret ? 1 : 2, hasSecret);
    const { cluster, told } = setting;
    const { term = 0, lastIndex = 0 } = cluster.leader?.status(0) ?? {};
    for (const to of [1, 2, 3]) {
      const liar = await Liar.meet(cluster, to, { nodeId: STRANGER, hasSecret });
      assert.ok(liar.isIn, 'it is listened to, as far as that goes');
      for (const claimed of [term - 1, term, term + 1, term + 50, FAR]) liar.say(...lies(claimed, lastIndex));
    }
    await cluster.world.scheduler.runFor(500);
    await isUnharmed(setting, term);
    assert.ok(told.some((line) => line.includes('a message of node 99 does not count: it is no member')));
    assert.ok(told.some((line) => line.includes('a message of node 99 does not count: no cluster reaches')));
    assert.ok(told.some((line) => line.includes('a message of node 99 does not count: it leads a term')));
    assert.ok(told.filter((line) => line.includes('node 99')).length < 40, 'and not for each of them');
  });
}

test('without the secret nobody is let in, and what it says is not read', async () => {
  const setting = await started(3, true);
  const { cluster } = setting;
  const { term = 0 } = cluster.leader?.status(0) ?? {};
  for (const claim of [
    { nodeId: STRANGER },
    { nodeId: 2, storeId: identityOf(cluster, 2).storeId },
  ] as Claim[]) {
    const liar = await Liar.meet(cluster, 1, claim);
    assert.not.ok(liar.isIn);
  }
  await isUnharmed(setting, term);
});

test("whoever takes a member's name is refused, unless it shows that member's data folder", async () => {
  const setting = await started(4, true);
  const { cluster } = setting;
  const { term = 0 } = cluster.leader?.status(0) ?? {};
  for (const nodeId of [1, 2, 3])
    for (const to of [1, 2, 3])
      assert.not.ok((await Liar.meet(cluster, to, { nodeId, hasSecret: true })).isIn);
  await isUnharmed(setting, term);
});

test('whoever says that a newer configuration gave it a member’s name is heard while it is there, and nothing stays of it', async () => {
  const setting = await started(15, true);
  const { cluster } = setting;
  const { term = 0 } = cluster.leader?.status(0) ?? {};
  for (const nodeId of [1, 2, 3]) {
    for (const to of [1, 2, 3].filter((id) => id !== nodeId)) {
      const liar = await Liar.meet(cluster, to, { nodeId, hasSecret: true, isMember: true });
      assert.ok(liar.isIn);
      liar.leave();
      await cluster.world.scheduler.runFor(200);
      assert.not.ok((await Liar.meet(cluster, to, { nodeId, hasSecret: true })).isIn);
    }
  }
  await isUnharmed(setting, term);
});

test('a second leader of a term is told, and no entry gives way to its', async () => {
  const setting = await started(5, true);
  const { cluster, client, told } = setting;
  const { term = 0, leaderId = 0 } = cluster.leader?.status(0) ?? {};
  const [victim = 0, other = 0] = [1, 2, 3].filter((id) => id !== leaderId);
  const liar = await Liar.meet(cluster, victim, {
    ...identityOf(cluster, other),
    nodeId: other,
    hasSecret: true,
  });
  assert.ok(liar.isIn, 'it has the name and the data folder of a member');
  const forged = append(term, [entry(term, 'command', encodeOpenSession(7))]);
  liar.say({ type: 'heartbeat', term, commitIndex: 1, round: 1 }, forged);
  await cluster.world.scheduler.runFor(500);
  liar.leave();
  assert.is((await cluster.run(client.get('key')))?.value.toString(), 'value');
  await isUnharmed(setting, term);
  assert.ok(told.some((line) => line.includes(`a message of node ${other} does not count: it leads a term`)));
});

test('a term that no cluster reaches is refused from a member too', async () => {
  const setting = await started(6, true);
  const { cluster, told } = setting;
  const { term = 0, leaderId = 0 } = cluster.leader?.status(0) ?? {};
  const other = leaderId === 3 ? 2 : 3;
  for (const to of [1, 2, 3].filter((id) => id !== other)) {
    const liar = await Liar.meet(cluster, to, {
      ...identityOf(cluster, other),
      nodeId: other,
      hasSecret: true,
    });
    assert.ok(liar.isIn);
    liar.say(...lies(FAR, 5));
    await cluster.world.scheduler.runFor(100);
    liar.leave();
  }
  assert.ok(
    told.some((line) => line.includes(`a message of node ${other} does not count: no cluster reaches`)),
  );
  await isUnharmed(setting, term);
});

test('a node whose log holds such a term says so, and serves what it has', async () => {
  const { cluster, client, told } = await started(7, true);
  await cluster.run(cluster.closeAll());
  // As an earlier version stored it.
  for (let id = 1; id <= 3; id++) {
    await changeLog(cluster, id, ({ lastIndex }) => ({
      ...{ hardState: { term: FAR, vote: 0, commit: lastIndex }, first: 0, entries: [] },
    }));
  }
  await cluster.run(cluster.startAll());
  await cluster.world.scheduler.runFor(20_000);
  assert.is(cluster.leader, undefined);
  assert.ok(told.some((line) => /the term .* no leader can be elected.*export --stale/.test(line)));
  const endpoint = cluster.endpoints[0] ?? '';
  const found = await cluster.run(client.get('key', { level: 'stale', endpoint }));
  assert.is(found?.value.toString(), 'value');
  assert.equal(cluster.failures, []);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('an entry that nobody can decode is refused before it is appended', async () => {
  const setting = await started(9, true);
  const { cluster, told } = setting;
  const { term = 0, leaderId = 0 } = cluster.leader?.status(0) ?? {};
  const [victim = 0, other = 0] = [1, 2, 3].filter((id) => id !== leaderId);
  const { lastIndex } = cluster.nodes[victim - 1]?.status(0) ?? {};
  for (const [kind, body] of [
    ['command', Buffer.from('no command')],
    ['configuration', Buffer.from('no change')],
  ] as const) {
    const liar = await Liar.meet(cluster, victim, {
      ...identityOf(cluster, other),
      nodeId: other,
      hasSecret: true,
    });
    const more = { previousIndex: lastIndex, previousTerm: term, commitIndex: 0 };
    liar.say(append(term + 1, [entry(term + 1, kind, body)], more));
    await cluster.world.scheduler.runFor(200);
    assert.not.ok(liar.isIn, 'the connection is closed');
  }
  assert.ok(told.some((line) => /append\.entries cannot be/.test(line)));
  await isUnharmed(setting, term);
});

test('an entry that nobody can decode, and that is committed, is void on all nodes, over restarts', async () => {
  const setting = await started(10, true);
  const { cluster, client, told } = setting;
  const { term = 0 } = cluster.leader?.status(0) ?? {};
  await cluster.run(cluster.closeAll());
  const indexes = new Set<number>();
  for (let id = 1; id <= 3; id++) {
    await changeLog(cluster, id, ({ lastIndex }) => {
      indexes.add(lastIndex + 1);
      const entries = [
        entry(term, 'command', Buffer.from('no command')),
        entry(term, 'noop', Buffer.alloc(0)),
      ];
      return { hardState: { term, vote: 0, commit: lastIndex + 2 }, first: lastIndex + 1, entries };
    });
  }
  assert.is(indexes.size, 1, 'all logs were equal');
  for (let round = 0; round < 2; round++) {
    await cluster.run(cluster.startAll());
    await cluster.run(client.put('key', `after ${round}`));
    await cluster.world.scheduler.runFor(2000);
    assert.equal(cluster.failures, []);
    const read = async (endpoint: string) =>
      (await client.get('key', { level: 'stale', endpoint }))?.value.toString();
    for (const endpoint of cluster.endpoints) assert.is(await cluster.run(read(endpoint)), `after ${round}`);
    await cluster.run(cluster.closeAll());
  }
  const lines = told.filter((line) => line.includes(`entry ${[...indexes][0]} can be applied by no replica`));
  assert.is(lines.length, 3, 'each node says so once');
  await cluster.run(client.close());
});

test('a thousand made-up nodes are remembered by nobody, and the place of a new one is not taken', async () => {
  const setting = await started(8, false);
  const { cluster } = setting;
  const { term = 0 } = cluster.leader?.status(0) ?? {};
  for (let nodeId = 1000; nodeId < 2010; nodeId++) {
    const liar = await Liar.meet(cluster, 1, { nodeId });
    liar.leave();
  }
  const peers = JSON.parse(cluster.machine(1).disk.mount().readFile('/data/peers.json').toString() ?? '');
  assert.equal(Object.keys(peers), ['2', '3']);
  assert.ok((await Liar.meet(cluster, 1, { nodeId: STRANGER })).isIn);
  await isUnharmed(setting, term);
});

test.run();
