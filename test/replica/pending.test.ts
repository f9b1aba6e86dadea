/** Callers that wait, for an entry or for an index to read at: each gets one answer, and when it is time. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, type RaftreeError } from '../../src/env/errors.js';
import { PendingProposals } from '../../src/replica/pending-proposals.js';
import { PendingReads } from '../../src/replica/pending-reads.js';
import { leadershipLost, waitsForSpace } from '../../src/replica/refusals.js';

/** What each caller was told, in order. */
class Answers {
  readonly all: string[] = [];

  of(name: string): { resolve: (value: unknown) => void; reject: (error: RaftreeError) => void } {
    return {
      resolve: (value) => this.all.push(`${name}: ${JSON.stringify(value)}`),
      reject: (error) => this.all.push(`${name}: ${errorCode(error)}, ${error.info.outcome}`),
    };
  }

  take(): string[] {
    return this.all.splice(0);
  }
}

test('a caller gets the result of his entry, and not of what another leader put in its place', () => {
  const proposals = new PendingProposals<string>(() => undefined);
  const answers = new Answers();
  for (const index of [5, 6, 7])
    proposals.add(index, { term: 2, isCommand: index !== 7, ...answers.of(`entry ${index}`) });
  const entry = (term: number) => ({ term, kind: 'command', body: Buffer.alloc(0) }) as const;
  proposals.applied(4, [entry(1), entry(2), entry(3)], ['a', 'b', 'c']);
  assert.equal(answers.take(), [
    'entry 5: {"index":5,"result":"b"}',
    'entry 6: LEADERSHIP_LOST, notCommitted',
  ]);
  proposals.applied(5, [entry(2), entry(2)], ['b', 'b']);
  assert.equal(answers.take(), [], 'nobody is answered twice');
  proposals.add(8, { term: 2, isCommand: true, ...answers.of('entry 8') });
  proposals.rejectCommands(waitsForSpace());
  assert.equal(answers.take(), ['entry 8: DISK_FULL, unknown'], 'a change of the group goes on waiting');
  proposals.rejectAll(leadershipLost('unknown'));
  assert.equal(answers.take(), ['entry 7: LEADERSHIP_LOST, unknown']);
});

test('a read is answered when its index is applied, and not one entry early', () => {
  const reads = new PendingReads();
  const answers = new Answers();
  for (const id of [1, 2, 3]) reads.add(id, answers.of(`read ${id}`));
  reads.answerThrough(100);
  assert.equal(answers.take(), [], 'none is confirmed');
  reads.confirm(1, 5, 0);
  reads.confirm(2, 6, 0);
  reads.reject(3, leadershipLost('notCommitted'));
  assert.equal(answers.take(), ['read 3: LEADERSHIP_LOST, notCommitted']);
  reads.answerThrough(4);
  assert.equal(answers.take(), []);
  reads.answerThrough(5);
  assert.equal(answers.take(), ['read 1: 5']);
  reads.answerThrough(6);
  assert.equal(answers.take(), ['read 2: 6']);
  reads.rejectAll(leadershipLost('notCommitted'));
  assert.equal(answers.take(), []);
});

test('an idle tick makes no errors: each would cost a stack trace, fifty times a second', () => {
  const reads = new PendingReads();
  const answers = new Answers();
  let made = 0;
  const error = () => {
    made++;
    return leadershipLost('notCommitted');
  };
  reads.rejectConfirmedBefore(1000, error);
  for (const id of [1, 2]) reads.add(id, answers.of(`read ${id}`));
  reads.confirm(1, 5, 1000);
  reads.rejectConfirmedBefore(1000, error);
  assert.is(made, 0);
  reads.rejectConfirmedBefore(1001, error);
  assert.is(made, 1);
  assert.equal(answers.take(), ['read 1: LEADERSHIP_LOST, notCommitted']);
});

test('a confirmed read that waits too long for its index is given up, and no other', () => {
  const reads = new PendingReads();
  const answers = new Answers();
  for (const id of [1, 2, 3]) reads.add(id, answers.of(`read ${id}`));
  reads.confirm(1, 5, 1000);
  reads.confirm(2, 5, 1001);
  reads.rejectConfirmedBefore(1000, () => leadershipLost('notCommitted'));
  assert.equal(answers.take(), []);
  reads.rejectConfirmedBefore(1001, () => leadershipLost('notCommitted'));
  assert.equal(answers.take(), ['read 1: LEADERSHIP_LOST, notCommitted']);
  reads.rejectAll(leadershipLost('notCommitted'));
  assert.equal(answers.take().sort(), [
    'read 2: LEADERSHIP_LOST, notCommitted',
    'read 3: LEADERSHIP_LOST, notCommitted',
  ]);
});

test.run();
