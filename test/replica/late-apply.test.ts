/** A state machine whose `apply` answers late: nothing reads, copies, replaces or closes it in between. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { type LabOptions, type Member, newGate, Proposals, ReplicaLab } from './replica-lab.js';

const SMALL = { maxLogBytes: 4000, trailingEntries: 10 } as const;

async function propose(lab: ReplicaLab, count: number, name: string): Promise<void> {
  for (let i = 0; i < count; i++) {
    lab.leader?.replica.propose(Buffer.from(`${name} ${i} ${'x'.repeat(60)}`)).catch(() => {});
    if (i % 5 === 4) await lab.world.scheduler.runFor(4);
  }
  await lab.world.scheduler.runFor(60);
}

/** A leader, and a follower that is cut off and lacks what the others have cut. */
async function open(seed: number, options: LabOptions = {}) {
  const lab = await ReplicaLab.start(seed, { ...options, replica: { ...SMALL, ...options.replica } });
  const leader = await lab.untilLeader();
  const away = [...lab.members.values()].find((member) => member !== leader) as Member;
  await propose(lab, 10, 'before');
  lab.isolate(away.id);
  await propose(lab, 150, 'while away');
  return { lab, leader, away };
}

async function checkEqual(lab: ReplicaLab): Promise<void> {
  await lab.untilEqual();
  const [first, ...others] = [...lab.members.values()].filter(({ isRunning }) => isRunning);
  for (const other of others) assert.equal(other.machine.entries, first?.machine.entries);
  assert.equal(
    [...lab.members.values()].flatMap(({ failures }) => failures),
    [],
  );
}

test('a checkpoint waits for the range that is being applied', async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const { lab, leader, away } = await open(seed);
    const gate = newGate();
    leader.machine.gate = gate.promise;
    await propose(lab, 5, 'being applied');
    lab.cut.clear();
    await lab.world.scheduler.runFor(100);
    assert.is(leader.machine.checkpoints, 0, 'the state machine is busy');
    leader.machine.gate = undefined;
    gate.open();
    await lab.until(() => away.machine.restores === 1);
    await checkEqual(lab);
  }
});

test('nothing is applied while a checkpoint is made', async () => {
  const { lab, leader, away } = await open(4, { maxApplyMs: 3 });
  const gate = newGate();
  leader.machine.checkpointGate = gate.promise;
  lab.cut.clear();
  await lab.until(() => leader.machine.checkpoints === 1);
  const { appliedIndex } = leader.machine;
  await propose(lab, 5, 'meanwhile');
  assert.ok(leader.replica.commitIndex > appliedIndex);
  assert.is(leader.machine.appliedIndex, appliedIndex);
  gate.open();
  await checkEqual(lab);
  assert.is(away.machine.restores, 1);
});

test('a leader that lost its place over a checkpoint takes a snapshot when that is made', async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const { lab, leader, away } = await open(seed);
    const gate = newGate();
    leader.machine.checkpointGate = gate.promise;
    lab.cut.clear();
    await lab.until(() => leader.machine.checkpoints === 1);
    await propose(lab, 5, 'waiting to be applied');
    assert.ok(leader.replica.commitIndex > leader.machine.appliedIndex);
    lab.isolate(leader.id);
    await lab.until(() => lab.leader !== leader && away.machine.restores > 0);
    await propose(lab, 150, 'under another');
    const before = leader.log.group(1)?.base.directory;
    lab.cut.clear();
    await lab.until(() => leader.log.group(1)?.base.directory !== before);
    await lab.world.scheduler.runFor(50);
    assert.is(leader.machine.restores, 0, 'the state machine is busy');
    gate.open();
    await checkEqual(lab);
    assert.is(leader.machine.restores, 1);
  }
});

test('a stop waits for the range, and for the checkpoint that waits for it', async () => {
  const { lab, leader } = await open(5);
  const gate = newGate();
  leader.machine.gate = gate.promise;
  await propose(lab, 5, 'being applied');
  lab.cut.clear();
  await lab.world.scheduler.runFor(100);
  const { appliedIndex } = leader.machine;
  lab.world.scheduler.after(100, gate.open);
  leader.isRunning = false;
  await lab.world.scheduler.run(leader.replica.stop());
  assert.ok(leader.machine.appliedIndex > appliedIndex);
  assert.equal(leader.machine.overlaps, []);
  assert.equal(leader.failures, []);
  assert.equal(lab.directoriesOf(leader.id), [leader.log.group(1)?.base.directory ?? '']);
});

test('what waits for a checkpoint is not applied after the stop', async () => {
  const { lab, leader } = await open(7, { maxApplyMs: 3 });
  const gate = newGate();
  leader.machine.checkpointGate = gate.promise;
  lab.cut.clear();
  await lab.until(() => leader.machine.checkpoints === 1);
  await propose(lab, 5, 'meanwhile');
  const { appliedIndex } = leader.machine;
  assert.ok(leader.replica.commitIndex > appliedIndex);
  leader.isRunning = false;
  lab.world.scheduler.after(100, gate.open);
  await lab.world.scheduler.run(leader.replica.stop());
  await lab.world.scheduler.runFor(100);
  assert.is(leader.machine.appliedIndex, appliedIndex);
});

test('a range that is applied after the stop answers nobody', async () => {
  const lab = await ReplicaLab.start(6);
  const leader = await lab.untilLeader();
  await lab.untilEqual();
  const gate = newGate();
  leader.machine.gate = gate.promise;
  const proposals = new Proposals();
  proposals.propose(leader, 'x');
  await lab.world.scheduler.runFor(20);
  leader.isRunning = false;
  await lab.world.scheduler.run(leader.replica.stop(), 30_000);
  gate.open();
  await lab.world.scheduler.runFor(100);
  assert.equal(leader.machine.commands, ['x']);
  assert.equal(proposals.answersOf('x'), ['unknown']);
});

test('a successor that applies late serves reads of what the leader before it acknowledged', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const lab = await ReplicaLab.start(seed);
    const leader = await lab.untilLeader();
    await lab.untilEqual();
    const successor = [...lab.members.values()].find((member) => member !== leader) as Member;
    const gate = newGate();
    successor.machine.gate = gate.promise;
    await lab.world.scheduler.run(leader.replica.propose(Buffer.from('acknowledged')));
    const transfer = leader.replica.transferLeadership(successor.id).catch(errorCode);
    await lab.world.scheduler.runFor(20);
    let read: readonly string[] | undefined;
    const reading = async () => {
      await successor.replica.readIndex('index');
      read = successor.machine.commands;
    };
    const early = successor.replica.role === 'leader' ? reading() : undefined;
    await lab.world.scheduler.runFor(20);
    assert.is(read, undefined);
    successor.machine.gate = undefined;
    gate.open();
    await lab.world.scheduler.run(transfer);
    await lab.until(() => lab.leader !== undefined);
    await (early ? lab.world.scheduler.run(early) : undefined);
    if (read) assert.equal(read, ['acknowledged']);
    await checkEqual(lab);
  }
});

/** What is read, and the commands that were acknowledged when it was asked for. */
async function read(
  member: Member,
  acknowledged: readonly string[],
  level: 'index' | 'lease',
  faults: string[],
) {
  const before = [...acknowledged];
  try {
    await member.replica.readIndex(level);
  } catch {
    return;
  }
  const { commands } = member.machine;
  for (const text of before) if (!commands.includes(text)) faults.push(`a ${level} read lacks ${text}`);
}

test('changes of leader, cuts, snapshots, power cuts and members that come and go', async () => {
  let snapshots = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const lab = await ReplicaLab.start(seed, { maxApplyMs: 40, replica: SMALL, maxCachedBytes: 500 });
    const { random, scheduler } = lab.world;
    const proposals = new Proposals();
    const acknowledged: string[] = [];
    const faults: string[] = [];
    let reads = 0;
    const member = () => lab.member(random.between(1, 3));
    for (let i = 0; i < 250; i++) {
      const { leader } = lab;
      if (leader) {
        const text = `${i} by ${leader.id} ${'x'.repeat(random.between(0, 100))}`;
        proposals.propose(leader, text);
        leader.replica.propose(Buffer.from(`own ${text}`)).then(
          () => acknowledged.push(`own ${text}`),
          () => {},
        );
        if (random.chance(0.3)) void read(leader, acknowledged, random.pick(['index', 'lease']), faults);
        if (random.chance(0.02)) leader.replica.transferLeadership(random.between(1, 3)).catch(() => {});
        reads++;
      }
      if (random.chance(0.02)) lab.isolate(member().id);
      if (random.chance(0.05)) lab.cut.clear();
      if (random.chance(0.01)) {
        const { id } = member();
        lab.powerCut(id);
        await lab.restart(id);
      }
      if (random.chance(0.02)) {
        const node = random.between(1, 3);
        const type = random.pick(['remove', 'addVoter'] as const);
        lab.leader?.replica
          .changeConfiguration({ changes: [{ type, node }], transition: 'auto' })
          .catch(() => {});
      }
      await scheduler.runFor(random.float() * 15);
    }
    lab.cut.clear();
    // A change that was asked for before may still come into force.
    await scheduler.runFor(1000);
    const missing = () =>
      [1, 2, 3].filter((node) => !lab.leader?.replica.configuration.voters.includes(node));
    for (let attempts = 0; attempts < 60 && missing().length > 0; attempts++) {
      const changes = missing()
        .slice(0, 1)
        .map((node) => ({ type: 'addVoter', node }) as const);
      lab.leader?.replica.changeConfiguration({ changes, transition: 'auto' }).catch(() => {});
      await scheduler.runFor(500);
    }
    assert.equal(missing(), [], `all are voters again, seed ${seed}`);
    await checkEqual(lab);
    await scheduler.runFor(3000);
    snapshots += [...lab.members.values()].reduce((sum, { machine }) => sum + machine.restores, 0);
    assert.equal(faults, [], `seed ${seed}`);
    // A process that is gone does not answer.
    const untrue = proposals
      .faults(lab.leader?.machine.commands ?? [])
      .filter((fault) => !/ was answered 0 times$|: undefined$/.test(fault));
    assert.equal(untrue, [], `seed ${seed}`);
    assert.ok(acknowledged.length > 30 && reads > 30, `${acknowledged.length} acknowledged, seed ${seed}`);
  }
  assert.ok(snapshots > 5, `${snapshots} snapshots were taken over`);
});

test('a state machine that takes some entries of a range at a time gets the others, and each caller its result', async () => {
  for (const maxApplyMs of [undefined, 3]) {
    const lab = await ReplicaLab.start(9, maxApplyMs === undefined ? {} : { maxApplyMs });
    const leader = await lab.untilLeader();
    for (const { machine } of lab.members.values()) machine.entriesPerCall = 2;
    const before = leader.machine.commands.length;
    const answers = Array.from({ length: 50 }, (_none, i) =>
      leader.replica.propose(Buffer.from(`some ${i}`)),
    );
    await lab.until(() => leader.machine.commands.length === before + 50);
    const results = await Promise.all(answers);
    assert.equal(
      results.map(({ result }) => result),
      Array.from({ length: 50 }, (_none, i) => before + i),
    );
    await checkEqual(lab);
  }
});

test.run();
