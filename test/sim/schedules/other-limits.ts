/**
 * Limits of requests and chunks that change with a restart, or differ between nodes, as in a rolling change of
 * settings. Limits are for clients: what one node has accepted, every other node must accept from it.
 */
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import { type Schedule, type Stage, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Frames between nodes may be larger than requests: a value must not fit into that margin. */
const VALUE_BYTES = 4 * MIB;
const SMALL = { maxRequestBytes: 16 * KIB, maxValueBytes: 8 * KIB };
const LARGE = { maxRequestBytes: 16 * MIB, maxValueBytes: 8 * MIB };

function setting(storage: Schedule['setting']): Schedule['setting'] {
  return (chosen) => ({
    ...storage(threeQuickNodes(chosen)),
    limits: LARGE,
    maxAppendBytes: MIB,
    raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
    workload: { ...chosen.workload, clients: 3, maxValueBytes: 800 },
  });
}

const keepsAllInTheLog = setting((chosen) => ({
  ...chosen,
  storage: { ...chosen.storage, maxRaftLogBytes: 64 * MIB, trailingEntries: 200 },
}));

/** An incompressible value, with a key of its own. */
async function putLarge(stage: Stage, name: string): Promise<boolean> {
  const { cluster, random } = stage;
  const client = cluster.client(20_000, { env: cluster.host(name).env, attemptTimeoutMs: 10_000 });
  const isPut = await client.put(name, random.bytes(VALUE_BYTES)).then(
    () => true,
    () => false,
  );
  await client.close();
  return isPut;
}

async function restartAll(stage: Stage, settings: RunMachine['settings']): Promise<boolean> {
  const { founders } = stage.cluster;
  stage.cluster.isSupervised = false;
  for (const machine of founders) {
    stage.cluster.kill(machine);
    machine.settings = settings;
  }
  for (const machine of founders) stage.cluster.turnOn(machine);
  stage.cluster.isSupervised = true;
  return stage.until(() => founders.every(({ state }) => state === 'up'));
}

function caughtUp(stage: Stage, follower: RunMachine, index: number): Promise<boolean> {
  return stage.until(() => (statusOf(follower)?.appliedIndex ?? 0) >= index);
}

/** `limits.maxRequestBytes` is lowered on all nodes while a follower lacks a larger entry. */
function withoutOne(name: string, chosen: Schedule['setting'], settings: RunMachine['settings']): Schedule {
  return {
    name,
    steps: ['a follower lacks large entries', 'restarted with other limits', 'caught up'],
    setting: chosen,
    run: async (stage) => {
      const { cluster } = stage;
      const [follower] = stage.shuffledFounders(...cluster.leadingMachines);
      if (!follower) return;
      stage.isolate(follower);
      for (const key of ['large1', 'large2']) if (!(await putLarge(stage, key))) return;
      if (!(await stage.grows(5))) return;
      stage.mark('a follower lacks large entries');
      const { lastIndex } = cluster.reference;
      if (!(await restartAll(stage, settings))) return;
      stage.mendAll();
      stage.mark('restarted with other limits');
      if (await caughtUp(stage, follower, lastIndex)) stage.mark('caught up');
    },
  };
}

export const loweredLimits = withoutOne('loweredLimits', keepsAllInTheLog, { limits: SMALL });

/** The follower needs a snapshot, whose chunks are larger than any request may be. */
export const largeChunks = withoutOne(
  'largeChunks',
  setting((chosen) => ({
    ...chosen,
    storage: {
      ...chosen.storage,
      maxRaftLogBytes: 64 * KIB,
      trailingEntries: 0,
      snapshotChunkBytes: 8 * MIB,
      snapshotBytesPerSecond: 64 * MIB,
    },
  })),
  { limits: SMALL },
);

/** One node accepts larger requests than the others. It leads, and gets one. */
export const raisedLeader: Schedule = {
  name: 'raisedLeader',
  steps: ['the leader takes more', 'committed', 'all have it'],
  setting: (chosen) => ({ ...keepsAllInTheLog(chosen), limits: SMALL }),
  run: async (stage) => {
    const { cluster } = stage;
    const [raised] = stage.shuffledFounders();
    if (!raised) return;
    cluster.kill(raised);
    raised.settings = { limits: LARGE };
    const leads = () => cluster.leader === raised;
    for (let tries = 0; tries < 10 && !leads(); tries++) {
      if (cluster.leader) stage.transfer(cluster.leader, raised);
      await stage.until(leads, 1000);
    }
    if (!leads()) return;
    stage.mark('the leader takes more');
    if (!(await putLarge(stage, 'large'))) return;
    stage.mark('committed');
    const { lastIndex } = cluster.reference;
    for (const machine of cluster.founders) if (!(await caughtUp(stage, machine, lastIndex))) return;
    stage.mark('all have it');
  },
};
