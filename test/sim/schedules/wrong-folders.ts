/**
 * Data folders that are not what the others expect: of a node of another cluster with the same name, or without the
 * Raft log that counted for a commit. A node with such a folder must not take part.
 */
import { type Schedule, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

/**
 * A node that has begun its own cluster, of the same name, is added. Its log begins like the others', and looks as if
 * it held entries that it never got.
 */
export const foreignNode: Schedule = {
  name: 'foreignNode',
  steps: ['it leads its own cluster', 'taken in', 'long enough'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    spares: 1,
    changesMembers: true,
    limits: {},
    raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
    storage: { ...chosen.storage, treeLog: 'none', maxRaftLogBytes: 1024 * 1024, trailingEntries: 200 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const foreigner = cluster.machines.at(-1);
    if (!leader || !foreigner) return;
    cluster.startForeign(foreigner);
    const leads = () => stage.until(() => foreigner.node?.role === 'leader');
    if (!(await leads())) return;
    // Its term may be equal by chance.
    for (let restarts = stage.random.between(0, 2); restarts > 0; restarts--) {
      cluster.kill(foreigner);
      if (!(await leads())) return;
    }
    stage.mark('it leads its own cluster');
    const isIn = () => statusOf(leader)?.voters.includes(foreigner.id) ?? false;
    for (let tries = 0; tries < 10 && !isIn(); tries++) {
      stage.change(leader, 'addVoter', foreigner);
      await stage.until(isIn, 500);
    }
    if (!isIn()) return;
    stage.mark('taken in');
    // Now it is needed, or gets what the others have.
    await stage.sleep(3000);
    stage.mark('long enough');
    cluster.giveUp(foreigner);
  },
};

/**
 * A follower loses its Raft log. Only it and the leader held the committed entries. Then a third node, which lacks
 * them, asks for its vote.
 */
export const lostLog: Schedule = {
  name: 'lostLog',
  steps: ['committed by two', 'log lost', 'refused'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
    storage: {
      ...chosen.storage,
      ...{ treeLog: 'none', writeBufferBytes: 1024 * 1024, maxRaftLogBytes: 1024 * 1024 },
    },
    workload: { ...chosen.workload, clients: 6, maxThinkMs: 20 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const [follower, absent] = stage.shuffledFounders(...(leader ? [leader] : []));
    if (!leader || !follower || !absent) return;
    stage.isolate(absent);
    if (!(await stage.grows(5))) return;
    stage.mark('committed by two');
    cluster.kill(follower);
    cluster.removeFiles(follower, follower.disk.files('/data/raft'));
    stage.mark('log lost');
    stage.mendAll();
    stage.isolate(leader);
    if (await stage.until(() => follower.state === 'lost', 5000)) stage.mark('refused');
  },
};
