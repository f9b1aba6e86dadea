/** A replica that stops in good order: its group has another leader at once, and not after an election timeout. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Member, Proposals, ReplicaLab } from './replica-lab.js';

const ELECTION_TIMEOUT_MIN_MS = 100;
const ELECTION_TIMEOUT_MAX_MS = 200;

/** As a node does: it stops campaigning, transfers leadership, and stops. */
async function close(lab: ReplicaLab, member: Member): Promise<number> {
  const { scheduler } = lab.world;
  const startMs = scheduler.nowMs();
  member.replica.stopCampaigning();
  await scheduler.run(member.replica.transferBeforeStop());
  const tookMs = scheduler.nowMs() - startMs;
  member.isRunning = false;
  await scheduler.run(member.replica.stop());
  return tookMs;
}

test('a leader that stops has a successor before it has stopped', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    for (const size of [2, 3, 5]) {
      const lab = await ReplicaLab.start(seed, { size });
      const leader = await lab.untilLeader();
      const proposals = new Proposals();
      for (let i = 0; i < 20; i++) proposals.propose(leader, `command ${i}`);
      await lab.until(() => proposals.texts.every((text) => proposals.answersOf(text).length > 0));
      const { term } = leader.replica;
      const tookMs = await close(lab, leader);
      assert.ok(tookMs < ELECTION_TIMEOUT_MIN_MS / 2, `${tookMs} ms`);
      const next = lab.leader;
      assert.ok(next && next !== leader);
      assert.is(next.replica.term, term + 1, 'one election, and no pre-vote in vain');
      if (size > 2) await lab.untilEqual();
      if (size > 2) assert.equal(proposals.faults(next.machine.commands), []);
    }
  }
});

test('a leader that nobody can succeed stops after an election timeout at the latest', async () => {
  const lab = await ReplicaLab.start(1);
  const leader = await lab.untilLeader();
  for (const member of lab.members.values()) if (member !== leader) lab.isolate(member.id);
  assert.ok((await close(lab, leader)) <= ELECTION_TIMEOUT_MAX_MS);
});

test('when all stop, the leader waits for none of those that have', async () => {
  const lab = await ReplicaLab.start(2);
  const leader = await lab.untilLeader();
  const others = [...lab.members.values()].filter((member) => member !== leader);
  for (const other of others) {
    assert.is(await close(lab, other), 0);
    leader.replica.unreachable(other.id);
  }
  // It may have heard from them just now, and asks; but their connections break.
  const { scheduler } = lab.world;
  scheduler.after(5, () => {
    for (const { id } of others) leader.replica.unreachable(id);
  });
  scheduler.after(6, () => {
    for (const { id } of others) leader.replica.unreachable(id);
  });
  const tookMs = await close(lab, leader);
  assert.ok(tookMs < 20, `${tookMs} ms`);
});

test('a replica alone has no target for a transfer, and stops at once', async () => {
  const lab = await ReplicaLab.start(3, { size: 1 });
  assert.is(await close(lab, await lab.untilLeader()), 0);
});

test('a replica that is stopping does not take over from a leader that goes meanwhile', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const lab = await ReplicaLab.start(seed);
    const leader = await lab.untilLeader();
    const others = [...lab.members.values()].filter((member) => member !== leader);
    const [stopping, other] = others as [Member, Member];
    stopping.replica.stopCampaigning();
    lab.powerCut(leader.id);
    await lab.until(() => lab.leader !== undefined);
    assert.is(lab.leader, other);
  }
});

test.run();
