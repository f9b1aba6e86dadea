/**
 * Changes of members that somebody holds, knows or does not know to be committed, and has not applied: his state
 * machine is late. What others have applied of them counts all the same.
 */
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import type { Setting } from '../../../src/sim/setting/setting.js';
import { type Schedule, type Stage, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

const setting = (chosen: Setting): Setting => ({
  ...threeQuickNodes(chosen),
  changesMembers: true,
  limits: {},
  raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
  storage: {
    ...chosen.storage,
    ...{ treeLog: 'none', writeBufferBytes: 1024 * 1024, maxRaftLogBytes: 1024 * 1024 },
    ...{ trailingEntries: 200, snapshotBytesPerSecond: 4 * 1024 * 1024 },
  },
  workload: { ...chosen.workload, clients: 6, maxThinkMs: 20 },
});

const votersOf = (machine: RunMachine) => statusOf(machine)?.voters ?? [];
const lastOf = (machine: RunMachine) => statusOf(machine)?.lastIndex ?? 0;

/** Asks again until the leader has applied it. */
async function changed(
  stage: Stage,
  leader: RunMachine,
  type: 'addVoter' | 'addLearner',
  machine: RunMachine,
): Promise<boolean> {
  const members = () => (type === 'addVoter' ? votersOf(leader) : (statusOf(leader)?.learners ?? []));
  for (let tries = 0; tries < 20 && !members().includes(machine.id); tries++) {
    stage.change(leader, type, machine);
    await stage.until(() => members().includes(machine.id), 300);
  }
  return members().includes(machine.id);
}

/**
 * A group of two takes in a third, who does not know that it has a vote, and acknowledges what makes entries committed.
 * Then the leader is gone, and the other one, who lacks them, asks it.
 */
export const promotedUnapplied: Schedule = {
  name: 'promotedUnapplied',
  steps: ['learner', 'promoted', 'committed with its help', 'leader crashed', 'the other asks'],
  setting: (chosen) => ({ ...setting(chosen), nodes: 2, spares: 1 }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const [other] = stage.shuffledFounders(...(leader ? [leader] : []));
    const promoted = cluster.machines.at(-1);
    if (!leader || !other || !promoted) return;
    cluster.turnOn(promoted);
    if (!(await changed(stage, leader, 'addLearner', promoted))) return;
    if (!(await stage.until(() => lastOf(promoted) >= lastOf(leader)))) return;
    stage.mark('learner');
    let index = Number.POSITIVE_INFINITY;
    stage.lose((from, to, message) => {
      if (from !== leader || !('commitIndex' in message)) return false;
      if (message.type === 'append') {
        const at = message.entries.findIndex(({ kind }) => kind === 'configuration');
        if (at >= 0) index = Math.min(index, message.previousIndex + 1 + at);
      }
      return to === promoted && message.commitIndex >= index;
    });
    stage.change(leader, 'addVoter', promoted);
    if (!(await stage.until(() => votersOf(other).length === 3))) return;
    stage.mark('promoted');
    const lastOfOther = lastOf(other);
    // From here on the other one gets nothing; the third hears no commit, but what it holds is one.
    cluster.loses = () => false;
    stage.lose((from, to, message) => {
      if (from !== leader) return false;
      if (to === other) return message.type === 'append' || message.type === 'heartbeat';
      return message.type === 'heartbeat' && message.commitIndex >= index;
    });
    cluster.holdApply(promoted);
    if (!(await stage.until(() => cluster.reference.lastIndex > Math.max(lastOfOther, lastOf(other)) + 1)))
      return;
    stage.mark('committed with its help');
    cluster.cutPower(leader);
    stage.isolate(leader);
    stage.mark('leader crashed');
    let hasAsked = false;
    stage.lose((from, to, { type }) => {
      hasAsked ||= from === other && to === promoted && type === 'requestVote';
      return false;
    });
    if (!(await stage.until(() => hasAsked))) return;
    stage.mark('the other asks');
    await stage.sleep(500);
    cluster.releaseApply(promoted);
  },
};

/**
 * Three become five, while one of the three hears nothing and another applies nothing. He who applies nothing holds
 * both changes, knows the first to be committed, and loses his power; then the two are alone. In the first
 * configuration they would be a majority.
 */
export const crashWithPendingChange: Schedule = {
  name: 'crashWithPendingChange',
  steps: ['held', 'five voters', 'power cut', 'asks'],
  setting: (chosen) => ({ ...setting(chosen), spares: 2 }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const [late, away] = stage.shuffledFounders(...(leader ? [leader] : []));
    const spares = cluster.machines.slice(3);
    if (!leader || !late || !away) return;
    for (const spare of spares) cluster.turnOn(spare);
    if (!(await stage.until(() => spares.every(({ state }) => state === 'up')))) return;
    stage.isolate(away);
    cluster.holdApply(late);
    stage.mark('held');
    for (const spare of spares) {
      if (!(await changed(stage, leader, 'addVoter', spare))) return;
      if (!(await stage.until(() => lastOf(spare) >= lastOf(leader) - 3))) return;
    }
    const both = lastOf(leader);
    if (!(await stage.until(() => lastOf(late) >= both))) return;
    stage.mark('five voters');
    cluster.cutPower(late, 'keeps only what is synced');
    stage.mendAll();
    stage.cut([late, away], [leader, ...spares]);
    stage.mark('power cut');
    let hasAsked = false;
    stage.lose((from, to, { type }) => {
      hasAsked ||= from === late && to === away && type === 'requestVote';
      return type === 'requestVote' && from === away;
    });
    if (!(await stage.until(() => hasAsked))) return;
    stage.mark('asks');
    await stage.sleep(1000);
  },
};
