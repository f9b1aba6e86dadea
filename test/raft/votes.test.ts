/** Who is elected, and by whom: what a vote waits for, and which votes and offers count for nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Raft } from '../../src/raft/raft.js';
import type { Message, RequestVote, VoteReply } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { Host, LAB_OPTIONS } from './core-lab.js';

/** Node 1 of three, with nothing in its log, whose disk answers when a test says so. */
class Node {
  nowMs = 1;
  readonly raft: Raft;
  /** The last batch that it has handed over. */
  batch = 0;

  constructor() {
    const { hardState, base } = new Host(1, [1, 2, 3], new SeededRandom(1), 0).disk;
    const state = {
      ...{ hardState: { ...hardState, term: base.term }, base, entries: [], applied: 1, restarted: false },
    };
    this.raft = new Raft({ ...LAB_OPTIONS, id: 1, random: () => 0 }, state, 0);
  }

  /** What it sends at once. */
  hears(from: number, message: Message): Message[] {
    this.raft.step(this.nowMs, { type: 'message', from, message });
    return this.#take();
  }

  persists(): Message[] {
    this.raft.step(this.nowMs, { type: 'persisted', batch: this.batch });
    return this.#take();
  }

  /** Until it has campaigned without an answer, and begins anew. */
  waits(): void {
    for (const endMs = this.nowMs + LAB_OPTIONS.electionTimeoutMaxMs; this.nowMs < endMs; this.nowMs++)
      this.raft.step(this.nowMs, { type: 'tick' });
    this.#take();
  }

  #take(): Message[] {
    const sent: Message[] = [];
    for (let output = this.raft.take(this.nowMs); output; output = this.raft.take(this.nowMs)) {
      this.batch = output.append?.batch ?? this.batch;
      for (const { message } of output.send) if (message.type !== 'append') sent.push(message);
    }
    return sent;
  }
}

const request = (term: number, log: { lastIndex: number }, preVote = false): RequestVote => ({
  ...{ type: 'requestVote', term, preVote, force: false, lastTerm: 1 },
  ...log,
});
const COMPLETE = { lastIndex: 1 };
const LACKING = { lastIndex: 0 };

const vote = (term: number, preVote: boolean): VoteReply => ({
  ...{ type: 'voteReply', term, preVote, granted: true, commitIndex: 1, commitTerm: 1 },
});

function grants(messages: readonly Message[]): number {
  return messages.filter((message) => message.type === 'voteReply' && message.granted).length;
}

test('a vote waits until it is durable, also in a term that is durable already', () => {
  const node = new Node();
  assert.is(grants(node.hears(2, request(2, LACKING))), 0);
  assert.is(grants(node.persists()), 0, 'refused; but now the term is durable');
  assert.is(grants(node.hears(3, request(2, COMPLETE))), 0);
  assert.is(grants(node.persists()), 1);
});

test('a vote that comes late counts for nothing in a later term', () => {
  const node = new Node();
  for (const term of [2, 3]) {
    node.waits();
    node.hears(2, vote(term, true));
    node.persists();
    assert.is(node.raft.role, 'candidate');
    assert.is(node.raft.term, term);
  }
  node.hears(2, vote(2, false));
  assert.is(node.raft.role, 'candidate');
  node.hears(3, vote(3, false));
  assert.is(node.raft.role, 'leader');
});

test('who has heard from a leader gives nobody a vote, nor the promise of one, until its loyalty is over', () => {
  const node = new Node();
  node.hears(3, { type: 'heartbeat', term: 1, commitIndex: 1, round: 1 });
  node.persists();
  const heardMs = node.nowMs;
  node.nowMs = heardMs + LAB_OPTIONS.electionTimeoutMinMs - 1;
  for (const preVote of [true, false]) assert.equal(node.hears(2, request(2, COMPLETE, preVote)), []);
  assert.is(node.raft.term, 1);
  node.nowMs = heardMs + LAB_OPTIONS.electionTimeoutMinMs;
  node.hears(2, request(2, COMPLETE));
  assert.is(grants(node.persists()), 1);
});

test('an offer of leadership that comes late is not taken: another leads since', () => {
  const node = new Node();
  node.hears(2, { type: 'heartbeat', term: 2, commitIndex: 1, round: 1 });
  node.persists();
  node.hears(3, { type: 'timeoutNow', term: 1 });
  assert.is(node.raft.role, 'follower');
  assert.is(node.raft.term, 2);
  node.hears(2, { type: 'timeoutNow', term: 2 });
  assert.is(node.raft.role, 'candidate');
});

test.run();
