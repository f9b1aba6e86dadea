/** How long a lease lasts, to the millisecond, and what ends it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Raft } from '../../src/raft/raft.js';
import type { Message } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { Host, LAB_OPTIONS } from './core-lab.js';

const { electionTimeoutMinMs, heartbeatMs, maxClockDrift } = LAB_OPTIONS;

/** Node 1 of three, whose disk is quick; nodes 2 and 3 say what a test has them say. */
class Leader {
  nowMs = 0;
  /** Of the last heartbeat. */
  round = 0;
  readonly raft: Raft;
  #answered = 0;
  #nextRead = 1;

  constructor() {
    const { hardState, base } = new Host(1, [1, 2, 3], new SeededRandom(1), 0).disk;
    const state = { hardState, base, entries: [], applied: 1, restarted: false };
    this.raft = new Raft({ ...LAB_OPTIONS, id: 1, random: () => 0 }, state, 0);
    this.win();
  }

  /** Node 2 votes for it. */
  win(): void {
    while (this.raft.role === 'follower') this.advance();
    for (const preVote of [true, false]) {
      const term = this.raft.term + (preVote ? 1 : 0);
      this.hears({ type: 'voteReply', term, preVote, granted: true, commitIndex: 1, commitTerm: 1 });
    }
    assert.is(this.raft.role, 'leader');
  }

  hears(message: Message): void {
    this.raft.step(this.nowMs, { type: 'message', from: 2, message });
    this.drain();
  }

  advance(): void {
    this.nowMs++;
    this.raft.step(this.nowMs, { type: 'tick' });
    this.drain();
  }

  drain(): void {
    const { raft, nowMs } = this;
    for (let output = raft.take(nowMs); output; output = raft.take(nowMs)) {
      if (output.append) raft.step(nowMs, { type: 'persisted', batch: output.append.batch });
      if (output.apply) raft.step(nowMs, { type: 'applied', index: output.apply.last });
      this.#answered += output.reads.length;
      for (const { message } of output.send) if (message.type === 'heartbeat') this.round = message.round;
    }
  }

  /** Node 2 acknowledges the whole log, and so it is committed. */
  commit(): void {
    const { term, lastIndex: matchIndex } = this.raft;
    const refusal = { rejectedIndex: 0, hintIndex: 0, hintTerm: 0 };
    this.hears({ type: 'appendReply', term, accepted: true, matchIndex, ...refusal });
    assert.is(this.raft.commitIndex, matchIndex);
  }

  /** Until the next heartbeat is sent, whose time and round are returned. */
  heartbeat(): { sentMs: number; round: number } {
    const before = this.round;
    while (this.round === before) this.advance();
    return { sentMs: this.nowMs, round: this.round };
  }

  answers(round: number): void {
    const { term } = this.raft;
    this.hears({ type: 'heartbeatReply', term, round, promisedMs: electionTimeoutMinMs });
  }

  /** Whether a read is answered without another round. */
  get hasLease(): boolean {
    const before = this.#answered;
    this.raft.step(this.nowMs, { type: 'read', id: this.#nextRead++, method: 'lease' });
    this.drain();
    return this.#answered > before;
  }
}

test('a lease counts from the sending of a round, and is shorter than the timeout by the drift', () => {
  const leader = new Leader();
  leader.commit();
  const { sentMs, round } = leader.heartbeat();
  while (leader.nowMs < sentMs + heartbeatMs / 2) leader.advance();
  leader.answers(round);
  const endMs = sentMs + electionTimeoutMinMs * (1 - maxClockDrift);
  for (; leader.nowMs < endMs; leader.advance())
    assert.ok(leader.hasLease, `${endMs - leader.nowMs} ms left`);
  assert.not(leader.hasLease, 'it is over');
  assert.is(leader.raft.role, 'leader');
});

test('a leader that has committed nothing in its term has no lease', () => {
  const leader = new Leader();
  const { round } = leader.heartbeat();
  leader.answers(round);
  assert.not(leader.hasLease);
  leader.commit();
  assert.ok(leader.hasLease);
});

test('a lease of one term is none in the next', () => {
  const leader = new Leader();
  leader.commit();
  leader.answers(leader.heartbeat().round);
  assert.ok(leader.hasLease);
  const { term } = leader.raft;
  leader.hears({ type: 'heartbeat', term: term + 1, round: 1, commitIndex: 0 });
  assert.is(leader.raft.role, 'follower');
  // Told to campaign by whoever leads now, and elected at once.
  leader.hears({ type: 'timeoutNow', term: term + 1 });
  leader.hears({
    type: 'voteReply',
    term: term + 2,
    preVote: false,
    granted: true,
    commitIndex: 1,
    commitTerm: 1,
  });
  assert.is(leader.raft.role, 'leader');
  leader.commit();
  assert.not(leader.hasLease);
});

test.run();
