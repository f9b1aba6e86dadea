/**
 * Bugs that other Raft implementations shipped, a test each, where the core can show them. The numbers are the rows of the
 * project's list; rows 9 and 11 to 13 have tests of the same name at the log, the server, the replica and the state machine.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../src/env/sim/seeded-random.js';
import { type ConfigurationChange, configurationOf } from '../../src/raft/configuration.js';
import { encodeChange } from '../../src/raft/configuration-codec.js';
import { Raft } from '../../src/raft/raft.js';
import type { Entry, Message, RaftState } from '../../src/raft/types.js';
import { CoreLab, electedLab, Host, LAB_OPTIONS } from './core-lab.js';

/** A core whose host is the test: it applies nothing by itself. */
function bareRaft(state: RaftState): Raft {
  return new Raft({ ...LAB_OPTIONS, id: 1, random: () => 0.5 }, state, 0);
}

test('ledger 1: a deposed leader that does not know it yet confirms no read (etcd #741)', () => {
  const { lab, leader } = electedLab();
  lab.isolate(leader.id);
  leader.step(lab.nowMs, { type: 'read', id: 1, level: 'index' });
  lab.advanceUntil(() =>
    [...lab.hosts.values()].some((host) => host !== leader && host.raft.role === 'leader'),
  );
  assert.equal(leader.reads, []);
  lab.advanceUntil(() => leader.failedReads.length > 0);
  assert.equal(leader.failedReads, [1]);
});

test('ledger 1: a read waits for an entry of the leader’s own term to be committed (etcd #7331)', () => {
  const lab = new CoreLab(3, 3);
  lab.advanceUntil(() => lab.leader !== undefined);
  const leader = lab.leader as Host;
  assert.is(leader.raft.commitIndex, 1);
  assert.ok(leader.step(lab.nowMs, { type: 'read', id: 9, level: 'index' }).accepted);
  lab.drain(leader);
  assert.equal(leader.reads, []);
  lab.advanceUntil(() => leader.reads.length > 0);
  const [read] = leader.reads;
  assert.is(read?.id, 9);
  assert.ok((read?.index ?? 0) >= 2, 'the index covers the entry that opened the term');
});

test('ledger 2: an answer to an earlier round does not confirm a later read (etcd #20418)', () => {
  const { lab, leader, followers } = electedLab();
  lab.transit = [];
  for (const follower of followers) lab.cut.add(`${follower.id}>${leader.id}`);
  leader.step(lab.nowMs, { type: 'read', id: 1, level: 'index' });
  lab.drain(leader);
  const rounds = lab.sent.filter((item) => item.message.type === 'heartbeat').map((item) => item.message);
  const earlier = rounds.at(-1) as Extract<Message, { type: 'heartbeat' }>;
  leader.step(lab.nowMs, { type: 'read', id: 2, level: 'index' });
  lab.drain(leader);
  const answer: Message = { type: 'heartbeatReply', term: leader.raft.term, round: earlier.round };
  for (const follower of followers)
    leader.step(lab.nowMs, { type: 'message', from: follower.id, message: answer });
  lab.drain(leader);
  assert.equal(
    leader.reads.map((read) => read.id),
    [1],
  );
});

test('ledger 3: no change of membership before an entry of the own term is applied (raft-dev 2015)', () => {
  const lab = new CoreLab(3, 3);
  lab.advanceUntil(() => lab.leader !== undefined);
  const leader = lab.leader as Host;
  const early = leader.change(lab.nowMs, { type: 'addLearner', node: 4 });
  assert.is(!early.accepted && early.refusal, 'changePending');
  lab.advanceUntil(() => leader.raft.appliedIndex === leader.raft.lastIndex);
  assert.ok(leader.change(lab.nowMs, { type: 'addLearner', node: 4 }).accepted);
  const second = leader.change(lab.nowMs, { type: 'addLearner', node: 5 });
  assert.is(!second.accepted && second.refusal, 'changePending', 'one at a time');
});

test('ledger 3: nobody campaigns with a committed change that is not applied (etcd-io/raft #456, #469)', () => {
  const change: ConfigurationChange = {
    changes: [{ type: 'addVoter', node: 4 }],
    transition: 'auto',
  };
  const entry: Entry = { term: 1, kind: 'configuration', body: encodeChange(change) };
  const state = new Host(1, [1, 2, 3], new SeededRandom(1), 0).disk;
  const learnt = bareRaft({ ...state, entries: [], applied: 1, restarted: false });
  const append: Message = {
    type: 'append',
    term: 1,
    previousIndex: 1,
    previousTerm: 1,
    commitIndex: 2,
    allMatchedIndex: 1,
    entries: [entry],
  };
  learnt.step(1, { type: 'message', from: 2, message: append });
  learnt.step(2, { type: 'persisted', batch: learnt.take(1)?.append?.batch ?? 0 });
  const recovered = bareRaft({
    ...state,
    hardState: { term: 1, vote: 0, commit: 2 },
    entries: [{ term: 1, sizeBytes: 100, change }],
    applied: 1,
    restarted: true,
  });
  for (const raft of [learnt, recovered]) {
    assert.is(raft.commitIndex, 2);
    assert.equal(raft.take(3)?.apply, { first: 2, last: 2 });
    for (let ms = 4; ms < 1000; ms++) raft.step(ms, { type: 'tick' });
    const offer: Message = { type: 'timeoutNow', term: 1 };
    raft.step(1000, { type: 'message', from: 2, message: offer });
    assert.is(raft.role, 'follower');
    assert.is(raft.take(1000)?.send.length ?? 0, 0);
    raft.step(1001, { type: 'applied', index: 2 });
    for (let ms = 1002; ms < 1200; ms++) raft.step(ms, { type: 'tick' });
    assert.is(raft.role, 'preCandidate');
    const asked = raft.take(1200)?.send.map(({ to }) => to) ?? [];
    assert.equal([...new Set(asked)], [2, 3, 4], 'of the members that it has applied');
  }
});

test('ledger 4: a pre-candidate forgets its leader, so that two of them can elect one (etcd #8334)', () => {
  const { lab, leader, followers } = electedLab();
  lab.isolate(leader.id);
  lab.advanceUntil(() => followers.some((host) => host.raft.role === 'preCandidate'));
  for (const { raft } of followers) if (raft.role === 'preCandidate') assert.is(raft.leader, 0);
  lab.advanceUntil(() => followers.some((host) => host.raft.role === 'leader'), 500);
});

test('ledger 4: a pre-candidate that tries again forgets the votes of its last try (raft-rs #83)', () => {
  const state = new Host(1, [1, 2, 3, 4, 5], new SeededRandom(1), 0).disk;
  const raft = bareRaft({ ...state, entries: [], applied: 1, restarted: false });
  const grant = (from: number): void => {
    const message: Message = { type: 'voteReply', term: 1, preVote: true, granted: true };
    raft.step(0, { type: 'message', from, message });
  };
  let tries = 0;
  const tryAgain = () => {
    for (let before = tries; tries === before; ) {
      raft.step(nowMs++, { type: 'tick' });
      if (raft.take(nowMs)?.send.some(({ message }) => message.type === 'requestVote')) tries++;
    }
  };
  let nowMs = 0;
  tryAgain();
  grant(2);
  tryAgain();
  grant(3);
  assert.is(raft.role, 'preCandidate', 'two of five, and one of another time');
  grant(2);
  assert.is(raft.role, 'candidate');
});

test('ledger 4: the pre-vote of a deposed leader is judged like anybody’s (hashicorp/raft #605)', () => {
  const { lab, leader, followers } = electedLab();
  const [down, voter] = followers as [Host, Host];
  lab.cut.add(`${voter.id}>${leader.id}`);
  down.isDown = true;
  lab.advanceUntil(() => leader.raft.role !== 'leader');
  assert.is(voter.raft.leader, leader.id, 'it has heard from that leader until now');
  const { term, lastIndex } = leader.raft;
  const message: Message = {
    type: 'requestVote',
    term: term + 1,
    preVote: true,
    force: false,
    lastIndex,
    lastTerm: leader.raft.termAt(lastIndex) ?? 0,
  };
  const answerAt = (ms: number) => {
    voter.step(ms, { type: 'message', from: leader.id, message });
    return voter.take(ms)?.sent.map((item) => item.message);
  };
  assert.is(answerAt(lab.nowMs), undefined, 'it may still be leading, for all the voter knows');
  const granted = { type: 'voteReply', term: term + 1, preVote: true, granted: true };
  assert.equal(answerAt(lab.nowMs + LAB_OPTIONS.electionTimeoutMinMs), [granted]);
  lab.nowMs += LAB_OPTIONS.electionTimeoutMinMs;
  lab.heal();
  lab.advanceUntil(() => lab.leader !== undefined, 500);
});

test('ledger 5: a leader whose heartbeats arrive, and no answer, steps down; the others elect one (openraft #2080)', () => {
  const { lab, leader, followers } = electedLab();
  for (const { id } of followers) lab.cut.add(`${id}>${leader.id}`);
  const { term } = leader.raft;
  lab.advanceUntil(() => leader.raft.role !== 'leader', 2 * LAB_OPTIONS.electionTimeoutMinMs);
  assert.is(leader.raft.term, term);
  lab.advanceUntil(() => followers.some((host) => host.raft.role === 'leader'), 500);
});

test('ledger 6: a transfer takes no proposals first, skips the pre-vote and is forced past loyalty (raft-rs #234)', () => {
  const { lab, leader, followers } = electedLab();
  const [target, other] = followers as [Host, Host];
  lab.isolate(target.id);
  leader.propose(lab.nowMs, 'the target lacks this');
  lab.advanceFor(10);
  assert.ok(leader.step(lab.nowMs, { type: 'transfer', to: target.id }).accepted);
  const refused = leader.propose(lab.nowMs, 'too late');
  assert.is(!refused.accepted && refused.refusal, 'transferring');
  lab.heal();
  const before = lab.sent.length;
  lab.advanceUntil(() => target.raft.role === 'leader', LAB_OPTIONS.electionTimeoutMinMs);
  const asked = lab.sent
    .slice(before)
    .flatMap(({ from, message }) => (message.type === 'requestVote' ? [{ from, message }] : []));
  assert.equal([...new Set(asked.map(({ from }) => from))], [target.id]);
  for (const { message } of asked) assert.ok(message.force && !message.preVote);
  assert.is(other.raft.vote, target.id, 'though it had heard from the old leader just now');
});

test('ledger 6, 14: no lease read goes stale when a TimeoutNow arrives late', () => {
  const { lab, leader, followers } = electedLab();
  const [target] = followers as [Host];
  lab.read(leader, 'lease');
  lab.advance();
  assert.is(lab.answeredReads.lease, 1, 'it has a lease');
  leader.step(lab.nowMs, { type: 'transfer', to: target.id });
  lab.drain(leader);
  const isOffer = ({ message }: { message: Message }) => message.type === 'timeoutNow';
  const late = lab.transit.find(isOffer);
  assert.ok(late);
  while (!leader.propose(lab.nowMs, 'it has given up').accepted) {
    lab.transit = lab.transit.filter((item) => !isOffer(item));
    lab.advance();
  }
  lab.advanceFor(20);
  assert.is(leader.raft.role, 'leader');
  const answered = lab.answeredReads.lease;
  lab.isolate(leader.id);
  target.step(lab.nowMs, { type: 'message', from: leader.id, message: late.message });
  for (let ms = 0; ms < LAB_OPTIONS.electionTimeoutMinMs; ms++) {
    lab.read(leader, 'lease');
    lab.advance();
  }
  assert.ok(target.raft.commitIndex > leader.raft.commitIndex, 'the new leader has committed meanwhile');
  assert.is(lab.answeredReads.lease, answered);
});

test('ledger 7: a leader whose disk hangs steps down, though its heartbeats go out (hashicorp/raft #503)', () => {
  const { lab, leader, followers } = electedLab();
  const finish = leader.finishWrite.bind(leader);
  leader.finishWrite = () => false;
  const stuck = () => leader.writing.length > 0;
  leader.propose(lab.nowMs, 'never durable');
  lab.drain(leader);
  assert.ok(stuck());
  // The lab's loop would wait for the disk for ever.
  lab.writeRate = 0;
  for (let ms = 0; ms < 300 && leader.raft.role === 'leader'; ms++) {
    lab.advance();
    for (const follower of followers) while (follower.finishWrite(lab.nowMs)) lab.drain(follower);
  }
  assert.is.not(leader.raft.role, 'leader');
  leader.finishWrite = finish;
});

test('ledger 8: a node alone applies nothing that is not durable (etcd #14370)', () => {
  const lab = new CoreLab(1, 1);
  lab.advanceUntil(() => lab.leader !== undefined && lab.leader.applied.length > 1);
  const only = lab.host(1);
  lab.writeRate = 0;
  only.propose(lab.nowMs, 'a');
  lab.advanceFor(50);
  assert.is(only.applied.length, 2);
  assert.is(only.raft.commitIndex, 2);
  lab.writeRate = 1;
  lab.advanceFor(2);
  assert.is(only.applied.length, 3);
});

test('ledger 8: the leader’s own copy counts toward a commit once it is durable (etcd #14370)', () => {
  const { lab, leader, followers } = electedLab();
  const [down, other] = followers as [Host, Host];
  down.isDown = true;
  lab.writeRate = 0;
  leader.propose(lab.nowMs, 'on one disk of three');
  for (let ms = 0; ms < 20; ms++) {
    lab.advance();
    while (other.finishWrite(lab.nowMs)) lab.drain(other);
  }
  assert.is(other.raft.stableIndex, 3);
  assert.is(leader.raft.commitIndex, 2);
  lab.writeRate = 1;
  lab.advanceUntil(() => leader.raft.commitIndex === 3, 20);
});

test('ledger 10: a learner that was promoted votes, though it does not know it yet (etcd campaign_learner_must_vote)', () => {
  const lab = new CoreLab(10, 3, LAB_OPTIONS, 1);
  lab.advanceUntil(() => (lab.leader?.raft.appliedIndex ?? 0) > 1);
  const leader = lab.leader as Host;
  const learner = lab.host(4);
  leader.change(lab.nowMs, { type: 'addLearner', node: 4 });
  lab.advanceUntil(() => learner.raft.configuration.learners.includes(4));
  lab.isolate(4);
  leader.change(lab.nowMs, { type: 'addVoter', node: 4 });
  const voters = [1, 2, 3].map((id) => lab.host(id));
  lab.advanceUntil(() => voters.every((host) => host.raft.configuration.voters.includes(4)));
  // Three of four must agree now, and one is down.
  leader.isDown = true;
  lab.heal();
  assert.equal(learner.raft.configuration.learners, [4]);
  lab.advanceUntil(() => voters.some((host) => !host.isDown && host.raft.role === 'leader'), 500);
});

test('ledger 10: membership is what base and log say, after a cut, a snapshot and a restart (etcd #19557, #20793)', () => {
  const lab = new CoreLab(10, 3, LAB_OPTIONS, 1);
  lab.advanceUntil(() => (lab.leader?.raft.appliedIndex ?? 0) > 1);
  const leader = lab.leader as Host;
  for (const type of ['addLearner', 'addVoter'] as const) {
    assert.ok(leader.change(lab.nowMs, { type, node: 4 }).accepted);
    lab.advanceUntil(() => leader.raft.appliedIndex === leader.raft.lastIndex);
  }
  const hosts = [...lab.hosts.values()];
  lab.advanceUntil(() => hosts.every(({ raft }) => raft.appliedIndex === leader.raft.lastIndex));
  assert.ok(lab.host(4).snapshotsTaken > 0);
  const check = (what: string) => {
    for (const { id, raft } of hosts)
      assert.equal(raft.configuration.voters, [1, 2, 3, 4], `node ${id} ${what}`);
  };
  check('has applied it');
  leader.propose(lab.nowMs, 'one more');
  lab.advanceFor(30);
  const cut = lab.host((leader.id % 3) + 1);
  cut.compact(lab.nowMs, 0);
  assert.is(cut.base.index, cut.raft.lastIndex);
  for (const host of hosts) host.restart(lab.nowMs);
  lab.advanceUntil(() => {
    const last = lab.leader?.raft.lastIndex;
    return last !== undefined && hosts.every(({ raft }) => raft.appliedIndex === last);
  });
  check('has restarted');
});

test('ledger 12: entries below a snapshot are acknowledged, and not appended', () => {
  const node = new Host(3, [1, 2, 3], new SeededRandom(1), 0);
  const configuration = configurationOf([1, 2, 3]);
  const snapshot: Message = { type: 'snapshot', term: 5, snapshot: { index: 20, term: 4, configuration } };
  const entries = (from: number, to: number): Entry[] =>
    Array.from({ length: to - from + 1 }, (_, i) => ({
      term: 4,
      kind: 'command',
      body: Buffer.from(`${from + i}`),
    }));
  const append = (previousIndex: number, last: number): Message => ({
    type: 'append',
    term: 5,
    previousIndex,
    previousTerm: 4,
    commitIndex: 20,
    allMatchedIndex: 0,
    entries: entries(previousIndex + 1, last),
  });
  node.step(1, { type: 'message', from: 1, message: snapshot });
  const installs = node.take(1);
  assert.is(installs?.output.append?.snapshot?.index, 20);
  // Sent before the snapshot: one that ends below it, and one that reaches beyond.
  for (const late of [append(5, 8), append(18, 22)]) {
    node.step(2, { type: 'message', from: 1, message: late });
    assert.is(node.raft.lastIndex, 20);
  }
  assert.is(node.take(2)?.output.append, undefined);
  node.finishWrite(3);
  const answers = node.take(3)?.sent.map(({ message }) => message) ?? [];
  assert.equal(
    answers.map((answer) => answer.type === 'appendReply' && answer.accepted && answer.matchIndex),
    [20],
    'one for the three',
  );
  node.step(4, { type: 'message', from: 1, message: append(20, 22) });
  assert.is(node.take(4)?.output.append?.first, 21);
});

test('ledger 14: a leader that was stopped (SIGSTOP) while others took over has no lease when it goes on', () => {
  const { lab, leader, followers } = electedLab();
  // A round is on its way when it is stopped; its answers wait in the socket until it goes on.
  leader.step(lab.nowMs, { type: 'read', id: 1, level: 'index' });
  lab.drain(leader);
  const { term } = leader.raft;
  const before = lab.sent.length;
  leader.isDown = true;
  lab.advanceUntil(() => followers.some(({ raft }) => raft.role === 'leader' && raft.commitIndex > 2));
  const answers = lab.sent
    .slice(before)
    .filter(({ to, message }) => to === leader.id && message.term === term);
  assert.is(answers.length, 2);
  leader.isDown = false;
  for (const { from, message } of answers) leader.step(lab.nowMs, { type: 'message', from, message });
  assert.ok(lab.read(leader, 'lease').accepted, 'it does not know better yet');
  lab.drain(leader);
  lab.check();
  assert.is(lab.answeredReads.lease, 0);
  lab.advanceFor(100);
  assert.is(lab.answeredReads.lease, 0);
});

test('ledger 14: no lease read goes stale when a follower that gave the lease forgets it by a restart', () => {
  let ledTwice = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const { lab, leader, followers } = electedLab(3, seed);
    const [rival, giver] = followers as [Host, Host];
    lab.isolate(rival.id);
    lab.cut.delete(`${rival.id}>${giver.id}`);
    lab.cut.delete(`${giver.id}>${rival.id}`);
    // The rival asks for votes by now, in vain; one whose word the lease rests on restarts at once.
    lab.advanceFor(LAB_OPTIONS.electionTimeoutMaxMs - (seed % 20));
    lab.read(leader, 'index');
    lab.advanceFor(4);
    giver.restart(lab.nowMs);
    lab.cut.add(`${giver.id}>${leader.id}`);
    lab.cut.add(`${leader.id}>${giver.id}`);
    for (let ms = 0; ms < 300; ms++) {
      lab.read(leader, 'lease');
      lab.advance();
    }
    if (rival.raft.role === 'leader' || giver.raft.role === 'leader') ledTwice++;
    assert.ok(lab.answeredReads.lease > 0);
  }
  assert.is(ledTwice, 20, 'the two have elected one in the end');
});

test('ledger 14: a follower whose clock jumps, forwards or backwards, deposes nobody and costs no lease', () => {
  for (const jumpMs of [10_000, -10_000]) {
    const { lab, leader, followers } = electedLab();
    const [jumper] = followers as [Host];
    const { term } = leader.raft;
    for (let i = 0; i < 20; i++) {
      jumper.jumpClock(lab.nowMs, jumpMs);
      lab.read(leader, 'lease');
      lab.advanceFor(15);
    }
    assert.is(leader.raft.role, 'leader');
    assert.is(leader.raft.term, term);
    assert.is(lab.answeredReads.lease, 20);
  }
});

test('ledger 14: a leader whose clock jumps forwards has no lease at that moment', () => {
  const { lab, leader } = electedLab();
  leader.jumpClock(lab.nowMs, 1000);
  leader.step(lab.nowMs, { type: 'read', id: 1, level: 'lease' });
  assert.equal(leader.take(lab.nowMs)?.output.reads, []);
});

test.run();
