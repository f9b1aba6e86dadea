/** Several groups on each node, over one Raft log: independent of each other, but for what they share. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, RaftreeError } from '../../src/env/errors.js';
import { configurationOf } from '../../src/raft/configuration.js';
import type { FileOperation } from '../../src/sim/world/file-operation.js';
import { type ListGroup, StoreLab } from './store-lab.js';

const A = 1;
const B = 2;

/** The code that a command of this replica is refused with; undefined if it is applied. */
async function refusalOf(lab: StoreLab, { replica }: ListGroup): Promise<string | undefined> {
  return lab.world.scheduler.run(
    replica.propose(Buffer.from('x')).then(
      () => undefined,
      (error: unknown) => errorCode(error),
    ),
  );
}

test('groups have leaders of their own, and one log that all come back from', async () => {
  const lab = await StoreLab.start(1, [A, B]);
  await lab.untilLed(A, B);
  // Leadership of one group moves, and the other one does not notice.
  const leaderOfB = lab.leaderOf(B)?.replica;
  const termOfB = leaderOfB?.term;
  const target =
    [1, 2, 3].find((id) => lab.groupOf(id, B).replica !== leaderOfB && id !== leaderOfB?.leader) ?? 0;
  const leaderOfA = lab.leaderOf(A);
  if (lab.groupOf(target, A) !== leaderOfA)
    await lab.world.scheduler.run(leaderOfA?.replica.transferLeadership(target) ?? Promise.resolve());
  await lab.untilLed(A, B);
  assert.is(lab.leaderOf(A)?.replica.leader, target);
  assert.is(lab.leaderOf(B)?.replica, leaderOfB);
  assert.is(lab.leaderOf(B)?.replica.term, termOfB);
  for (let i = 0; i < 20; i++) {
    await lab.write(A, `a${i}`);
    await lab.write(B, `b${i}`);
  }
  for (const group of [A, B]) await lab.untilEqual(group);
  for (const id of [1, 2, 3]) {
    assert.ok(lab.groupOf(id, A).stateMachine.commands.every((text) => text.startsWith('a')));
    assert.ok(lab.groupOf(id, B).stateMachine.commands.every((text) => text.startsWith('b')));
  }
  // The power of all nodes fails at once: the state machines were never flushed, the log has everything.
  const disks = [1, 2, 3].map((id) => ({ id, disk: lab.powerCut(id) }));
  for (const { id, disk } of disks) await lab.boot(id, disk);
  await lab.untilLed(A, B);
  for (const group of [A, B]) await lab.untilEqual(group);
  for (const [group, letter] of [
    [A, 'a'],
    [B, 'b'],
  ] as const) {
    const { commands } = lab.groupOf(1, group).stateMachine;
    for (let i = 0; i < 20; i++) assert.ok(commands.includes(`${letter}${i}`), `${letter}${i}`);
    assert.ok(commands.every((text) => text.startsWith(letter)));
  }
});

test('a group that fails on a node is closed there; the other groups and nodes go on', async () => {
  const lab = await StoreLab.start(2, [A, B]);
  await lab.untilLed(A, B);
  const [leader] = [lab.leaderOf(A) as ListGroup];
  const id = leader.replica.leader;
  leader.stateMachine.applying = () => Promise.reject(new RaftreeError('CORRUPTION', 'a damaged table'));
  const pending = leader.replica.propose(Buffer.from('lost')).catch((error: unknown) => errorCode(error));
  await lab.until(() => leader.failure !== undefined);
  assert.is(await lab.world.scheduler.run(pending), 'REPLICA_STOPPED');
  const node = lab.node(id);
  assert.equal(
    node.groupFailures.map(({ group, error }) => [group, error.code, errorCode(error.cause)]),
    [[A, 'REPLICA_FAILED', 'CORRUPTION']],
  );
  assert.equal(node.failures, [], 'the store goes on');
  assert.is(await refusalOf(lab, leader), 'REPLICA_STOPPED');
  // The other nodes elect another leader of A; B still has a replica here.
  await lab.write(A, 'a');
  await lab.write(B, 'b');
  await lab.untilEqual(A);
  await lab.untilEqual(B);
  assert.ok(lab.leaderOf(A)?.replica.leader !== id);
  assert.ok(lab.groupOf(id, B).stateMachine.commands.includes('b'));
  assert.not(lab.groupOf(id, A).stateMachine.commands.includes('a'));
  // Opened again it takes part again, from its log.
  await lab.world.scheduler.run(node.store.close());
  node.isRunning = false;
  node.process.kill();
  await lab.boot(id, node.disk);
  await lab.untilEqual(A);
  assert.ok(lab.groupOf(id, A).stateMachine.commands.includes('a'));
});

test('a state machine that throws when the log is to be cut ends its group; the ticks of the others go on', async () => {
  const lab = await StoreLab.start(7, [A, B]);
  await lab.untilLed(A, B);
  const { stateMachine } = lab.groupOf(1, A);
  Object.defineProperty(stateMachine, 'durableIndex', {
    get() {
      throw new Error('the engine is gone');
    },
  });
  await lab.until(() => lab.groupOf(1, A).failure !== undefined);
  assert.match(lab.groupOf(1, A).failure?.message ?? '', /the engine is gone/);
  assert.equal(lab.node(1).failures, []);
  // Without ticks node 1 could not be elected in B when the others are gone but for one.
  const other = lab.groupOf(2, B).replica.leader === 2 ? 3 : 2;
  for (const id of [2, 3]) if (id !== other) lab.powerCut(id);
  await lab.write(B, 'b');
  lab.groupOf(other, B).replica.stopCampaigning();
  await lab.world.scheduler.run(lab.groupOf(other, B).replica.transferBeforeStop());
  await lab.until(() => lab.groupOf(1, B).replica.role === 'leader');
});

test('when the last group of a node has failed, the store has', async () => {
  const lab = await StoreLab.start(3, [A, B]);
  await lab.untilLed(A, B);
  for (const group of [A, B]) await lab.untilEqual(group);
  const fail = () => Promise.reject(new RaftreeError('CORRUPTION', 'a damaged table'));
  for (const group of [A, B]) lab.groupOf(1, group).stateMachine.applying = fail;
  await lab.write(A, 'a');
  await lab.until(() => lab.groupOf(1, A).failure !== undefined);
  assert.equal(lab.node(1).failures, []);
  await lab.write(B, 'b');
  await lab.until(() => lab.groupOf(1, B).failure !== undefined);
  assert.is(lab.node(1).groupFailures.length, 1);
  assert.equal(
    lab.node(1).failures.map(({ code }) => code),
    ['REPLICA_FAILED'],
  );
  await lab.world.scheduler.run(lab.node(1).store.close());
});

test('a Raft log that fails ends all groups of its node, which is said once', async () => {
  let isBroken = false;
  const lab = await StoreLab.start(
    4,
    [A, B],
    (node) =>
      ({ kind, path }: FileOperation) =>
        isBroken && node === 1 && path.startsWith('/data/raft/') && (kind === 'write' || kind === 'sync')
          ? new Error('the disk failed')
          : undefined,
  );
  await lab.untilLed(A, B);
  isBroken = true;
  await lab.write(A, 'a');
  await lab.until(() => lab.node(1).failures.length > 0);
  await lab.write(B, 'b');
  await lab.until(() => lab.groupOf(1, B).failure !== undefined);
  assert.is(lab.node(1).failures.length, 1);
  assert.is(errorCode(lab.node(1).failures[0]?.cause), 'LOG_FAILED');
  assert.equal(lab.node(1).groupFailures, []);
});

test('a message creates no group, and a group is begun and opened once', async () => {
  const lab = await StoreLab.start(5, [A]);
  await lab.untilLed(A);
  const { store } = lab.node(1);
  const { scheduler } = lab.world;
  store.receive(2, 77, { type: 'heartbeat', term: 5, commitIndex: 0, round: 1 });
  assert.is(store.strayMessages, 1);
  assert.equal([store.group(77), store.incarnationOf(77), store.storedGroups], [undefined, undefined, [A]]);
  const base = { index: 1, term: 1, configuration: configurationOf([1, 2, 3]) };
  const codeOf = (promise: Promise<unknown>) =>
    scheduler.run(
      promise.then(
        () => 'done',
        (error: unknown) => errorCode(error),
      ),
    );
  assert.is(await codeOf(store.createGroup(A, base, '00'.repeat(16))), 'INVALID_OPTION');
  assert.is(await codeOf(store.openGroup(A, { restarted: true })), 'INVALID_OPTION');
  assert.is(await codeOf(store.openGroup(77, { restarted: true })), 'INVALID_OPTION');
  // One that is closed may be opened again, and takes part again.
  await scheduler.run(store.closeGroup(A));
  assert.is(store.group(A), undefined);
  await lab.write(A, 'while away');
  const twice = [store.openGroup(A, { restarted: true }), store.openGroup(A, { restarted: true })].map(
    codeOf,
  );
  assert.equal(await Promise.all(twice), ['done', 'INVALID_OPTION']);
  await lab.untilEqual(A);
  assert.ok(lab.groupOf(1, A).stateMachine.commands.includes('while away'));
});

test('a closing store transfers the leadership of all its groups', async () => {
  const lab = await StoreLab.start(6, [1, 2, 3, 4, 5, 6]);
  await lab.untilLed(...lab.groups);
  const { scheduler } = lab.world;
  const node = lab.node(1);
  for (const group of lab.groups) {
    const leader = lab.leaderOf(group) as ListGroup;
    if (leader.replica.leader !== 1) await scheduler.run(leader.replica.transferLeadership(1));
  }
  const startMs = scheduler.nowMs();
  node.store.stopCampaigning();
  await scheduler.run(node.store.transferBeforeStop());
  assert.ok(scheduler.nowMs() - startMs < 50, `${scheduler.nowMs() - startMs} ms`);
  node.isRunning = false;
  await scheduler.run(node.store.close());
  for (const group of lab.groups) assert.ok((lab.leaderOf(group)?.replica.leader ?? 1) > 1);
});

test.run();
