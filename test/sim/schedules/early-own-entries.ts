/**
 * A leader with a slow disk, and one follower: entries that are durable on both are committed; those on the follower
 * only are not. The leader's power fails. Then it and the node that was away elect without the follower.
 */
import { healthyDisk } from '../../../src/sim/run/run-machine.js';
import { type Schedule, threeQuickNodes } from '../../../src/sim/stage.js';

export const earlyOwnEntries: Schedule = {
  name: 'earlyOwnEntries',
  steps: ['committed by two', 'power cut', 'the others elect'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    workload: { ...chosen.workload, clients: 6, keys: 2, maxThinkMs: 20 },
  }),
  run: async (stage) => {
    const { cluster, random } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const [follower, absent] = stage.shuffledFounders(leader);
    if (!follower || !absent) return;
    stage.isolate(absent);
    const { electionTimeoutMinMs } = cluster.setting.raft;
    Object.assign(leader.condition, { minMs: electionTimeoutMinMs / 4, maxMs: electionTimeoutMinMs / 3 });
    const before = cluster.reference.lastIndex;
    if (!(await stage.until(() => cluster.reference.lastIndex >= before + 5))) return;
    stage.mark('committed by two');
    cluster.cutPower(leader, 'keeps only what is synced');
    Object.assign(leader.condition, healthyDisk(cluster.setting.maxDiskMs));
    stage.mark('power cut');
    let isElected = false;
    stage.onElected(() => {
      isElected = true;
    });
    stage.mendAll();
    stage.isolate(follower);
    if (!(await stage.until(() => isElected))) return;
    stage.mark('the others elect');
    await stage.sleep(random.float() * 500);
  },
};
