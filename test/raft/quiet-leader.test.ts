/** When a leader may fall quiet, condition by condition. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configurationOf } from '../../src/raft/configuration.js';
import type { LocalState } from '../../src/raft/local-state.js';
import type { Progress } from '../../src/raft/progress.js';
import { QuietLeader } from '../../src/raft/quiet.js';

const CONFIGURATION = configurationOf([1, 2]);
const LOCAL = {
  ...{ log: { lastIndex: 5 }, commit: 5, applied: 5, stability: { stableIndex: 5 }, term: 1 },
  configuration: CONFIGURATION,
};
const MEMBER = { state: 'replicate', match: 5, isUnreachable: false, lastHeardMs: 100 };

function leaderWith(local: Partial<typeof LOCAL>): QuietLeader {
  return new QuietLeader({ afterMs: 10, epoch: () => 7 }, { ...LOCAL, ...local } as unknown as LocalState, 0);
}

function mayRest(local: Partial<typeof LOCAL>, member: Partial<typeof MEMBER>, nowMs = 100): boolean {
  const members = [MEMBER, { ...MEMBER, ...member }] as unknown as Progress[];
  return leaderWith(local).mayRest(nowMs, members, 90);
}

test('a leader rests only if nothing is left to do, here and at every member', () => {
  assert.ok(mayRest({}, {}));
  assert.not(mayRest({}, {}, 9));
  assert.not(mayRest({ commit: 4 }, {}));
  assert.not(mayRest({ applied: 4 }, {}));
  assert.not(mayRest({ stability: { stableIndex: 4 } }, {}));
  assert.not(mayRest({ configuration: { ...CONFIGURATION, outgoing: [1] } }, {}));
  assert.not(mayRest({}, { state: 'probe' }));
  assert.not(mayRest({}, { match: 4 }));
  assert.not(mayRest({}, { isUnreachable: true }));
  assert.not(mayRest({}, { lastHeardMs: 89 }));
});

test('an acceptance from before the last work does not count', () => {
  const leader = leaderWith({});
  leader.offer(3);
  leader.accepted(2, 2, [2]);
  assert.is(leader.quietness, undefined);
  leader.accepted(2, 3, [2]);
  assert.equal(leader.quietness, { nodes: [2], epoch: undefined });
  assert.ok(leader.wake(50));
  leader.accepted(2, 3, [2]);
  leader.offer(5);
  leader.accepted(2, 4, [2]);
  assert.is(leader.quietness, undefined);
  leader.accepted(2, 5, [2, 3]);
  assert.is(leader.quietness, undefined);
  leader.accepted(3, 6, [2, 3]);
  assert.equal(leader.quietness?.nodes, [2, 3]);
});

test.run();
