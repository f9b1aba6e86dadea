/** A member that needs a snapshot while the others write all the time: the log waits for it, within a limit. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import type { SnapshotLimits } from '../../src/replica/snapshot-sender.js';
import { type LabOptions, type Member, newGate, ReplicaLab } from './replica-lab.js';

const ENTRY_BYTES = 100;
const MAX_LOG_BYTES = 4000;
/** About 20,000 bytes at first: a second and more, in which twice as much is written. */
const SLOW: SnapshotLimits = { maxChunkBytes: 200, maxBytesPerSecond: 20_000, stallTimeoutMs: 400 };

class Load {
  readonly #lab: ReplicaLab;
  #isOn = true;

  /** 40,000 bytes a second. */
  constructor(lab: ReplicaLab) {
    this.#lab = lab;
    this.#write();
  }

  stop(): void {
    this.#isOn = false;
  }

  #write(): void {
    if (!this.#isOn) return;
    this.#lab.leader?.replica.propose(Buffer.alloc(ENTRY_BYTES, 'x')).catch(() => {});
    this.#lab.world.scheduler.after(2.5, () => this.#write());
  }
}

function logBytes(member: Member): number {
  return member.log.group(1)?.sizeBytes ?? 0;
}

interface Scene {
  readonly lab: ReplicaLab;
  readonly leader: Member;
  /** Cut off, until the others' log starts behind its end. */
  readonly away: Member;
  readonly load: Load;
}

async function open(seed: number, maxSnapshotLogBytes: number, options: LabOptions = {}): Promise<Scene> {
  const replica = {
    maxLogBytes: MAX_LOG_BYTES,
    maxSnapshotLogBytes,
    trailingEntries: 10,
    snapshots: SLOW,
    ...options.replica,
  };
  const lab = await ReplicaLab.start(seed, { ...options, replica });
  const leader = await lab.untilLeader();
  const away = [...lab.members.values()].find((member) => member !== leader) as Member;
  lab.isolate(away.id);
  const load = new Load(lab);
  await lab.world.scheduler.runFor(500);
  assert.ok((leader.log.group(1)?.base.index ?? 0) > away.replica.lastIndex, 'the log was cut');
  assert.equal(lab.warnings, []);
  return { lab, leader, away, load };
}

function hasCaughtUp({ leader, away }: Scene): boolean {
  return away.machine.restores > 0 && leader.replica.lastIndex - away.machine.appliedIndex < 20;
}

test('it catches up with its first snapshot, and then the log is cut as before', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const scene = await open(seed, 200_000);
    const { lab, leader, away, load } = scene;
    lab.cut.clear();
    await lab.until(() => hasCaughtUp(scene), 5000);
    assert.is(away.machine.restores, 1);
    assert.is(leader.machine.checkpoints, 1);
    await lab.world.scheduler.runFor(300);
    assert.ok(logBytes(leader) <= 2 * MAX_LOG_BYTES, `${logBytes(leader)} bytes`);
    assert.equal(lab.warnings, []);
    load.stop();
    await lab.untilEqual();
  }
});

test('several members at once, one of which comes later', async () => {
  const scene = await open(5, 400_000, { size: 5 });
  const { lab, leader, away, load } = scene;
  const other = [...lab.members.values()].find((one) => one !== leader && one !== away) as Member;
  lab.isolate(other.id);
  await lab.world.scheduler.runFor(400);
  for (const { id } of [away, other]) {
    for (const link of lab.cut)
      if (link.endsWith(`>${id}`) || link.startsWith(`${id}>`)) lab.cut.delete(link);
    await lab.world.scheduler.runFor(500);
  }
  await lab.until(() => hasCaughtUp(scene) && hasCaughtUp({ ...scene, away: other }), 8000);
  assert.equal([away.machine.restores, other.machine.restores], [1, 1]);
  load.stop();
  await lab.untilEqual();
});

test('what it needs is kept while it checks what it got, longer than a silent receiver is waited for', async () => {
  const scene = await open(6, 400_000);
  const { lab, leader, away, load } = scene;
  const gate = newGate();
  away.machine.checkGate = gate.promise;
  lab.cut.clear();
  await lab.world.scheduler.runFor(3000);
  assert.is(leader.machine.checkpoints, 1);
  assert.is(away.machine.restores, 0);
  gate.open();
  await lab.until(() => hasCaughtUp(scene), 5000);
  assert.is(leader.machine.checkpoints, 1);
  assert.is(away.machine.restores, 1);
  load.stop();
  await lab.untilEqual();
});

test('a log that outgrows its limit is cut, the operator is told, and the next snapshot begins', async () => {
  const maxSnapshotLogBytes = 12_000;
  const scene = await open(7, maxSnapshotLogBytes);
  const { lab, leader, away, load } = scene;
  let most = 0;
  lab.cut.clear();
  for (let ms = 0; ms < 3000; ms++) {
    await lab.world.scheduler.runFor(1);
    most = Math.max(most, logBytes(leader));
  }
  assert.ok(most > maxSnapshotLogBytes, 'the limit was reached');
  assert.ok(most < 1.5 * maxSnapshotLogBytes, `the log had ${most} bytes`);
  assert.is(away.machine.restores, 0, 'what is of no use is not sent to its end');
  assert.ok(leader.machine.checkpoints > 2, `${leader.machine.checkpoints} checkpoints`);
  const [first] = lab.warnings;
  assert.is(first?.member, leader.id);
  assert.match(
    first?.message ?? '',
    /outgrew maxSnapshotLogBytes.* raise maxSnapshotLogBytes or snapshotBytesPerSecond/,
  );
  const told = first?.fields as { node: number; sentBytes: number; snapshotBytes: number };
  assert.is(told.node, away.id);
  assert.ok(told.sentBytes > 2000 && told.sentBytes < told.snapshotBytes, JSON.stringify(told));
  assert.ok(lab.warnings.length <= leader.machine.checkpoints, 'once for each');
  load.stop();
  await lab.until(() => away.machine.restores > 0);
  await lab.untilEqual();
});

test('a receiver that is gone keeps nothing back', async () => {
  const { lab, leader, away, load } = await open(8, 400_000);
  lab.cut.clear();
  await lab.world.scheduler.runFor(400);
  assert.is(leader.machine.checkpoints, 1);
  assert.ok(logBytes(leader) > MAX_LOG_BYTES, 'the log waits for it');
  lab.powerCut(away.id);
  await lab.world.scheduler.runFor(600);
  assert.ok(logBytes(leader) <= MAX_LOG_BYTES + 1000, `${logBytes(leader)} bytes`);
  assert.ok(
    lab.warnings.every(({ message }) => /does not answer while it is given a snapshot/.test(message)),
    JSON.stringify(lab.warnings),
  );
  load.stop();
});

test('nor does one that is gone when it has its snapshot, and has not caught up', async () => {
  const { lab, leader, away, load } = await open(9, 400_000);
  lab.cut.clear();
  await lab.until(() => away.machine.restores === 1, 5000);
  lab.powerCut(away.id);
  await lab.world.scheduler.runFor(600);
  assert.ok(logBytes(leader) <= MAX_LOG_BYTES + 1000, `${logBytes(leader)} bytes`);
  load.stop();
});

test('nor does a transfer that failed, if no other snapshot can be made', async () => {
  const { lab, leader, load } = await open(12, 400_000);
  lab.cut.clear();
  await lab.world.scheduler.runFor(400);
  leader.machine.checkpoint = () => Promise.reject(new RaftreeError('LSM_NO_SPACE', 'the disk is full'));
  lab.intercept = (_from, _to, message) => (message.type === 'snapshotWanted' ? undefined : message);
  await lab.world.scheduler.runFor(1000);
  assert.is(leader.replica.role, 'leader');
  assert.ok(logBytes(leader) <= MAX_LOG_BYTES + 1000, `${logBytes(leader)} bytes`);
  load.stop();
});

test('nor one that is removed', async () => {
  const { lab, leader, away, load } = await open(10, 400_000);
  lab.cut.clear();
  await lab.world.scheduler.runFor(400);
  const change = { changes: [{ type: 'remove', node: away.id }], transition: 'auto' } as const;
  await lab.world.scheduler.run(leader.replica.changeConfiguration(change));
  await lab.world.scheduler.runFor(100);
  assert.ok(logBytes(leader) <= MAX_LOG_BYTES + 1000, `${logBytes(leader)} bytes`);
  load.stop();
});

test('a leader that loses its place keeps nothing back; the next one sends a snapshot of its own', async () => {
  const scene = await open(11, 400_000);
  const { lab, leader, away, load } = scene;
  lab.cut.clear();
  await lab.world.scheduler.runFor(400);
  const next = [...lab.members.values()].find((one) => one !== leader && one !== away) as Member;
  await lab.world.scheduler.run(leader.replica.transferLeadership(next.id));
  await lab.world.scheduler.runFor(300);
  assert.ok(logBytes(leader) <= MAX_LOG_BYTES + 1000, `${logBytes(leader)} bytes`);
  await lab.until(() => hasCaughtUp({ ...scene, leader: next }), 5000);
  assert.is(away.machine.restores, 1);
  load.stop();
  await lab.untilEqual();
});

test.run();
