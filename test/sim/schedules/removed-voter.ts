/**
 * A voter is removed, or becomes a learner, and has applied that. A node that has not applied it still counts its
 * acknowledgements. So the removed node must not vote for a candidate that lacks an entry it has acknowledged. In the
 * first schedule the leader's state machine is late. In the second two leaders crash, and the second one did not know
 * that the change is committed.
 */
import type { AppendMessage } from '../../../src/raft/types.js';
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import type { Setting } from '../../../src/sim/setting/setting.js';
import { type Schedule, type Stage, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

const setting = (chosen: Setting): Setting => ({
  ...threeQuickNodes(chosen),
  changesMembers: true,
  limits: {},
  raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
  storage: { ...chosen.storage, maxRaftLogBytes: 1024 * 1024 },
  workload: { ...chosen.workload, clients: 6, maxThinkMs: 20 },
});

interface Roles {
  readonly leader: RunMachine;
  readonly other: RunMachine;
  readonly removed: RunMachine;
}

/**
 * The leader commits the change and does not apply it. `removed` learns that it is committed, the other one does not.
 */
async function removeOne(stage: Stage): Promise<(Roles & { index: number }) | undefined> {
  const { cluster, random } = stage;
  const { leader } = cluster;
  if (!leader) return undefined;
  const [other, removed] = stage.shuffledFounders(leader);
  if (!other || !removed) return undefined;
  const known = () => statusOf(removed)?.voters ?? [];
  if (!(await stage.until(() => known().length === 3))) return undefined;
  cluster.holdApply(leader);
  let index = Number.POSITIVE_INFINITY;
  stage.lose((from, to, message) => {
    if (from !== leader) return false;
    if (message.type === 'append') {
      const at = message.entries.findIndex(({ kind }) => kind === 'configuration');
      if (at >= 0) index = Math.min(index, message.previousIndex + 1 + at);
      if (lastOf(message) > index) return true;
    }
    return to === other && 'commitIndex' in message && message.commitIndex >= index;
  });
  stage.change(leader, random.chance(0.5) ? 'remove' : 'addLearner', removed);
  if (!(await stage.until(() => !known().includes(removed.id)))) return undefined;
  if (!(await stage.until(() => (statusOf(other)?.lastIndex ?? 0) >= index))) return undefined;
  stage.mark('removed');
  return { leader, other, removed, index };
}

function lastOf({ previousIndex, entries }: AppendMessage): number {
  return previousIndex + entries.length;
}

/** Vote requests of `who` reach the removed node, and nothing else hinders the election of `who`. */
async function asksForVote(stage: Stage, who: RunMachine, removed: RunMachine): Promise<boolean> {
  let hasAsked = false;
  stage.lose((from, to, { type }) => {
    hasAsked ||= type === 'requestVote' && from === who && to === removed;
    return false;
  });
  return stage.until(() => hasAsked);
}

export const removedVoter: Schedule = {
  name: 'removedVoter',
  steps: ['removed', 'committed with its help', 'leader crashed', 'the other asks'],
  setting,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader, other, removed, index } = (await removeOne(stage)) ?? {};
    if (!leader || !other || !removed || !index) return;
    // It gets more entries, but not the commit index.
    stage.lose((from, to, message) => {
      if (from !== leader || !('commitIndex' in message)) return false;
      return message.commitIndex > index || (to === other && message.commitIndex === index);
    });
    if (!(await stage.until(() => (statusOf(leader)?.commitIndex ?? 0) > index))) return;
    cluster.releaseApply(leader);
    // The clients get their answers.
    if (!(await stage.until(() => cluster.reference.lastIndex > index))) return;
    await stage.sleep(10);
    stage.mark('committed with its help');
    cluster.cutPower(leader);
    stage.isolate(leader);
    stage.mark('leader crashed');
    if (!(await asksForVote(stage, other, removed))) return;
    stage.mark('the other asks');
    await stage.sleep(1000);
  },
};

export const removedVoterTwice: Schedule = {
  name: 'removedVoterTwice',
  // The answer tells the commit index: from here on the other node knows what is committed.
  steps: ['removed', 'leader crashed', 'the other asks'],
  setting,
  run: async (stage) => {
    const { cluster, random } = stage;
    const { leader, other, removed, index } = (await removeOne(stage)) ?? {};
    if (!leader || !other || !removed || !index) return;
    cluster.cutPower(leader);
    stage.isolate(leader);
    stage.mark('leader crashed');
    if (!(await asksForVote(stage, other, removed))) return;
    stage.mark('the other asks');
    let isElected = false;
    stage.onElected((who) => {
      isElected ||= who === other;
    });
    // Its first entries arrive all at once, without the commit index.
    stage.lose((from, to, message) => {
      if (from !== other || to !== removed || !isElected || !('commitIndex' in message)) return false;
      return message.commitIndex > index || (message.type === 'append' && lastOf(message) < index + 3);
    });
    const { lastIndex } = cluster.reference;
    const { electionTimeoutMaxMs } = cluster.setting.raft;
    if (!(await stage.until(() => cluster.reference.lastIndex > lastIndex + 2, 4 * electionTimeoutMaxMs)))
      return;
    await stage.sleep(10);
    cluster.cutPower(other);
    stage.mendAll();
    stage.isolate(other);
    if (random.chance(0.5)) cluster.kill(removed);
    if (await asksForVote(stage, leader, removed)) await stage.sleep(1500);
  },
};
