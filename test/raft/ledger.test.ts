/**
 * Bugs that other Raft implementations shipped, a test each, where the core can show them. The numbers are the rows of
 * the project's list; rows 9 and 11 to 13 have tests of the same name at the log, the server, the replica and the state
 * machine.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ConfigurationChange, configurationOf } from '../../src/raft/configuration.js';
import { decodeChange, encodeChange } from '../../src/raft/configuration-codec.js';
import { Raft } from '../../src/raft/raft.js';
import { type Entry, FIRST_BASE, type Message, type RaftState } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { CoreLab, electedLab, Host, LAB_OPTIONS } from './core-lab.js';

/** A core whose host is the test: it applies nothing by itself. */
function bareRaft(state: RaftState): Raft {
  return new Raft({ ...LAB_OPTIONS, id: 1, random: () => 0.5 }, state, 0);
}

test('ledger 1: a deposed leader that does not know it yet confirms no read (etcd #741)', () => {
  const { lab, leader } = electedLab();
  lab.isolate(leader.id);
  leader.step(lab.nowMs, { type: 'read', id: 1, method: 'index' });
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
  assert.ok(leader.step(lab.nowMs, { type: 'read', id: 9, method: 'index' }).accepted);
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
  leader.step(lab.nowMs, { type: 'read', id: 1, method: 'index' });
  lab.drain(leader);
  const rounds = lab.sent.filter((item) => item.message.type === 'heartbeat').map((item) => item.message);
  const earlier = rounds.at(-1) as Extract<Message, { type: 'heartbeat' }>;
  leader.step(lab.nowMs, { type: 'read', id: 2, method: 'index' });
  lab.drain(leader);
  const answer: Message = {
    ...{ type: 'heartbeatReply', term: leader.raft.term },
    ...{ round: earlier.round, promisedMs: 50 },
  };
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
    const message: Message = {
      ...{ type: 'voteReply', term: 1, preVote: true, granted: true },
      ...{ commitIndex: 0, commitTerm: 0 },
    };
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
  const { commitIndex } = voter.raft;
  const known = { commitIndex, commitTerm: voter.raft.termAt(commitIndex) };
  const granted = { type: 'voteReply', term: term + 1, preVote: true, granted: true, ...known };
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
  leader.step(lab.nowMs, { type: 'read', id: 1, method: 'index' });
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
  leader.step(lab.nowMs, { type: 'read', id: 1, method: 'lease' });
  assert.equal(leader.take(lab.nowMs)?.output.reads, []);
});

/** An inline network of bare cores: what each says reaches the other at once, but for what `isLost` takes. */
function exchange(
  cores: ReadonlyMap<number, Host>,
  nowMs: number,
  isLost: (from: number, to: number, message: Message) => boolean = () => false,
): void {
  for (let isQuiet = false; !isQuiet; ) {
    isQuiet = true;
    for (const [id, host] of cores) {
      for (let taken = host.take(nowMs); taken; taken = host.take(nowMs)) {
        isQuiet = false;
        while (host.finishWrite(nowMs));
        for (const { to, message } of taken.sent) {
          if (!isLost(id, to, message)) cores.get(to)?.step(nowMs, { type: 'message', from: id, message });
        }
      }
    }
  }
}

test('ledger 24: who was removed refuses a candidate that lacks what it acknowledged, and says what is committed', () => {
  // Node 3 has applied its own removal (entry 3) and acknowledged entry 4, which it does not know to be committed.
  const removal = encodeChange({ changes: [{ type: 'remove', node: 3 }], transition: 'auto' });
  const entries: Entry[] = [
    { term: 2, kind: 'noop', body: new Uint8Array(0) },
    { term: 2, kind: 'configuration', body: removal },
    { term: 2, kind: 'command', body: Buffer.from('W') },
  ];
  const known = { commitIndex: 3, commitTerm: 2 };
  const base = { index: 1, term: 1, configuration: configurationOf([1, 2, 3]) };
  const removed = new Host(3, [1, 2, 3], new SeededRandom(1), 0);
  removed.disk = { ...removed.disk, hardState: { term: 2, vote: 1, commit: 3 }, base, log: entries };
  removed.restart(0);
  const candidate = new Host(2, [1, 2, 3], new SeededRandom(2), 0);
  candidate.disk = { ...candidate.disk, hardState: { term: 2, vote: 1, commit: 1 }, base };
  candidate.disk.log = entries.slice(0, 2);
  candidate.restart(0);
  removed.take(1);
  assert.equal(removed.raft.configuration.voters, [1, 2]);
  const cores = new Map([
    [2, candidate],
    [3, removed],
  ]);
  const answers: Message[] = [];
  for (let ms = 1; ms < 1000; ms++) {
    for (const host of cores.values()) host.step(ms, { type: 'tick' });
    exchange(cores, ms, (from, _to, message) => {
      if (from === 3) answers.push(message);
      return false;
    });
  }
  assert.equal(answers[0], { type: 'voteReply', term: 2, preVote: true, granted: false, ...known });
  assert.is(candidate.raft.commitIndex, 3, 'it learned that the removal is committed');
  assert.equal(candidate.raft.configuration.voters, [1, 2]);
  assert.is.not(candidate.raft.role, 'leader', 'node 1, which holds W, is needed now');
});

test('ledger 24: a group of two outlives the removal of its leader, which holds more than the other', () => {
  const { lab, leader, followers } = electedLab(2);
  const [other] = followers as [Host];
  leader.change(lab.nowMs, { type: 'remove', node: leader.id });
  leader.propose(lab.nowMs, 'never leaves');
  // The other one gets the change alone, and not that it is committed.
  lab.nowMs++;
  lab.drain(leader);
  lab.transit = lab.transit.map((item) =>
    item.message.type === 'append'
      ? { ...item, message: { ...item.message, entries: item.message.entries.slice(0, 1) } }
      : item,
  );
  lab.cut.clear();
  lab.advanceUntil(() => other.lastIndex === leader.lastIndex - 1);
  lab.cut.add(`${leader.id}>${other.id}`);
  lab.advanceUntil(() => leader.raft.role !== 'leader');
  lab.heal();
  lab.advanceUntil(() => other.raft.role === 'leader', 2000);
  lab.advanceUntil(() => other.raft.commitIndex === other.lastIndex);
});

test('ledger 25: whether a node is alone is judged with the changes in its log, applied or not', () => {
  const addition = encodeChange({ changes: [{ type: 'addVoter', node: 2 }], transition: 'auto' });
  const grown = { term: 1, sizeBytes: 30, change: decodeChange(addition) };
  const base = { ...FIRST_BASE, configuration: configurationOf([1]) };
  const hardState = { term: 1, vote: 1, commit: 2 };
  const restart = (entries: RaftState['entries']) =>
    bareRaft({ hardState, base, entries, applied: 1, restarted: true });
  const request: Message = {
    ...{ type: 'requestVote', term: 5, preVote: false, force: false },
    ...{ lastIndex: 9, lastTerm: 4 },
  };
  for (const [entries, votes] of [
    [[grown], false],
    [[{ term: 1, sizeBytes: 30 }], true],
  ] as const) {
    const raft = restart(entries);
    raft.step(1, { type: 'message', from: 2, message: request });
    assert.is(raft.vote === 2, votes, `it votes at once: ${votes}`);
  }
});

test('ledger 25: an answer to a read of the process before a restart confirms none of this one', () => {
  const { lab, leader, followers } = electedLab();
  const [follower] = followers as [Host];
  follower.step(lab.nowMs, { type: 'read', id: 1, method: 'follower' });
  lab.advanceUntil(() => lab.sent.some(({ message }) => message.type === 'readIndexReply'));
  const late = lab.sent.find(({ message }) => message.type === 'readIndexReply');
  lab.transit = [];
  follower.restart(lab.nowMs);
  lab.advanceUntil(() => follower.raft.leader === leader.id);
  follower.step(lab.nowMs, { type: 'read', id: 1, method: 'follower' });
  follower.step(lab.nowMs, { type: 'message', from: leader.id, message: late?.message as Message });
  lab.drain(follower);
  assert.equal(follower.reads, []);
});

test('ledger 25: a lease is no longer than the shortest election timeout of those who answered', () => {
  const { lab, leader, followers } = electedLab();
  const quick = { ...LAB_OPTIONS, electionTimeoutMinMs: 20, electionTimeoutMaxMs: 30 };
  const hasLeaseAfter = (silentMs: number): boolean => {
    leader.step(lab.nowMs, { type: 'read', id: 1, method: 'index' });
    const roundMs = lab.nowMs;
    lab.drain(leader);
    lab.advanceFor(5);
    leader.reads = [];
    leader.step(roundMs + silentMs, { type: 'read', id: 2, method: 'lease' });
    leader.take(roundMs + silentMs);
    return leader.reads.some(({ id }) => id === 2);
  };
  assert.ok(hasLeaseAfter(40));
  for (const host of followers) {
    Object.assign(host, { options: quick });
    host.restart(lab.nowMs);
  }
  lab.advanceFor(30);
  assert.is(leader.raft.role, 'leader');
  assert.not(hasLeaseAfter(40), 'the others may have elected another by then');
  assert.ok(hasLeaseAfter(12));
});

test('ledger 25: no lease while a change is on its way, or of a leader that was removed: another may be alone', () => {
  const { lab, leader, followers } = electedLab(2);
  const [other] = followers as [Host];
  const hasLease = () => {
    leader.reads = [];
    leader.step(lab.nowMs, { type: 'read', id: 1, method: 'lease' });
    leader.take(lab.nowMs);
    return leader.reads.length > 0;
  };
  assert.ok(hasLease());
  leader.change(lab.nowMs, { type: 'remove', node: leader.id });
  assert.not(hasLease());
  lab.advanceUntil(() => other.raft.configuration.voters.length === 1);
  assert.not(hasLease());
});

test('ledger 25: a lease that the members before have given ends with a change: new ones may promise less', () => {
  const lab = new CoreLab(42, 3, LAB_OPTIONS, 1);
  lab.advanceUntil(() => (lab.leader?.raft.appliedIndex ?? 0) > 1);
  const leader = lab.leader as Host;
  lab.read(leader, 'index');
  lab.advanceFor(5);
  leader.change(lab.nowMs, { type: 'addVoter', node: 4 });
  lab.advanceUntil(() => leader.raft.configuration.voters.includes(4));
  leader.reads = [];
  leader.step(lab.nowMs, { type: 'read', id: 1, method: 'lease' });
  leader.take(lab.nowMs);
  assert.equal(leader.reads, []);
});

test('a change is refused until the one before it is settled', () => {
  const lab = new CoreLab(42, 3, LAB_OPTIONS, 1);
  lab.advanceUntil(() => (lab.leader?.raft.appliedIndex ?? 0) > 1);
  const leader = lab.leader as Host;
  leader.change(lab.nowMs, { type: 'addLearner', node: 4 });
  lab.advanceUntil(() => leader.raft.configuration.learners.includes(4));
  const again = () => leader.change(lab.nowMs, { type: 'addLearner', node: 5 });
  assert.is(leader.raft.settledConfiguration, 0);
  const refused = again();
  assert.is(refused.accepted ? '' : refused.refusal, 'changePending');
  lab.advanceUntil(() => leader.raft.settledConfiguration === leader.raft.configuration.index);
  assert.ok(again().accepted);
});

test('ledger 25: a restarted node is silent for as long as the process before may have promised', () => {
  const hardState = { term: 1, vote: 1, commit: 1 };
  const base = { ...FIRST_BASE, configuration: configurationOf([1, 2, 3]) };
  const raft = bareRaft({ hardState, base, entries: [], applied: 1, restarted: true, promisedMs: 1000 });
  const askAt = (ms: number) => {
    const message: Message = {
      ...{ type: 'requestVote', term: 2, preVote: false, force: false },
      ...{ lastIndex: 1, lastTerm: 1 },
    };
    raft.step(ms, { type: 'message', from: 2, message });
    return raft.vote;
  };
  assert.is(askAt(999), 1);
  assert.is(askAt(1000), 2);
});

test('ledger 14: a promise outlives the term: who is told of a later one still helps nobody to depose the leader', () => {
  const hardState = { term: 1, vote: 2, commit: 1 };
  const base = { ...FIRST_BASE, configuration: configurationOf([1, 2, 3]) };
  const raft = bareRaft({ hardState, base, entries: [], applied: 1, restarted: false });
  const hear = (ms: number, from: number, message: Message) =>
    raft.step(ms, { type: 'message', from, message });
  // It asked 3 for a pre-vote; before the answer comes it hears from its leader again, whose lease rests on the reply.
  hear(1, 2, { type: 'heartbeat', term: 1, commitIndex: 1, round: 1 });
  const known = { commitIndex: 1, commitTerm: 1 };
  hear(2, 3, { type: 'voteReply', term: 2, preVote: true, granted: false, ...known });
  assert.is(raft.term, 2);
  const request: Message = {
    ...{ type: 'requestVote', term: 2, preVote: false, force: false },
    ...{ lastIndex: 1, lastTerm: 1 },
  };
  const untilMs = 1 + LAB_OPTIONS.electionTimeoutMinMs;
  for (const [ms, vote] of [
    [3, 0],
    [untilMs - 1, 0],
    [untilMs, 3],
  ] as const) {
    hear(ms, 3, request);
    assert.is(raft.vote, vote);
  }
});

test('ledger 26: an append commits no further than it matched: what lies behind may be another leader’s', () => {
  const entries = ['a', 'b', 'c'].map(
    (text): Entry => ({ term: 2, kind: 'command', body: Buffer.from(text) }),
  );
  const host = new Host(3, [1, 2, 3], new SeededRandom(1), 0);
  host.disk = { ...host.disk, hardState: { term: 2, vote: 3, commit: 1 }, log: entries };
  host.restart(0);
  for (const [sent, commit] of [
    [[], 2],
    [entries.slice(1, 2), 3],
  ] as const) {
    const message: Message = {
      ...{ type: 'append', term: 3, previousIndex: 2, previousTerm: 2, commitIndex: 9 },
      ...{ allMatchedIndex: 1, entries: sent },
    };
    host.step(1, { type: 'message', from: 1, message });
    assert.is(host.raft.commitIndex, commit);
  }
});

test('a leader with another history below the commit is a broken invariant, not an acknowledgement', () => {
  const { lab, leader, followers } = electedLab();
  leader.propose(lab.nowMs, 'a');
  lab.advanceFor(60);
  const [follower] = followers as [Host];
  const { commitIndex } = follower.raft;
  // Of a later term, or the message would contradict itself.
  const term = follower.raft.term + 1;
  const append = (previousTerm: number, entries: Entry[]): Message => ({
    ...{ type: 'append', term, previousIndex: commitIndex - 1, previousTerm, commitIndex },
    ...{ allMatchedIndex: 0, entries },
  });
  const before = follower.raft.termAt(commitIndex - 1) ?? 0;
  const other: Entry = { term, kind: 'command', body: Buffer.from('b') };
  follower.step(lab.nowMs, { type: 'message', from: leader.id, message: append(before, []) });
  for (const wrong of [append(before + 1, []), append(before, [other])])
    assert.throws(
      () => follower.step(lab.nowMs, { type: 'message', from: leader.id, message: wrong }),
      /as committed, but its leader has one of term/,
    );
});

test('a leader that was away for longer than an election timeout hears first what waits for it', () => {
  const { lab, leader, followers } = electedLab();
  const { term } = leader.raft;
  leader.step(lab.nowMs, { type: 'read', id: 1, method: 'index' });
  lab.drain(leader);
  for (const host of followers) lab.advanceUntil(() => lab.sent.some(({ from }) => from === host.id));
  const awayMs = lab.nowMs + LAB_OPTIONS.electionTimeoutMinMs + 5;
  const answers = lab.sent.filter(({ to }) => to === leader.id).slice(-2);
  // Its timer runs before it reads its sockets.
  leader.step(awayMs, { type: 'tick' });
  assert.is(leader.raft.role, 'leader');
  for (const { from, message } of answers) leader.step(awayMs, { type: 'message', from, message });
  leader.step(awayMs + 1, { type: 'tick' });
  assert.equal([leader.raft.role, leader.raft.term], ['leader', term]);
  // Nothing waits for it: one late tick is forgiven, not two.
  const goneMs = awayMs + LAB_OPTIONS.electionTimeoutMinMs + 5;
  leader.step(goneMs, { type: 'tick' });
  leader.step(goneMs + 100, { type: 'tick' });
  assert.is(leader.raft.role, 'follower');
});

test.run();
