/**
 * A node holds changes of members and has not applied them, because its state machine is late. It may know or not know
 * that they are committed. What other nodes have applied counts all the same.
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
 * A group of two adds a third voter. It does not know that it has a vote, and its acknowledgements make entries
 * committed. Then the leader is gone, and the other node, which lacks these entries, asks for its vote.
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
    // From here on the other node gets nothing. The third does not learn the commit index, but its entries are
    // committed.
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
      // The third, which holds more, would be elected if it asked first.
      return from === promoted && type === 'requestVote' && !hasAsked;
    });
    if (!(await stage.until(() => hasAsked))) return;
    stage.mark('the other asks');
    await stage.sleep(500);
    cluster.releaseApply(promoted);
  },
};

/**
 * Three voters become five. One of the three hears nothing, another applies nothing. The latter holds both changes,
 * knows that the first is committed, and loses its power. Then these two are alone. In the first configuration they
 * would be a majority.
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
