/**
 * A follower with a slow disk votes, and loses its power when its vote has made a leader. It comes back. The new leader
 * is cut off. The old leader, which does not know the new term, asks for a vote in the same term.
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
    // The node with the longer log would not vote.
    const [voter, candidate] = stage.shuffledFounders(old).sort((a, b) => lastOf(a) - lastOf(b));
    if (!voter || !candidate) return;
    const term = () => old.node?.status(0).term ?? 0;
    const termAtFirst = term();
    // Slow, but fast enough for votes in time. A vote that does not wait for the disk makes a leader much earlier.
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
    // Until it has stepped down.
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
