/**
 * A single voter with a learner. Its power fails again and again, after it has sent entries of a new term and before
 * its slow disk holds anything of that term. A leader's term must be durable before it sends entries.
 */
import { type Schedule, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

const ROUNDS = 3;

export const voteBeforeDurable: Schedule = {
  name: 'voteBeforeDurable',
  steps: ['learner', ...Array.from({ length: ROUNDS }, () => ['power cut', 'leads again']).flat()],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    nodes: 1,
    spares: 1,
    changesMembers: true,
    limits: {},
    raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
    workload: { ...chosen.workload, clients: 6, maxThinkMs: 10 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const [voter, learner] = cluster.machines;
    if (!voter || !learner) return;
    cluster.turnOn(learner);
    if (!(await stage.until(() => learner.state === 'up'))) return;
    stage.change(voter, 'addLearner', learner);
    if (!(await stage.until(() => statusOf(learner)?.learners.includes(learner.id) ?? false))) return;
    stage.mark('learner');
    voter.condition.minMs = 150;
    voter.condition.maxMs = 250;
    for (let round = 0; round < ROUNDS; round++) {
      cluster.cutPower(voter, 'keeps only what is synced');
      stage.mark('power cut');
      let hasSent = false;
      stage.lose((from, _to, message) => {
        hasSent ||= from === voter && message.type === 'append' && message.entries.length > 0;
        return false;
      });
      if (!(await stage.until(() => hasSent))) return;
      stage.mark('leads again');
      // So that the clients find it. Their entries reach the learner first.
      await stage.sleep(20 + stage.random.float() * 100);
    }
  },
};
