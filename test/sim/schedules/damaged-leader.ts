/**
 * A leader with damaged tables adds a member. The member needs a snapshot, and rejects each one that it gets. Another
 * node must become leader, or the member never catches up.
 */
import type { Schedule } from '../../../src/sim/stage.js';

export const damagedLeader: Schedule = {
  name: 'damagedLeader',
  steps: ['damaged', 'asked', 'helped'],
  setting: (chosen) => ({
    ...chosen,
    nodes: 3,
    spares: 1,
    changesMembers: true,
    storage: { ...chosen.storage, writeBufferBytes: 8 * 1024, snapshotBytesPerSecond: 4 * 1024 * 1024 },
    workload: { ...chosen.workload, maxValueBytes: 3000, maxThinkMs: 20 },
  }),
  run: async (stage) => {
    const { cluster, random } = stage;
    const leader = cluster.leader;
    const spare = cluster.machines.at(-1);
    if (!leader || !spare) return;
    cluster.turnOn(spare);
    const tables = () => leader.disk.files('/data').filter((path) => path.endsWith('.sst'));
    if (!(await stage.until(() => spare.state === 'up' && tables().length > 0, 60_000))) return;
    for (const path of tables())
      cluster.flipBit(leader, path, 0.2 + random.float() * 0.6, random.between(0, 7));
    stage.mark('damaged');
    const isIn = () => cluster.leader?.node?.status(0).learners.includes(spare.id) ?? false;
    for (let attempts = 0; attempts < 10 && !isIn(); attempts++) {
      // Its tree may have found the damage by itself; then the node has stopped.
      if (cluster.leader) stage.change(cluster.leader, 'addLearner', spare);
      await stage.until(isIn, 1000);
    }
    if (!isIn()) return;
    stage.mark('asked');
    if (await stage.until(() => (spare.node?.status(0).appliedIndex ?? 0) > 0)) stage.mark('helped');
  },
};
