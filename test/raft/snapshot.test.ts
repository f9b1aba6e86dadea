/** What a leader does with a follower that it has sent a snapshot. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configurationOf } from '../../src/raft/configuration.js';
import { ScriptGroup } from './interaction/script-group.js';

const OPTIONS = {
  preVote: true,
  checkQuorum: false,
  asynchronousStorage: false,
  stepsDownOnRemoval: false,
  readsByLease: false,
  maxInflightMessages: 10,
  maxApplyBytes: undefined,
};

test('a follower that says it has the snapshot is replicated to at once: where it stands needs no probe', () => {
  const group = new ScriptGroup();
  for (let i = 0; i < 2; i++) group.add(OPTIONS, { index: 10, configuration: configurationOf([1, 2, 3]) });
  const leader = group.node(1);
  leader.letElectionDeadlinePass();
  group.stabilize(group.nodes);
  leader.compact(11);
  group.drop(3);
  group.add(OPTIONS, undefined);
  leader.tick();
  const follower = group.node(3);
  // Until the snapshot is on its way.
  while (leader.snapshotSentTo(3) === undefined) {
    group.send(leader.processReady());
    group.deliver(3);
    group.send(follower.processReady());
    group.deliver(1);
    leader.pull();
  }
  assert.is(leader.raft.peers().find(({ id }) => id === 3)?.state, 'snapshot');
  group.send(leader.processReady());
  group.deliver(3);
  group.send(follower.processReady());
  group.deliver(1);
  assert.is(leader.raft.peers().find(({ id }) => id === 3)?.state, 'replicate');
  assert.not(leader.processReady().some(({ to, message }) => to === 3 && message.type === 'append'));
});

test.run();
