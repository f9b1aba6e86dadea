/** Nodes that are about to stop do not campaign, and a leader first transfers leadership to the best of the others. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CoreLab, electedLab, type Host, LAB_OPTIONS } from './core-lab.js';

/** Five nodes; the followers hold different parts of the leader's log. */
function unequalLab(): { lab: CoreLab; leader: Host; behind: Host[]; upToDate: Host } {
  const { lab, leader, followers } = electedLab(5);
  const [upToDate, ...behind] = followers as [Host, ...Host[]];
  // They hear the leader and are heard, but their disks take no entry.
  for (const host of behind.slice(1)) host.finishWrite = () => false;
  leader.propose(lab.nowMs, 'not on all of them');
  for (let ms = 0; ms < 20; ms++) {
    lab.nowMs++;
    for (const host of lab.hosts.values()) {
      lab.drain(host);
      host.finishWrite(lab.nowMs);
    }
    const due = lab.transit;
    lab.transit = [];
    for (const { from, to, message } of due) lab.host(to).step(lab.nowMs, { type: 'message', from, message });
  }
  return { lab, leader, behind, upToDate };
}

test('leadership goes to the voter that holds most of the log, and at once', () => {
  const { lab, leader, behind, upToDate } = unequalLab();
  const match = new Map(leader.raft.peers().map(({ id, matchIndex }) => [id, matchIndex]));
  assert.is(match.get(upToDate.id), leader.raft.lastIndex);
  assert.ok((match.get(behind.at(-1)?.id ?? 0) ?? 0) < leader.raft.lastIndex);
  assert.ok(leader.step(lab.nowMs, { type: 'transfer' }).accepted);
  const target = leader.raft.transferTarget ?? 0;
  assert.is(match.get(target), leader.raft.lastIndex);
  const refused = leader.propose(lab.nowMs, 'late');
  assert.is(!refused.accepted && refused.refusal, 'transferring');
});

test('the next best is asked as soon as the best cannot be reached', () => {
  const { lab, leader, followers } = electedLab();
  assert.ok(leader.step(lab.nowMs, { type: 'transfer' }).accepted);
  const first = leader.raft.transferTarget ?? 0;
  leader.take(lab.nowMs);
  leader.step(lab.nowMs, { type: 'unreachable', node: first });
  const second = leader.raft.transferTarget ?? 0;
  assert.equal([first, second].sort(), followers.map(({ id }) => id).sort());
  leader.step(lab.nowMs, { type: 'unreachable', node: second });
  assert.is(leader.raft.transferTarget, undefined, 'nobody is left');
  assert.ok(leader.propose(lab.nowMs, 'it leads on').accepted);
});

test('a transfer to a voter that the caller chose is not given to another', () => {
  const { lab, leader, followers } = electedLab();
  const [chosen] = followers as [Host];
  leader.step(lab.nowMs, { type: 'transfer', to: chosen.id });
  leader.step(lab.nowMs, { type: 'unreachable', node: chosen.id });
  assert.is(leader.raft.transferTarget, chosen.id);
});

test('without a voter that was heard from lately there is no target for a transfer', () => {
  const { lab, leader } = electedLab();
  lab.isolate(leader.id);
  const step = (afterMs: number) => leader.step(lab.nowMs + afterMs, { type: 'transfer' });
  const result = step(LAB_OPTIONS.electionTimeoutMinMs + LAB_OPTIONS.heartbeatMs);
  assert.is(!result.accepted && result.refusal, 'noSuccessor');
  const alone = new CoreLab(1, 1);
  alone.advanceUntil(() => alone.leader !== undefined);
  const nobody = alone.host(1).step(alone.nowMs, { type: 'transfer' });
  assert.is(!nobody.accepted && nobody.refusal, 'noSuccessor');
});

test('a leader that was removed may transfer leadership before a quorum knows of it', () => {
  const { lab, leader, followers } = electedLab();
  leader.change(lab.nowMs, { type: 'remove', node: leader.id });
  lab.advanceUntil(() => !leader.raft.configuration.voters.includes(leader.id));
  assert.is(leader.raft.role, 'leader');
  assert.ok(leader.step(lab.nowMs, { type: 'transfer' }).accepted);
  lab.advanceUntil(() => followers.some(({ raft }) => raft.role === 'leader'), 50);
});

test('a follower has no leadership to transfer', () => {
  const { lab, leader, followers } = electedLab();
  const result = (followers[0] as Host).step(lab.nowMs, { type: 'transfer' });
  assert.equal(result, { accepted: false, refusal: 'notLeader', leader: leader.id });
});

test('a node that has stopped campaigning does not, neither by itself nor when it is told to', () => {
  const { lab, leader, followers } = electedLab();
  const [stopping, other] = followers as [Host, Host];
  stopping.step(lab.nowMs, { type: 'stopCampaigning' });
  leader.step(lab.nowMs, { type: 'transfer', to: stopping.id });
  lab.advanceFor(LAB_OPTIONS.electionTimeoutMinMs + 20);
  assert.is(leader.raft.role, 'leader');
  leader.isDown = true;
  const before = lab.sent.length;
  lab.advanceUntil(() => other.raft.role === 'leader');
  const asked = lab.sent.slice(before).filter(({ message }) => message.type === 'requestVote');
  assert.equal([...new Set(asked.map(({ from }) => from))], [other.id], 'and yet it votes');
});

test.run();
