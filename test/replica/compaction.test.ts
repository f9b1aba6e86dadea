/** When the log is cut, when the state machine is flushed for it, and when neither would help. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { FIRST_BASE } from '../../src/raft/types.js';
import { type Member, ReplicaLab } from './replica-lab.js';

const MAX_LOG_BYTES = 50_000;

async function fill(lab: ReplicaLab, leader: Member, count: number, bytes: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    leader.replica.propose(Buffer.alloc(bytes, 'x')).catch(() => {});
    if (i % 10 === 9) await lab.world.scheduler.runFor(5);
  }
  await lab.world.scheduler.runFor(200);
}

function logBytes(member: Member): number {
  return member.log.group(1)?.sizeBytes ?? 0;
}

test('a log above its limit is cut, however few entries it has', async () => {
  // With other seeds a member falls so far behind that it gets a snapshot, and has nothing to flush.
  const lab = await ReplicaLab.start(3, { replica: { maxLogBytes: MAX_LOG_BYTES } });
  const leader = await lab.untilLeader();
  await fill(lab, leader, 200, 1000);
  for (const member of lab.members.values()) {
    assert.ok(logBytes(member) <= MAX_LOG_BYTES, `${logBytes(member)} bytes on ${member.id}`);
    assert.ok(member.machine.flushes > 0);
    assert.ok(member.machine.flushes < 40, `${member.machine.flushes} flushes`);
  }
});

test('a log within its limits is left alone', async () => {
  const lab = await ReplicaLab.start(2, { replica: { maxLogBytes: MAX_LOG_BYTES } });
  const leader = await lab.untilLeader();
  await fill(lab, leader, 30, 1000);
  for (const { log, machine } of lab.members.values()) {
    assert.is(log.group(1)?.base.index, FIRST_BASE.index);
    assert.is(machine.flushes, 0);
  }
});

test('a member that is away keeps its entries in the log while that is within its limit', async () => {
  const lab = await ReplicaLab.start(3, { replica: { maxLogBytes: MAX_LOG_BYTES } });
  const leader = await lab.untilLeader();
  const away = [...lab.members.values()].find((member) => member !== leader) as Member;
  lab.isolate(away.id);
  await fill(lab, leader, 40, 1000);
  assert.is(leader.log.group(1)?.base.index, FIRST_BASE.index);
  lab.cut.clear();
  await lab.untilEqual();
  assert.equal(away.machine.commands, leader.machine.commands);
  assert.is(away.machine.restores, 0, 'it needed no snapshot');
});

test('above the limit the log is cut, whoever is away; a few entries stay for those that are nearly there', async () => {
  const trailingEntries = 15;
  const lab = await ReplicaLab.start(3, { replica: { maxLogBytes: MAX_LOG_BYTES, trailingEntries } });
  const leader = await lab.untilLeader();
  const away = [...lab.members.values()].find((member) => member !== leader) as Member;
  lab.isolate(away.id);
  for (let round = 0; round < 30; round++) {
    await fill(lab, leader, 10, 1000);
    const { lastIndex } = leader.replica;
    const base = leader.log.group(1)?.base.index ?? 0;
    assert.ok(logBytes(leader) <= MAX_LOG_BYTES, `${logBytes(leader)} bytes`);
    assert.ok(
      base <= Math.max(FIRST_BASE.index, lastIndex - trailingEntries),
      `${lastIndex - base} entries are left`,
    );
  }
  assert.ok(leader.machine.flushes < 40, `${leader.machine.flushes} flushes`);
  lab.cut.clear();
  await lab.untilEqual();
  assert.equal(away.machine.commands, leader.machine.commands);
  assert.is(away.machine.restores, 1, 'it got a snapshot');
});

test('cuts, changes of leader, power cuts and snapshots: all replicas come to the same', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const lab = await ReplicaLab.start(seed, { replica: { maxLogBytes: 5000 }, maxCachedBytes: 0 });
    const { random, scheduler } = lab.world;
    for (let round = 0; round < 8; round++) {
      await lab.until(() => lab.leader !== undefined);
      lab.isolate(random.between(1, 3));
      for (let i = 0; i < 40; i++) {
        const { leader } = lab;
        leader?.replica
          .propose(Buffer.from(`${round}.${i} ${'x'.repeat(random.between(0, 400))}`))
          .catch(() => {});
        await scheduler.runFor(random.float() * 15);
      }
      lab.cut.clear();
      const id = random.between(1, 3);
      lab.powerCut(id);
      await lab.restart(id);
    }
    await lab.untilEqual();
    const [first, ...others] = [...lab.members.values()];
    for (const other of others) assert.equal(other.machine.commands, first?.machine.commands);
    assert.equal(
      [...lab.members.values()].flatMap((member) => member.failures),
      [],
    );
    assert.ok((lab.leader?.log.group(1)?.base.index ?? 0) > 50, 'the log was cut');
  }
});

test('a planted bug is caught: a state machine that calls durable what a power cut takes from it', async () => {
  const lab = await ReplicaLab.start(1, { replica: { maxLogBytes: 5000 } });
  const leader = await lab.untilLeader();
  const { machine } = leader;
  Object.defineProperty(machine, 'durableIndex', { get: () => machine.appliedIndex });
  await fill(lab, leader, 50, 500);
  lab.powerCut(leader.id);
  const error = await lab.boot(leader.id, leader.disk).catch((reason: unknown) => reason);
  assert.is(errorCode(error), 'CORRUPTION');
});

test.run();
