/** The core's rules by example: what may leave when, what is refused, and how it comes back from trouble. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Raft } from '../../src/raft/raft.js';
import type { Message } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { CoreLab, electedLab, Host, LAB_OPTIONS } from './core-lab.js';

test('an isolated node does not raise its term, and does not disturb when it returns', () => {
  const { lab, leader, followers } = electedLab();
  const lonely = followers[0] as Host;
  const { term } = lonely.raft;
  lab.isolate(lonely.id);
  lab.advanceFor(1000);
  assert.is(lonely.raft.term, term);
  lab.heal();
  lab.advanceFor(300);
  assert.is(leader.raft.role, 'leader');
  assert.is(leader.raft.term, term);
});

/** The parts of a tablet do not begin on all nodes at the same moment. */
test('a pre-candidate whom nobody heard asks again when it is told to', () => {
  const lab = new CoreLab(9, 3);
  const [first, ...others] = [...lab.hosts.values()] as [Host, ...Host[]];
  for (const other of others) other.isDown = true;
  first.step(lab.nowMs, { type: 'campaign' });
  lab.advanceFor(5);
  assert.is(first.raft.role, 'preCandidate');
  for (const other of others) other.isDown = false;
  first.step(lab.nowMs, { type: 'campaign' });
  lab.advanceUntil(() => first.raft.role === 'leader', LAB_OPTIONS.electionTimeoutMinMs / 2);
});

test('a leader that hears from no quorum steps down', () => {
  const { lab, leader } = electedLab(5);
  lab.isolate(leader.id);
  lab.advanceUntil(() => leader.raft.role !== 'leader', 200);
});

test('no vote, vote request or acknowledgement leaves before what it speaks of is durable', () => {
  const lab = new CoreLab(5, 3);
  lab.writeRate = 0;
  lab.advanceFor(500);
  const early = lab.sent.filter(
    ({ message }) => message.type !== 'requestVote' && message.type !== 'voteReply',
  );
  assert.equal(early, [], 'nobody leads while no disk answers');
  assert.ok(lab.sent.length > 0);
  assert.ok(
    lab.sent.every(({ message }) => 'preVote' in message && message.preVote),
    'only pre-votes, which promise nothing, have left',
  );
  lab.writeRate = 1;
  lab.advanceUntil(() => lab.leader !== undefined);
  const leader = lab.leader as Host;
  const follower = [...lab.hosts.values()].find((host) => host !== leader) as Host;
  lab.advanceFor(30);
  lab.writeRate = 0;
  leader.propose(lab.nowMs, 'x');
  const before = lab.sent.length;
  lab.advanceFor(10);
  const since = lab.sent.slice(before);
  assert.ok(
    since.some((item) => item.message.type === 'append' && item.from === leader.id),
    'the leader sends ahead of its disk',
  );
  const acknowledged = since.filter(
    ({ from, message }) =>
      from === follower.id &&
      message.type === 'appendReply' &&
      message.matchIndex > follower.durableLog.length + 1,
  );
  assert.equal(acknowledged, []);
});

test('an entry is stable when the batch that last carried it is durable (the ABA race of asynchronous storage)', () => {
  const lab = new CoreLab(9, 3);
  const node = lab.host(3);
  const entry = (term: number, text: string) => ({ term, kind: 'command' as const, body: Buffer.from(text) });
  const append = (term: number, from: number, entries: ReturnType<typeof entry>[]): Message => ({
    type: 'append',
    term,
    previousIndex: 1,
    previousTerm: 1,
    commitIndex: 1,
    allMatchedIndex: 0,
    entries,
    ...{ from },
  });
  node.step(1, { type: 'message', from: 1, message: append(1, 1, [entry(1, 'a'), entry(1, 'b')]) });
  lab.drain(node);
  node.step(2, { type: 'message', from: 2, message: append(2, 2, [entry(2, 'c')]) });
  lab.drain(node);
  node.step(3, { type: 'message', from: 1, message: append(3, 1, [entry(3, 'a'), entry(3, 'b')]) });
  lab.drain(node);
  assert.is(node.writing.length, 3);
  node.finishWrite(4);
  assert.is(node.raft.stableIndex, 1, 'the first batch says nothing of what replaced its entries');
  node.finishWrite(5);
  assert.is(node.raft.stableIndex, 1);
  node.finishWrite(6);
  assert.is(node.raft.stableIndex, 3);
});

test('a restarted node neither votes nor campaigns for one maximum election timeout', () => {
  const { lab, leader, followers } = electedLab();
  lab.isolate(leader.id);
  for (const follower of followers) follower.restart(lab.nowMs);
  const restartedAtMs = lab.nowMs;
  const before = lab.sent.length;
  lab.advanceFor(99);
  assert.equal(
    lab.sent.slice(before).filter(({ from }) => from !== leader.id),
    [],
  );
  lab.advanceUntil(() => followers.some((host) => host.raft.role === 'leader'));
  assert.ok(lab.nowMs - restartedAtMs >= 100);
});

test('nobody campaigns after a restart before everything is applied that was known to be committed', () => {
  const { disk } = new Host(1, [1, 2, 3], new SeededRandom(1), 0);
  const hardState = { term: 1, vote: 0, commit: 3 };
  const entries = [1, 1].map((term) => ({ term, sizeBytes: 100 }));
  const options = { ...LAB_OPTIONS, id: 1, random: () => 0.5 };
  const raft = new Raft(options, { ...disk, hardState, entries, applied: 1, restarted: true }, 0);
  const wait = (fromMs: number, toMs: number) => {
    for (let ms = fromMs; ms < toMs; ms++) raft.step(ms, { type: 'tick' });
  };
  wait(0, 1000);
  raft.step(1000, { type: 'applied', index: raft.take(1000)?.apply?.last ?? 0 });
  assert.is(raft.appliedIndex, 3);
  assert.is(raft.role, 'follower');
  wait(1000, 1200);
  assert.is(raft.role, 'preCandidate');
});

test('a follower asks its leader for no read index while its term is not durable: without a limit they would wait', () => {
  const { disk } = new Host(1, [1, 2, 3], new SeededRandom(1), 0);
  const options = { ...LAB_OPTIONS, id: 1, random: () => 0.5 };
  const raft = new Raft(options, { ...disk, entries: [], applied: 1, restarted: false }, 0);
  const message = { type: 'heartbeat', term: 5, commitIndex: 1, round: 1 } as const;
  raft.step(1, { type: 'message', from: 2, message });
  const batch = raft.take(1)?.append?.batch ?? 0;
  assert.is(raft.leader, 2);
  const read = () => raft.step(2, { type: 'read', id: 1, method: 'follower' });
  assert.equal(read(), { accepted: false, refusal: 'notLeader', leader: 2 });
  raft.step(3, { type: 'persisted', batch });
  assert.ok(read().accepted);
  assert.equal(
    raft.take(3)?.send.map(({ message }) => message.type),
    ['heartbeatReply', 'readIndex'],
  );
});

test('a follower that lost a whole window of messages is caught up', () => {
  const { lab, leader, followers } = electedLab();
  lab.isolate((followers[0] as Host).id);
  for (let i = 0; i < 20; i++) {
    leader.propose(lab.nowMs, `entry ${i}`);
    lab.advance();
  }
  lab.heal();
  lab.advanceUntil(() => followers.every((host) => host.applied.length === leader.lastIndex), 500);
});

test('the loss of a whole window is found out within two heartbeats, not after an election timeout', () => {
  const options = { ...LAB_OPTIONS, electionTimeoutMinMs: 1000, electionTimeoutMaxMs: 2000 };
  for (const what of ['entries', 'acknowledgements'] as const) {
    const { lab, leader, followers } = electedLab(3, 42, options);
    const [victim] = followers as [Host];
    const lossy = what === 'entries' ? `${leader.id}>${victim.id}` : `${victim.id}>${leader.id}`;
    lab.cut.add(lossy);
    // More than the window takes: nothing is sent any more that would be refused.
    for (let i = 0; i < 20; i++) leader.propose(lab.nowMs, `entry ${i} ${'x'.repeat(100)}`);
    lab.advanceFor(3);
    const peer = () => leader.raft.peers().find(({ id }) => id === victim.id);
    assert.is(peer()?.isPaused, true);
    lab.cut.delete(lossy);
    const lostMs = lab.nowMs;
    lab.advanceUntil(() => peer()?.matchIndex === leader.raft.lastIndex, 500);
    const tookMs = lab.nowMs - lostMs;
    // Two heartbeats, and a round trip for the question, the probe and each window after it.
    assert.ok(tookMs <= 2 * options.heartbeatMs + 8 * 2 * lab.maxDelayMs, `${what}: ${tookMs} ms`);
  }
});

test('to a follower whose disk is slow nothing is sent again', () => {
  const { lab, leader, followers } = electedLab();
  const [slow] = followers as [Host];
  lab.writeRate = 0;
  const before = lab.sent.length;
  for (let i = 0; i < 5; i++) leader.propose(lab.nowMs, `entry ${i}`);
  for (let ms = 0; ms < 3 * LAB_OPTIONS.electionTimeoutMaxMs; ms++) {
    lab.advance();
    for (const host of lab.hosts.values())
      if (host !== slow) while (host.finishWrite(lab.nowMs)) lab.drain(host);
  }
  const carried = lab.sent
    .slice(before)
    .filter(({ to }) => to === slow.id)
    .flatMap(({ message }) => (message.type === 'append' ? message.entries : []));
  assert.is(carried.length, 5);
  lab.writeRate = 1;
  lab.advanceUntil(() => slow.raft.appliedIndex === leader.raft.lastIndex, 100);
});

test('logs that differ over whole terms are mended in one round trip per term, not per entry', () => {
  const { lab, leader, followers } = electedLab();
  const stale = followers[0] as Host;
  lab.isolate(leader.id);
  for (let i = 0; i < 80; i++) leader.propose(lab.nowMs, `lost ${i}`);
  lab.advanceUntil(() => followers.some((host) => host.raft.role === 'leader'));
  const next = lab.leader as Host;
  for (let i = 0; i < 30; i++) {
    next.propose(lab.nowMs, `kept ${i}`);
    lab.advance();
  }
  lab.heal();
  const before = lab.sent.length;
  lab.advanceUntil(() => leader.applied.length === next.lastIndex);
  const refusals = lab.sent
    .slice(before)
    .filter(({ from, message }) => from === leader.id && message.type === 'appendReply' && !message.accepted);
  assert.ok(refusals.length <= 2, `${refusals.length} refusals`);
  assert.ok(stale.log.length > 0);
});

test('proposals beyond the limit of uncommitted bytes, and reads beyond theirs, are refused', () => {
  const { lab, leader } = electedLab();
  lab.isolate(leader.id);
  const body = Buffer.alloc(4000);
  assert.ok(leader.step(lab.nowMs, { type: 'propose', bodies: [body] }).accepted);
  assert.ok(leader.step(lab.nowMs, { type: 'propose', bodies: [body] }).accepted);
  const third = leader.step(lab.nowMs, { type: 'propose', bodies: [body] });
  assert.is(third.accepted === false && third.refusal, 'overloaded');
  for (let id = 0; id < 100; id++)
    assert.ok(leader.step(lab.nowMs, { type: 'read', id, method: 'index' }).accepted);
  const beyond = leader.step(lab.nowMs, { type: 'read', id: 100, method: 'index' });
  assert.is(beyond.accepted === false && beyond.refusal, 'overloaded');
});

test('a follower refuses proposals and names the leader', () => {
  const { lab, leader, followers } = electedLab();
  const result = (followers[0] as Host).propose(lab.nowMs, 'x');
  assert.equal(result, { accepted: false, refusal: 'notLeader', leader: leader.id });
});

test('of two leaders in one term, whoever hears of both follows the first, and takes nothing from the second', () => {
  const { lab, leader, followers } = electedLab();
  const victim = followers[0] as Host;
  const term = leader.raft.term + 1;
  const heartbeat: Message = { type: 'heartbeat', term, commitIndex: 0, round: 1 };
  const [one, other] = [leader.id, (followers[1] as Host).id];
  assert.ok(victim.step(lab.nowMs, { type: 'message', from: one, message: heartbeat }).accepted);
  assert.is(victim.raft.refusalOf(lab.nowMs, other, heartbeat), 'secondLeader');
  const { lastIndex } = victim.raft;
  const forged: Message = {
    type: 'append',
    term,
    previousIndex: 1,
    previousTerm: 1,
    commitIndex: lastIndex,
    allMatchedIndex: 0,
    entries: [{ term, kind: 'command', body: Buffer.from('forged') }],
  };
  victim.step(lab.nowMs, { type: 'message', from: other, message: heartbeat });
  victim.step(lab.nowMs, { type: 'message', from: other, message: forged });
  assert.equal([victim.raft.leader, victim.raft.lastIndex], [one, lastIndex]);
});

test('a message that would replace a committed entry is a broken invariant, and not obeyed', () => {
  const { lab, leader, followers } = electedLab();
  leader.propose(lab.nowMs, 'committed');
  lab.advanceUntil(() => followers.every((host) => host.raft.commitIndex === 3));
  const victim = followers[0] as Host;
  const forged: Message = {
    type: 'append',
    term: leader.raft.term + 1,
    previousIndex: 0,
    previousTerm: 0,
    commitIndex: 3,
    allMatchedIndex: 0,
    entries: [{ term: leader.raft.term + 1, kind: 'command', body: Buffer.from('forged') }],
  };
  assert.throws(
    () => victim.step(lab.nowMs, { type: 'message', from: leader.id, message: forged }),
    /the two logs have different histories/,
  );
  assert.is(victim.log[1]?.body.toString(), 'committed');
  assert.is(victim.raft.commitIndex, 3);
});

test.run();
