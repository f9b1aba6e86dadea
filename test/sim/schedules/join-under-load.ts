/**
 * A member joins while much more is written than logs may hold in the time that its snapshot takes. If the log is cut
 * meanwhile, the member needs another snapshot after this one, and never catches up.
 */
import type { Schedule } from '../../../src/sim/stage.js';

const KIB = 1024;
/** A member that is at most so far behind the leader's commit index has caught up. */
const TRAILING_ENTRIES = 10;

export const joinUnderLoad: Schedule = {
  name: 'joinUnderLoad',
  steps: ['log cut', 'learner', 'snapshot under way', 'log outgrown', 'caught up'],
  setting: (chosen) => ({
    ...chosen,
    nodes: 3,
    spares: 1,
    changesMembers: true,
    maxDelayMs: 2,
    maxDiskMs: 1,
    storage: {
      ...chosen.storage,
      maxRaftLogBytes: 24 * KIB,
      maxSnapshotLogBytes: 4096 * KIB,
      raftSegmentBytes: 16 * KIB,
      trailingEntries: TRAILING_ENTRIES,
      snapshotChunkBytes: 512,
      snapshotBytesPerSecond: 2 * KIB,
    },
    maxAppendBytes: 1024 * KIB,
    limits: {},
    workload: { ...chosen.workload, clients: 6, keys: 8, maxThinkMs: 10, maxValueBytes: 3000 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const spare = cluster.machines.at(-1);
    if (!leader || !spare) return;
    cluster.turnOn(spare);
    if (!(await stage.until(() => spare.state === 'up' && cluster.coverage.get('log cuts') > 3))) return;
    stage.mark('log cut');
    const status = () => leader.node?.status(0);
    stage.change(leader, 'addLearner', spare);
    if (!(await stage.until(() => status()?.learners.includes(spare.id) ?? false))) return;
    stage.mark('learner');
    const receives = () => spare.disk.files('/data').some((path) => path.includes('/receive-'));
    if (!(await stage.until(receives))) return;
    stage.mark('snapshot under way');
    const written = () => cluster.reference.lastIndex;
    const before = written();
    if (!(await stage.until(() => written() > before + 20 * TRAILING_ENTRIES))) return;
    stage.mark('log outgrown');
    const missing = () => (status()?.commitIndex ?? 0) - (spare.node?.status(0).appliedIndex ?? 0);
    if (await stage.until(() => missing() <= TRAILING_ENTRIES, 30_000)) stage.mark('caught up');
  },
};
