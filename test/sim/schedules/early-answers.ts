/**
 * Two followers, one of them cut off: what the other acknowledges is committed. That must survive a power cut of this
 * follower. When it leads, its known commit index may be too low: it must not answer reads from it.
 */
import { healthyDisk, type RunMachine } from '../../../src/sim/run/run-machine.js';
import type { Setting } from '../../../src/sim/setting/setting.js';
import { type Schedule, type Stage, threeQuickNodes } from '../../../src/sim/stage.js';

const three = (chosen: Setting): Setting => ({
  ...threeQuickNodes(chosen),
  workload: { ...chosen.workload, clients: 6, keys: 2, maxThinkMs: 20 },
});

interface Roles {
  readonly leader: RunMachine;
  readonly follower: RunMachine;
  readonly absent: RunMachine;
}

function rolesOf(stage: Stage): Roles | undefined {
  const { leader } = stage.cluster;
  if (!leader) return undefined;
  const [follower, absent] = stage.shuffledFounders(leader);
  return follower && absent && { leader, follower, absent };
}

/** So that many entries are sent before one is acknowledged. */
function slowDown({ cluster }: Stage, { condition }: RunMachine): void {
  const { electionTimeoutMinMs } = cluster.setting.raft;
  Object.assign(condition, { minMs: electionTimeoutMinMs / 4, maxMs: electionTimeoutMinMs / 3 });
}

/** The others reach each other again, but not the leader, and elect another. */
async function othersElect(stage: Stage, leader: RunMachine): Promise<boolean> {
  let isElected = false;
  stage.onElected(() => {
    isElected = true;
  });
  stage.mendAll();
  stage.isolate(leader);
  const isDone = await stage.until(() => isElected);
  if (isDone) stage.mark('the others elect');
  return isDone;
}

export const earlyAcknowledgement: Schedule = {
  name: 'earlyAcknowledgement',
  steps: ['committed by two', 'power cut', 'the others elect'],
  setting: three,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader, follower, absent } = rolesOf(stage) ?? {};
    if (!leader || !follower || !absent) return;
    stage.isolate(absent);
    slowDown(stage, follower);
    if (!(await stage.grows(5))) return;
    stage.mark('committed by two');
    cluster.cutPower(follower, 'keeps only what is synced');
    Object.assign(follower.condition, healthyDisk(cluster.setting.maxDiskMs));
    stage.mark('power cut');
    if (!(await othersElect(stage, leader))) return;
    await stage.sleep(stage.random.float() * 500);
  },
};

const readEarly = (name: string, level: 'linearizable' | 'lease'): Schedule => ({
  name,
  steps: ['committed, and not told', 'the follower leads', 'read'],
  setting: three,
  run: async (stage) => {
    const { cluster, workload } = stage;
    const { leader, follower, absent } = rolesOf(stage) ?? {};
    if (!leader || !follower || !absent) return;
    stage.isolate(absent);
    slowDown(stage, follower);
    const before = leader.node?.status(0).lastIndex ?? 0;
    stage.lose(
      (from, to, message) =>
        from === leader && to === follower && 'commitIndex' in message && message.commitIndex > before,
    );
    if (!(await stage.until(() => cluster.reference.lastIndex > before))) return;
    Object.assign(follower.condition, healthyDisk(cluster.setting.maxDiskMs));
    stage.mark('committed, and not told');
    let isElected = false;
    stage.onElected((elected) => {
      isElected ||= elected === follower;
    });
    // Its heartbeats arrive, so it stays leader. Its entries do not, so nothing of its term is committed.
    stage.lose((from, _to, { type }) => from === follower && type === 'append');
    stage.mendAll();
    stage.isolate(leader);
    if (!(await stage.until(() => isElected))) return;
    stage.mark('the follower leads');
    const { heartbeatMs, electionTimeoutMinMs } = cluster.setting.raft;
    // A lease begins with the first answers.
    if (level === 'lease') await stage.sleep(1.5 * heartbeatMs);
    void workload.readAll(follower.endpoint, level);
    await stage.sleep(electionTimeoutMinMs / 2);
    stage.mark('read');
  },
});

export const earlyRead = readEarly('earlyRead', 'linearizable');
export const earlyLease = readEarly('earlyLease', 'lease');

export const lateRepetition: Schedule = {
  name: 'lateRepetition',
  steps: ['committed by two', 'the others elect'],
  setting: three,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader, follower, absent } = rolesOf(stage) ?? {};
    if (!leader || !follower || !absent) return;
    stage.isolate(absent);
    // The follower has everything long before the leader's disk, and gets everything twice.
    slowDown(stage, leader);
    cluster.messageFaults.repetition = 1;
    if (!(await stage.grows(10))) return;
    stage.mark('committed by two');
    cluster.messageFaults.repetition = 0;
    if (!(await othersElect(stage, leader))) return;
    await stage.sleep(stage.random.float() * 500);
  },
};
