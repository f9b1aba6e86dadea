/**
 * A leader that is cut off still gets writes. The others elect another, which commits fewer entries, but in a later
 * term. Then the node with the longer log asks for votes. The last term decides which log is more up to date, and the
 * length only if the terms are equal.
 */
import { type Schedule, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

export const longerLog: Schedule = {
  name: 'longerLog',
  steps: ['a long tail', 'another leads', 'the longer log asks'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    limits: {},
    // A client sends writes to one key one by one: with few keys a leader that is cut off gets few writes.
    workload: { ...chosen.workload, clients: 12, keys: 30, window: 1024, maxThinkMs: 20 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const followers = stage.shuffledFounders(leader);
    const lastOf = (machine: typeof leader) => statusOf(machine)?.lastIndex ?? 0;
    for (const follower of followers) stage.cutClients(follower);
    stage.isolate(leader);
    if (!(await stage.until(() => followers.every((follower) => lastOf(leader) >= lastOf(follower) + 3))))
      return;
    // Pending disk writes end. Only a node with a complete log can be elected.
    await stage.sleep(100);
    const [voter, other] = followers.sort((one, two) => lastOf(one) - lastOf(two));
    if (!voter || !other) return;
    stage.mark('a long tail');
    // Only the other one may campaign.
    stage.lose((from, _to, { type }) => from === voter && type === 'requestVote');
    const isAhead = () => other.node?.role === 'leader' && statusOf(voter)?.appliedIndex === lastOf(other);
    if (!(await stage.until(() => isAhead() && cluster.reference.lastIndex === lastOf(other)))) return;
    stage.mark('another leads');
    let hasAsked = false;
    stage.lose((from, to, { type }) => {
      if (type === 'requestVote' && from === leader && to === voter) hasAsked = true;
      return type === 'requestVote' && from === voter;
    });
    stage.mendAll();
    stage.isolate(other);
    if (!(await stage.until(() => hasAsked))) return;
    stage.mark('the longer log asks');
    await stage.until(() => leader.node?.role === 'leader', 1000);
  },
};
