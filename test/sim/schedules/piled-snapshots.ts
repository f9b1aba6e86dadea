/**
 * One operation of a follower's disk hangs; later ones are fast. Its log makes nothing durable, so the leader sends
 * several snapshots. All of them are installed when the operation ends. In half of the runs the power fails soon after.
 */
import type { Schedule } from '../../../src/sim/stage.js';

const KIB = 1024;

export const piledSnapshots: Schedule = {
  name: 'piledSnapshots',
  steps: ['disk hangs', 'snapshots pile up', 'disk goes on'],
  setting: (chosen) => ({
    ...chosen,
    nodes: 3,
    spares: 0,
    changesMembers: false,
    maxDelayMs: 2,
    maxDiskMs: 1,
    raft: { heartbeatMs: 40, electionTimeoutMinMs: 200, electionTimeoutMaxMs: 300 },
    storage: {
      ...chosen.storage,
      maxRaftLogBytes: 24 * KIB,
      maxSnapshotLogBytes: 24 * KIB,
      raftSegmentBytes: 16 * KIB,
      trailingEntries: 0,
      snapshotChunkBytes: 64 * KIB,
      snapshotBytesPerSecond: 4096 * KIB,
      writeBufferBytes: 16 * KIB,
    },
    workload: { ...chosen.workload, clients: 6, maxThinkMs: 5, maxValueBytes: 3000 },
  }),
  run: async (stage) => {
    const { cluster, random } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const [follower] = stage.shuffledFounders(leader);
    if (!follower) return;
    const hangsMs = 6000 + random.float() * 2000;
    const untilMs = cluster.nowMs + hangsMs;
    follower.condition.stalledUntilMs = untilMs;
    // So that there is an operation to hang.
    if (!(await stage.grows(2))) return;
    await stage.sleep(20);
    follower.condition.stalledUntilMs = 0;
    stage.mark('disk hangs');
    const installed = () => cluster.coverage.get('snapshots installed');
    if (!(await stage.until(() => installed() > 1, hangsMs))) return;
    stage.mark('snapshots pile up');
    if (!(await stage.until(() => cluster.nowMs >= untilMs))) return;
    stage.mark('disk goes on');
    await stage.sleep(random.float() * 20);
    if (random.chance(0.5)) cluster.cutPower(follower);
    await stage.sleep(500);
  },
};
