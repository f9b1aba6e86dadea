/** Steps of a change of a tablet's members, at its leader; which replica a message is for. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { replicaContext } from '../../src/placement/replica-context.js';
import {
  applyChange,
  type Configuration,
  type ConfigurationChange,
  configurationOf,
  isJoint,
  leaveJoint,
} from '../../src/raft/configuration.js';
import { type ReplicaChange, stepTowards } from '../../src/server/replica-change.js';
import { ReplicaIds } from '../../src/server/replica-ids.js';

const OLD = { replicaId: 13, node: 3 };
const NEW = { replicaId: 20, node: 4 };

/** A leader on node 1 of the replicas 11, 12 and 13 on nodes 1 to 3. */
class Leader {
  role = 'leader' as const;
  leader = 1;
  lastIndex = 100;
  hasPendingChange = false;
  settledConfiguration = 0;
  matched = 0;
  transferredTo = 0;
  heard: number[] = [2, 3, 4];
  lacking: number[] = [];
  /** Of members without ids in their contexts. */
  firstIds = new Map<number, number>();
  configuration: Configuration = configurationOf(
    [1, 2, 3],
    Object.fromEntries([1, 2, 3].map((node) => [node, replicaContext(10 + node)])),
  );

  matchIndexOf(): number {
    return this.matched;
  }

  async changeConfiguration(change: ConfigurationChange) {
    const next = applyChange(this.configuration, change);
    const index = this.configuration.index + 1;
    this.configuration = { ...(isJoint(next) ? leaveJoint(next) : next), index };
    this.settledConfiguration = index;
    return { index, result: undefined };
  }

  async transferLeadership(to: number): Promise<void> {
    this.transferredTo = to;
  }

  step(change: ReplicaChange) {
    return stepTowards(change, {
      ...{ nodeId: 1, replica: this, isHeard: (node) => this.heard.includes(node) },
      firstIdOf: (node) => this.firstIds.get(node) ?? 0,
      lacks: (node) => this.lacking.includes(node),
      waitFor: async (condition) => condition(),
    });
  }
}

test('a part of a tablet that was split: who stays must have it before others come or go', async () => {
  const leader = new Leader();
  leader.lacking = [2];
  const refusal = await leader.step({ add: NEW, remove: OLD }).then(String, errorCode);
  assert.is(refusal, 'CHANGE_PENDING');
  assert.equal(leader.configuration.learners, []);
  leader.lacking = [3];
  await leader.step({ add: NEW, remove: OLD });
  assert.equal(leader.configuration.learners, [4], 'the one that lacks it leaves');
});

test('a learner, then one joint change; each step again does no harm', async () => {
  const leader = new Leader();
  const change = { add: NEW, remove: OLD };
  assert.is((await leader.step(change)).state, 'underWay');
  assert.equal(leader.configuration.learners, [4]);
  for (let again = 0; again < 3; again++) assert.is((await leader.step(change)).state, 'underWay');
  assert.equal(leader.configuration.voters, [1, 2, 3], 'it has not caught up');
  leader.matched = 100;
  await leader.step(change);
  assert.equal(leader.configuration.voters, [1, 2, 4]);
  leader.settledConfiguration = 0;
  assert.is((await leader.step(change)).state, 'underWay', 'a quorum does not know it yet');
  leader.settledConfiguration = leader.configuration.index;
  const done = await leader.step(change);
  assert.equal(done, {
    ...{ state: 'done', confIndex: leader.configuration.index },
    replicas: [
      { node: 1, replicaId: 11, role: 'voter' },
      { node: 2, replicaId: 12, role: 'voter' },
      { node: 4, replicaId: 20, role: 'voter' },
    ],
  });
});

test('a move that is given up: a learner leaves, a voter stays', async () => {
  const change = { add: NEW, remove: OLD };
  const leader = new Leader();
  await leader.step(change);
  await leader.step({ ...change, givesUp: true });
  assert.equal([leader.configuration.voters, leader.configuration.learners], [[1, 2, 3], []]);
  assert.is((await leader.step({ ...change, givesUp: true })).state, 'done');
  const other = new Leader();
  await other.step(change);
  other.matched = 100;
  await other.step(change);
  assert.is((await other.step({ ...change, givesUp: true })).state, 'done');
  assert.equal(other.configuration.voters, [1, 2, 4]);
});

test('no change without a quorum of the voters that it leads to; a leader that leaves hands over', async () => {
  const leader = new Leader();
  await leader.step({ add: NEW, remove: OLD });
  leader.matched = 100;
  leader.heard = [];
  const refusal = await leader.step({ add: NEW, remove: OLD }).then(String, errorCode);
  assert.is(refusal, 'QUORUM_AT_RISK');
  leader.heard = [2, 4];
  await leader.step({ add: NEW, remove: { replicaId: 11, node: 1 } });
  assert.is(leader.transferredTo, 2);
  assert.equal(leader.configuration.voters, [1, 2, 3]);
  const taken = { replicaId: 30, node: 2 };
  const outdated = await leader.step({ add: taken, remove: OLD }).then(String, errorCode);
  assert.is(outdated, 'ORDER_OUTDATED', 'a node has one replica of a tablet');
});

test('a message for a replica that was here before, or from one that is gone, is for nobody (tikv #10533)', () => {
  const own = new Map([[7, 20]]);
  const map = new Map([[35, { tablet: 7, node: 2 }]]);
  const ids = new ReplicaIds(
    (tablet) => own.get(tablet) ?? 0,
    (id) => map.get(id),
  );
  const contexts = {
    1: replicaContext(11),
    2: replicaContext(12),
    3: replicaContext(20),
    4: replicaContext(30),
  };
  ids.configurationChanged(7, { ...configurationOf([1, 2, 3, 4], contexts), contexts });
  // This is node 3, with replica 20.
  assert.is(ids.numberFor(7, 1, 'append'), 20);
  assert.is(ids.numberFor(7, 4, 'append'), 30);
  assert.is(ids.tabletOf(1, 20), 7);
  assert.is(ids.tabletOf(4, 30), 7);
  assert.is(ids.tabletOf(1, 11), undefined, 'it was for an earlier replica here');
  assert.is(ids.tabletOf(1, 12), undefined, 'replica 12 is not on node 1');
  assert.is(ids.tabletOf(4, 20), undefined, 'it is of an earlier replica on node 4');
  assert.is(ids.tabletOf(1, 30), undefined, 'replica 30 is not on node 1');
  assert.is(ids.tabletOf(1, 7), undefined, 'it names no replicas');
  // A newer replica on node 2, which only the map names: it is answered, and sent nothing else.
  assert.is(ids.tabletOf(2, 35), 7);
  assert.is(ids.numberFor(7, 2, 'voteReply'), 35);
  assert.is(ids.numberFor(7, 2, 'append'), 20);
  // Groups without ids.
  assert.is(ids.tabletOf(1, 0), 0);
  assert.is(ids.numberFor(1, 2, 'append'), 1);
});

test('a message between first members, which have no ids, says so; one of a first replica that is gone counts for none', () => {
  const map = new Map([[20, { tablet: 1, node: 3 }]]);
  let own = 1;
  const ids = new ReplicaIds(
    (tablet) => (tablet === 1 ? own : 0),
    (id) => map.get(id),
  );
  const members = (contexts: Record<number, string>) =>
    ids.configurationChanged(1, { ...configurationOf([1, 2, 3], contexts), contexts });
  members({ 1: '{"client":"a:1"}', 2: '', 3: '' });
  assert.is(ids.numberFor(1, 2, 'append'), 1);
  assert.is(ids.tabletOf(3, 1), 1);
  assert.is(ids.tabletOf(3, 20), 1, 'a later one, which was not heard of yet');
  members({ 1: '{"client":"a:1"}', 2: '', 3: replicaContext(20) });
  assert.is(ids.numberFor(1, 3, 'append'), 20);
  assert.is(ids.tabletOf(3, 20), 1);
  assert.is(ids.tabletOf(3, 1), undefined, 'it may acknowledge what the later one does not hold');
  assert.is(ids.tabletOf(2, 1), 1);
  // This node has a later one itself.
  own = 20;
  assert.is(ids.numberFor(1, 2, 'append'), 20);
  assert.is(ids.tabletOf(2, 20), 1);
  assert.is(ids.tabletOf(2, 1), undefined, 'it was for the first one');
});

test('a first member, which has no id in the log, is removed by the id that the map has given it', async () => {
  const leader = new Leader();
  leader.configuration = configurationOf([1, 2, 3], { 1: '{"client":"a:1"}' });
  leader.firstIds = new Map([1, 2, 3].map((node) => [node, 10 + node]));
  leader.matched = 100;
  const change = { add: NEW, remove: OLD };
  for (let steps = 0; steps < 2; steps++) await leader.step(change);
  const done = await leader.step(change);
  assert.equal(done.state === 'done' && done.replicas.map(({ node, replicaId }) => [node, replicaId]), [
    [1, 11],
    [2, 12],
    [4, 20],
  ]);
  // Back on node 3 it would be another one.
  leader.configuration = { ...leader.configuration, contexts: { ...leader.configuration.contexts } };
  assert.is((await leader.step({ remove: OLD })).state, 'done');
});

test.run();
