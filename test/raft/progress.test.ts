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
  assert.not(progress.hasInflight);
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
  assert.not(byBytes.hasInflight);
});

test('an answer that covers part of a message frees nothing; one that covers several frees them all', () => {
  const progress = replicating();
  for (const last of [12, 15, 18]) progress.sent(last, 1, 0);
  progress.accepted(11, 1);
  assert.not(progress.canSend());
  assert.is(progress.match, 11);
  progress.accepted(15, 1);
  assert.ok(progress.hasInflight);
  progress.accepted(18, 1);
  assert.not(progress.hasInflight);
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

test('the window is seen to move by what is sent into an empty one and by answers', () => {
  const progress = replicating();
  progress.sent(10, 1, 50);
  progress.sent(11, 1, 60);
  assert.is(progress.movedMs, 50);
  progress.accepted(10, 70);
  assert.is(progress.movedMs, 70);
});

test.run();
