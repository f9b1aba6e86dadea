/** How a leader finds where a follower's log agrees, and how much it sends ahead. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '../../src/raft/progress.js';

const LIMITS = { maxInflightMessages: 3, maxInflightBytes: 100 };

function probing(next = 10): Progress {
  return new Progress(2, next, 0, LIMITS);
}

function replicating(match = 9): Progress {
  const progress = probing(match + 1);
  progress.accepted(match, 0);
  return progress;
}

test('a probe is one message at a time', () => {
  const progress = probing();
  assert.ok(progress.canSend());
  progress.sent(12, 10, 0);
  assert.not(progress.canSend());
  assert.is(progress.next, 10);
  assert.is(progress.inflightMessages, 0);
});

test('an accepted probe opens the window after what was matched', () => {
  const progress = probing();
  progress.sent(12, 10, 0);
  progress.accepted(12, 1);
  assert.is(progress.state, 'replicate');
  assert.is(progress.match, 12);
  assert.is(progress.next, 13);
  assert.ok(progress.canSend());
});

test('a refused probe goes back to the hint, at least one entry, never behind what is matched', () => {
  const progress = probing();
  assert.ok(progress.refused(9, 4));
  assert.is(progress.next, 4);
  assert.ok(progress.canSend());
  progress.match = 2;
  assert.ok(progress.refused(3, 9));
  assert.is(progress.next, 3);
  assert.ok(progress.refused(2, 1));
  assert.is(progress.next, 3);
});

test('a refusal of another probe than the last is ignored', () => {
  const progress = probing();
  progress.sent(9, 0, 0);
  assert.not(progress.refused(5, 3));
  assert.is(progress.next, 10);
  assert.not(progress.canSend());
});

test('the window is full by messages or by bytes, and answers empty it', () => {
  const byMessages = replicating();
  for (const last of [10, 11, 12]) {
    assert.ok(byMessages.canSend());
    byMessages.sent(last, 1, 0);
  }
  assert.not(byMessages.canSend());
  byMessages.accepted(10, 1);
  assert.ok(byMessages.canSend());
  const byBytes = replicating();
  byBytes.sent(10, 60, 0);
  assert.ok(byBytes.canSend());
  byBytes.sent(11, 60, 0);
  assert.not(byBytes.canSend());
  byBytes.accepted(11, 1);
  assert.ok(byBytes.canSend());
  assert.is(byBytes.inflightMessages, 0);
});

test('an answer that covers part of a message frees nothing; one that covers several frees them all', () => {
  const progress = replicating();
  for (const last of [12, 15, 18]) progress.sent(last, 1, 0);
  progress.accepted(11, 1);
  assert.not(progress.canSend());
  assert.is(progress.match, 11);
  progress.accepted(15, 1);
  assert.ok(progress.inflightMessages > 0);
  progress.accepted(18, 1);
  assert.is(progress.inflightMessages, 0);
  assert.is(progress.next, 19);
});

test('answers that come late or twice take nothing back', () => {
  const progress = replicating();
  progress.sent(15, 1, 0);
  progress.accepted(15, 1);
  progress.accepted(12, 2);
  assert.is(progress.match, 15);
  assert.is(progress.next, 16);
  assert.not(progress.refused(14, 3));
  assert.is(progress.state, 'replicate');
});

test('a refusal in the stream starts over after what is matched, with an empty window', () => {
  const progress = replicating();
  for (const last of [12, 15, 18]) progress.sent(last, 40, 0);
  assert.ok(progress.refused(15, 1));
  assert.is(progress.state, 'probe');
  assert.is(progress.next, 10);
  assert.ok(progress.canSend());
  progress.accepted(12, 1);
  for (const last of [15, 18]) {
    assert.ok(progress.canSend());
    progress.sent(last, 40, 1);
  }
  assert.ok(progress.canSend());
});

test('a window is doubtful when it has stood still: nothing was acknowledged since, nor was it asked about', () => {
  const progress = replicating();
  assert.not(progress.isDoubtful(1000, 10), 'nothing is in it');
  progress.sent(10, 1, 50);
  progress.sent(11, 1, 58);
  assert.not(progress.isDoubtful(59, 10));
  assert.ok(progress.isDoubtful(60, 10), 'what is added moves nothing');
  progress.accepted(10, 60);
  assert.not(progress.isDoubtful(69, 10));
  assert.ok(progress.isDoubtful(70, 10));
  progress.asked(70);
  assert.not(progress.isDoubtful(79, 10));
  assert.ok(progress.isDoubtful(80, 10));
  progress.accepted(11, 80);
  assert.not(progress.isDoubtful(1000, 10));
  progress.probe();
  assert.not(progress.isDoubtful(2000, 10), 'a probe asks by itself');
});

test.run();
