/** Members come and go, and leadership is transferred, while callers go on. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import type { NodeChange } from '../../src/raft/configuration.js';
import { type Member, Proposals, ReplicaLab } from './replica-lab.js';

function change(lab: ReplicaLab, leader: Member, ...changes: NodeChange[]): Promise<unknown> {
  return lab.world.scheduler.run(
    leader.replica.changeConfiguration({ changes, transition: 'auto' }).catch(errorCode),
    20_000,
  );
}

/** A leader that has applied everything: it may begin a change. */
async function settled(lab: ReplicaLab): Promise<Member> {
  await lab.until(() => {
    const { leader } = lab;
    return leader !== undefined && leader.machine.appliedIndex === leader.replica.lastIndex;
  });
  return lab.leader as Member;
}

/** The members as the leader knows them; `outgoing` is empty once a joint configuration is left. */
function membersOf(lab: ReplicaLab): string {
  const { voters = [], outgoing = [], learners = [] } = lab.leader?.replica.configuration ?? {};
  return `${voters} | ${outgoing} | ${learners}`;
}

/** Everybody who belongs to the group has the same; who was removed may be behind. */
async function checkEqual(lab: ReplicaLab): Promise<string[]> {
  const ids = () => {
    const { voters = [], learners = [] } = lab.leader?.replica.configuration ?? {};
    return [...voters, ...learners];
  };
  await lab.until(() => {
    const last = lab.leader?.replica.lastIndex;
    return ids().length > 0 && ids().every((id) => lab.member(id).machine.appliedIndex === last);
  }, 30_000);
  const expected = lab.leader?.machine.commands ?? [];
  for (const id of ids()) assert.equal(lab.member(id).machine.commands, expected, `member ${id}`);
  assert.equal(
    [...lab.members.values()].flatMap((member) => member.failures),
    [],
  );
  return expected;
}

test('a learner receives everything and counts for nothing', async () => {
  const lab = await ReplicaLab.start(1);
  const leader = await settled(lab);
  leader.replica.propose(Buffer.from('before')).catch(() => {});
  await lab.bootNew(4);
  await change(lab, leader, { type: 'addLearner', node: 4, context: 'how to reach it' });
  assert.is(membersOf(lab), '1,2,3 |  | 4');
  assert.equal(await checkEqual(lab), ['before']);
  assert.is(lab.member(4).replica.configuration.contexts[4], 'how to reach it');
  for (const id of [1, 2, 3]) if (id !== leader.id) lab.isolate(id);
  const proposals = new Proposals();
  proposals.propose(leader, 'alone with the learner');
  await lab.world.scheduler.runFor(80);
  assert.equal(proposals.answersOf('alone with the learner'), []);
  await lab.until(() => leader.replica.role !== 'leader');
  lab.cut.clear();
  await settled(lab);
  const commands = await checkEqual(lab);
  assert.equal(proposals.faults(commands), []);
});

test('the host is told of a configuration in the step that puts it in force', async () => {
  const lab = await ReplicaLab.start(7, { maxApplyMs: 3 });
  const leader = await settled(lab);
  for (const node of [4, 5]) {
    const changing = leader.replica.changeConfiguration({
      changes: [{ type: 'addLearner', node }],
      transition: 'auto',
    });
    const inTheSameTurn = changing.then(({ index }) => [leader.replica.configuration.index, index]);
    const toldThen = changing.then(() => leader.told.index);
    const [inForce, index] = await lab.world.scheduler.run(inTheSameTurn, 20_000);
    assert.is(inForce, index);
    assert.is(await toldThen, index);
    await settled(lab);
  }
});

test('a new member catches up by a snapshot when the log is cut already', async () => {
  const lab = await ReplicaLab.start(2, { replica: { maxLogBytes: 3000 } });
  const leader = await settled(lab);
  for (let i = 0; i < 200; i++) {
    leader.replica.propose(Buffer.from(`command ${i}`)).catch(() => {});
    if (i % 10 === 9) await lab.world.scheduler.runFor(10);
  }
  const fourth = await lab.bootNew(4);
  await change(lab, leader, { type: 'addLearner', node: 4 });
  assert.is((await checkEqual(lab)).length, 200);
  assert.is(fourth.machine.restores, 1);
  await change(lab, leader, { type: 'addVoter', node: 4 });
  lab.powerCut(4);
  await lab.restart(4);
  await checkEqual(lab);
  assert.equal(lab.member(4).replica.configuration.voters, [1, 2, 3, 4]);
});

test('several at once go through a joint configuration, which is left by itself', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const lab = await ReplicaLab.start(seed);
    const leader = await settled(lab);
    for (const id of [4, 5]) await lab.bootNew(id);
    const others = [1, 2, 3].filter((id) => id !== leader.id);
    const [leaves = 0, stays = 0] = others;
    await change(
      lab,
      leader,
      { type: 'addVoter', node: 4 },
      { type: 'addVoter', node: 5 },
      { type: 'remove', node: leaves },
      { type: 'addLearner', node: stays },
    );
    await lab.until(() => membersOf(lab) === `${[leader.id, 4, 5].sort()} |  | ${stays}`);
    leader.replica.propose(Buffer.from('after')).catch(() => {});
    assert.equal(await checkEqual(lab), ['after']);
  }
});

test('a leader that is removed ends its term; another one follows, and the removed disturbs nobody', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const lab = await ReplicaLab.start(seed);
    const leader = await settled(lab);
    await change(lab, leader, { type: 'remove', node: leader.id });
    await lab.until(() => lab.leader !== undefined && lab.leader !== leader);
    const next = await settled(lab);
    assert.is(
      errorCode(await leader.replica.propose(Buffer.from('x')).catch((error) => error)),
      'NOT_LEADER',
    );
    next.replica.propose(Buffer.from('after')).catch(() => {});
    assert.equal(await checkEqual(lab), ['after']);
    const { term } = next.replica;
    await lab.world.scheduler.runFor(3000);
    assert.is(lab.leader?.replica.term, term);
  }
});

test('one change at a time, and none that is not allowed', async () => {
  const lab = await ReplicaLab.start(3);
  const leader = await settled(lab);
  const all = [1, 2, 3].map((node) => ({ type: 'remove', node }) as const);
  assert.is(await change(lab, leader, ...all), 'CHANGE_INVALID');
  for (const id of [1, 2, 3]) if (id !== leader.id) lab.isolate(id);
  const first = leader.replica.changeConfiguration({
    changes: [{ type: 'addLearner', node: 4 }],
    transition: 'auto',
  });
  const outcome = first.then(
    () => 'applied',
    (error) => String(error.info.outcome),
  );
  assert.is(await change(lab, leader, { type: 'addLearner', node: 5 }), 'CHANGE_PENDING');
  lab.cut.clear();
  assert.is(await lab.world.scheduler.run(outcome), 'applied');
  await lab.bootNew(4);
  await checkEqual(lab);
});

test('leadership goes to the voter that was chosen, and callers are told the truth', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const lab = await ReplicaLab.start(seed);
    const { scheduler, random } = lab.world;
    const proposals = new Proposals();
    for (let round = 0; round < 6; round++) {
      const leader = await settled(lab);
      for (let i = 0; i < 20; i++) proposals.propose(leader, `${round}.${i}`);
      await scheduler.runFor(random.float() * 10);
      const to = random.pick([1, 2, 3]);
      await scheduler.run(leader.replica.transferLeadership(to));
      assert.is(lab.leader?.id, to);
    }
    await settled(lab);
    assert.equal(proposals.faults(await checkEqual(lab)), [], `seed ${seed}`);
  }
});

test('a transfer to a node that does not answer fails, and the leader takes proposals again', async () => {
  const lab = await ReplicaLab.start(6);
  const leader = await settled(lab);
  const away = [1, 2, 3].find((id) => id !== leader.id) ?? 0;
  lab.isolate(away);
  leader.replica.propose(Buffer.from('it lacks this')).catch(() => {});
  const transfer = leader.replica.transferLeadership(away).catch(errorCode);
  const proposals = new Proposals();
  proposals.propose(leader, 'during');
  assert.is(await lab.world.scheduler.run(transfer), 'TRANSFER_FAILED');
  assert.is(lab.leader, leader);
  proposals.propose(leader, 'after');
  lab.cut.clear();
  assert.equal(await checkEqual(lab), ['it lacks this', 'after']);
  assert.equal(proposals.answersOf('during'), ['notCommitted']);
  for (const nobody of [9, 0]) {
    assert.is(await leader.replica.transferLeadership(nobody).catch(errorCode), 'CHANGE_INVALID');
  }
});

test('random changes, transfers, cuts and power cuts: every caller gets one answer, and it is true', async () => {
  let applied = 0;
  let changes = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const lab = await ReplicaLab.start(seed, { replica: { maxLogBytes: 6000 } });
    const { random, scheduler } = lab.world;
    for (const id of [4, 5]) await lab.bootNew(id);
    const proposals = new Proposals();
    for (let step = 0; step < 120; step++) {
      const { leader } = lab;
      for (const member of lab.members.values()) {
        if (member.isRunning && member.replica.role === 'leader') {
          proposals.propose(member, `${step} by ${member.id} ${'x'.repeat(random.between(0, 100))}`);
        }
      }
      const node = random.between(1, 5);
      if (leader && random.chance(0.15)) {
        const type = random.pick(['addVoter', 'addLearner', 'remove'] as const);
        const more: NodeChange[] = random.chance(0.3)
          ? [{ type: 'addVoter', node: random.between(1, 5) }]
          : [];
        leader.replica.changeConfiguration({ changes: [{ type, node }, ...more], transition: 'auto' }).then(
          () => changes++,
          () => {},
        );
      }
      if (leader && random.chance(0.1)) leader.replica.transferLeadership(node).catch(() => {});
      if (random.chance(0.05)) lab.isolate(node);
      if (random.chance(0.15)) lab.cut.clear();
      if (random.chance(0.05)) {
        lab.powerCut(node);
        // Its callers died with it.
        await lab.restart(node);
      }
      await scheduler.runFor(random.float() * 30);
    }
    lab.cut.clear();
    await lab.until(() => lab.leader !== undefined, 30_000);
    const commands = await checkEqual(lab);
    const faults = proposals
      .faults(commands)
      .filter((fault) => !/: undefined$|answered 0 times$/.test(fault));
    assert.equal(faults.slice(0, 3), [], `seed ${seed}`);
    applied += commands.length;
  }
  assert.ok(applied > 300, `${applied} applied`);
  assert.ok(changes > 30, `${changes} changes`);
});

test('a transfer is not done when another than the chosen one leads', async () => {
  const lab = await ReplicaLab.start(20);
  const leader = await lab.untilLeader();
  await lab.untilEqual();
  const [chosen] = [...lab.members.values()].filter((member) => member !== leader) as [Member];
  lab.intercept = (from, _to, message) =>
    message.type === 'timeoutNow' || (message.type === 'requestVote' && from === chosen.id)
      ? undefined
      : message;
  const transfer = leader.replica.transferLeadership(chosen.id).then(() => 'done', errorCode);
  lab.isolate(leader.id);
  await lab.until(() => lab.leader !== leader && lab.leader !== undefined, 350);
  lab.cut.clear();
  assert.is(await lab.world.scheduler.run(transfer), 'TRANSFER_FAILED');
  assert.is.not(lab.leader, chosen);
});

test.run();
