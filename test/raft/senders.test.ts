/**
 * Whose messages count: what a stranger, a second leader and an absurd term may do, and that nobody lawful is cut off.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Configuration } from '../../src/raft/configuration.js';
import { encodeChange } from '../../src/raft/configuration-codec.js';
import { MAX_TERM, MAX_TERM_JUMP } from '../../src/raft/senders.js';
import type { Entry, Message } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { CoreLab, electedLab, Host, LAB_OPTIONS } from './core-lab.js';

const STRANGER = 99;
const FAR = 2 ** 53 - 1;

const append = (term: number, entries: readonly Entry[] = []): Message => ({
  ...{ type: 'append', term, previousIndex: 1, previousTerm: 1, commitIndex: 9 },
  ...{ allMatchedIndex: 0, entries },
});
const vote = (term: number, more: { force?: boolean; preVote?: boolean } = {}): Message => ({
  ...{ type: 'requestVote', term, preVote: false, force: false, lastIndex: 1000, lastTerm: term - 1 },
  ...more,
});
/** One of each type, as of a term. */
const everyMessage = (term: number): readonly Message[] => [
  vote(term),
  vote(term, { force: true }),
  { type: 'voteReply', term, preVote: false, granted: true, commitIndex: 3, commitTerm: 1 },
  append(term, [{ term, kind: 'command', body: Buffer.from('forged') }]),
  append(term, [
    {
      ...{ term, kind: 'configuration' },
      body: encodeChange({ changes: [{ type: 'addVoter', node: STRANGER }], transition: 'auto' }),
    },
  ]),
  {
    ...{ type: 'appendReply', term, accepted: true, matchIndex: 3 },
    ...{ rejectedIndex: 0, hintIndex: 0, hintTerm: 0 },
  },
  { type: 'heartbeat', term, commitIndex: 3, round: 1 },
  { type: 'heartbeatReply', term, round: FAR, promisedMs: 1e9 },
  { type: 'quietOffer', term, index: 3, round: 1, epoch: 1 },
  { type: 'quietReply', term, round: 1, isQuiet: true },
  { type: 'timeoutNow', term },
  { type: 'readIndex', term, id: 1 },
  { type: 'readIndexReply', term, id: 1, index: 1 },
  {
    ...{ type: 'snapshot', term },
    snapshot: { index: 1000, term, configuration: { ...EMPTY, voters: [STRANGER] } },
  },
];
const EMPTY: Configuration = {
  ...{ index: 0, voters: [], outgoing: [], learners: [], learnersNext: [] },
  ...{ autoLeave: false, contexts: {} },
};

function stateOf({ raft, disk }: Host): unknown {
  const { term, vote, role, leader, lastIndex, commitIndex, configuration } = raft;
  return { term, vote, role, leader, lastIndex, commitIndex, configuration, log: disk.log.length };
}

test('in a group with a leader, no message of a stranger changes anything, whatever its term', () => {
  const { lab, leader, followers } = electedLab();
  const { term } = leader.raft;
  for (const host of [leader, ...followers]) {
    const before = stateOf(host);
    for (const claimed of [term - 1, term, term + 1, term + 1000, FAR]) {
      for (const message of everyMessage(claimed)) {
        host.step(lab.nowMs, { type: 'message', from: STRANGER, message });
        const what = `${message.type} of term ${claimed} to node ${host.id}`;
        assert.equal(stateOf(host), before, what);
        if (claimed > term) assert.ok(host.raft.refusalOf(lab.nowMs, STRANGER, message), `${what} is told`);
      }
    }
  }
  lab.advanceFor(2000);
  assert.is(leader.raft.term, term);
  lab.check();
});

test('a term that no cluster reaches is refused before it is stored, also from a member and without a leader', () => {
  for (const hasLeader of [true, false]) {
    const { lab, leader, followers } = electedLab();
    const victim = followers[0] as Host;
    if (!hasLeader) {
      lab.isolate(victim.id);
      lab.advanceFor(5000);
    }
    const { term } = victim.raft;
    for (const claimed of [term + MAX_TERM_JUMP + 1, MAX_TERM + 1, FAR]) {
      for (const message of everyMessage(claimed)) {
        for (const from of [leader.id, STRANGER]) {
          victim.step(lab.nowMs, { type: 'message', from, message });
          assert.is(victim.raft.refusalOf(lab.nowMs, from, message), 'termTooFar');
        }
      }
    }
    assert.is(victim.raft.term, term);
    const lawful: Message = { type: 'heartbeat', term: term + MAX_TERM_JUMP, commitIndex: 0, round: 1 };
    victim.step(lab.nowMs, { type: 'message', from: leader.id, message: lawful });
    assert.is(victim.raft.term, term + MAX_TERM_JUMP);
  }
});

test('one message in error, as far ahead as is allowed, does not shut the group to new nodes', () => {
  const lab = new CoreLab(1, 3, LAB_OPTIONS, 1);
  lab.advanceUntil(() => (lab.leader?.raft.commitIndex ?? 0) > 1);
  const { term } = lab.host(1).raft;
  const erring: Message = { type: 'heartbeat', term: term + MAX_TERM_JUMP, commitIndex: 0, round: 1 };
  lab.host(1).step(lab.nowMs, { type: 'message', from: 2, message: erring });
  lab.advanceFor(500);
  const leader = lab.leader as Host;
  assert.ok(leader.raft.term > MAX_TERM_JUMP);
  assert.ok(leader.change(lab.nowMs, { type: 'addLearner', node: 4 }).accepted);
  lab.advanceUntil(() => lab.host(4).raft.commitIndex === leader.raft.lastIndex);
});

/** Alone in the world: node 1 as it is after a restart. */
function restarted(hardStateTerm: number, configuration: Partial<Configuration> = {}): Host {
  const host = new Host(1, [1, 2, 3], new SeededRandom(1), 0);
  const { hardState, base } = host.disk;
  host.disk = {
    ...host.disk,
    hardState: { ...hardState, term: hardStateTerm },
    base: { ...base, configuration: { ...base.configuration, ...configuration } },
  };
  host.restart(0);
  return host;
}

test('a node whose term has no headroom left asks for no votes, and nothing breaks', () => {
  for (const term of [MAX_TERM, FAR]) {
    const host = restarted(term);
    for (let ms = 0; ms < 20 * LAB_OPTIONS.electionTimeoutMaxMs; ms += 10) {
      host.step(ms, { type: 'tick' });
      host.take(ms);
    }
    assert.equal([host.raft.role, host.raft.term], ['follower', term]);
  }
});

test('without a leader a stranger is listened to: whoever was away does not know who was added', () => {
  const host = restarted(5, { voters: [1, 3] });
  const lateMs = 3 * LAB_OPTIONS.electionTimeoutMaxMs;
  host.step(lateMs, { type: 'message', from: 4, message: vote(9) });
  assert.equal([host.raft.term, host.raft.vote], [9, 4]);
  host.step(lateMs, {
    type: 'message',
    from: 4,
    message: { type: 'heartbeat', term: 9, commitIndex: 0, round: 1 },
  });
  assert.is(host.raft.leader, 4);
  // What it says goes on to count, and a member's word does too.
  host.step(lateMs, {
    type: 'message',
    from: 4,
    message: { type: 'heartbeat', term: 9, commitIndex: 0, round: 2 },
  });
  host.step(lateMs, {
    type: 'message',
    from: 3,
    message: { type: 'heartbeat', term: 10, commitIndex: 0, round: 1 },
  });
  assert.equal([host.raft.term, host.raft.leader], [10, 3]);
  host.step(lateMs, {
    type: 'message',
    from: 4,
    message: { type: 'heartbeat', term: 11, commitIndex: 0, round: 1 },
  });
  assert.equal([host.raft.term, host.raft.leader], [10, 3], 'now it has a leader that it knows');
});

test('a node without members yet listens to all, and one that a change in the log names is no stranger', () => {
  const joining = restarted(0, { voters: [] });
  const heartbeat: Message = { type: 'heartbeat', term: 7, commitIndex: 0, round: 1 };
  joining.step(1, { type: 'message', from: 4, message: heartbeat });
  joining.step(1, { type: 'message', from: 5, message: { ...heartbeat, term: 8 } });
  assert.equal([joining.raft.term, joining.raft.leader], [8, 5]);

  const { lab, leader, followers } = electedLab();
  const [follower] = followers as [Host];
  const { term, lastIndex } = leader.raft;
  const body = encodeChange({ changes: [{ type: 'addVoter', node: 4 }], transition: 'auto' });
  const previousTerm = follower.raft.termAt(lastIndex) ?? 0;
  const added: Message = {
    ...{ type: 'append', term, previousIndex: lastIndex, previousTerm, commitIndex: 0 },
    ...{ allMatchedIndex: 0, entries: [{ term, kind: 'configuration', body }] },
  };
  const next: Message = { type: 'heartbeat', term: term + 1, commitIndex: 0, round: 1 };
  assert.is(follower.raft.refusalOf(lab.nowMs, 4, next), 'stranger');
  follower.step(lab.nowMs, { type: 'message', from: leader.id, message: added });
  assert.is(follower.raft.refusalOf(lab.nowMs, 4, next), undefined);
});

test('answers count from members alone: no stranger makes a commit, an election or a read', () => {
  const { lab, leader, followers } = electedLab();
  for (const { id } of followers) lab.isolate(id);
  leader.propose(lab.nowMs, 'never acknowledged');
  lab.advanceFor(20);
  const { term, lastIndex, commitIndex } = leader.raft;
  assert.ok(lastIndex > commitIndex);
  const acknowledged: Message = {
    ...{ type: 'appendReply', term, accepted: true, matchIndex: lastIndex },
    ...{ rejectedIndex: 0, hintIndex: 0, hintTerm: 0 },
  };
  for (const from of [STRANGER, 98, 97])
    leader.step(lab.nowMs, { type: 'message', from, message: acknowledged });
  assert.is(leader.raft.commitIndex, commitIndex);
  // That an entry is committed a follower takes from no stranger either.
  const [follower] = followers as [Host];
  const { raft } = follower;
  const entries: Entry[] = [{ term, kind: 'command', body: Buffer.from('not committed') }];
  const last = { previousIndex: raft.lastIndex, previousTerm: raft.termAt(raft.lastIndex) ?? 0 };
  const message: Message = { ...append(term, entries), ...last, commitIndex: 0 } as Message;
  follower.step(lab.nowMs, { type: 'message', from: leader.id, message });
  const committed = raft.commitIndex;
  assert.ok(raft.lastIndex > committed);
  follower.step(lab.nowMs, {
    ...{ type: 'message', from: STRANGER },
    message: {
      ...{ type: 'voteReply', term, preVote: true, granted: false, commitIndex: raft.lastIndex },
      commitTerm: term,
    },
  });
  assert.is(raft.commitIndex, committed);
});

test('a round that was never sent confirms nothing', () => {
  const { lab, leader, followers } = electedLab();
  for (const { id } of followers) lab.isolate(id);
  const { term } = leader.raft;
  const [one, other] = followers as [Host, Host];
  for (const { id } of [one, other]) {
    const message: Message = { type: 'heartbeatReply', term, round: 1_000_000, promisedMs: 1000 };
    leader.step(lab.nowMs, { type: 'message', from: id, message });
  }
  leader.step(lab.nowMs, { type: 'read', id: 7, method: 'index' });
  const reads = leader.take(lab.nowMs)?.output.reads ?? [];
  assert.equal(reads, []);
});

test('only the leader of the term may tell a follower to campaign, or answer its read', () => {
  const { lab, leader, followers } = electedLab();
  const [one, other] = followers as [Host, Host];
  const { term } = leader.raft;
  one.step(lab.nowMs, { type: 'message', from: other.id, message: { type: 'timeoutNow', term } });
  assert.equal([one.raft.role, one.raft.term], ['follower', term]);
  assert.is(
    one.raft.refusalOf(lab.nowMs, other.id, { type: 'readIndexReply', term, id: 1, index: 0 }),
    'notLeader',
  );
  one.step(lab.nowMs, { type: 'message', from: leader.id, message: { type: 'timeoutNow', term } });
  assert.is(one.raft.role, 'candidate');
});

test('a leader takes nothing from another in its own term', () => {
  const { lab, leader, followers } = electedLab();
  const { term, lastIndex } = leader.raft;
  const other = followers[0]?.id ?? 0;
  for (const message of [append(term), { type: 'heartbeat', term, commitIndex: 0, round: 1 } as const]) {
    assert.is(leader.raft.refusalOf(lab.nowMs, other, message), 'secondLeader');
    leader.step(lab.nowMs, { type: 'message', from: other, message });
  }
  assert.equal([leader.raft.role, leader.raft.lastIndex], ['leader', lastIndex]);
});

test('entries whose terms contradict each other, or the message, are refused', () => {
  const { lab, leader, followers } = electedLab();
  const [follower] = followers as [Host];
  const term = leader.raft.term + 3;
  const entry = (of: number): Entry => ({ term: of, kind: 'command', body: Buffer.from('x') });
  for (const message of [
    append(term, [entry(term + 1)]),
    append(term, [entry(term), entry(term - 1)]),
    append(term, [entry(0)]),
    { ...append(term), previousTerm: term + 1 } as Message,
    { ...vote(term), lastTerm: term + 1 } as Message,
  ])
    assert.is(follower.raft.refusalOf(lab.nowMs, leader.id, message), 'malformed');
  assert.is(follower.raft.refusalOf(lab.nowMs, leader.id, append(term, [entry(term)])), undefined);
});

test.run();
