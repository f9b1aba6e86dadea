/**
 * A lease at its very end: the leader is cut off, another is elected as soon as the promises are over, and the old leader
 * is read from while it might believe in a lease that is a little longer.
 */
import { AFTERWARDS, cutOff, LONG, patient, readFromOldLeader, withLease } from './broken-promises.js';
import type { Schedule } from './stage.js';

export const lastOfLease: Schedule = {
  name: 'lastOfLease',
  steps: AFTERWARDS,
  setting: (chosen) => ({
    ...patient(chosen),
    raft: { ...LONG, heartbeatMs: 40, electionTimeoutMaxMs: LONG.electionTimeoutMinMs + 40 },
  }),
  run: async (stage) => {
    const { leader } = stage.cluster;
    if (!leader) return;
    await withLease(stage, leader);
    const { isDone } = cutOff(stage, leader);
    await readFromOldLeader(stage, leader, isDone);
  },
};

/** The answers to the leader's last heartbeats come long after those were sent, and when it is not heard any more. */
export const slowAnswers: Schedule = {
  name: 'slowAnswers',
  steps: ['the leader is not heard', ...AFTERWARDS],
  setting: patient,
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const { network } = cluster.world;
    const others = stage.shuffledFounders(leader);
    for (const { host } of others) network.slow(host, leader.host, { minMs: 1000, maxMs: 1100 });
    await withLease(stage, leader);
    await stage.sleep(LONG.electionTimeoutMinMs);
    let isElected = false;
    stage.onElected((elected) => {
      isElected ||= elected !== leader;
    });
    stage.lose((from) => from === leader);
    stage.cutClients(leader);
    stage.mark('the leader is not heard');
    await readFromOldLeader(stage, leader, () => isElected);
  },
};
