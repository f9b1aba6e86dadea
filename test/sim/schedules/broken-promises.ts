/**
 * A lease relies on a promise of the others: to vote for no other node for a while. Here they could break it: after a
 * restart, with timeouts that differ or change, or by a late TimeoutNow. The leader is cut off, another is elected and
 * takes writes, and the old leader is read from while it may believe in its lease.
 */
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import type { Setting } from '../../../src/sim/setting/setting.js';
import { type Schedule, type Stage, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

export const LONG = { heartbeatMs: 300, electionTimeoutMinMs: 3000, electionTimeoutMaxMs: 3300 };
const SHORT = { heartbeatMs: 40, electionTimeoutMinMs: 200, electionTimeoutMaxMs: 300 };

export const patient = (chosen: Setting): Setting => ({
  ...threeQuickNodes(chosen),
  maxRestartMs: 30,
  raft: LONG,
  storage: {
    ...chosen.storage,
    treeLog: 'none',
    writeBufferBytes: 1024 * 1024,
    maxRaftLogBytes: 1024 * 1024,
  },
  workload: { ...chosen.workload, clients: 6, keys: 2, maxThinkMs: 20, hasLeaseReads: true },
});

export const AFTERWARDS = ['another leads', 'written', 'read'] as const;

/** Cuts the leader off from all but a reader. */
export function cutOff(stage: Stage, leader: RunMachine): { isDone: () => boolean } {
  let isDone = false;
  stage.onElected((elected) => {
    isDone ||= elected !== leader;
  });
  stage.isolate(leader);
  stage.cutClients(leader);
  return { isDone: () => isDone };
}

/** The others elect a leader and write. A later read at the old leader must not miss that. */
export async function readFromOldLeader(
  stage: Stage,
  leader: RunMachine,
  isElected: () => boolean,
): Promise<void> {
  if (!(await stage.until(isElected))) return;
  stage.mark(AFTERWARDS[0]);
  if (!(await stage.grows(6))) return;
  await stage.sleep(20);
  stage.mark(AFTERWARDS[1]);
  const reads = stage.workload.readAll(leader.endpoint, 'lease');
  stage.mark(AFTERWARDS[2]);
  await reads;
}

/** So that it holds a lease that all others have granted. */
export async function withLease({ workload }: Stage, leader: RunMachine): Promise<void> {
  await workload.readAll(leader.endpoint, 'linearizable');
}

export const restartInLease: Schedule = {
  name: 'restartInLease',
  steps: ['grown from one', 'transferred', 'restarted', ...AFTERWARDS],
  setting: (chosen) => ({ ...patient(chosen), nodes: 1, spares: 2, changesMembers: true }),
  run: async (stage) => {
    const { cluster } = stage;
    const [founder] = cluster.founders;
    const spares = cluster.machines.slice(1).sort(() => stage.random.float() - 0.5);
    const [next, third] = spares;
    if (!founder || !next || !third) return;
    for (const type of ['addLearner', 'addVoter'] as const)
      for (const spare of spares) {
        cluster.turnOn(spare);
        const members = () => {
          const { voters = [], learners = [] } = statusOf(founder) ?? {};
          return type === 'addVoter' ? voters : learners;
        };
        for (let tries = 0; tries < 20 && !members().includes(spare.id); tries++) {
          stage.change(founder, type, spare);
          await stage.until(() => members().includes(spare.id), 300);
        }
        if (!(await stage.until(() => (statusOf(spare)?.appliedIndex ?? 0) > 0))) return;
      }
    if (!(await stage.until(() => spares.every((spare) => statusOf(spare)?.voters.length === 3)))) return;
    stage.mark('grown from one');
    stage.transfer(founder, next);
    if (!(await stage.until(() => next.node?.role === 'leader'))) return;
    await stage.sleep(1000);
    stage.mark('transferred');
    // The third has not heard the leader for so long that it campaigns from time to time. Its log is complete, because
    // nobody writes.
    for (const machine of cluster.machines) stage.cutClients(machine);
    const lastOf = (machine: RunMachine) => statusOf(machine)?.lastIndex;
    await stage.sleep(500);
    if (!(await stage.until(() => spares.every((spare) => lastOf(spare) === lastOf(founder))))) return;
    stage.cut([next], [third]);
    await stage.sleep(LONG.electionTimeoutMaxMs + 100);
    let hasAsked = false;
    stage.lose((from, _to, { type }) => {
      hasAsked ||= from === third && type === 'requestVote';
      return false;
    });
    if (!(await stage.until(() => hasAsked))) return;
    // And again soon after the founder is back, which has promised the leader not to vote.
    await stage.sleep(LONG.electionTimeoutMinMs - 300);
    await withLease(stage, next);
    cluster.kill(founder);
    const { isDone } = cutOff(stage, next);
    for (const machine of [founder, third]) stage.mendClients(machine);
    if (!(await stage.until(() => founder.state === 'up'))) return;
    stage.mark('restarted');
    await readFromOldLeader(stage, next, isDone);
  },
};

export const otherTimeouts: Schedule = {
  name: 'otherTimeouts',
  steps: ['restarted', ...AFTERWARDS],
  setting: patient,
  run: async (stage) => {
    const { cluster, random } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const others = stage.shuffledFounders(leader);
    const knowsLeader = (machine: RunMachine) =>
      machine.state === 'up' && statusOf(machine)?.leaderId === leader.id;
    for (const other of others) other.settings = { raft: SHORT };
    await withLease(stage, leader);
    if (random.chance(0.5)) {
      // Both have just promised with long timeouts.
      for (const other of others) cluster.kill(other);
    } else {
      for (const other of others) {
        cluster.kill(other);
        if (!(await stage.until(() => knowsLeader(other)))) return;
      }
      // Both have promised with short timeouts for long.
      await stage.sleep(LONG.electionTimeoutMaxMs + 200);
      await withLease(stage, leader);
    }
    const { isDone } = cutOff(stage, leader);
    stage.mark('restarted');
    await readFromOldLeader(stage, leader, isDone);
  },
};

export const leaseAfterTransfer: Schedule = {
  name: 'leaseAfterTransfer',
  steps: ['offered', 'given up', 'the offer arrives', ...AFTERWARDS],
  setting: patient,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const [target] = stage.shuffledFounders(...(leader ? [leader] : []));
    if (!leader || !target) return;
    const late: (() => void)[] = [];
    stage.lose((from, _to, { type }, send) => {
      if (from !== leader || type !== 'timeoutNow') return false;
      late.push(send);
      return true;
    });
    stage.transfer(leader, target);
    if (!(await stage.until(() => late.length > 0))) return;
    stage.mark('offered');
    // The leader gives the transfer up, and takes writes again.
    await stage.sleep(LONG.electionTimeoutMinMs);
    if (!(await stage.grows(3))) return;
    stage.mark('given up');
    await withLease(stage, leader);
    let hasStood = false;
    stage.lose((from, to, { type }) => {
      hasStood ||= from === target && type === 'requestVote';
      return hasStood && (from === leader || to === leader);
    });
    for (const send of late) send();
    if (!(await stage.until(() => hasStood))) return;
    stage.mark('the offer arrives');
    const { isDone } = cutOff(stage, leader);
    await readFromOldLeader(stage, leader, isDone);
  },
};
