/**
 * Bugs that others shipped, where a whole replica is needed to show them; the numbers as in test/raft/ledger.test.ts.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Member, ReplicaLab } from './replica-lab.js';

const SMALL = { maxLogBytes: 4000, trailingEntries: 10 } as const;
const SLOW = { maxChunkBytes: 200, maxBytesPerSecond: 20_000, stallTimeoutMs: 400 } as const;

async function propose(lab: ReplicaLab, count: number, name: string): Promise<void> {
  for (let i = 0; i < count; i++) {
    lab.leader?.replica.propose(Buffer.from(`${name} ${i} ${'x'.repeat(60)}`)).catch(() => {});
    if (i % 5 === 4) await lab.world.scheduler.runFor(4);
  }
  await lab.world.scheduler.runFor(60);
}

async function withFollower(lab: ReplicaLab): Promise<{ leader: Member; follower: Member }> {
  const leader = await lab.untilLeader();
  const follower = [...lab.members.values()].find((member) => member !== leader) as Member;
  await propose(lab, 10, 'before');
  return { leader, follower };
}

/** Cut off until it needs a snapshot, and let in again. */
async function fallBehind(lab: ReplicaLab, member: Member): Promise<void> {
  lab.isolate(member.id);
  await propose(lab, 150, 'while away');
  assert.ok((lab.leader?.log.group(1)?.base.index ?? 0) > member.replica.lastIndex, 'the log was cut');
  lab.cut.clear();
}

function failuresOf(lab: ReplicaLab): unknown[] {
  return [...lab.members.values()].flatMap((member) => member.failures);
}

test('ledger 12: a snapshot is taken over while entries before it are being applied', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const lab = await ReplicaLab.start(seed, { replica: SMALL });
    const { leader, follower } = await withFollower(lab);
    const { machine } = follower;
    let release: () => void = () => {};
    machine.gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    await propose(lab, 5, 'being applied');
    const applied = machine.appliedIndex;
    await fallBehind(lab, follower);
    const before = follower.log.group(1)?.base.directory;
    await lab.until(() => follower.log.group(1)?.base.directory !== before);
    await lab.world.scheduler.runFor(50);
    assert.is(machine.restores, 0, 'the state machine is busy');
    assert.is(machine.appliedIndex, applied);
    machine.gate = undefined;
    release();
    await lab.until(() => machine.restores === 1);
    await propose(lab, 20, 'after');
    await lab.untilEqual();
    assert.equal(machine.entries, leader.machine.entries);
    assert.equal(failuresOf(lab), []);
  }
});

test('ledger 12: a member is removed while a snapshot travels to it', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const lab = await ReplicaLab.start(seed, { replica: { ...SMALL, snapshots: SLOW } });
    const { leader, follower } = await withFollower(lab);
    let chunks = 0;
    lab.intercept = (_from, to, message) => {
      if (to === follower.id && message.type === 'snapshotChunk') chunks++;
      return message;
    };
    await fallBehind(lab, follower);
    await lab.until(() => chunks > 5);
    const change = { changes: [{ type: 'remove', node: follower.id }], transition: 'auto' } as const;
    await lab.world.scheduler.run(leader.replica.changeConfiguration(change));
    assert.is(follower.machine.restores, 0, 'it was under way');
    await propose(lab, 20, 'without it');
    await lab.world.scheduler.runFor(5000);
    assert.is(lab.leader, leader);
    assert.equal(lab.directoriesOf(leader.id), ['state-0-0'], 'the checkpoint is gone');
    assert.equal(failuresOf(lab), []);
    // Back again, it gets what it lacks.
    const again = { changes: [{ type: 'addVoter', node: follower.id }], transition: 'auto' } as const;
    await lab.world.scheduler.run(leader.replica.changeConfiguration(again), 20_000);
    await lab.untilEqual();
    assert.equal(follower.machine.entries, leader.machine.entries);
  }
});

test('ledger 12: a snapshot for a group that has been stopped here leaves nothing behind', async () => {
  const lab = await ReplicaLab.start(3, { replica: { ...SMALL, snapshots: SLOW } });
  const { leader, follower } = await withFollower(lab);
  await lab.world.scheduler.run(follower.replica.stop());
  await fallBehind(lab, follower);
  const { configuration, term } = leader.replica;
  follower.replica.receive(leader.id, {
    type: 'snapshotOffer',
    term,
    checkpoint: 1,
    snapshot: { index: 1000, term, configuration },
    files: [{ name: 'part-000000', sizeBytes: 3 }],
  });
  await lab.world.scheduler.runFor(2000);
  assert.equal(lab.directoriesOf(follower.id), ['state-0-0']);
  assert.equal(follower.failures, []);
});

test('ledger 14: the wall clock may jump both ways: nothing here goes by it', async () => {
  const HOUR_MS = 3_600_000;
  const lab = await ReplicaLab.start(4);
  const leader = await lab.untilLeader();
  await propose(lab, 5, 'before');
  const { term } = leader.replica;
  let answered = 0;
  for (let i = 0; i < 40; i++) {
    for (const { process } of lab.members.values())
      process.clock.jumpWall(lab.world.random.between(-5, 5) * HOUR_MS);
    const committed = leader.replica.commitIndex;
    const index = await lab.world.scheduler.run(leader.replica.readIndex('lease'));
    assert.ok(index >= committed);
    answered++;
    await propose(lab, 1, `round ${i}`);
  }
  assert.is(answered, 40);
  assert.is(leader.replica.role, 'leader');
  assert.is(leader.replica.term, term);
});

test.run();
