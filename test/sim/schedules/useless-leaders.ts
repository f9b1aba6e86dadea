/** A leader that cannot work must step down: its disk hangs while its heartbeats are sent, or no follower hears it. */
import { healthyDisk } from '../../../src/sim/run/run-machine.js';
import { type Schedule, threeQuickNodes } from '../../../src/sim/stage.js';

export const hangingDisk: Schedule = {
  name: 'hangingDisk',
  steps: ['the disk hangs', 'another leads'],
  setting: threeQuickNodes,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    let isElected = false;
    stage.onElected((elected) => {
      isElected ||= elected !== leader;
    });
    const { electionTimeoutMaxMs } = cluster.setting.raft;
    const longMs = 8 * electionTimeoutMaxMs;
    Object.assign(leader.condition, { minMs: longMs, maxMs: longMs });
    stage.mark('the disk hangs');
    if (!(await stage.until(() => isElected, longMs - electionTimeoutMaxMs))) return;
    stage.mark('another leads');
    Object.assign(leader.condition, healthyDisk(cluster.setting.maxDiskMs));
    await stage.sleep(stage.random.float() * 500);
  },
};

export const unheardLeader: Schedule = {
  name: 'unheardLeader',
  steps: ['not heard', 'gave up'],
  setting: threeQuickNodes,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    stage.isolate(leader);
    stage.mark('not heard');
    const { electionTimeoutMaxMs } = cluster.setting.raft;
    if (!(await stage.until(() => leader.node?.role !== 'leader', 3 * electionTimeoutMaxMs))) return;
    stage.mark('gave up');
    await stage.sleep(stage.random.float() * 500);
  },
};
