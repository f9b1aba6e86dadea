/**
 * A leader is paused (SIGSTOP) and cut off from the others, which elect another and take writes. When it resumes it
 * finds clients' reads, and handles them before its timers.
 */
import type { Schedule } from '../../../src/sim/stage.js';

export const lateLease: Schedule = {
  name: 'lateLease',
  steps: ['stopped', 'another leads', 'written', 'awake'],
  setting: (chosen) => ({
    ...chosen,
    spares: 0,
    changesMembers: false,
    workload: { ...chosen.workload, keys: 2, maxThinkMs: 20 },
  }),
  run: async (stage) => {
    const { cluster, workload } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const others = stage.shuffledFounders(leader);
    // So that it holds a lease and knows the clients.
    await workload.readAll(leader.endpoint, 'lease');
    cluster.pause(leader);
    stage.cut([leader], others);
    stage.mark('stopped');
    let elected = false;
    stage.onElected((other) => {
      if (others.includes(other)) elected = true;
    });
    if (!(await stage.until(() => elected))) return;
    stage.mark('another leads');
    const { lastIndex } = cluster.reference;
    if (!(await stage.until(() => cluster.reference.lastIndex > lastIndex + 10))) return;
    await stage.sleep(500);
    stage.mark('written');
    const reads = workload.readAll(leader.endpoint, 'lease');
    await stage.sleep(20 + stage.random.float() * 100);
    cluster.resume(leader, 'network first');
    stage.mark('awake');
    await reads;
    await stage.sleep(stage.random.float() * 300);
  },
};
