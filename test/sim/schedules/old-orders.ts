/**
 * Messages that must not count: a TimeoutNow of an earlier term, a vote request while the leader is heard, answers to
 * heartbeats that were sent before a read was requested. If one counted, a leader would be elected or a read confirmed
 * too early. The old leader is read from.
 */
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import type { Schedule } from '../../../src/sim/stage.js';
import { AFTERWARDS, cutOff, LONG, patient, readFromOldLeader, withLease } from './broken-promises.js';

export const oldOffer: Schedule = {
  name: 'oldOffer',
  steps: ['offered', 'a third leads', 'the offer arrives', ...AFTERWARDS],
  setting: patient,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const [target, third] = stage.shuffledFounders(leader);
    if (!target || !third) return;
    const late: (() => void)[] = [];
    stage.lose((from, to, { type }, send) => {
      if (from !== leader || to !== target || type !== 'timeoutNow') return false;
      late.push(send);
      return true;
    });
    stage.transfer(leader, target);
    if (!(await stage.until(() => late.length > 0))) return;
    stage.mark('offered');
    await stage.sleep(LONG.electionTimeoutMinMs + 100);
    stage.transfer(leader, third);
    if (!(await stage.until(() => third.node?.role === 'leader'))) return;
    // All three hold the same log, and nobody writes: each candidate can be elected.
    for (const machine of cluster.machines) stage.cutClients(machine);
    await stage.sleep(500);
    await withLease(stage, third);
    stage.mark('a third leads');
    let hasStood = false;
    stage.lose((from, to, { type }) => {
      hasStood ||= from === target && type === 'requestVote';
      return hasStood && (from === third || to === third);
    });
    for (const send of late) send();
    await stage.sleep(10);
    stage.mark('the offer arrives');
    const { isDone } = cutOff(stage, third);
    const leads = ({ node }: RunMachine) => node?.role === 'leader';
    for (const machine of [leader, target]) stage.mendClients(machine);
    await readFromOldLeader(stage, third, () => isDone() || [leader, target].some(leads));
  },
};

export const disloyal: Schedule = {
  name: 'disloyal',
  steps: ['asked', ...AFTERWARDS],
  setting: patient,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const [, third] = stage.shuffledFounders(leader);
    if (!third) return;
    // So that its log is complete.
    for (const machine of cluster.machines) stage.cutClients(machine);
    await stage.sleep(500);
    stage.cut([leader], [third]);
    let hasAsked = false;
    stage.lose((from, _to, { type }) => {
      hasAsked ||= from === third && type === 'requestVote';
      return false;
    });
    await withLease(stage, leader);
    if (!(await stage.until(() => hasAsked))) return;
    stage.mark('asked');
    const { isDone } = cutOff(stage, leader);
    for (const machine of stage.shuffledFounders(leader)) stage.mendClients(machine);
    await readFromOldLeader(stage, leader, isDone);
  },
};

/** The leader is paused while answers are in transit. When it resumes it finds a read first, and then the answers. */
export const oldRound: Schedule = {
  name: 'oldRound',
  steps: ['stopped', 'another leads', 'written', 'awake'],
  setting: patient,
  run: async (stage) => {
    const { cluster, workload } = stage;
    const { leader } = cluster;
    if (!leader) return;
    // So that the reader is connected.
    await withLease(stage, leader);
    const answers = new Map<RunMachine, () => void>();
    let isStopped = false;
    stage.lose((from, to, { type }, send) => {
      if (from === leader) return isStopped;
      if (to !== leader) return false;
      if (type !== 'heartbeatReply') return isStopped;
      answers.set(from, send);
      return true;
    });
    if (!(await stage.until(() => answers.size === 2))) return;
    isStopped = true;
    cluster.pause(leader);
    stage.cutClients(leader);
    stage.mark('stopped');
    let isElected = false;
    stage.onElected((elected) => {
      isElected ||= elected !== leader;
    });
    if (!(await stage.until(() => isElected))) return;
    stage.mark('another leads');
    if (!(await stage.grows(6))) return;
    await stage.sleep(20);
    stage.mark('written');
    const reads = workload.readAll(leader.endpoint, 'linearizable');
    await stage.sleep(50);
    for (const send of answers.values()) send();
    await stage.sleep(50);
    cluster.resume(leader, 'network first');
    stage.mark('awake');
    await reads;
  },
};
