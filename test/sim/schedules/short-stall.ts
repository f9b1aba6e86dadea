/**
 * A leader is paused for a little longer than an election timeout (a garbage collection, a busy host), and no other
 * node campaigns. When it resumes its timers run first; the messages of the others wait in its sockets.
 */
import { type Schedule, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

const STALLS = 5;

export const shortStall: Schedule = {
  name: 'shortStall',
  steps: Array.from({ length: STALLS }, () => 'awake'),
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    raft: { heartbeatMs: 100, electionTimeoutMinMs: 1000, electionTimeoutMaxMs: 3000 },
  }),
  run: async (stage) => {
    const { cluster, random } = stage;
    let others = 0;
    stage.lose((from, _to, { type }) => {
      if (type === 'requestVote' && from !== cluster.leader) others++;
      return false;
    });
    const { heartbeatMs, electionTimeoutMinMs } = cluster.setting.raft;
    for (let stalls = 0, tries = 0; stalls < STALLS && tries < 20; tries++) {
      await stage.sleep(1000 + random.float() * heartbeatMs);
      const { leader } = cluster;
      if (!leader) continue;
      const term = statusOf(leader)?.term ?? 0;
      others = 0;
      cluster.pause(leader);
      await stage.sleep(electionTimeoutMinMs + heartbeatMs * (0.5 + random.float()));
      cluster.resume(leader, 'timers first');
      const isUndisturbed = others === 0;
      await stage.sleep(heartbeatMs);
      if (!isUndisturbed || others > 0) continue;
      stalls++;
      stage.mark('awake');
      const status = statusOf(leader);
      if (status?.role !== 'leader' || status.term !== term)
        cluster.fail(
          'leadership is kept',
          `${leader.host} was stopped for little more than an election timeout, and gave up term ${term}`,
        );
    }
  },
};
