/** Who proposed an entry is answered when it is applied, and only for that entry. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import type { Entry, Role } from '../../src/raft/types.js';
import { PendingProposals } from '../../src/replica/pending-proposals.js';

const entry = (term: number): Entry => ({ term, kind: 'command', body: new Uint8Array(0) });

test('an entry of another leader at its index says that a proposal is not committed', () => {
  const pending = new PendingProposals<string>(() => 2);
  const told: unknown[] = [];
  const resolve = (applied: unknown) => told.push(applied);
  const reject = (error: unknown) => told.push(error);
  for (const index of [4, 5]) pending.add(index, { term: 2, isCommand: true, resolve, reject });
  pending.applied(4, [entry(2), entry(3)], ['its own', 'another’s']);
  const [own, other] = told;
  assert.equal(own, { index: 4, result: 'its own' });
  assert.ok(other instanceof RaftreeError);
  assert.equal([other.code, other.info.outcome], ['LEADERSHIP_LOST', 'notCommitted']);
  pending.applied(4, [entry(2), entry(3)], ['its own', 'another’s']);
  assert.is(told.length, 2, 'nobody is told twice');
});

/** Proposals 4, 5 and 6 of term 2, and what their callers were told. */
function threeOfTerm2() {
  const log = new Map<number, number>();
  const pending = new PendingProposals<string>((index) => log.get(index));
  const told: string[] = [];
  const add = (index: number, term: number) => {
    log.set(index, term);
    pending.add(index, {
      ...{ term, isCommand: true },
      resolve: ({ result }) => told.push(`${index}: ${result}`),
      reject: ({ info }) => told.push(`${index}: ${info.outcome}`),
    });
  };
  for (const index of [4, 5, 6]) add(index, 2);
  const become = (role: Role, term: number, nowMs: number) =>
    pending.statusChanged({ role, term, leader: 0 }, nowMs);
  return { pending, told, add, become, log };
}

test('a leader that another one follows is told what became of each entry', () => {
  const { pending, told, become } = threeOfTerm2();
  become('follower', 3, 1000);
  pending.rejectLostBefore(1000);
  assert.equal(told, [], 'the other is about to say it');
  pending.applied(4, [entry(2)], ['done']);
  assert.equal(told, ['4: done']);
  pending.applied(5, [entry(3)], ['another’s']);
  assert.equal(
    told.slice(1),
    ['5: notCommitted', '6: notCommitted'],
    'no entry of term 2 is behind one of term 3',
  );
  assert.is(pending.waitsForOthers, false);
});

test('what a snapshot may have held is not told as lost', () => {
  const { pending, told, become } = threeOfTerm2();
  become('follower', 3, 1000);
  pending.applied(6, [entry(3)], ['first after the snapshot']);
  assert.equal(told, ['6: notCommitted', '4: unknown', '5: unknown']);
});

test('a leader that gave up since it reaches too few says so at once', () => {
  const { pending, told, become } = threeOfTerm2();
  become('follower', 2, 1000);
  assert.equal(told, ['4: unknown', '5: unknown', '6: unknown']);
  assert.is(pending.waitsForOthers, false);
});

test('who hears nothing of the next leader does not wait for ever', () => {
  const { pending, told, become } = threeOfTerm2();
  become('follower', 3, 1000);
  become('candidate', 4, 1500);
  pending.rejectLostBefore(1000);
  assert.equal(told, []);
  pending.rejectLostBefore(1001);
  assert.equal(told, ['4: unknown', '5: unknown', '6: unknown'], 'since the first loss');
});

test('leadership that was lost and won again in between, and lost again', () => {
  const { pending, told, add, become, log } = threeOfTerm2();
  become('follower', 3, 900);
  log.set(6, 3);
  pending.leads(4);
  pending.leads(4);
  become('leader', 4, 1000);
  assert.equal(told, ['6: unknown'], 'it was replaced, and what is proposed now comes before its repetition');
  add(7, 4);
  become('follower', 5, 1500);
  pending.applied(4, [entry(2), entry(4)], ['done', 'the first of term 4']);
  assert.equal(told.slice(1), ['4: done', '5: notCommitted']);
  assert.ok(pending.waitsForOthers);
  pending.applied(6, [entry(5)], ['another’s']);
  assert.equal(told.slice(3), ['7: notCommitted']);
  pending.leads(6);
  add(8, 6);
  pending.applied(7, [entry(5)], ['of term 5']);
  assert.is(told.length, 4, 'what this node proposed since then is another matter');
  become('follower', 7, 9000);
  pending.rejectLostBefore(9000);
  assert.is(told.length, 4, 'it waits since then');
  pending.stoodStill(9900);
  pending.stoodStill(9950);
  pending.rejectLostBefore(9900);
  assert.is(told.length, 4, 'what came while this process stood still is not read yet');
  pending.rejectLostBefore(9901);
  assert.equal(told.slice(4), ['8: unknown']);
});

test.run();
