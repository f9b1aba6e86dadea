/**
 * A follower with a slow disk votes; in the moment when that makes a leader its power fails. It comes back, the new
 * leader cannot tell anybody, and the old one, who has not heard of the new term, asks for a vote in that very term.
 */
import { type Schedule, threeQuickNodes } from '../../../src/sim/stage.js';

export const secondVote: Schedule = {
  name: 'secondVote',
  steps: ['old leader cut off', 'new leader', 'old leader asks'],
  setting: threeQuickNodes,
  run: async (stage) => {
    const { cluster, random } = stage;
    const old = cluster.leader;
    if (!old) return;
    stage.isolate(old);
    const lastOf = (machine: typeof old) => machine.node?.status(0).lastIndex ?? 0;
    // He whose log is longer would not vote.
    const [voter, candidate] = stage.shuffledFounders(old).sort((a, b) => lastOf(a) - lastOf(b));
    if (!voter || !candidate) return;
    const term = () => old.node?.status(0).term ?? 0;
    const termAtFirst = term();
    // Slow, but not so slow that no vote arrives in time; a vote that does not wait makes a leader long before that.
    voter.condition.minMs = cluster.setting.raft.electionTimeoutMinMs / 4;
    voter.condition.maxMs = cluster.setting.raft.electionTimeoutMinMs / 3;
    stage.lose((from, _to, { type }) => type === 'requestVote' && from === voter);
    stage.mark('old leader cut off');

    let elected = 0;
    stage.onElected((leader) => {
      if (leader !== candidate || elected > 0) return;
      elected = leader.node?.status(0).term ?? 0;
      stage.mark('new leader');
      stage.isolate(candidate);
      cluster.cutPower(voter, 'keeps only what is synced');
    });
    if (!(await stage.until(() => elected > 0))) return;
    voter.condition.minMs = 0.05;
    voter.condition.maxMs = cluster.setting.maxDiskMs;
    // Until it has forgotten that it leads.
    if (!(await stage.until(() => old.node?.role !== 'leader'))) return;
    await stage.sleep(random.float() * 200);

    let hasAsked = false;
    stage.lose((from, to, message) => {
      if (message.type !== 'requestVote') return false;
      if (from === old && to === voter && message.term >= termAtFirst + 1) hasAsked = true;
      return from === voter;
    });
    stage.mendAll();
    stage.isolate(candidate);
    if (!(await stage.until(() => hasAsked))) return;
    stage.mark('old leader asks');
    await stage.until(() => old.node?.role === 'leader', 3000);
    await stage.sleep(random.float() * 500);
  },
};
