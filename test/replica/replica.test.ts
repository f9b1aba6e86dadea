/** One replica's driver among others: callers get exactly one answer, and a disk that fails is no surprise. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, RaftreeError } from '../../src/env/errors.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { ListMachine, type Member, Proposals, ReplicaLab } from './replica-lab.js';

/** Members whose disks are full: everything that takes space fails half-way. */
function fullDisks(full: ReadonlySet<number>) {
  return (id: number) =>
    ({ kind }: FileOperation) =>
      full.has(id) && (kind === 'write' || kind === 'create') ? ('short' as const) : undefined;
}

function commandsOf(lab: ReplicaLab): string[][] {
  return [...lab.members.values()]
    .filter((member) => member.isRunning)
    .map(({ machine }) => machine.commands);
}

async function checkEqual(lab: ReplicaLab): Promise<string[]> {
  await lab.untilEqual();
  const [first = [], ...others] = commandsOf(lab);
  for (const other of others) assert.equal(other, first);
  return first;
}

test('proposals are applied in order on every replica, and each caller gets its own result', async () => {
  const lab = await ReplicaLab.start(1);
  const leader = await lab.untilLeader();
  const proposals = new Proposals();
  for (let i = 0; i < 200; i++) {
    proposals.propose(leader, `command ${i}`);
    if (i % 7 === 0) await lab.world.scheduler.runFor(1);
  }
  const commands = await checkEqual(lab);
  assert.equal(commands, proposals.texts);
  assert.equal(proposals.faults(commands), []);
});

test('a follower refuses, names the leader, and nothing happens', async () => {
  const lab = await ReplicaLab.start(2);
  const leader = await lab.untilLeader();
  const follower = [...lab.members.values()].find((member) => member !== leader) as Member;
  await lab.until(() => follower.replica.leader === leader.id);
  const { replica } = follower;
  for (const attempt of [() => replica.propose(Buffer.from('x')), () => replica.readIndex('index')]) {
    const error = await attempt().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof RaftreeError);
    assert.is(error.code, 'NOT_LEADER');
    assert.equal(error.info, { leader: leader.id, outcome: 'notCommitted' });
  }
  assert.equal(await checkEqual(lab), []);
});

test('through changes of leader every caller gets one answer, and it is true', async () => {
  let applied = 0;
  let unknown = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const lab = await ReplicaLab.start(seed);
    const proposals = new Proposals();
    const { random, scheduler } = lab.world;
    for (let i = 0; i < 150; i++) {
      for (const member of lab.members.values()) {
        if (member.isRunning && member.replica.role === 'leader')
          proposals.propose(member, `${i} by ${member.id}`);
      }
      if (random.chance(0.05)) lab.isolate(random.between(1, 3));
      if (random.chance(0.1)) lab.cut.clear();
      await scheduler.runFor(random.float() * 20);
    }
    lab.cut.clear();
    const commands = await checkEqual(lab);
    assert.equal(proposals.faults(commands), [], `seed ${seed}`);
    applied += commands.length;
    unknown += proposals.texts.filter((text) => proposals.answersOf(text)[0] === 'unknown').length;
  }
  assert.ok(applied > 200, `${applied} applied`);
  assert.ok(unknown > 3, `${unknown} unknown`);
});

test('a leader that hands over or is overtaken tells its callers what became of their entries', async () => {
  let replaced = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const lab = await ReplicaLab.start(seed);
    const { scheduler, random } = lab.world;
    const proposals = new Proposals();
    for (let round = 0; round < 6; round++) {
      const leader = await lab.untilLeader();
      for (let i = 0; i < 20; i++) {
        proposals.propose(leader, `${round}.${i}`);
        await scheduler.runFor(random.float());
      }
      const isPaused = round % 2 === 1;
      if (isPaused) lab.pause(leader.id);
      else leader.replica.transferLeadership((leader.id % 3) + 1).catch(() => {});
      const others = [...lab.members.values()].filter((member) => member !== leader);
      await lab.until(() => others.some(({ replica }) => replica.role === 'leader'));
      if (isPaused) lab.resume(leader.id);
      await lab.until(() => lab.leader !== undefined && lab.leader !== leader);
    }
    const commands = await checkEqual(lab);
    assert.equal(proposals.faults(commands), [], `seed ${seed}`);
    for (const text of proposals.texts) {
      const [answer = ''] = proposals.answersOf(text);
      assert.is.not(answer, 'unknown', `seed ${seed}: ${text}`);
      if (answer === 'notCommitted') replaced++;
    }
  }
  assert.ok(replaced > 5, `${replaced} were replaced`);
});

test('a node that leads again says that it does not know of what was replaced, before it takes more', async () => {
  const lab = await ReplicaLab.start(3);
  const { scheduler } = lab.world;
  const leader = await lab.untilLeader();
  const [next = leader, third = leader] = [...lab.members.values()].filter((member) => member !== leader);
  let isReplaced = false;
  lab.intercept = (from, to, message) => {
    const { type } = message;
    // Nobody has the leader's entry, and only the leader gets the one that replaces it: it is not committed yet.
    if (type === 'append' && (from === leader.id ? !isReplaced : to === third.id)) return undefined;
    if (type === 'requestVote' && from === third.id) return undefined;
    return message;
  };
  const proposals = new Proposals();
  proposals.propose(leader, 'replaced');
  await scheduler.runFor(3);
  lab.pause(leader.id);
  await lab.until(() => next.replica.role === 'leader');
  isReplaced = true;
  next.replica.transferLeadership(leader.id).catch(() => {});
  lab.resume(leader.id);
  const { term } = next.replica;
  await lab.until(() => leader.replica.role === 'leader' && leader.replica.term > term);
  assert.equal(proposals.answersOf('replaced'), ['unknown']);
  proposals.propose(leader, 'taken');
  lab.intercept = (_from, _to, message) => message;
  assert.equal(await checkEqual(lab), ['taken']);
  assert.equal(proposals.faults(['taken']), []);
});

test('who waits for an entry at a leader that has lost its place, and applies nothing, is told in the end', async () => {
  const lab = await ReplicaLab.start(7);
  const { scheduler } = lab.world;
  const leader = await lab.untilLeader();
  let goOn = () => {};
  leader.machine.gate = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const proposals = new Proposals();
  proposals.propose(leader, 'held up');
  await scheduler.run(leader.replica.transferLeadership((leader.id % 3) + 1));
  await scheduler.runFor(100);
  assert.equal(proposals.answersOf('held up'), [], 'it may be applied soon');
  await scheduler.runFor(200);
  assert.equal(proposals.answersOf('held up'), ['unknown'], 'an election timeout later');
  leader.machine.gate = undefined;
  goOn();
  assert.equal(await checkEqual(lab), ['held up']);
  assert.equal(proposals.faults(['held up']), []);
});

test('a leader that stood still reads what has arrived before it judges who is silent', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const lab = await ReplicaLab.start(seed);
    const leader = await lab.untilLeader();
    const { term } = leader.replica;
    let isPaused = false;
    lab.intercept = (_from, to, message) => {
      // The others would not wait much longer.
      if (message.type === 'requestVote') return undefined;
      if (message.type === 'heartbeat' && to !== leader.id && !isPaused) {
        isPaused = true;
        lab.pause(leader.id);
      }
      return message;
    };
    await lab.until(() => isPaused);
    // Longer than the least election timeout.
    await lab.world.scheduler.runFor(105);
    lab.resume(leader.id);
    await lab.world.scheduler.runFor(50);
    assert.is(leader.replica.role, 'leader', `seed ${seed}`);
    assert.is(leader.replica.term, term);
  }
});

test('a planted bug is caught: each caller gets the result of the next one', async () => {
  const lab = await ReplicaLab.start(1);
  const leader = await lab.untilLeader();
  const proposals = new Proposals();
  const { machine } = leader;
  machine.apply = (first, entries) => {
    const results = ListMachine.prototype.apply.call(machine, first, entries) as number[];
    return results.map((result) => result + 1);
  };
  for (let i = 0; i < 5; i++) proposals.propose(leader, `command ${i}`);
  const commands = await checkEqual(lab);
  assert.is(proposals.faults(commands).length, 5);
});

test('a leader whose disk is full goes on when there is space: nothing is lost, doubled or reordered', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const full = new Set<number>();
    const lab = await ReplicaLab.start(seed, { fault: fullDisks(full) });
    const { scheduler } = lab.world;
    const leader = await lab.untilLeader();
    const proposals = new Proposals();
    for (let i = 0; i < 60; i++) {
      if (i === 10) full.add(leader.id);
      if (i === 50) full.delete(leader.id);
      if (leader.replica.role === 'leader') proposals.propose(leader, `command ${i}`);
      await scheduler.runFor(3);
    }
    const commands = await checkEqual(lab);
    assert.equal(
      [...lab.members.values()].flatMap((member) => member.failures),
      [],
    );
    assert.equal(proposals.faults(commands), [], `seed ${seed}`);
    assert.equal(
      commands,
      proposals.texts.filter((text) => commands.includes(text)),
      'in the order of the proposals',
    );
  }
});

test('all disks full, then space: what was under way is committed, once', async () => {
  const full = new Set<number>();
  const lab = await ReplicaLab.start(3, { fault: fullDisks(full) });
  const leader = await lab.untilLeader();
  const proposals = new Proposals();
  for (const id of lab.members.keys()) full.add(id);
  for (let i = 0; i < 20; i++) {
    proposals.propose(leader, `command ${i}`);
    await lab.world.scheduler.runFor(4);
  }
  assert.equal(commandsOf(lab), [[], [], []]);
  full.clear();
  await lab.world.scheduler.runFor(1000);
  const commands = await checkEqual(lab);
  assert.equal(proposals.faults(commands), []);
  assert.equal(
    [...lab.members.values()].flatMap((member) => member.failures),
    [],
  );
});

test('a node alone waits for space and then commits all that it took, in order; what it refused is not there', async () => {
  const full = new Set<number>();
  const lab = await ReplicaLab.start(4, { size: 1, fault: fullDisks(full) });
  const only = await lab.untilLeader();
  const proposals = new Proposals();
  full.add(1);
  for (let i = 0; i < 20; i++) proposals.propose(only, `command ${i}`);
  await lab.world.scheduler.runFor(400);
  assert.equal(only.machine.commands, []);
  // It is in the log, and may wait long.
  assert.equal(proposals.answersOf('command 19'), ['unknown']);
  // Now that it knows, it takes nothing that it would have to keep waiting.
  const refusal = await only.replica.propose(Buffer.from('later')).catch((error: RaftreeError) => error);
  assert.is(errorCode(refusal), 'DISK_FULL');
  assert.is((refusal as RaftreeError).info.outcome, 'notCommitted');
  full.clear();
  const commands = await checkEqual(lab);
  assert.equal(commands, proposals.texts);
  assert.equal(proposals.faults(commands), []);
});

test('a disk that fails stops its replica with unknown outcomes; the others go on', async () => {
  const failing = new Set<number>();
  const lab = await ReplicaLab.start(5, {
    fault: (id) => (operation) =>
      failing.has(id) && operation.kind === 'sync'
        ? systemError('EIO', 'fdatasync', operation.path)
        : undefined,
  });
  const leader = await lab.untilLeader();
  const proposals = new Proposals();
  for (let i = 0; i < 5; i++) proposals.propose(leader, `before ${i}`);
  await lab.untilEqual();
  failing.add(leader.id);
  for (let i = 0; i < 5; i++) proposals.propose(leader, `during ${i}`);
  const read = leader.replica.readIndex('index').catch(errorCode);
  await lab.until(() => leader.failures.length > 0);
  leader.isRunning = false;
  proposals.propose(leader, 'after');
  assert.is(errorCode(leader.failures[0]), 'REPLICA_FAILED');
  assert.is(leader.failures.length, 1);
  assert.is(await read, 'REPLICA_STOPPED');
  assert.equal(proposals.answersOf('during 4'), ['unknown']);
  await lab.until(() => lab.leader !== undefined);
  const next = await lab.untilLeader();
  proposals.propose(next, 'by the next leader');
  const commands = await checkEqual(lab);
  assert.equal(proposals.faults(commands), []);
  assert.equal(proposals.answersOf('after'), ['notCommitted']);
  assert.ok(commands.includes('by the next leader'));
});

test('a read waits until everything committed before it is applied', async () => {
  const lab = await ReplicaLab.start(6);
  const leader = await lab.untilLeader();
  let open = () => {};
  leader.machine.gate = new Promise((resolve) => (open = resolve));
  leader.replica.propose(Buffer.from('x')).catch(() => {});
  const before = leader.replica.commitIndex;
  await lab.until(() => leader.replica.commitIndex > before);
  let answered = false;
  const read = leader.replica.readIndex('index').then((index) => {
    answered = true;
    assert.ok(index > before);
    assert.equal(leader.machine.commands, ['x']);
  });
  await lab.world.scheduler.runFor(60);
  assert.not.ok(answered);
  leader.machine.gate = undefined;
  open();
  await lab.world.scheduler.run(read);
});

test('a state machine that fails stops the replica, and whoever waits is told that the outcome is unknown', async () => {
  const lab = await ReplicaLab.start(7);
  const leader = await lab.untilLeader();
  const proposals = new Proposals();
  leader.machine.gate = Promise.reject(new RaftreeError('CORRUPTION', 'a planted fault'));
  leader.machine.gate.catch(() => {});
  proposals.propose(leader, 'x');
  await lab.until(() => leader.failures.length > 0);
  assert.equal(proposals.answersOf('x'), ['unknown']);
  assert.is(leader.failures.length, 1);
});

test('a replica stops although its state machine waits for a full disk', async () => {
  const lab = await ReplicaLab.start(8);
  const leader = await lab.untilLeader();
  const proposals = new Proposals();
  leader.machine.gate = new Promise(() => {});
  proposals.propose(leader, 'x');
  await lab.world.scheduler.runFor(20);
  await lab.world.scheduler.run(leader.replica.stop(), 30_000);
  assert.equal(proposals.answersOf('x'), ['unknown']);
  assert.equal(leader.failures, []);
});

test('stopping waits for an apply that is under way', async () => {
  const lab = await ReplicaLab.start(9);
  const leader = await lab.untilLeader();
  await lab.untilEqual();
  let open = () => {};
  leader.machine.gate = new Promise((resolve) => (open = resolve));
  leader.replica.propose(Buffer.from('x')).catch(() => {});
  await lab.world.scheduler.runFor(20);
  lab.world.scheduler.after(100, open);
  await lab.world.scheduler.run(leader.replica.stop());
  assert.equal(leader.machine.commands, ['x']);
});

test('after power cuts of all, the log replays what the state machines lost', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const lab = await ReplicaLab.start(seed, { maxCachedBytes: 0 });
    const proposals = new Proposals();
    const { random, scheduler } = lab.world;
    const acknowledged: string[] = [];
    for (let round = 0; round < 6; round++) {
      const leader = await lab.untilLeader();
      for (let i = 0; i < 20; i++) {
        const text = `${round}.${i}`;
        proposals.propose(leader, text);
        await scheduler.runFor(random.float() * 4);
        if (random.chance(0.05)) await scheduler.run(leader.machine.flush());
      }
      acknowledged.push(
        ...proposals.texts.filter((text) => proposals.answersOf(text)[0]?.startsWith('applied')),
      );
      for (const id of lab.members.keys()) lab.powerCut(id);
      for (const id of lab.members.keys()) await lab.restart(id);
    }
    await lab.untilLeader();
    const commands = await checkEqual(lab);
    for (const text of acknowledged) assert.ok(commands.includes(text), `${text} was acknowledged`);
    assert.is(new Set(commands).size, commands.length, 'nothing is there twice');
    assert.ok(acknowledged.length > 50);
  }
});

test.run();
