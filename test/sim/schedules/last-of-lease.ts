/**
 * The end of a lease. The leader is cut off, another is elected as soon as the promises end, and the old leader is read
 * from while it might still believe in its lease.
 */

import type { Schedule } from '../../../src/sim/stage.js';
import { AFTERWARDS, cutOff, LONG, patient, readFromOldLeader, withLease } from './broken-promises.js';

/** The leader is also paused, so that it reads its sockets before its timers tell it that it has no quorum. */
export const lastOfLease: Schedule = {
  name: 'lastOfLease',
  steps: ['stopped', 'another leads', 'written', 'awake'],
  setting: (chosen) => ({
    ...patient(chosen),
    raft: { ...LONG, heartbeatMs: 40, electionTimeoutMaxMs: LONG.electionTimeoutMinMs + 40 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    await withLease(stage, leader);
    const { isDone } = cutOff(stage, leader);
    cluster.pause(leader);
    stage.mark('stopped');
    if (!(await stage.until(isDone))) return;
    stage.mark('another leads');
    if (!(await stage.grows(3))) return;
    await stage.sleep(20);
    stage.mark('written');
    const reads = stage.workload.readAll(leader.endpoint, 'lease');
    await stage.sleep(10);
    cluster.resume(leader, 'network first');
    stage.mark('awake');
    await reads;
  },
};

const ANSWER_DELAY_MS = 1000;

/** The answers to the leader's last heartbeats arrive late. */
export const slowAnswers: Schedule = {
  name: 'slowAnswers',
  steps: ['the leader is not heard', ...AFTERWARDS],
  setting: patient,
  run: async (stage) => {
    const { leader } = stage.cluster;
    if (!leader) return;
    let isHeard = true;
    stage.lose((from, to, { type }, send) => {
      if (from === leader) return !isHeard;
      if (to !== leader) return false;
      if (type !== 'heartbeatReply') return !isHeard;
      void stage.sleep(ANSWER_DELAY_MS).then(send);
      return true;
    });
    await stage.sleep(LONG.electionTimeoutMinMs);
    let isElected = false;
    stage.onElected((elected) => {
      isElected ||= elected !== leader;
    });
    isHeard = false;
    stage.cutClients(leader);
    stage.mark('the leader is not heard');
    await readFromOldLeader(stage, leader, () => isElected);
  },
};
